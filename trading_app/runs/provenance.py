"""Where a result comes from: code, packages and machine, for a run's manifest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    """Code revision, package versions and machine, as kept in manifests."""
    return {"code": code_revision(), "versions": package_versions(), "machine": machine()}


def code_revision(file: Path | None = None) -> dict[str, Any]:
    """Git revision of the code that runs and whether files were changed since; None where there is no
    history."""
    source = (file or Path(__file__)).resolve()
    # A package installed inside somebody else's repository must not be given that repository's revision.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return {"revision": None, "changed": None}
    revision = _git(source.parent, "rev-parse", "HEAD")
    changes = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": None if changes is None else bool(changes)}


def package_versions() -> dict[str, str]:
    """Python's version and those of the packages that move numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """System, processor, cores and memory; the accelerator where torch has one. Nothing that names the
    host."""
    description: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
    }
    torch = sys.modules.get("torch")  # not imported for this alone: it takes seconds
    if torch is not None and torch.cuda.is_available():
        description["accelerator"] = torch.cuda.get_device_name()
    return description


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
