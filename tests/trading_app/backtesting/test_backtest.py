"""What a person meets in `backtest`: next-bar fills, drift, shapes that fit, notes, reasons in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.results import BacktestResult, BatchResult
from trading_app.market.costs import CostModel

FREE = CostModel.free()


def panel(close: list[list[float]], open_: list[list[float]] | None = None, **fields: object) -> Prices:
    dates = pd.bdate_range("2021-01-04", periods=len(close), name="date")
    names = [chr(ord("A") + i) for i in range(len(close[0]))]

    def frame(values: object) -> pd.DataFrame:
        return pd.DataFrame(values, index=dates, columns=names, dtype=float)

    more = {name: frame(values) for name, values in fields.items()}
    return Prices.from_frames(
        "small", close=frame(close), open=None if open_ is None else frame(open_), **more
    )


def rows(prices: Prices, given: dict[int, list[float]]) -> pd.DataFrame:
    frame = pd.DataFrame(np.nan, index=prices.dates, columns=list(prices.symbols))
    for row, weights in given.items():
        frame.iloc[row] = weights
    return frame


def test_a_target_fills_at_the_next_open_not_at_the_close_it_was_decided_on() -> None:
    prices = panel([[100.0], [120.0], [150.0]], [[100.0], [110.0], [125.0]])
    result = backtest(prices, rows(prices, {0: [1.0]}), costs=FREE)
    assert result.nav == pytest.approx([1.0, 120 / 110, 150 / 110])
    assert result.trades["price"].tolist() == [110.0]
    assert result.trades["date"].tolist() == [prices.dates[1]]


def test_a_target_fills_at_the_next_close_where_asked_or_where_there_are_no_opens() -> None:
    prices = panel([[100.0], [120.0], [150.0]])
    result = backtest(prices, rows(prices, {0: [1.0]}), costs=FREE)
    assert result.nav == pytest.approx([1.0, 1.0, 1.25])
    with pytest.raises(DataError, match="next_open"):
        backtest(prices, rows(prices, {0: [1.0]}), fill="next_open")


def test_rows_of_nan_let_holdings_drift() -> None:
    prices = panel([[1.0, 1.0], [1.0, 1.0], [3.0, 1.0], [3.0, 1.0]])
    result = backtest(prices, rows(prices, {0: [0.5, 0.5]}), costs=FREE)
    assert result.weights.iloc[2].tolist() == pytest.approx([0.75, 0.25])
    assert result.turnover.tolist() == pytest.approx([0, 0.5, 0, 0])


def test_costs_are_paid_out_of_the_account_at_the_fixed_point() -> None:
    prices = panel([[1.0], [1.0], [1.0]])
    costs = CostModel(commission_bps=100, half_spread_bps=0, borrow_bps=0)
    result = backtest(prices, rows(prices, {0: [1.0], 1: [0.0]}), costs=costs)
    kept = 1 / 1.01  # μ = 1 − 0.01 μ
    assert result.nav == pytest.approx([1.0, kept, kept * 0.99], abs=1e-13)
    assert result.costs["commission"].sum() == pytest.approx(1 - kept * 0.99)


def test_opens_are_adjusted_with_the_closes() -> None:
    # A two-for-one split between the sessions is no gain.
    prices = panel(
        [[100.0], [102.0], [52.0], [52.0]],
        [[100.0], [100.0], [51.0], [52.0]],
        adj_close=[[50.0], [51.0], [52.0], [52.0]],
    )
    result = backtest(prices, rows(prices, {0: [1.0]}), costs=FREE)
    assert result.nav == pytest.approx([1.0, 51 / 50, 52 / 50, 52 / 50])


def test_a_symbol_that_does_not_trade_is_held_at_its_last_price() -> None:
    nan = np.nan
    prices = panel([[10.0, 1.0], [10.0, 1.0], [12.0, 1.0], [nan, 1.0], [nan, 1.0]])
    costs = CostModel(commission_bps=100, half_spread_bps=0)
    drifting = backtest(prices, rows(prices, {0: [0.5, 0.0]}), costs=costs)
    assert drifting.nav[2:] == pytest.approx(drifting.nav[2])
    assert any("did not trade while it was held" in note for note in drifting.notes)
    daily = backtest(prices, rows(prices, {k: [0.5, 0.5] for k in range(4)}), costs=FREE)
    assert daily.weights.iloc[-1].tolist() == pytest.approx([0.5, 0.5])


def test_a_symbol_that_has_ended_is_closed_with_the_delisting_return() -> None:
    closes = [[10.0, 1.0], [10.0, 1.0], [12.0, 1.0], *[[np.nan, 1.0]] * 10]
    prices = panel(closes)
    held = rows(prices, {0: [0.5, 0.0]})
    costs = CostModel(commission_bps=100, half_spread_bps=0)
    result = backtest(prices, held, costs=costs)
    assert result.weights["A"].iloc[3] == 0
    assert result.nav[3] == pytest.approx(result.nav[2] * (1 - 0.01 * result.weights["A"].iloc[2]))
    assert any("A on 2021-01-07" in note for note in result.notes)
    lost = backtest(prices, held, costs=FREE, delisting_return=-0.3)
    assert lost.nav[-1] == pytest.approx(0.5 + 0.6 * 0.7)
    worthless = backtest(prices, held, costs=FREE, delisting_return=-1.0)
    assert worthless.nav[-1] == pytest.approx(0.5)


def test_nobody_leaves_a_halt_at_the_price_before_it() -> None:
    closes = [[4.4, 100.0]] * 4 + [[np.nan, 100.0]] * 5 + [[1.4, 100.0]] * 3
    prices = panel(closes)
    daily = backtest(prices, rows(prices, {k: [0.5, 0.5] for k in range(11)}), costs=FREE)
    assert daily.nav[-1] == pytest.approx(0.5 + 0.5 * 1.4 / 4.4)  # 0.659


def test_a_missing_open_falls_back_to_that_close_and_is_counted() -> None:
    prices = panel(
        [[10.0, 1.0]] * 2 + [[11.0, 1.0]] * 2, [[10.0, 1.0], [np.nan, 1.0], [10.0, 1.0], [10.0, 1.0]]
    )
    result = backtest(prices, rows(prices, {0: [1.0, 0.0]}), costs=FREE)
    assert result.trades["price"].tolist() == [10.0]
    assert any(note.startswith("1 fills used the close") for note in result.notes)


def test_notes_of_the_prices_are_carried() -> None:
    prices = panel([[1.0], [1.0]])
    noted = Prices("noted", prices.dates, prices.symbols, prices.fields, ("Survivor-biased.",))
    assert "Survivor-biased." in backtest(noted, rows(noted, {0: [1.0]})).notes


def test_impact_without_volume_is_said() -> None:
    prices = panel([[1.0], [1.0], [1.0]])
    result = backtest(prices, rows(prices, {0: [1.0]}), costs=CostModel(impact_coefficient=0.1))
    assert any("impact" in note for note in result.notes)


def test_impact_grows_with_the_square_root_of_participation() -> None:
    prices = panel([[1.0]] * 3, volume=[[1e6]] * 3)
    costs = {
        size: backtest(
            prices,
            rows(prices, {0: [size]}),
            costs=CostModel(commission_bps=0, half_spread_bps=0, impact_coefficient=0.01, capital=1e4),
        )
        .costs["impact"]
        .sum()
        for size in (0.1, 0.4)
    }
    assert costs[0.1] == pytest.approx(0.01 * np.sqrt(1e3 / 1e6) * 0.1, rel=1e-3)
    assert costs[0.4] / costs[0.1] == pytest.approx(8, rel=1e-3)


def test_ruin_stays_ruin() -> None:
    prices = panel([[1.0], [1.0], [2.5], [0.5], [0.5]])
    result = backtest(prices, rows(prices, {k: [-1.0] for k in range(4)}), costs=FREE)
    assert result.nav.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert result.returns.tolist() == [0.0, -1.0, 0.0, 0.0]
    assert len(result.trades) == 1


def test_interest_accrues_on_idle_cash() -> None:
    prices = panel([[1.0]] * 5)
    result = backtest(prices, rows(prices, {}), costs=CostModel(risk_free=0.0252))
    assert result.nav == pytest.approx(1.0001 ** np.arange(5))
    assert result.costs["interest"].sum() == pytest.approx(result.nav[-1] - 1)


def test_start_and_end_cut_the_range_and_columns_may_come_in_any_order() -> None:
    rng = np.random.default_rng(0)
    prices = panel((50 + rng.normal(size=(30, 3)).cumsum(0)).tolist())
    weights = pd.DataFrame(rng.random((30, 3)) / 3, index=prices.dates, columns=list(prices.symbols))
    cut = backtest(prices, weights, start=prices.dates[10], end=prices.dates[19])
    assert cut.equity.index.equals(prices.dates[10:20])
    other = backtest(prices.between(prices.dates[10], prices.dates[19]), weights.iloc[10:20, ::-1])
    np.testing.assert_array_equal(cut.nav, other.nav)
    array = backtest(prices, weights.to_numpy()[10:20], start=prices.dates[10], end=prices.dates[19])
    np.testing.assert_array_equal(cut.nav, array.nav)


def test_policies_functions_and_batches() -> None:
    prices = panel([[1.0, 2.0], [1.1, 2.0], [1.2, 1.9], [1.3, 1.8]])
    frame = rows(prices, {0: [0.5, 0.5], 2: [1.0, 0.0]})

    class Policy:
        def weights(self, prices: Prices, start: object = None, end: object = None) -> object:
            return frame, np.zeros((1, 4, 2))

    expected = backtest(prices, frame)
    for given in (Policy(), lambda prices, start, end: frame):
        assert backtest(prices, given).nav.tolist() == expected.nav.tolist()
    batch = backtest(prices, np.stack([frame.to_numpy(), frame.to_numpy() / 2]), names=["full", "half"])
    assert isinstance(batch, BatchResult)
    assert list(batch.equity.columns) == ["full", "half"]
    assert isinstance(batch.strategy("full"), BacktestResult)
    assert batch.strategy("full").equity.tolist() == expected.equity.tolist()
    with pytest.raises(DataError, match="not found; available"):
        batch.strategy("double")


def test_metrics_come_from_returns_and_turnover() -> None:
    rng = np.random.default_rng(1)
    prices = panel(np.exp(0.01 * rng.normal(size=(60, 2)).cumsum(0)).tolist())
    found = backtest(prices, rows(prices, {0: [0.5, 0.5]})).metrics()
    assert np.isfinite(found["sharpe"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.rename(columns={"A": "Z"}), "Z is not a symbol"),
        (lambda frame: frame[["A"]], "no weights for B"),
        (lambda frame: frame.to_numpy()[:2], "shape"),
        (lambda frame: frame.to_numpy()[None, :, :1], "shape"),
        (lambda frame: frame.mask(frame > 0.35), "NaN in a row with numbers"),
        (lambda frame: frame * np.inf, "infinite"),
        (lambda frame: frame.reset_index(drop=True), "dates"),
        (lambda frame: frame.set_axis(frame.index + pd.Timedelta(days=1000)), "not a session"),
        (lambda frame: pd.concat([frame, frame]), "twice"),
        (lambda frame: {}, "at least one strategy"),
        (lambda frame: {"one": 3}, "one"),
        (lambda frame: 7, "int"),
        (lambda frame: lambda prices, start, end: None, "policy"),
        (lambda frame: frame.astype(object).replace(0.4, "many"), "numeric"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(change, words: str) -> None:
    prices = panel([[1.0, 2.0]] * 4)
    frame = rows(prices, {row: [0.3, 0.4] for row in range(4)})
    with pytest.raises(DataError, match=words) as caught:
        backtest(prices, change(frame))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "2030-01-01"}, "session"),
        ({"start": "2021-01-07"}, "1 session"),
        ({"end": "yesterday-ish"}, "date"),
        ({"fill": "this_close"}, "fill"),
        ({"names": ["a", "b"]}, "names"),
    ],
)
def test_options_that_cannot_be_had_are_refused_in_one_line(options: dict[str, object], words: str) -> None:
    prices = panel([[1.0, 2.0]] * 4)
    with pytest.raises(DataError, match=words):
        backtest(prices, rows(prices, {0: [0.3, 0.4]}), **options)


def test_cost_rate_times_gross_beyond_one_is_refused() -> None:
    prices = panel([[1.0, 2.0]] * 4)
    costs = CostModel(commission_bps=900, half_spread_bps=900)
    with pytest.raises(DataError, match="gross"):
        backtest(prices, rows(prices, {0: [3.0, 3.0]}), costs=costs)


def test_the_package_offers_the_function_whatever_was_imported_first() -> None:
    import trading_app.backtesting.backtest

    assert trading_app.backtest is backtest
    assert trading_app.CostModel is CostModel
    assert set(trading_app.__all__) <= set(dir(trading_app))
    with pytest.raises(AttributeError):
        _ = trading_app.nothing
