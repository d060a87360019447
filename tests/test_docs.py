"""Commands that the README and the docs show in console blocks run, in order, on a fresh home; so does the Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/tutorial/tour.md",
    "docs/how-to/data.md",
    "docs/how-to/signals.md",
    "docs/how-to/configure.md",
    "docs/how-to/evidence.md",
    "docs/how-to/symmetry-file.md",
    "docs/how-to/gymnasium.md",
)
WARM = ROOT / "tests" / "warm_process.py"
PENDULUM = ROOT / "rl_core" / "gymnasium" / "symmetries" / "pendulum.toml"
# The same commands on less work: a reader's run takes minutes, a test's seconds.
SMALL = {
    "EQUITRADE_TRAINING__STEPS": "12",
    "EQUITRADE_TRAINING__SEEDS": "2",
    "EQUITRADE_TRAINING__EVALUATE_EVERY": "12",
    "EQUITRADE_TRAINING__CROSS_FIT": "false",
    "EQUITRADE_SAC__WIDTH": "8",
    "EQUITRADE_SAC__BATCH_SIZE": "16",
    "EQUITRADE_SAC__LEARNING_STARTS": "16",
}


def commands(text: str) -> list[str]:
    """Lines that start with ``$ `` in console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def python(text: str) -> str:
    """All Python blocks as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))


def configuration(text: str) -> str | None:
    """The TOML block that names its file ``run.toml``, for pages whose commands use it."""
    found = re.search(r"```toml\n# run.toml\n(.*?)```", text, flags=re.DOTALL)
    return found.group(1) if found else None


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_page_run(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line for line in commands(text) if line.startswith(("equitrade ", "python "))]
    assert lines, f"{page} shows no command"
    toml = configuration(text)
    if toml is not None:
        (tmp_path / "run.toml").write_text(toml, encoding="utf-8")
    shutil.copy(PENDULUM, tmp_path)
    bin_directory = Path(sys.executable).parent
    environment = {
        **os.environ,
        **SMALL,
        **({} if "planted" in "\n".join(lines) else {"EQUITRADE_DATA__START": "2012-01-01"}),
        "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}",
        "EQUITRADE_HOME": str(tmp_path / "equitrade_home"),
        "OMP_NUM_THREADS": "1",
    }
    text_of_lines = re.sub(r"--steps \d+", "--steps 12", "\n".join(lines))
    done = subprocess.run(
        [sys.executable, WARM],
        input=text_of_lines,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"
    code = python(text).replace("10_000", "12")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"


def test_the_symmetry_file_of_the_docs_is_the_one_of_the_package() -> None:
    text = (ROOT / "docs/how-to/symmetry-file.md").read_text(encoding="utf-8")
    assert f"```toml\n{PENDULUM.read_text(encoding='utf-8')}```" in text


def test_links_between_pages_resolve() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        if "_build" in page.parts:
            continue
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("page", ["groups", "agents"])
def test_python_of_page_runs(page: str) -> None:
    text = (ROOT / f"docs/how-to/{page}.md").read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", python(text)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
