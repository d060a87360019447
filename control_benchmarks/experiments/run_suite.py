"""Run a suite of control experiments.

``equitrade control run`` and ``python -P -m control_benchmarks.experiments.run_suite`` are the same command; the second
needs only PyTorch, NumPy, safetensors, MuJoCo, lazy-loader and Typer. It stops when its budget is spent; started again
with the same folder, it continues with the jobs that are not done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_benchmarks.errors import ControlError, unknown
from control_benchmarks.experiments.folders import suite_folder
from equitrade.console import JsonOption, option_arguments, print_json, run_command, say
from equitrade.processes import module_command

if TYPE_CHECKING:
    from control_benchmarks.experiments.suites import Job, Suite

Changes = Sequence[tuple[str, object]]
_LEAST_SECONDS = 5.0  # with less time left, no job is started

app = typer.Typer(add_completion=False)


@app.command()
def run(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help="smoke, plain, states, pixels or paper.")] = "smoke",
    size: Annotated[str, typer.Option(help="cpu (width 64, 5 seeds) or gpu (width 256, 10 seeds).")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder of results; finished jobs are skipped.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    parallel: Annotated[int, typer.Option(min=1, help="Jobs side by side.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the physics of a job.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes of the environments of a job.")] = 0,
    budget_seconds: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="Evaluations between checkpoints; 0 writes none.")
    ] = 1,
    tasks: Annotated[str, typer.Option(help="Only these tasks, separated by commas.")] = "",
    agents: Annotated[str, typer.Option(help="Only these agents.")] = "",
    variants: Annotated[str, typer.Option(help="These variants, with strengths such as gravity:0.5.")] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of training.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of the networks.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Transitions in an update.")] = None,
    n_envs: Annotated[int | None, typer.Option(min=1, help="Environments of a seed.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="paper or strong: settings of the learner that no other option names.",
            show_default="strong; pixels: paper",
        ),
    ] = None,
    updates_per_decision: Annotated[
        int | None,
        typer.Option(
            min=1, help="Updates for each decision of an environment.", show_default="of the preset"
        ),
    ] = None,
    evaluations: Annotated[int | None, typer.Option(min=1, help="Evaluations during training.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes of an evaluation.")] = None,
    matmul_dtype: Annotated[str | None, typer.Option(help="float32, tf32 or bfloat16.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[AGENT:]NAME=VALUE",
            help="A setting of the learner, of all agents or of one (relaxed:critic_lr=1e-3); repeat.",
        ),
    ] = None,
    pack: Annotated[Path | None, typer.Option(help="Write all result files to this zip archive.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a suite; a run that was stopped or killed is resumed."""
    from control_benchmarks.experiments.suites import load_suite

    loaded = load_suite(
        suite,
        size=size,
        tasks=_names(tasks),
        agents=_names(agents),
        variants=_names(variants),
        seeds=seeds,
        frames=frames,
        width=width,
        batch_size=batch_size,
        n_envs=n_envs,
        preset=preset,
        updates_per_decision=updates_per_decision,
        evaluations=evaluations,
        episodes=episodes,
        matmul_dtype=matmul_dtype,
    )
    learner = learner_changes(changes or ())
    folder = out or suite_folder(suite, size)
    choose_renderer(loaded)
    folder.mkdir(parents=True, exist_ok=True)
    if parallel > 1:
        run_parallel(option_arguments(context, parallel=1, pack=None), parallel)
    else:
        run_suite(
            loaded,
            folder,
            device=device,
            threads=threads,
            workers=workers,
            budget_seconds=budget_seconds,
            changes=learner,
            checkpoint_every=checkpoint_every,
        )
    if pack is not None:
        pack_results(folder, pack)
    summary = summarise(loaded.jobs, folder, learner)
    if as_json:
        print_json(summary)
    else:
        typer.echo(f"{len(summary['done'])} of {len(loaded.jobs)} jobs are done; results are in {folder}")


def run_suite(
    suite: Suite,
    directory: Path,
    *,
    budget_seconds: float | None = None,
    verbose: bool = True,
    changes: Changes = (),
    **options: Any,
) -> dict[str, str]:
    """Run the jobs of a suite in order; jobs that are done, or that another process runs, are skipped.

    Parameters
    ----------
    suite
        The jobs.
    directory
        Folder of the result files.
    budget_seconds
        Stop after this time.
    verbose
        Whether to write a line to standard error at each evaluation.
    changes, options
        Further `control_benchmarks.experiments.runner.RunOptions`.

    Returns
    -------
    dict
        For each job ``"done"``, ``"skipped"`` (was done before), ``"elsewhere"`` (another process runs it),
        ``"stopped"`` or ``"not begun"``.
    """
    # The imports count towards the budget.
    deadline = float("inf") if budget_seconds is None else time.monotonic() + budget_seconds
    from control_benchmarks.experiments.runner import RunOptions, claim, is_done, run_job

    how = RunOptions(deadline=deadline, changes=tuple(changes), **options)
    report = say if verbose else lambda _: None
    found: dict[str, str] = {}
    for job in suite.jobs:
        if deadline - time.monotonic() < _LEAST_SECONDS:
            found[job.name] = "not begun"
            continue
        with claim(job, directory) as claimed:
            if not claimed:
                found[job.name] = "elsewhere"
            elif is_done(job, directory, changes):
                found[job.name] = "skipped"
            else:
                found[job.name] = "done" if run_job(job, directory, how, report) else "stopped"
    return found


def choose_renderer(suite: Suite) -> None:
    """Set MuJoCo's renderer before MuJoCo is imported: EGL for pixels, none otherwise."""
    pixels = any(job.settings.pixels for job in suite.jobs)
    os.environ.setdefault("MUJOCO_GL", "egl" if pixels else "disable")


def run_parallel(arguments: Sequence[str], processes: int) -> None:
    """Run this command in several processes with the same arguments; each claims other jobs.

    Raises
    ------
    typer.Exit
        With the largest exit code, if it is not 0.
    """
    command = module_command("control_benchmarks.experiments.run_suite", *arguments)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # Progress goes to standard error; the summary on standard output is written once, by the parent.
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(processes)
    ]
    code = max(abs(process.wait()) for process in running)
    if code:
        raise typer.Exit(code)


def summarise(jobs: Sequence[Job], directory: Path, changes: Changes = ()) -> dict[str, list[str]]:
    """Return the names of the jobs that are done and of those that are not."""
    from control_benchmarks.experiments.runner import is_done

    done = [job.name for job in jobs if is_done(job, directory, changes)]
    return {"done": done, "open": [job.name for job in jobs if job.name not in done]}


def pack_results(directory: Path, archive: Path) -> None:
    """Write the result files of a folder to a zip archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(directory.glob("*.jsonl")):
            target.write(path, path.name)


def learner_changes(texts: Sequence[str]) -> list[tuple[str, object]]:
    """Return the settings of ``NAME=VALUE`` or ``AGENT:NAME=VALUE`` texts; values are JSON or plain words.

    Raises
    ------
    ControlError
        If a text has another form, or there is no such agent.
    """
    from control_benchmarks.experiments.suites import agent_names

    found: list[tuple[str, object]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ControlError(f"--set takes NAME=VALUE or AGENT:NAME=VALUE, not '{text}'")
        agent, colon, setting = name.rpartition(":")
        if colon and agent not in agent_names():
            raise unknown("agent", agent, agent_names())
        if setting == "preset":
            raise ControlError(f"--set cannot choose a preset; use --preset {value}")
        try:
            found.append((name, json.loads(value)))
        except ValueError:
            found.append((name, value))
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


if __name__ == "__main__":
    sys.exit(run_command(app))
