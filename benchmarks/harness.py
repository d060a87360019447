"""Tools of all benchmarks: machine, alternating repeats, peers in processes of their own, stored results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equitrade.atomic import atomic_write
from equitrade.console import show
from equitrade.machine import describe_machine, package_versions

if TYPE_CHECKING:
    from rl_core.experience.replay import Batch
    from rl_core.sac import SAC

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("equitrade", "numpy", "pandas", "torch", "gymnasium")

PeersOption = Annotated[Path | None, typer.Option(help="Python of the peers' environment (`make peers`).")]
RepeatsOption = Annotated[
    int, typer.Option(min=1, help="Rounds that count; each times every contender once.")
]
SaveOption = Annotated[bool, typer.Option(help="Store the result.")]

# A contender does its work once; it may return the seconds to count, otherwise the call is timed.
Contender = Callable[[], float | None]


def machine() -> dict[str, Any]:
    """Return the processor, load, threads and versions of a measurement."""
    import torch

    return {
        **describe_machine(),
        "load_average": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": package_versions(_PACKAGES),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def alternate(
    contenders: Mapping[str, Contender], repeats: int = 5, *, warmup: int = 1
) -> dict[str, list[float]]:
    """Run contenders in turn, so that other load on the machine affects all of them alike.

    Each round begins with another contender. The seconds of rounds after those of warm-up are returned by name.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warmup + repeats):
        shift = turn % max(1, len(names))
        for name in names[shift:] + names[:shift]:
            began = time.perf_counter()
            answer = contenders[name]()
            taken = time.perf_counter() - began if answer is None else float(answer)
            if turn >= warmup:
                seconds[name].append(taken)
    return seconds


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Return median and range of repeats, in seconds."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios within a round, whose contenders ran under the same load."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def write(name: str, payload: Mapping[str, Any]) -> Path:
    """Store results and machine in ``benchmarks/results/NAME.json``; return the path."""
    path = RESULTS / f"{name}.json"
    atomic_write(path, json.dumps({"machine": machine(), **payload}, indent=2) + "\n")
    return path


def finish(
    name: str, payload: Mapping[str, Any], lines: Iterable[str], *, as_json: bool, save: bool = True
) -> None:
    """Store a result, unless it is not to be saved, and print it as JSON or as lines of text."""
    stored = [str(write(name, payload))] if save else []
    show(as_json, payload, [*lines, *stored])


def gradient_difference(agent: SAC, batch: Batch) -> float:
    """Return the largest difference of an agent's gradient from autograd's, relative to the largest gradient."""
    noise = agent.update_noise(batch)
    loss, _ = agent.losses(batch, noise)
    agent.flat.gradients.zero_()
    loss.backward()  # type: ignore[no-untyped-call]
    expected = agent.flat.gradients.clone()
    agent.gradient(batch, noise)
    return float((agent.flat.gradients - expected).abs().max() / expected.abs().max())


class Peer:
    """A script in another Python environment that answers each line of input with one line of JSON.

    The script imports nothing of equitrade and exits at the end of its input.
    """

    def __init__(
        self,
        python: Path,
        script: Path,
        arguments: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(python), str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, **(variables or {})},
        )

    def ask(self, question: str) -> Any:
        """Send a question and wait for the answer.

        Raises `RuntimeError` if the script ended instead of answering.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # of a script that has ended
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the peer ended with code {self._process.wait()} instead of answering {question}"
            )
        return json.loads(line)

    def close(self) -> None:
        """End the script."""
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
