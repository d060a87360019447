"""List, run and draw the control experiments on DeepMind Control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from control_benchmarks.experiments.folders import suite_folder
from control_benchmarks.experiments.run_suite import run
from equitrade.console import JsonOption, print_json

app = typer.Typer(help="Control experiments on DeepMind Control.", no_args_is_help=True)


@app.command("list")
def list_command(
    suite: Annotated[str | None, typer.Option(help="Show the jobs of a suite.")] = None,
    size: Annotated[str, typer.Option(help="cpu or gpu: width, seeds and frames.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder of results, to mark what is done.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks and their variants, agents and suites, or the jobs of one suite."""
    rows = _suite_rows(suite, size, out or suite_folder(suite, size)) if suite is not None else _overview()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print("  ".join(f"{key}: {_plain(value)}" for key, value in row.items()))


app.command()(run)


@app.command()
def symmetry(
    task: Annotated[str, typer.Option(help="Name of a task.")],
    variant: Annotated[
        str, typer.Option(help="A variant such as gravity:0.5; all of strength 1 by default.")
    ] = "",
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of transitions to compare.")] = 1024,
    as_json: JsonOption = False,
) -> None:
    """Measure how far a task and its variants are from the task's symmetry."""
    from control_benchmarks.envs.symmetry_gaps import measure_gaps
    from control_benchmarks.envs.variants import load_variant, variant_names
    from control_benchmarks.tasks.registry import load_task

    loaded = load_task(task)
    rows = []
    for name in [variant] if variant else variant_names(loaded):
        found = measure_gaps(loaded, load_variant(loaded, name), pairs=pairs)
        reward, transition = found.gaps.reward, found.gaps.transition
        rows.append(
            {
                "variant": name,
                "reward": [reward.estimate, reward.low, reward.high],
                "transition": [transition.estimate, transition.low, transition.high],
                "change": found.change,
            }
        )
    if as_json:
        print_json({"task": task, "variants": rows})
        return
    print(f"{task}: mean gaps of a decision with 95 % intervals, beside the change that a decision makes")
    for row in rows:
        gaps = (f"{part} {_interval(row[part])}" for part in ("reward", "transition"))
        print(f"{row['variant']}: {', '.join(gaps)}, change {row['change']:.3g}")


@app.command()
def figures(
    results: Annotated[
        Path | None, typer.Option(help="Folder of results.", show_default="suite states, size cpu")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; RESULTS/figures by default.")] = None,
    png: Annotated[bool, typer.Option(help="Write PNG files as well, with Playwright and Chromium.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Draw learning curves, relaxed weights, equivariance errors, noise, tables and claims on one page."""
    from control_benchmarks.analysis.report import write_figures

    results = results or suite_folder("states", "cpu")
    written = write_figures(results, out or results / "figures", png=png)
    found = written.claims
    if as_json:
        answers = {claim.letter: claim.answer for claim in found}
        needed = {claim.letter: claim.seeds_needed for claim in found}
        print_json(
            {"page": str(written.page), "note": written.note, "claims": answers, "seeds_needed": needed}
        )
        return
    for claim in found:
        print(claim.sentence)
    print(f"wrote {written.page} and {len(written.files)} files of figures")
    if written.note:
        print(written.note)


def _overview() -> list[dict[str, Any]]:
    from control_benchmarks.envs.symmetry import task_group
    from control_benchmarks.envs.variants import variant_names
    from control_benchmarks.experiments.suites import agent_names, suite_names
    from control_benchmarks.tasks.registry import load_task, task_names

    rows: list[dict[str, Any]] = []
    for name in task_names():
        task = load_task(name)
        pixels = "yes" if task.has_image_symmetry else "no"
        rows.append(
            {"task": name, "group": task_group(task).name, "variants": variant_names(task), "pixels": pixels}
        )
    return [*rows, {"agents": agent_names()}, {"suites": suite_names()}]


def _suite_rows(name: str, size: str, out: Path) -> list[dict[str, Any]]:
    from control_benchmarks.errors import ControlError
    from control_benchmarks.experiments.runner import is_done
    from control_benchmarks.experiments.suites import Job, load_suite

    def state(job: Job) -> str:
        try:
            return "done" if is_done(job, out) else "open"
        except ControlError:
            return "of other settings"

    return [
        {
            "task": job.task,
            "agent": job.agent,
            "variants": job.variants,
            "seeds": job.settings.seeds,
            "frames": job.settings.frames,
            "state": state(job),
        }
        for job in load_suite(name, size=size).jobs
    ]


def _interval(values: Any) -> str:
    middle, low, high = values
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
