"""The import rules of the house: data flows one way, and each heavy or odd dependency has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("data", "rl_core", "trading_app", "control_benchmarks", "service", "benchmarks", "tests")
MAY_IMPORT = {
    "data": set(),
    "rl_core": set(),
    "trading_app": {"data", "rl_core"},
    "control_benchmarks": {"rl_core"},
    "service": {"trading_app", "data", "rl_core"},
}


def imported(path: Path) -> set[str]:
    """Absolute module names that a file imports anywhere, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no files in {package}"
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    for path in files(package):
        ours = {name.split(".")[0] for name in imported(path)} & set(OURS)
        assert ours <= allowed, f"{path.relative_to(ROOT)} imports {sorted(ours - allowed)}"


def test_escnn_has_one_importer() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in files(package)
        if any(name.split(".")[0] in {"escnn", "lie_learn"} for name in imported(path))
    }
    assert importers <= {"rl_core/layers/steerable.py"}


def test_nothing_unpickles() -> None:
    for package in MAY_IMPORT:
        for path in files(package):
            names = {name.split(".")[0] for name in imported(path)}
            assert not names & {"pickle", "dill", "cloudpickle", "joblib"}, path.relative_to(ROOT)
