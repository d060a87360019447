"""The bundle of plotly.js has the version of the package plotly and every trace that figures use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs_version

from trading_app.report.page import PLOTLY, static

ROOT = Path(__file__).parents[3]
#: Parts of a figure that are no traces.
PARTS = {"annotation", "shape", "trace", "traces", "hline", "vline", "hrect", "vrect"}


def test_bundle_is_of_the_installed_version() -> None:
    assert f"v{get_plotlyjs_version()}\n" in static(PLOTLY)[:200]


@pytest.mark.parametrize("folder", ["trading_app/report", "control_benchmarks/analysis"])
def test_bundle_has_every_trace_in_use(folder: str) -> None:
    bundled = set(re.findall(r'moduleType:"trace",name:"(\w+)"', static(PLOTLY)))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py"))
    added = set(re.findall(r"(?:result|figure|made|fig)\.add_(\w+)\(", text)) - PARTS
    made = {name.lower() for name in re.findall(r"\bgo\.(\w+)\(", text)} - {"figure"}
    assert "scatter" in added | made
    assert added | made <= bundled
