"""False alarms and finds of the test of signals for look-ahead, `trading_app.lookahead.association`.

``noise`` are signals without any relation to prices, from independent values to random walks; ``causal`` are signals
computed from past prices; ``shifted`` are the same with stamps one, two or five sessions too early; ``forecasts`` are
planted signals that truly predict the next return, as well as any can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.harness import SaveOption, finish
from equitrade.console import JsonOption

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from data.prices import Prices
    from trading_app.lookahead.findings import Leak

app = typer.Typer(help=__doc__)

DECAYS = (0.0, 0.5, 0.9, 0.99, 1.0)
SHIFTS = (1, 2, 5)
R_SQUARED, HALF_LIVES = (0.005, 0.01, 0.02), (0.5, 1.0, 3.0, 10.0)
GOALS = {"noise": "at most 0.1 %", "causal": "none", "shifted": "all", "forecasts": "at most 1 %"}


def panels() -> dict[str, Prices]:
    """Return the prices of the noise and of the causal signals: 5 assets, 2 for two years, and 20."""
    from data import load_prices

    factors = load_prices("factors-5")
    return {
        "factors-5": factors,
        "2 of factors-5, 2019–2020": factors.select(["MTUM", "SIZE"]).between("2019-01-01", "2020-12-31"),
        "sp500-20, 2014–2022": load_prices("sp500-20", start="2014-01-01"),
    }


def leaks_of(prices: Prices, values: np.ndarray, lag: int = 1) -> list[Leak]:
    """Return what the test finds in the columns of values [T, N, C] stamped on the sessions."""
    from data.signals.values import Signals
    from trading_app.lookahead.association import signal_leaks

    parity = {f"x{index}": -1 for index in range(values.shape[-1])}
    signals = Signals("made", prices.dates, prices.symbols, parity, values, lag)
    return signal_leaks(prices.with_signals([signals]))[0]


def decaying(
    generator: np.random.Generator, shape: tuple[int, ...], decay: float, *, heavy: bool
) -> np.ndarray:
    """Return independent autoregressive series along the first axis."""
    import numpy as np

    values: np.ndarray = generator.standard_t(3, shape) if heavy else generator.normal(size=shape)
    for day in range(1, len(values)):
        values[day] += decay * values[day - 1]
    return np.asarray(values)


def noise(prices: Prices, count: int, seed: int) -> tuple[int, int]:
    """Return false alarms and signals: `count` of each decay, tail, and of assets and of the market."""
    import numpy as np

    generator, found, total = np.random.default_rng(seed), 0, 0
    days, assets = prices.close.shape
    for decay in DECAYS:
        for heavy in (False, True):
            for common in (False, True):
                shape = (days, 1 if common else assets, count)
                values = decaying(generator, shape, decay, heavy=heavy)
                found += len(leaks_of(prices, np.broadcast_to(values, (days, assets, count))))
                total += count
    return found, total


def past(prices: Prices) -> dict[str, pd.DataFrame]:
    """Return signals that are computed from closes up to their stamp."""
    returns = prices.adjusted("close").pct_change()
    size = returns.abs()
    found = {f"sum of {days} returns": returns.rolling(days).sum() for days in (1, 2, 5, 21, 126)}
    found |= {f"volatility of {days} days": returns.rolling(days).std() for days in (5, 21)}
    found |= {"size of the return": size, "smoothed size": size.ewm(span=10).mean()}
    return found | {"price": prices.close, "rank of 5 days": returns.rolling(5).sum().rank(axis=1)}


def causal_and_shifted(prices: Prices) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (found, total) of causal signals, and of shifted ones with the right number of sessions."""
    causal, shifted = [0, 0], [0, 0]
    for values in past(prices).values():
        causal[0] += len(leaks_of(prices, values.to_numpy()[..., None], lag=0))
        causal[1] += 1
        for shift in SHIFTS:
            leaks = leaks_of(prices, values.shift(-shift).to_numpy()[..., None], lag=0)
            shifted[0] += any(f"--lag {shift}" in leak.reason for leak in leaks)
            shifted[1] += 1
    return (causal[0], causal[1]), (shifted[0], shifted[1])


def forecasts(count: int, seed: int, days: int = 2000) -> tuple[int, int]:
    """Return false alarms and signals: `count` worlds for each daily R², half-life and number of assets."""
    import numpy as np
    import pandas as pd

    from data.prices import Prices

    generator, found, total = np.random.default_rng(seed), 0, 0
    for r_squared in R_SQUARED:
        for half_life in HALF_LIVES:
            decay = 0.5 ** (1 / half_life)
            for assets in (5, 20):
                for _ in range(count):
                    signal = decaying(generator, (days, assets), decay, heavy=False) * np.sqrt(1 - decay**2)
                    noise = 0.006 * generator.normal(size=(days, 1)) + 0.01 * generator.standard_t(
                        5, (days, assets)
                    )
                    noise[1:] += np.sqrt(r_squared) * noise.std() * signal[:-1]
                    names = [f"S{index}" for index in range(assets)]
                    closes = pd.DataFrame(
                        50 * np.exp(np.cumsum(noise, axis=0)),
                        pd.bdate_range("2010-01-01", periods=days),
                        names,
                    )
                    prices = Prices.from_frames("planted", close=closes)
                    found += len(leaks_of(prices, signal[..., None], lag=0))
                    total += 1
    return found, total


def rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield measure, result, mark, and whether it was reached, for the page of measurements."""
    for row in document["rows"]:
        found, total, kind = row["found"], row["signals"], row["kind"]
        reached = {
            "noise": found <= 0.001 * total,
            "causal": found == 0,
            "shifted": found == total,
            "forecasts": found <= 0.01 * total,
        }
        yield f"{row['what']}, {row['prices']}", f"{found} of {total:,}", GOALS[kind], reached[kind]


@app.command()
def lookahead(
    count: Annotated[int, typer.Option(min=1, help="Noise signals of each of 20 kinds on each prices.")] = 50,
    worlds: Annotated[int, typer.Option(min=1, help="Worlds of each kind of forecast.")] = 10,
    save: SaveOption = True,
    as_json: JsonOption = False,
) -> None:
    """Count what is called a leak among signals that are none, and among signals that are shifted."""
    result: list[dict[str, Any]] = []

    def add(kind: str, what: str, prices: str, counts: tuple[int, int]) -> None:
        result.append(
            {"kind": kind, "what": what, "prices": prices, "found": counts[0], "signals": counts[1]}
        )

    for seed, (name, prices) in enumerate(panels().items()):
        add("noise", "noise called a leak", name, noise(prices, count, seed))
        causal, shifted = causal_and_shifted(prices)
        add("causal", "signals of past prices called a leak", name, causal)
        add("shifted", "the same, stamped 1, 2 or 5 sessions too early, found", name, shifted)
    what = "forecasts (daily R² 0.5, 1 and 2 %, half-life 0.5 to 10 days) called a leak"
    add("forecasts", what, "planted prices", forecasts(worlds, seed=9))
    payload = {"count": count, "worlds": worlds, "rows": result}
    lines = (f"{what}: {counted} (mark: {mark})" for what, counted, mark, _ in rows(payload))
    finish("lookahead", payload, lines, as_json=as_json, save=save)
