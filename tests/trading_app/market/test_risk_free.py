"""Dated risk-free rates: in interest, measures and evidence, known when they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from tests.trading_app.market.test_env import random_prices
from trading_app.backtesting.backtest import BatchResult, backtest
from trading_app.backtesting.summary import evidence
from trading_app.experiments.config import from_dict, load_config, to_dict
from trading_app.experiments.training import manifest
from trading_app.market.costs import CostModel

PRICES = random_prices(sessions=120)
DATES = PRICES.dates
STEP = 70
STEPPED = CostModel(
    risk_free_rates={str(DATES[0].date()): 0.01, str(DATES[STEP].date()): 0.06}, borrow_bps=90
)


def weights(sparse: bool) -> np.ndarray:
    found = np.random.default_rng(2).normal(size=(2, len(DATES), 4)) * 0.4
    if sparse:
        found[:, np.arange(len(DATES)) % 5 != 0] = np.nan
    return found


def run(costs: CostModel, sparse: bool = False) -> BatchResult:
    result = backtest(PRICES, weights(sparse), costs=costs, names=["agent", "equal-weight"])
    assert isinstance(result, BatchResult)
    return result


def numbers(document: object) -> list[float]:
    if isinstance(document, dict):
        return [x for key, value in document.items() if key != "costs" for x in numbers(value)]
    if isinstance(document, list):
        return [x for value in document for x in numbers(value)]
    return [float(document)] if isinstance(document, int | float) else []


@pytest.mark.parametrize("sparse", [False, True])
def test_a_constant_series_is_the_one_rate(sparse: bool) -> None:
    one = run(CostModel(risk_free=0.03, borrow_bps=90), sparse)
    dated = run(CostModel(risk_free=0.5, risk_free_rates={"2010-01-01": 0.03}, borrow_bps=90), sparse)
    np.testing.assert_allclose(dated.nav, one.nav, rtol=1e-12)
    np.testing.assert_allclose(
        dated.strategy("agent").costs.to_numpy(), one.strategy("agent").costs.to_numpy(), atol=1e-12
    )
    found, expected = (numbers(evidence(result, reps=50)) for result in (dated, one))
    assert len(found) == len(expected) > 100
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    for measure, value in one.strategy("agent").metrics().items():
        assert dated.strategy("agent").metrics()[measure] == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_a_step_shows_on_the_night_after_its_date() -> None:
    cash = backtest(PRICES, np.zeros((len(DATES), 4)), costs=STEPPED)
    expected = np.where(np.arange(len(DATES) - 1) < STEP, 0.01, 0.06) / 252
    np.testing.assert_allclose(cash.returns, expected, atol=1e-15)
    assert cash.returns.index[STEP] == DATES[STEP + 1]
    # Cash earns the risk-free rate: there is no excess return, whatever the rate.
    measured = run(STEPPED).strategy("agent")
    above = measured.returns - expected
    assert measured.metrics()["sharpe"] == pytest.approx(np.sqrt(252) * above.mean() / above.std(), rel=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_later_rates_change_nothing_before(sparse: bool) -> None:
    later = {str(DATES[STEP].date()): -0.3, str(DATES[STEP + 9].date()): 0.4}
    other = CostModel(risk_free_rates={str(DATES[0].date()): 0.01, **later}, borrow_bps=90)
    one, two = run(STEPPED, sparse).nav, run(other, sparse).nav
    np.testing.assert_array_equal(one[:, : STEP + 1], two[:, : STEP + 1])
    assert (one[:, STEP + 2] != two[:, STEP + 2]).all()


def test_sessions_without_a_rate_of_their_time_are_noted() -> None:
    costs = CostModel(risk_free=0.02, risk_free_rates={str(DATES[10].date()): 0.05})
    assert costs.rates_at(DATES)[[9, 10]].tolist() == [0.02, 0.05]
    notes = " ".join(run(costs).strategy("agent").notes)
    assert f"begin on {DATES[10].date()}; before, cash earns 2.00% a year" in notes
    assert f"The last risk-free rate is of {DATES[10].date()}" in notes
    assert not any("isk-free" in note for note in run(CostModel(risk_free=0.02)).strategy("agent").notes)


@pytest.mark.parametrize(
    "rates", [{"2020-01-02": 0.1, "2020-01-01": 0.1}, {"yesterday": 0.1}, {"2020-01-01": 5.0}]
)
def test_wrong_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(DataError, match="risk_free_rates"):
        CostModel(risk_free_rates=rates)


def test_a_run_keeps_its_rates_and_their_hash(tmp_path: Path) -> None:
    from data.splits import chronological_split

    file = tmp_path / "rates.csv"
    pd.DataFrame({"date": ["2019-01-01", "2019-03-01"], "rate": [0.01, 0.02]}).to_csv(file, index=False)
    config = load_config(None, {}, {"costs.risk_free_file": str(file)})
    assert config.costs.risk_free_rates == {"2019-01-01": 0.01, "2019-03-01": 0.02}
    assert from_dict(to_dict(config)) == config
    record = manifest(config, PRICES, chronological_split(PRICES))["risk_free"]
    assert (record["file"], record["first"], record["last"]) == (str(file), "2019-01-01", "2019-03-01")
    assert len(record["hash"]) == 64
