"""The import rules: packages and sub-packages import in one direction, and each odd dependency has one importer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "equitrade": set(),
    "data": {"equitrade"},
    "rl_core": {"equitrade"},
    "trading_app": {"equitrade", "data", "rl_core"},
    "control_benchmarks": {"equitrade", "rl_core"},
    "service": {"equitrade", "data", "rl_core", "trading_app"},
    "benchmarks": {"equitrade", "data", "rl_core", "trading_app", "control_benchmarks", "service"},
}
MOST_MODULES = 16  # a folder with more needs sub-packages


@cache
def modules() -> dict[str, Path]:
    """All modules of ours, by dotted name."""
    found = {}
    for package in MAY_IMPORT:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a module, function bodies included, but not what stands under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        yield child
        yield from statements(child)


@cache
def imported(path: Path) -> frozenset[str]:
    """Absolute names that a file imports anywhere, at its top or in a function."""
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.update(
                submodule if (submodule := f"{node.module}.{alias.name}") in modules() else node.module
                for alias in node.names
            )
    return frozenset(names)


def room(module: str) -> str:
    """The sub-package of a module, or the module itself where it lies directly in a top-level package."""
    is_package = modules()[module].name == "__init__.py"
    parts = module.split(".")
    return module if is_package or len(parts) <= 2 else ".".join(parts[:-1])


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_packages_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    for module, path in modules().items():
        if module.split(".")[0] == package:
            ours = {name.split(".")[0] for name in imported(path)} & {*MAY_IMPORT, "tests"}
            assert ours <= allowed, f"{path.relative_to(ROOT)} imports {sorted(ours - allowed)}"


def test_no_circle_of_modules() -> None:
    assert_no_circle(
        {module: set(imported(path)) & modules().keys() - {module} for module, path in modules().items()}
    )


def test_no_circle_of_sub_packages() -> None:
    """Sub-packages are layers: none imports, even through others, one that imports it."""
    graph: dict[str, set[str]] = {}
    for module, path in modules().items():
        targets = {room(name) for name in imported(path) if name in modules()}
        # A sub-package may gather what lies in its own folder.
        graph.setdefault(room(module), set()).update(
            target
            for target in targets
            if target != room(module) and not target.startswith(room(module) + ".")
        )
    assert_no_circle(graph)


def test_folders_stay_small() -> None:
    folders: dict[Path, int] = {}
    for path in modules().values():
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in folders.items() if n > MOST_MODULES}
    assert not crowded


def test_escnn_has_one_importer() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in modules().values()
        if any(name.split(".")[0] in {"escnn", "lie_learn"} for name in imported(path))
    }
    assert importers <= {"rl_core/layers/kernel_basis.py"}


def test_nothing_unpickles() -> None:
    for path in modules().values():
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"pickle", "dill", "cloudpickle", "joblib"}, path.relative_to(ROOT)
