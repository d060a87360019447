"""The cost model refuses what cannot be meant and converts units once."""

from __future__ import annotations

import math

import pytest

from data.errors import DataError
from trading_app.market.costs import CostModel


def test_rates_are_fractions_of_the_value_traded_and_of_a_session() -> None:
    costs = CostModel(
        commission_bps=1, half_spread_bps=2, borrow_bps=252, financing_spread_bps=126, risk_free=0.0252
    )
    assert costs.rate == pytest.approx(3e-4)
    assert costs.borrow_rate == pytest.approx(1e-4)
    assert costs.lending_rate == pytest.approx(1e-4)
    assert costs.financing_rate == pytest.approx(1e-4 + 0.5e-4)


def test_free_costs_nothing() -> None:
    costs = CostModel.free()
    assert (costs.rate, costs.borrow_rate, costs.lending_rate, costs.financing_rate) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("commission_bps", -1),
        ("commission_bps", math.nan),
        ("half_spread_bps", math.inf),
        ("half_spread_bps", 2_000),
        ("impact_coefficient", -0.1),
        ("borrow_bps", -5),
        ("financing_spread_bps", "1"),
        ("risk_free", 3.0),
        ("periods", 0),
        ("periods", 252.5),
        ("capital", 0),
        ("commission_bps", True),
    ],
)
def test_a_value_out_of_range_is_named_in_one_line(name: str, value: object) -> None:
    with pytest.raises(DataError) as caught:
        CostModel(**{name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
