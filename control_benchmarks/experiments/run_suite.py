"""Run a suite with nothing but Python, PyTorch, NumPy, safetensors and MuJoCo.

``python3 -m control_benchmarks.experiments.run_suite --suite states --size gpu --device cuda --parallel 4 --out DIR``

This is `equitrade control run` without what only a command line at home needs. It stops by itself when the
budget is spent; started again, it goes on with what is not done.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from control_benchmarks.errors import ControlError
from control_benchmarks.experiments.suites import Job, Suite, load_suite
from equitrade.errors import EquitradeError

_NUMBERS = ("seeds", "frames", "width", "batch_size", "n_envs", "evaluations", "episodes")
_LEAST_SECONDS = 5.0  # a job that could not even start is not begun


def run_suite(
    suite: Suite,
    directory: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    workers: int = 0,
    budget_seconds: float | None = None,
    changes: Sequence[tuple[str, object]] = (),
    checkpoint_every: int = 1,
    say: bool = True,
) -> dict[str, str]:
    """Run the jobs of a suite in their order; jobs that are done or that others run are passed over.

    Parameters
    ----------
    suite
        The jobs.
    directory
        Folder of the result files.
    device, threads, workers
        See `running.Machine`.
    budget_seconds
        Stop after so long.
    changes
        Settings of the learner to change.
    checkpoint_every
        Evaluations between checkpoints; 0 writes none.
    say
        Whether to write a line to the standard error at each evaluation.

    Returns
    -------
    dict
        For each job, ``"done"``, ``"skipped"`` (done before), ``"elsewhere"`` (another process has it),
        ``"stopped"`` or ``"not begun"``.
    """
    # Importing takes some of the budget as well.
    deadline = float("inf") if budget_seconds is None else time.monotonic() + budget_seconds
    from control_benchmarks.experiments.runner import Machine, claim, is_done, run_job

    machine = Machine(device, threads, workers, deadline, tuple(changes), checkpoint_every)

    def report(text: str) -> None:
        if say:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    found: dict[str, str] = {}
    for job in suite.jobs:
        if deadline - time.monotonic() < _LEAST_SECONDS:
            found[job.name] = "not begun"
            continue
        with claim(job, directory) as mine:
            if not mine:
                found[job.name] = "elsewhere"
            elif is_done(job, directory, changes):
                found[job.name] = "skipped"
            else:
                found[job.name] = "done" if run_job(job, directory, machine, report) else "stopped"
    return found


def choose_renderer(suite: Suite) -> None:
    """Tell MuJoCo how to draw, before it is imported: through EGL for pixels, else not at all."""
    pixels = any(job.settings.pixels for job in suite.jobs)
    os.environ.setdefault("MUJOCO_GL", "egl" if pixels else "disable")


def run_parallel(arguments: Sequence[str], parallel: int) -> int:
    """Run this module so many times side by side with the same arguments; the worst exit code."""
    folders = os.pathsep.join(folder for folder in sys.path if folder)
    environment = {**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "control_benchmarks.experiments.run_suite",
        *arguments,
        "--parallel",
        "1",
    ]
    processes = [subprocess.Popen(command, env=environment) for _ in range(parallel)]
    return max(abs(process.wait()) for process in processes)


def summarise(
    jobs: Sequence[Job], directory: Path, changes: Sequence[tuple[str, object]] = ()
) -> dict[str, list[str]]:
    """Return the names of the jobs that are done and of those that are not."""
    from control_benchmarks.experiments.runner import is_done

    done = [job.name for job in jobs if is_done(job, directory, changes)]
    return {"done": done, "open": [job.name for job in jobs if job.name not in done]}


def pack(directory: Path, archive: Path) -> None:
    """Put the result files of a folder into one archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(directory.glob("*.jsonl")):
            target.write(path, path.name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a suite."""
    parser.add_argument("--suite", default="smoke")
    parser.add_argument("--size", default="cpu", help="cpu or gpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parallel", type=int, default=1, help="jobs side by side")
    parser.add_argument("--threads", type=int, default=1, help="threads of the physics of a job")
    parser.add_argument("--workers", type=int, default=0, help="processes of the environments of a job")
    parser.add_argument("--budget-seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--checkpoint-every", type=int, default=1, help="in evaluations; 0 writes none")
    for name in ("tasks", "agents", "variants"):
        parser.add_argument(f"--{name}", default="", help="keep only these, separated by commas")
    for name in _NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--matmul-dtype")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="learner's setting")
    parser.add_argument("--pack", type=Path, help="at the end put all result files into this zip archive")


def suite_of(options: argparse.Namespace) -> Suite:
    """Return the suite that options describe."""
    lists = {name: _names(getattr(options, name)) for name in ("tasks", "agents", "variants")}
    settings = {name: getattr(options, name) for name in (*_NUMBERS, "matmul_dtype")}
    changes = {name: value for name, value in settings.items() if value is not None}
    return load_suite(options.suite, size=options.size, **lists, **changes)


def learner_changes(texts: Sequence[str]) -> list[tuple[str, object]]:
    """Return the settings of ``NAME=VALUE`` texts, values as in JSON or plain words.

    Raises
    ------
    ControlError
        If a text is no ``NAME=VALUE``.
    """
    found: list[tuple[str, object]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ControlError(f"--set takes NAME=VALUE, not '{text}'")
        try:
            found.append((name, json.loads(value)))
        except ValueError:
            found.append((name, value))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from a command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m control_benchmarks.experiments.run_suite", description=__doc__
    )
    add_arguments(parser)
    options = parser.parse_args(given)
    try:
        suite = suite_of(options)
        choose_renderer(suite)
        options.out.mkdir(parents=True, exist_ok=True)
        changes = learner_changes(options.set)
        if options.parallel > 1:
            code = run_parallel(_without(given, "--pack"), options.parallel)
        else:
            code = 0
            run_suite(
                suite,
                options.out,
                device=options.device,
                threads=options.threads,
                workers=options.workers,
                budget_seconds=options.budget_seconds,
                changes=changes,
                checkpoint_every=options.checkpoint_every,
            )
        if options.pack is not None:
            pack(options.out, options.pack)
        if code == 0 and (options.parallel > 1 or options.pack is not None):
            sys.stderr.write(json.dumps(summarise(suite.jobs, options.out, changes)) + "\n")
    except ValueError as error:
        if not isinstance(error, EquitradeError):
            raise
        sys.stderr.write(f"error: {error}\n")
        return 2
    return code


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _without(arguments: Sequence[str], option: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for text in arguments:
        if skip:
            skip = False
        elif text == option:
            skip = True
        elif not text.startswith(f"{option}="):
            kept.append(text)
    return kept


if __name__ == "__main__":
    sys.exit(main())
