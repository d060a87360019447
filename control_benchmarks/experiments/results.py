"""Result files: one JSONL file a run, without incomplete or duplicate lines.

A run is a cell of a suite: one task, variant and agent, with all its seeds. The first line of its file contains the
settings, the next lines evaluations, and the last line marks the end of the run. Each line is one write; an
incomplete last line, left by a killed process, is removed on resuming.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_benchmarks.errors import ControlError
from rl_core.config import FORMER_NAMES, SACConfig

Line = dict[str, Any]
RUN, EVALUATION, NOISE, RELAXED_WEIGHTS, END = "run", "evaluation", "noise", "gains", "end"
_KEYS = ("kind", "frames", "seed", "level", "network", "layer")
_IDENTITY = ("task", "variant", "agent", "seeds", "settings")
_BEFORE = {"preset": "paper", "updates_per_decision": 1}  # of settings that are younger than some files
_OF_THE_MACHINE = ("device", "compile", "cuda_graph", "deterministic")


def file_name(task: str, variant: str, agent: str) -> str:
    """Return the name of a run's file."""
    return f"{task}__{variant.replace(':', '_')}__{agent}.jsonl"


@dataclass(frozen=True)
class Results:
    """The lines of one run."""

    header: Line
    lines: tuple[Line, ...]

    @property
    def done(self) -> bool:
        """True if the run has ended."""
        return any(line["kind"] == END for line in self.lines)

    def of_kind(self, kind: str) -> Iterator[Line]:
        """Yield the lines of a kind."""
        return (line for line in self.lines if line["kind"] == kind)


def read_results(path: Path) -> Results | None:
    """Read a result file, without a last line that a kill cut short; None if there is not even a header.

    Raises
    ------
    ControlError
        If a line before the last is no JSON, with its number.
    """
    if not path.is_file():
        return None
    lines, _ = _whole_lines(path)
    if not lines:
        return None
    if lines[0].get("kind") != RUN:
        raise ControlError(
            f"{path}, line 1: expected the description of a run; remove the file to start anew"
        )
    return Results(_with_current_names(lines[0]), tuple(lines[1:]))


def _with_current_names(header: Mapping[str, Any]) -> Line:
    """A header with current names of settings and with settings that are younger than its file."""
    renamed: dict[str, dict[str, Any]] = {
        part: {FORMER_NAMES.get(name, name): value for name, value in header[part].items()}
        for part in ("settings", "learner")
        if part in header
    }
    if "settings" in renamed:
        renamed["settings"] = {**_BEFORE, **renamed["settings"]}
    return {**header, **renamed}


def read_directory(directory: Path) -> tuple[Results, ...]:
    """Read all result files of a folder in the order of their names."""
    found = (read_results(path) for path in sorted(directory.glob("*.jsonl")))
    return tuple(results for results in found if results is not None)


def check_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a file of another task, variant, agent, seeds or settings.

    Raises
    ------
    ControlError
        Naming what differs.
    """
    wanted, stored = _with_current_names(json.loads(json.dumps(wanted))), _with_current_names(stored)
    advice = "remove it or choose another folder"
    learner = SACConfig.from_stored(stored.get("learner", {})).to_dict()
    for there, asked in ((stored.get("settings", {}), "settings"), (learner, "learner")):
        for name, value in wanted.get(asked, {}).items():
            found = there.get(name)
            if name not in _OF_THE_MACHINE and found != value:
                raise ControlError(f"{path} holds results of {name} {found!r}, not {value!r}; {advice}")
    for key in _IDENTITY:
        if stored.get(key) != wanted.get(key):
            raise ControlError(f"{path} holds results of other {key}; {advice}")


class Writer:
    """Appends lines to a run's file, each once.

    Parameters
    ----------
    path
        The file; its folder is made.
    header
        What is run. A file that is there must agree on task, variant, agent, seeds and settings.

    Raises
    ------
    ControlError
        If the file holds results of other settings.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        header = json.loads(json.dumps({"kind": RUN, **header}))
        lines: list[Line] = []
        if path.is_file():
            lines, length = _whole_lines(path)
            os.truncate(path, length)
        if lines:
            check_same(path, lines[0], header)
        self._written = {_key(line) for line in lines}
        self.done = any(line["kind"] == END for line in lines)
        if not lines:
            self._append([header])

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append the lines that are not there yet."""
        fresh = [dict(line) for line in lines if _key(line) not in self._written]
        self._append(fresh)
        self._written.update(_key(line) for line in fresh)
        self.done = self.done or any(line["kind"] == END for line in fresh)

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if not lines:
            return
        text = "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(key) for key in _KEYS)


def _whole_lines(path: Path) -> tuple[list[Line], int]:
    """Return the whole lines of a file and the length in bytes up to the last of them."""
    content = path.read_bytes()
    length = content.rfind(b"\n") + 1
    lines: list[Line] = []
    for number, text in enumerate(content[:length].splitlines(), start=1):
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            raise ControlError(f"{path}, line {number}: not JSON; remove the file to run it again") from error
    return lines, length
