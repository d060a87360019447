"""One size of a training or a backtest in a process of its own: its seconds, and the memory that it added.

Argument: a JSON object with ``what`` (training or backtest) and the size; the answer is a line of JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

WARM, UPDATES = 10, 30


def training(assets: int, window: int, seeds: int) -> float:
    """Seconds of a step of training with one update: the relaxed trading agent on prices at random."""
    import numpy as np

    from rl_core.training import Progress, train
    from trading_app.experiments.config import trading_learner, trading_market
    from trading_app.market.env import Market
    from trading_app.synthetic.placebo import random_prices

    prices = random_prices(np.random.default_rng(0), assets=assets, days=1000)
    settings = trading_learner()
    market = Market(prices, config=replace(trading_market(), window=window), seeds=range(seeds))
    clock: list[float] = []

    def tick(progress: Progress) -> None:
        if progress.updates:
            clock.append(time.perf_counter())

    steps = settings.learning_starts + WARM + UPDATES
    train(market, settings, seeds=range(seeds), steps=steps, log_every=1, on_progress=tick)
    return statistics.median(np.diff(clock[WARM:]))


def backtest(sessions: int, assets: int, strategies: int) -> float:
    """Seconds of a backtest of daily targets, costs on; the lower one of two, the first of which makes the room."""
    import numpy as np

    from trading_app.backtesting.backtest import backtest
    from trading_app.market.costs import CostModel
    from trading_app.synthetic.placebo import random_prices

    generator = np.random.default_rng(0)
    prices = random_prices(generator, assets=assets, days=sessions)
    base = 0.95 * generator.dirichlet(np.ones(assets), size=sessions)
    targets = np.stack([np.roll(base, shift, axis=0) for shift in range(strategies)])
    costs, taken = CostModel(commission_bps=1, half_spread_bps=2), []
    for _ in range(2):
        began = time.perf_counter()
        backtest(prices, targets, costs=costs)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    size: dict[str, Any] = json.loads(sys.argv[1])
    run: Callable[..., float] = {"training": training, "backtest": backtest}[size.pop("what")]
    # What importing takes belongs to no size.
    import trading_app.backtesting.backtest
    import trading_app.market.env  # noqa: F401

    before = _peak()
    seconds = run(**size)
    print(json.dumps({"seconds": seconds, "bytes": _peak() - before}))


def _peak() -> int:
    """Largest resident memory so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
