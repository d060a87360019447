"""The fast forms of net asset values against their definition, the ledger."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.prices import Prices
from trading_app.backtesting.engine import net_asset_values
from trading_app.backtesting.ledger import ledger
from trading_app.market.costs import CostModel
from trading_app.market.panel import trading_panel


def random_prices(sessions: int = 300, assets: int = 4) -> Prices:
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2015-01-01", periods=sessions)
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, assets)), axis=0))
    values = {
        "close": close,
        "open": close * np.exp(generator.normal(0, 0.005, close.shape)),
        "volume": generator.uniform(1e5, 1e6, close.shape),
    }
    symbols = [f"A{i}" for i in range(assets)]
    return Prices.from_frames(
        "made", **{name: pd.DataFrame(value, dates, symbols) for name, value in values.items()}
    )


@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("every", [1, 5, 63, 299])
@pytest.mark.parametrize(
    "costs",
    [
        CostModel(periods=252),
        CostModel(periods=252, borrow_bps=300.0, risk_free=0.03, financing_spread_bps=200.0),
        CostModel(periods=252, impact_coefficient=0.5, capital=1e6),
    ],
    ids=["default", "financing", "impact"],
)
def test_fast_forms_equal_the_ledger(fill: str, every: int, costs: CostModel) -> None:
    panel = trading_panel(random_prices(), fill)
    targets = np.random.default_rng(1).normal(0, 0.4, (3, *panel.close.shape))
    targets[:, np.arange(len(panel.dates)) % every != 0] = np.nan
    fast = net_asset_values(panel, targets, costs)
    exact = np.stack([ledger(panel, target, costs).nav for target in targets])
    np.testing.assert_allclose(fast, exact, rtol=1e-11, atol=0)
    assert np.abs(fast - 1).max() > 0.01
