"""PNG files of figures: drawn where there is a browser, and one clear line where there is none."""

from __future__ import annotations

import json
import shutil
import struct

import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from control_benchmarks.analysis import render
from control_benchmarks.cli import app

NAMES = ["one", "two"]


@pytest.fixture
def folder(tmp_path):
    """Two stored figures, and the PNG file of an earlier one."""
    for height, name in enumerate(NAMES, start=1):
        figure = go.Figure(go.Scatter(y=[1, 2]), layout={"height": 200 * height})
        (tmp_path / f"{name}.plotly.json").write_text(figure.to_json())
    (tmp_path / "two.png").write_bytes(b"old")
    return tmp_path


@pytest.fixture
def no_browser(monkeypatch):
    """Let the browser fail after the first figure."""

    def fail(figures, form, **options):
        next(iter(figures))
        yield b"drawn"
        raise OSError("no browser\nwith a long log")

    monkeypatch.setattr(render, "draw_figures", fail)


@pytest.mark.browser
def test_pngs_show_the_figures(folder):
    pytest.importorskip("playwright", reason="playwright is not installed: pip install -e .[dev]")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no Chromium: install Debian's package chromium")
    assert render.write_pngs(folder, NAMES) is None
    for height, name in enumerate(NAMES, start=1):
        picture = (folder / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture[16:24]) == (1770, 300 * height)
    note = render.write_pngs(folder, NAMES, seconds=0)
    assert "not drawn after 0 s" in note
    assert not (folder / "two.png").exists()


def test_the_note_says_on_one_line_what_is_missing_why_and_what_to_do(folder, no_browser):
    note = render.write_pngs(folder, NAMES)
    assert note.startswith("1 of 2 PNG files are missing (no browser); install Playwright")
    assert note.endswith("Missing: two.png")
    assert "\n" not in note
    assert (folder / "one.png").read_bytes() == b"drawn"
    assert not (folder / "two.png").exists()


def test_figures_are_written_without_a_browser(tmp_path, no_browser, write_run):
    results = tmp_path / "results"
    write_run(results, "reacher_easy", "original", "dense", 500)
    found = CliRunner().invoke(app, ["figures", "--results", str(results), "--json"])
    assert found.exit_code == 0
    assert "PNG files are missing (no browser)" in json.loads(found.stdout)["note"]
    assert (results / "figures" / "index.html").exists()
    assert (results / "figures" / "reacher_easy-curves.html").exists()
