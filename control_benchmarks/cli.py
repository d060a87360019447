"""List, run and draw the control experiments on DeepMind Control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Control experiments on DeepMind Control.", no_args_is_help=True)

_RESULTS = Path(__file__).parent / "results"
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(
    suite: Annotated[str | None, typer.Option(help="Show the jobs of a suite.")] = None,
    size: Annotated[str, typer.Option(help="cpu or gpu: width, seeds and frames.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder of results, to mark what is done.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks and their variants, agents and suites, or the jobs of one suite."""
    rows = _suite_rows(suite, size, out or _folder(suite, size)) if suite is not None else _overview()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo("  ".join(f"{key}: {_plain(value)}" for key, value in row.items()))


@app.command()
def run(
    suite: Annotated[str, typer.Option(help="smoke, plain, states, pixels or paper.")] = "smoke",
    size: Annotated[str, typer.Option(help="cpu (width 128, 5 seeds) or gpu (width 256, 10 seeds).")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder of results; done runs in it are skipped.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    parallel: Annotated[int, typer.Option(min=1, help="Jobs side by side.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the physics of a job.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes of the environments of a job.")] = 0,
    budget_seconds: Annotated[float | None, typer.Option(help="Stop by itself after so long.")] = None,
    tasks: Annotated[str, typer.Option(help="Keep only these tasks, separated by commas.")] = "",
    agents: Annotated[str, typer.Option(help="Keep only these agents.")] = "",
    variants: Annotated[str, typer.Option(help="These variants, with strengths such as gravity:0.5.")] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of training.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of the networks.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a suite; it goes on where it was stopped or killed."""
    from control_benchmarks.experiments.run_suite import choose_renderer, main, run_suite, summarise
    from control_benchmarks.experiments.suites import load_suite

    numbers = {"seeds": seeds, "frames": frames, "width": width}
    names = {"tasks": tasks, "agents": agents, "variants": variants}
    kept: dict[str, Any] = {key: tuple(filter(None, text.split(","))) for key, text in names.items()}
    changes: dict[str, Any] = {key: number for key, number in numbers.items() if number is not None}
    loaded = load_suite(suite, size=size, **kept, **changes)
    choose_renderer(loaded)
    out = out or _folder(suite, size)
    out.mkdir(parents=True, exist_ok=True)
    if parallel > 1:
        given: dict[str, Any] = {
            **names,
            **numbers,
            "suite": suite,
            "size": size,
            "out": out,
            "device": device,
        }
        given |= {
            "parallel": parallel,
            "threads": threads,
            "workers": workers,
            "budget_seconds": budget_seconds,
        }
        code = main(
            [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value not in (None, "")]
        )
        if code:
            raise typer.Exit(code)
    else:
        run_suite(loaded, out, device=device, threads=threads, workers=workers, budget_seconds=budget_seconds)
    summary = summarise(loaded.jobs, out)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(f"{len(summary['done'])} of {len(loaded.jobs)} jobs are done; results are in {out}")


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
        typer.echo(json.dumps({"task": task, "variants": rows}))
        return
    typer.echo(
        f"{task}: mean gaps of a decision with 95 % intervals, beside the change that a decision makes"
    )
    for row in rows:
        gaps = (f"{part} {_interval(row[part])}" for part in ("reward", "transition"))
        typer.echo(f"{row['variant']}: {', '.join(gaps)}, change {row['change']:.3g}")


@app.command()
def figures(
    results: Annotated[Path, typer.Option(help="Folder of results.")] = _RESULTS / "states-cpu",
    out: Annotated[Path | None, typer.Option(help="Where to write; RESULTS/figures by default.")] = None,
    png: Annotated[bool, typer.Option(help="Write PNG files as well, through Playwright or Kaleido.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Draw learning curves, relaxed weights, equivariance errors, noise, tables and claims on one page."""
    from control_benchmarks.analysis.claims import Study, claims
    from control_benchmarks.analysis.report import write_figures
    from control_benchmarks.experiments.results import read_directory

    written = write_figures(results, out or results / "figures", png=png)
    found = claims(Study(read_directory(results)))
    if as_json:
        answers = {claim.letter: claim.answer for claim in found}
        typer.echo(json.dumps({"page": str(written.page), "note": written.note, "claims": answers}))
        return
    for claim in found:
        typer.echo(f"({claim.letter}) {claim.text}: {claim.answer}")
    typer.echo(f"wrote {written.page} and {len(written.files)} files of figures")
    if written.note:
        typer.echo(written.note)


def _folder(suite: str, size: str) -> Path:
    """Return where a suite's results go by default: runs of different sizes are not mixed."""
    return _RESULTS / f"{suite}-{size}"


def _overview() -> list[dict[str, Any]]:
    from control_benchmarks.envs.symmetry import task_group
    from control_benchmarks.envs.variants import variant_names
    from control_benchmarks.experiments.suites import AGENTS, suite_names
    from control_benchmarks.tasks.registry import load_task, task_names

    rows: list[dict[str, Any]] = []
    for name in task_names():
        task = load_task(name)
        pixels = "yes" if task.has_image_symmetry else "no"
        rows.append(
            {"task": name, "group": task_group(task).name, "variants": variant_names(task), "pixels": pixels}
        )
    return [*rows, {"agents": AGENTS}, {"suites": suite_names()}]


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
