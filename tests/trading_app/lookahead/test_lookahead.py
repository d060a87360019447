"""Look-ahead that is put in is found, with what, where and when; what is causal passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data.errors import DataError
from data.features import FEATURES, Feature
from data.loading import load_prices
from data.prices import Prices
from data.signals.store import SignalStore
from data.signals.values import AlignedSignals, Signals
from tests.trading_app.experiments.test_own_signals import DETAILS
from tests.trading_app.experiments.test_policies import tiny_run
from trading_app.cli.check_lookahead import app
from trading_app.experiments.config import RunConfig, load_config
from trading_app.lookahead.association import signal_leaks
from trading_app.lookahead.check import check_data, check_run
from trading_app.lookahead.findings import Leak
from trading_app.lookahead.perturbation import changed_future, future_leaks
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel

CONFIG = MarketConfig(window=4, features=("ret_1", "abs_ret"), episode_length=None)
DAYS = [120, 180]


@cache
def market() -> Prices:
    return load_prices("factors-5")


def short() -> Prices:
    return market().between(None, market().dates[249])


def own(values: pd.DataFrame, lag: int = 0, name: str = "own") -> Signals:
    array = values.to_numpy()[..., None]
    return Signals(name, market().dates, market().symbols, {"up": -1}, array, lag, 5)


def momentum(days: int = 5) -> pd.DataFrame:
    return np.log(market().close).diff().rolling(days).sum()


def leaks_of(signals: Signals, *, prices: Prices | None = None, allowed: tuple[str, ...] = ()) -> list[Leak]:
    return signal_leaks((prices or market()).with_signals([signals]), allowed)[0]


def configured(**changes: object) -> RunConfig:
    return load_config(None, {}, {"data.name": "factors-5", "market.window": 4, **changes})


def test_causal_features_environments_and_baselines_pass(tmp_path: Path) -> None:
    report = check_data(configured(), tmp_path, days=3)
    assert report.clean, report.leaks
    assert len(report.checked["sessions"]) == 3
    assert "min-variance" in report.checked["policies"]


def test_the_changed_future_begins_after_the_session() -> None:
    prices = short().with_signals([own(momentum(), lag=2)])
    other = changed_future(prices, 100, np.random.default_rng(0))
    for field, frame in prices.fields.items():
        pd.testing.assert_frame_equal(other.field(field).iloc[:101], frame.iloc[:101])
        assert not other.field(field).iloc[101:].equals(frame.iloc[101:])
    one, two = prices.signals[0].values, other.signals[0].values
    np.testing.assert_array_equal(one[:101], two[:101])
    assert (one[101] != two[101]).all()


def test_a_feature_of_tomorrow_is_named_with_asset_and_date(monkeypatch: pytest.MonkeyPatch) -> None:
    tomorrow = Feature("tomorrow", -1, 63, lambda series: np.roll(series.returns, -1, axis=0) * 30)
    monkeypatch.setitem(FEATURES, "tomorrow", tomorrow)
    config = MarketConfig(window=4, features=("ret_1", "tomorrow"), episode_length=None)
    found = {leak.kind: leak for leak in future_leaks(short(), config, CostModel(), {}, DAYS)}
    assert set(found) == {"feature", "observation"}
    leak = found["feature"]
    assert (leak.name, leak.date) == ("tomorrow", str(short().dates[DAYS[0]].date()))
    assert leak.symbol in market().symbols
    assert found["observation"].name == "tomorrow"
    assert str(leak).endswith(f"changes with prices after the close of {leak.date}")


def test_a_feature_scaled_by_the_whole_history_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Feature("whole", -1, 63, lambda series: series.returns / np.nanstd(series.returns, axis=0))
    monkeypatch.setitem(FEATURES, "whole", whole)
    config = MarketConfig(window=4, features=("whole",), episode_length=None)
    kinds = {(leak.kind, leak.name) for leak in future_leaks(short(), config, CostModel(), {}, DAYS)}
    assert ("feature", "whole") in kinds


def test_a_policy_that_peeks_is_named_with_its_first_date() -> None:
    def peek(prices: Prices, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        return np.sign(prices.close.diff().shift(-3)).loc[start:end]  # type: ignore[misc]

    def follow(prices: Prices, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        return np.sign(prices.close.diff()).loc[start:end]  # type: ignore[misc]

    found = future_leaks(short(), CONFIG, CostModel(), {"peek": peek, "follow": follow}, DAYS)
    assert [(leak.kind, leak.name) for leak in found] == [("decision", "peek")]
    assert short().dates[DAYS[0] - 2] <= pd.Timestamp(found[0].date) <= short().dates[DAYS[0]]


def test_signals_that_are_aligned_too_early_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    align = Signals.align

    def early(self: Signals, prices: Prices) -> AlignedSignals:
        aligned = align(self, prices)
        return AlignedSignals(self, np.roll(aligned.values, -1, axis=0), aligned.stale)

    monkeypatch.setattr(Signals, "align", early)
    prices, day = market().between(None, market().dates[399]).with_signals([own(momentum())]), 300
    config = MarketConfig(window=4, features=("ret_1", "own:up"), episode_length=None)
    found = future_leaks(prices, config, CostModel(), {}, [day])
    assert ("feature", "own:up", str(prices.dates[day].date())) in {(x.kind, x.name, x.date) for x in found}


CAUSAL: dict[str, Callable[[], pd.DataFrame]] = {
    "momentum": momentum,
    "long momentum": lambda: momentum(126),
    "reversal of one day": lambda: -momentum(1),
    "volatility": lambda: momentum(1).rolling(21).std(),
    "size of the last return": lambda: momentum(1).abs(),
    "ranks": lambda: momentum().rank(axis=1),
    "prices": lambda: market().close,
}


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("lag", [0, 1])
def test_a_causal_signal_passes_and_one_shifted_by_a_day_is_found(name: str, lag: int) -> None:
    values = CAUSAL[name]()
    assert leaks_of(own(values, lag)) == []
    # Stamped a day too early, on top of what the lag makes up for.
    (leak,) = leaks_of(own(values.shift(-1 - lag), lag))
    assert (leak.kind, leak.name) == ("signal", "own:up")
    assert leak.symbol in market().symbols
    assert f"import it with --lag {lag + 1}" in leak.reason
    assert "the next session" in leak.reason
    known = values.shift(-1 - lag).dropna(how="all").index[0]
    assert abs((pd.Timestamp(leak.date) - known).days) < 400


def test_a_leak_of_several_days_and_one_in_part_of_the_history_are_found_and_dated() -> None:
    (leak,) = leaks_of(own(momentum().shift(-4)))
    assert "4 sessions later" in leak.reason
    half = momentum()
    half.iloc[1100:] = momentum().shift(-1).iloc[1100:]
    (leak,) = leaks_of(own(half))
    assert market().dates[850] <= pd.Timestamp(leak.date) <= market().dates[1350]
    assert leaks_of(own(half), allowed=("own:up",)) == []


def test_noise_and_a_realistic_forecast_pass() -> None:
    rng = np.random.default_rng(0)
    shape = market().close.shape
    for decay in (0.0, 0.9, 1.0):
        noise = rng.normal(size=shape)
        for day in range(1, len(noise)):
            noise[day] += decay * noise[day - 1]
        assert leaks_of(own(pd.DataFrame(noise))) == []
    # A daily R² of 1 %, gone after a day: the best that a causal signal can be, by far.
    known = np.log(market().close).diff().shift(-1)
    scale = known.rolling(63, min_periods=1).std()
    forecast = 0.1 * (known / scale).fillna(0.0) + rng.normal(size=shape)
    assert leaks_of(own(forecast)) == []


def test_the_command_names_signal_column_and_date_with_exit_code_2(tmp_path: Path) -> None:
    store = SignalStore(tmp_path)
    store.save(own(momentum(), name="good"), DETAILS)
    store.save(own(momentum().shift(-1), name="bad"), DETAILS)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--days", "1", "--home", str(tmp_path)])
        return result.exit_code, result.output

    data = ["--data", "factors-5", "--signals"]
    code, text = run(*data, "good")
    assert code == 0, text
    assert "nothing found" in text
    code, text = run(*data, "good,bad")
    assert code == 2
    assert "found: signal bad:up, " in text
    code, text = run(*data, "good,bad", "--json")
    document = json.loads(text)
    assert (code, document["clean"]) == (2, False)
    assert [leak["name"] for leak in document["leaks"]] == ["bad:up"]
    assert document["leaks"][0]["date"].startswith("2014-01")
    assert document["signals"]["good:up"]["leak"] is False
    code, text = run(*data, "bad", "--allow", "bad:up")
    assert code == 0, text
    assert run()[0] == 2
    assert run("some-run", "--data", "factors-5")[0] == 2


def test_a_run_is_checked_with_its_policy_and_its_signals(tmp_path: Path) -> None:
    SignalStore(tmp_path).save(own(momentum()), DETAILS)
    run = tiny_run(tmp_path, **{"data.signals": ["own"]})
    report = check_run(run, tmp_path, days=2)
    assert report.clean, report.leaks
    assert report.checked["policies"] == ["agent"]
    assert "own:up" in report.checked["features"]
    with pytest.raises(DataError, match=r"--allow own:down: no such signal \(signals: own:up\)"):
        check_run(run, tmp_path, allowed=("own:down",))


def test_prices_that_are_too_short_are_refused_in_one_line(tmp_path: Path) -> None:
    from datetime import date

    with pytest.raises(DataError, match="100 sessions are too few to check") as caught:
        check_data(configured(**{"data.end": date(2014, 5, 27)}), tmp_path)
    assert "\n" not in str(caught.value)
