"""A run without a backtest."""

from __future__ import annotations

from pathlib import Path

import pytest

from trading_app.runs.run import Run, create_run

MANIFEST = {"config": {"sac": {"agent": "relaxed"}}, "seeds": [0, 1], "data": {"symbols": ["A", "B", "C"]}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(MANIFEST, "[sac]\nagent = 'relaxed'\n", home=tmp_path, name="demo")
