"""Running of a study: unit after unit, each stored when it is done, so that a stop at any point loses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from equitrade.atomic import atomic_write
from trading_app.experiments.walk_forward import Watch
from trading_app.files import RunError, read_json, to_json
from trading_app.study.design import StudyDesign, Unit, check_design, flat_items
from trading_app.study.document import write_document
from trading_app.study.units import run_unit

__all__ = ["run_study", "study_path"]

#: Called with a unit, its number from 1 on, and the number of units.
OnUnit = Callable[[Unit, int, int], None]


def study_path(home: Path, name: str) -> Path:
    """Return the folder of a study by its name, or by its path where there is none of that name."""
    folder = home / "studies" / name
    return Path(name) if not folder.exists() and (Path(name) / "design.json").is_file() else folder


def run_study(
    design: StudyDesign,
    *,
    home: Path,
    name: str,
    watch: Watch | None = None,
    on_unit: OnUnit | None = None,
    on_trial: Callable[[str, float | None], None] | None = None,
) -> dict[str, Any]:
    """Run every unit that is not done, and return the document, which is written to ``study.json``.

    Units that another process is at work on are left to it, so that several processes can share a study.

    Parameters
    ----------
    design
        What to do; a study of that name must have the same design.
    home, name
        State directory, and name of the study, ``home/studies/NAME``; its runs are ``home/runs/NAME-UNIT``.
    watch, on_trial
        As for `trading_app.study.units.run_unit`.
    on_unit
        Called before each unit.

    Raises
    ------
    DataError
        For a name, prices, dates or settings that cannot be used, or a study of another design; the message names what
        differs.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise RunError(f"study name {name!r} is invalid: use up to 40 letters, digits, '.', '_' and '-'")
    folder = home / "studies" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / ".lock"):  # processes that share a study begin one after the other
        _begin(folder, design, home)
    for number, unit in enumerate(design.units, start=1):
        with _claimed(folder / "locks" / unit.name) as mine:
            if not mine or (folder / "units" / f"{unit.name}.json").is_file():
                continue
            if on_unit is not None:
                on_unit(unit, number, len(design.units))
            run_unit(unit, design, home=home, folder=folder, watch=watch, on_trial=on_trial)
    return write_document(folder)


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Lock a unit; yields whether no other process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _begin(folder: Path, design: StudyDesign, home: Path) -> None:
    """Check the design and store it; refuse one that differs from the stored one."""
    path = folder / "design.json"
    record = json.loads(to_json(design.record(check_design(design, home))))
    if path.exists():
        changes = _differences(read_json(path), record)
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise RunError(
                f"study {folder.name!r} was begun with other settings: {'; '.join(changes[:3])}{more}. Give the same "
                "ones to continue it, or choose another --name"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, to_json(record))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two records of a design, as ``key: VALUE, now VALUE``, each setting once."""
    old, new = dict(flat_items(before)), dict(flat_items(after))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    # Other agents or data bring other candidates: those need not be named too.
    shown = [key for key in changed if not key.startswith("candidates.")] or changed
    found: dict[str, str] = {}
    for key in shown:
        short = re.sub(r"^candidates\.[^.]+\.[^.]+\.", "", key)
        found.setdefault(short, f"{short}: {_text(old.get(key))}, now {_text(new.get(key))}")
    return list(found.values())


def _text(value: Any) -> str:
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
