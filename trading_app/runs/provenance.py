"""Provenance of a result: code revision, package versions and machine, for a run's manifest."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from equitrade.machine import describe_machine, package_versions

PACKAGES = (
    "equitrade",
    "torch",
    "numpy",
    "pandas",
    "scipy",
    "skfolio",
    "arch",
    "gymnasium",
    "safetensors",
    "pyarrow",
    "plotly",
)


def provenance() -> dict[str, Any]:
    """Return code revision, package versions and machine, as manifests record them."""
    versions = {"python": platform.python_version(), **package_versions(PACKAGES)}
    return {"code": code_revision(), "versions": versions, "machine": describe_machine()}


def code_revision(file: Path | None = None) -> dict[str, Any]:
    """Return the Git revision of this code and whether tracked files differ from it; None outside a repository."""
    source = (file or Path(__file__)).resolve()
    # A package installed inside another repository must not get the revision of that repository.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return {"revision": None, "changed": None}
    revision = _git(source.parent, "rev-parse", "HEAD")
    changes = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": None if changes is None else bool(changes)}


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
