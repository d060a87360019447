"""Planted panels: the strength of the signal, its causality, and likeness to real prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from data import DataError, Prices, load_prices
from data.cli import app
from data.providers.planted import COLUMN, PanelConfig, planted_panel, save_planted
from data.signals.store import SignalStore

CONFIG = PanelConfig(assets=12, sessions=4000, r2=0.01, half_life=8.0, seed=3)
SHORT = PanelConfig(assets=4, sessions=300)


def log_returns(prices: Prices) -> np.ndarray:
    """Return log returns from close to close [T - 1, N]."""
    return np.diff(np.log(prices.close.to_numpy()), axis=0)


def blocks_interval(values: np.ndarray, z: float = 3.0) -> tuple[float, float]:
    """Return an interval of the mean of a series of days, from the means of blocks of 50 days."""
    means = np.array([part.mean() for part in np.array_split(values, len(values) // 50)])
    error = z * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - error), float(means.mean() + error)


@pytest.mark.parametrize("r2", [0.002, 0.01])
@pytest.mark.parametrize("heterogeneity", [0.0, 1.0])
def test_the_signal_explains_the_share_that_was_asked_for(r2: float, heterogeneity: float) -> None:
    config = PanelConfig(assets=50, sessions=4000, r2=r2, heterogeneity=heterogeneity, seed=1)
    panel = planted_panel("made", config)
    signal, returns = panel.signals.values[:-1, :, 0], log_returns(panel.prices)
    scaled = panel.slopes / panel.volatilities
    assert (scaled**2).mean() == pytest.approx(r2)
    # Each asset's returns on its signal, in units of the true correlation: 1 where the panel is as asked.
    products = ((returns - returns.mean(axis=0)) / panel.volatilities * signal * scaled).sum(axis=1)
    low, high = blocks_interval(products / (scaled**2).sum())
    assert low < 1.0 < high
    assert high - low < 0.9


def test_slopes_differ_as_far_as_asked() -> None:
    def spread(heterogeneity: float) -> float:
        panel = planted_panel("made", PanelConfig(sessions=10, heterogeneity=heterogeneity))
        ratio = panel.slopes / panel.volatilities
        return float((ratio.max() - ratio.min()) / ratio.mean())

    assert spread(0.0) == pytest.approx(0.0, abs=1e-12)
    assert spread(1.0) == pytest.approx(1.5)
    assert 0 < spread(0.5) < spread(1.0)


@pytest.mark.parametrize("half_life", [2.0, 20.0])
def test_half_of_the_signal_is_left_after_its_half_life(half_life: float) -> None:
    panel = planted_panel("made", PanelConfig(assets=40, sessions=5000, half_life=half_life))
    signal = panel.signals.values[:, :, 0]
    ahead = int(half_life)
    low, high = blocks_interval((signal[:-ahead] * signal[ahead:]).mean(axis=1), z=4.0)
    assert low < 0.5 < high
    low, high = blocks_interval((signal**2).mean(axis=1), z=4.0)
    assert low < 1.0 < high


def test_returns_up_to_a_close_do_not_show_in_its_signal() -> None:
    panel = planted_panel("made", CONFIG)
    signal, returns = panel.signals.values[..., 0], log_returns(panel.prices) / panel.volatilities
    # What a signal forecasts is the coming return less what the signal before it forecast.
    surprise = returns - CONFIG.r2**0.5 * signal[:-1]
    low, high = blocks_interval((surprise * signal[1:]).mean(axis=1))
    assert low < 0.0 < high


def test_the_night_moves_by_noise_alone() -> None:
    panel = planted_panel("made", CONFIG)
    opened, close = (panel.prices.field(field).to_numpy() for field in ("open", "close"))
    night = np.log(opened[1:] / close[:-1])
    low, high = blocks_interval((night / panel.volatilities * panel.signals.values[:-1, :, 0]).mean(axis=1))
    assert low < 0.0 < high


def test_equal_parameters_give_equal_bytes_and_other_seeds_other_prices() -> None:
    first, second = planted_panel("made", SHORT), planted_panel("made", SHORT)
    assert first.prices.hash == second.prices.hash
    assert first.signals.hash == second.signals.hash
    other = planted_panel("made", PanelConfig(assets=4, sessions=300, seed=1))
    assert other.prices.hash != first.prices.hash
    assert other.signals.hash != first.signals.hash


def test_a_longer_panel_begins_with_the_shorter_one() -> None:
    short = planted_panel("made", SHORT)
    long = planted_panel("made", PanelConfig(assets=4, sessions=500))
    assert long.prices.between(None, short.prices.dates[-1]).hash == short.prices.hash
    assert long.signals.until(short.prices.dates[-1]).hash == short.signals.hash


def test_prices_are_like_real_ones() -> None:
    panel = planted_panel("made", PanelConfig(assets=20, sessions=5000, volatility=0.3, sectors=4, seed=7))
    returns = log_returns(panel.prices)
    assert returns.std(axis=0).mean() * np.sqrt(252) == pytest.approx(0.3, rel=0.1)
    kurtosis = stats.kurtosis(returns, axis=0)
    assert 1.5 < np.median(kurtosis) < 30
    size = np.abs(returns) - np.abs(returns).mean(axis=0)
    clustering = [(size[:-lag] * size[lag:]).mean() / (size**2).mean() for lag in (1, 20)]
    assert clustering[0] > 0.05
    assert clustering[0] > clustering[1] > 0.0
    correlation = np.corrcoef(returns.T)
    same = panel.sectors[:, None] == panel.sectors
    apart = ~np.eye(20, dtype=bool)
    assert 0.2 < correlation[~same].mean() < 0.4
    assert correlation[same & apart].mean() > correlation[~same].mean() + 0.05
    fields = {
        name: panel.prices.field(name).to_numpy() for name in ("open", "high", "low", "close", "volume")
    }
    assert (fields["high"] >= np.maximum(fields["open"], fields["close"])).all()
    assert (fields["low"] <= np.minimum(fields["open"], fields["close"])).all()
    assert (fields["volume"] >= 1).all()


def test_a_drift_breaks_the_mirror_and_none_keeps_it() -> None:
    def growth(drift: float) -> np.ndarray:
        panel = planted_panel("made", PanelConfig(assets=50, sessions=6000, drift=drift, volatility=0.1))
        returns: np.ndarray = np.expm1(log_returns(panel.prices)).mean(axis=1) * 252
        return returns

    none, some = growth(0.0), growth(0.2)
    low, high = blocks_interval(none)
    assert low < 0.0 < high
    assert (some - none).mean() == pytest.approx(np.log1p(0.2), rel=0.05)


@pytest.mark.parametrize(
    ("option", "value"), [("r2", 1.5), ("half_life", 0.0), ("assets", 0), ("heterogeneity", 2.0)]
)
def test_a_value_out_of_range_names_its_option(option: str, value: float) -> None:
    with pytest.raises(DataError, match=f"--{option.replace('_', '-')} is"):
        PanelConfig(**{option: value})  # type: ignore[arg-type]  # one field of several types


def test_the_store_returns_what_was_simulated(tmp_path: Path) -> None:
    save_planted("world", SHORT, tmp_path)
    panel = planted_panel("world", SHORT)
    prices = load_prices("world", home=tmp_path, signals=["world"])
    assert prices.hash == panel.prices.hash
    # A value stamped d is used at the close of d.
    assert np.array_equal(prices.signals[0].values, panel.signals.values)
    truth = SignalStore(tmp_path).open("world").manifest["planted"]
    assert truth["slopes"] == panel.slopes.tolist()
    assert not save_planted("world", SHORT, tmp_path)[0].written


def test_the_command_writes_prices_and_signals(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json", "--home", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    written = run(
        "planted", "world", "--assets", "5", "--sessions", "200", "--r2", "0.01", "--half-life", "3"
    )
    assert (written["prices"], written["signals"]) == ("world", "world")
    listed = run("list")
    assert [row["reference"] for row in listed["snapshots"]] == ["world"]
    assert listed["signals"][0]["columns"] == f"{COLUMN} (odd)"
    shown = run("show", "world")
    assert len(shown["symbols"]) == 5
    assert shown["manifest"]["provider"]["half_life"] == 3
