"""The map in CONTRIBUTING.md: every path has at most seven steps, and every named place exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"^(\d+)\. `([\w/]+\.py)`: `(\w+)`")


def paths() -> dict[str, list[tuple[str, str]]]:
    """Steps (file, name) of each path of the map, by the path's title."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## The map")[2].partition("\n## ")[0]
    found: dict[str, list[tuple[str, str]]] = {}
    for line in section.splitlines():
        if title := re.match(r"\*\*(.+?)\*\*", line):
            steps = found.setdefault(title[1], [])
        elif re.match(r"\d+\.", line):
            step = STEP.match(line)
            assert step, f"a step names a file and a definition: {line}"
            steps.append((step[2], step[3]))
            assert int(step[1]) == len(steps)
    return found


def test_the_map_has_six_paths_of_at_most_seven_steps() -> None:
    found = paths()
    assert list(found) == [
        "A price",
        "A training observation",
        "A decision",
        "A signal",
        "A figure",
        "An answer",
    ]
    assert all(3 <= len(steps) <= 7 for steps in found.values())


def test_every_place_of_the_map_exists() -> None:
    for steps in paths().values():
        for file, name in steps:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            defined = {
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            }
            assert name in defined, f"{file} does not define {name}"


def test_methods_that_the_map_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The map")[2]
    for file, owner, method in re.findall(r"`([\w/]+\.py)`: `(\w+)`[^\n]*\(`(\w+)`\)", text):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
        assert method in {node.name for node in body if isinstance(node, ast.FunctionDef)}
