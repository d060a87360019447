"""The wheel contains what commands read, and neither benchmarks nor stored results."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("equitrade", "data", "rl_core", "trading_app", "control_benchmarks", "service")


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "__pycache__", "docs", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True, cwd=folder)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


@pytest.mark.slow
def test_the_wheel_has_no_benchmarks_and_no_results(names: set[str]) -> None:
    folders = {name.split("/")[0] for name in names if not name.startswith("equitrade-")}
    assert folders == set(PACKAGES)
    assert not [name for name in names if name.startswith("control_benchmarks/results")]
    assert not [name for name in names if name.endswith(".jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_has_every_other_file_of_a_package(names: set[str], package: str) -> None:
    listed = subprocess.run(
        ["git", "ls-files", package], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {name for name in listed.stdout.split() if not name.startswith("control_benchmarks/results/")}
    assert expected <= names
