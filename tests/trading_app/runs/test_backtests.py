"""Saved backtests of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_app.files import RunError
from trading_app.runs.backtests import load_backtest, save_backtest
from trading_app.runs.run import Run


def test_backtest_round_trip(run: Run, results: Any) -> None:
    save_backtest(run, results, data_hash="abc", reps=20, trials=7)
    saved = load_backtest(run)
    assert saved.strategies == ("agent", "seed-0", "seed-1", "seed-2", "equal-weight", "inverse-volatility")
    assert saved.document["data"] == {"name": "made", "symbols": ["A", "B", "C"], "hash": "abc"}
    pd.testing.assert_frame_equal(
        saved.equity, results.equity, check_freq=False, check_names=False, check_index_type=False
    )
    np.testing.assert_allclose(saved.returns.to_numpy(), results.returns.to_numpy(), atol=1e-14)
    for name in ("agent", "seed-1", "equal-weight"):
        one = results.strategy(name)
        np.testing.assert_array_equal(saved.weights(name).to_numpy(), one.weights.to_numpy())
        np.testing.assert_array_equal(saved.costs(name)["turnover"].to_numpy(), one.turnover.to_numpy())
        np.testing.assert_array_equal(saved.costs(name).iloc[:, :6].to_numpy(), one.costs.to_numpy())
        assert saved.trades(name).shape == one.trades.shape
    with pytest.raises(RunError, match="strategy 'seed-9' not found"):
        saved.weights("seed-9")


def test_backtest_replaces_the_last_one_and_its_report(run: Run, results: Any) -> None:
    save_backtest(run, results, reps=20)
    run.report.write_text("old")
    save_backtest(run, results, reps=20)
    assert not run.report.exists()
    (run.path / "trades.parquet").unlink()
    with pytest.raises(RunError, match=r"trades\.parquet is missing"):
        load_backtest(run)


def test_no_backtest_yet(run: Run) -> None:
    assert run.metrics is None
    with pytest.raises(RunError, match="train --resume --name"):
        load_backtest(run)
    with pytest.raises(RunError, match="no backtest yet"):
        load_backtest(run.finish(1.0))
