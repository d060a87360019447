"""PNG files of figures: really drawn where a browser is, and one clear line where none draws them."""

from __future__ import annotations

import json
import shutil
import struct
import time

import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from control_benchmarks.analysis import render as drawing
from control_benchmarks.cli import app

NAMES = ["one", "two"]


@pytest.fixture
def folder(tmp_path):
    """Two stored figures, and a picture of an earlier one."""
    for height, name in enumerate(NAMES, start=1):
        figure = go.Figure(go.Scatter(y=[1, 2]), layout={"height": 200 * height})
        (tmp_path / f"{name}.plotly.json").write_text(figure.to_json())
    (tmp_path / "two.png").write_bytes(b"old")
    return tmp_path


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Put a shell script in the place of the process that draws: $3 is the way, then come names."""

    def use(script):
        path = tmp_path / "python"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        monkeypatch.setattr(drawing.sys, "executable", str(path))

    return use


@pytest.mark.browser
def test_pngs_are_pictures_of_the_figures(folder):
    pytest.importorskip("playwright", reason="playwright is not installed: pip install -e .[dev]")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no Chromium: install Debian's package chromium")
    assert drawing.write_pngs(folder, NAMES, ways=["playwright"]) is None
    for height, name in enumerate(NAMES, start=1):
        picture = (folder / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture[16:24]) == (1770, 300 * height)


def test_a_way_that_hangs_is_ended(folder, python):
    python("sleep 600")
    begun = time.monotonic()
    note = drawing.write_pngs(folder, NAMES, seconds=0.3)
    assert time.monotonic() - begun < 60
    assert "playwright: no end after 0.3 s; kaleido: no end after 0.3 s" in note
    assert not (folder / "two.png").exists()


def test_what_one_way_leaves_another_draws(folder, python):
    python(
        '[ "$3" = kaleido ] && { shift 3; echo "$@" > asked; for n; do touch $n.png; done; } || touch one.png'
    )
    assert drawing.write_pngs(folder, NAMES) is None
    assert (folder / "asked").read_text() == "two\n"


def test_the_note_says_in_a_line_what_is_missing_why_and_what_helps(folder, python):
    python('[ "$3" = kaleido ] || touch one.png; echo "first line" >&2; echo "no $3 here" >&2; exit 1')
    note = drawing.write_pngs(folder, NAMES)
    assert "\n" not in note
    assert note.startswith(
        "1 of 2 PNG files are missing (playwright: no playwright here; kaleido: no kaleido here)"
    )
    assert "pip install playwright" in note
    assert note.endswith("Missing: two.png")


def test_a_figure_that_cannot_be_read_fails_with_its_reason(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert drawing.main(["kaleido", "three"]) == 1
    assert "three.plotly.json" in capsys.readouterr().err


def test_figures_without_a_browser_are_written_all_the_same(tmp_path, python, write_run):
    results = tmp_path / "results"
    write_run(results, "reacher_easy", "original", "dense", 500)
    python('echo "no browser" >&2; exit 1')
    found = CliRunner().invoke(app, ["figures", "--results", str(results), "--json"])
    assert found.exit_code == 0
    said = json.loads(found.stdout)
    assert "PNG files are missing (playwright: no browser; kaleido: no browser)" in said["note"]
    assert (results / "figures" / "index.html").exists()
    assert (results / "figures" / "reacher_easy-curves.html").exists()
    assert not list((results / "figures").glob("*.png"))
