"""A process that steps some copies of a task for another: ``python -m control_benchmarks.envs.process_worker``.

Commands come as bytes on the standard input and answers go as bytes to the standard output; everything else
is in shared memory. No object is ever serialised.
"""

from __future__ import annotations

import json
import os
import sys
from typing import BinaryIO

import numpy as np

from control_benchmarks.envs.physics import Arrays, Copies, Simulation
from control_benchmarks.envs.variants import Variant
from control_benchmarks.errors import ControlError
from control_benchmarks.tasks.registry import load_task

STEP, RESET, QUIT = b"s", b"r", b"q"
DONE, FAILED = b"k", b"e"


def attach(path: str, layout: dict[str, tuple[tuple[int, ...], str]]) -> Arrays:
    """Map the arrays of a layout, one after the other, from a shared file."""
    arrays: Arrays = {}
    offset = 0
    for name, (shape, dtype) in layout.items():
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if count:
            arrays[name] = np.memmap(path, dtype=dtype, mode="r+", offset=offset, shape=tuple(shape)).view(
                np.ndarray
            )
        else:
            arrays[name] = np.zeros(shape, dtype)
        offset += -(-count // 64) * 64
    return arrays


def layout_bytes(layout: dict[str, tuple[tuple[int, ...], str]]) -> int:
    """Return the length of the file that holds a layout."""
    sizes = (int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in layout.values())
    return max(64, sum(-(-size // 64) * 64 for size in sizes))


def describe(copies: Copies) -> dict[str, object]:
    """Return a JSON description of copies."""
    return {
        "task": copies.task.name,
        "variants": [[variant.kind, variant.strength] for variant in copies.variants],
        "seeds": list(copies.seeds),
        "environments": list(copies.environments),
        "action_repeat": copies.action_repeat,
        "stream": copies.stream,
        "pixels": copies.pixels,
    }


def restore(text: str) -> tuple[Copies, str, int, int]:
    """Return the copies, the shared file and the rows that a parent's first line describes."""
    order = json.loads(text)
    copies = Copies(
        load_task(order["task"]),
        tuple(Variant(kind, strength) for kind, strength in order["variants"]),
        tuple(order["seeds"]),
        tuple(order["environments"]),
        *(order[name] for name in ("action_repeat", "stream", "pixels")),
    )
    return copies, order["path"], order["start"], order["stop"]


def serve(commands: BinaryIO, answers: BinaryIO) -> None:
    """Execute commands until the parent quits."""
    copies, path, start, stop = restore(commands.readline().decode())
    arrays = attach(path, copies.layout())
    simulation = Simulation(
        copies.take(start, stop), {name: array[start:stop] for name, array in arrays.items()}
    )
    _answer(answers, DONE)
    while (command := commands.read(1)) in (STEP, RESET):
        simulation.step() if command == STEP else simulation.reset()
        _answer(answers, DONE)
    simulation.close()


def _answer(answers: BinaryIO, text: bytes) -> None:
    answers.write(text)
    answers.flush()


def main() -> None:
    """Serve on the standard streams; an error is sent to the parent as one line."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # printed text must not mix with the answers
    try:
        serve(sys.stdin.buffer, answers)
    except ControlError as error:
        _answer(answers, FAILED + str(error).encode() + b"\n")


if __name__ == "__main__":
    main()
