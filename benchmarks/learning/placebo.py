"""Agents trained where there is nothing to learn: net Sharpe ratios out of sample must not lie above nothing.

``random`` are independent returns without drift, traded long and short, by today's defaults and (``former``) by those
before evidence decided the freedom: an agent should hold and trade less where there is nothing. ``shuffled`` are the
bundled stocks with their days in random order, tilted around equal weight (the default), where holding them all earns
and is what the agent is measured against. Markets are independent of each other and the seeds of one market are not,
so a market counts once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.harness import finish
from equitrade.console import JsonOption

if TYPE_CHECKING:
    from data.prices import Prices

app = typer.Typer(help=__doc__)
KINDS: dict[str, dict[str, Any]] = {
    "random": {"market.actions": "long-short"},
    "former": {
        "market.actions": "long-short",
        "market.rebalance": "daily",
        "market.no_trade_band": 0.0,
        "sac.transitions": "stored",
        "sac.row_values": False,
        "sac.relaxation": "free",
        "sac.relaxed_lr_multiplier": 5.0,
        "sac.bank_start": "equal",
        "sac.banks": 2,
        "sac.critic_lr": 1e-3,
        "sac.actor_average": 0.0,
    },
    "shuffled": {},
}


def placebo_prices(kind: str, index: int) -> Prices:
    """The prices of one placebo market."""
    import numpy as np

    from data import load_prices
    from trading_app.synthetic.placebo import random_prices, shuffled_prices

    if kind == "shuffled":
        return shuffled_prices(
            load_prices("sp500-20", start="2010-01-04"), np.random.default_rng([index, len(kind)])
        )
    return random_prices(np.random.default_rng([index, len("random")]))


def one_market(kind: str, index: int, seeds: int) -> dict[str, Any]:
    """Train on a placebo market and backtest on its test period, after costs."""
    import pandas as pd

    from data.snapshots.store import SnapshotStore
    from trading_app.backtesting.backtest import backtest
    from trading_app.backtesting.baselines import BASELINES
    from trading_app.experiments.config import load_config
    from trading_app.experiments.policies import load_policy
    from trading_app.experiments.training import train_run

    prices = placebo_prices(kind, index)
    with tempfile.TemporaryDirectory(prefix="equitrade-placebo-") as folder:
        home = Path(folder)
        SnapshotStore(home).save(prices, "placebo", provider={"kind": kind, "index": index})
        settings = {"data.name": "placebo", "training.seeds": seeds, "training.first_seed": 1000 * index}
        config = load_config(None, {}, {**settings, **KINDS[kind]})
        run, _ = train_run(config, home=home, name="placebo")
        first, last = (pd.Timestamp(day) for day in run.manifest["split"]["test"])
        policy = load_policy(run.path)
        path = policy.rollout(prices, first, last)
        strategies = {"agent": path.ensemble, "equal-weight": BASELINES["equal-weight"](prices, first, last)}
        for seed, targets in zip(policy.seeds, path.per_seed, strict=True):
            frame = pd.DataFrame(targets, index=path.ensemble.index, columns=path.ensemble.columns)
            strategies[f"seed-{seed}"] = frame
        results = backtest(prices, strategies, costs=config.costs, start=first, end=last, partial_orders=True)
    measured = {name: results.strategy(name).metrics() for name in strategies}
    return {
        "market": index,
        "test": [str(first.date()), str(last.date())],
        "sharpe": {name: values["sharpe"] for name, values in measured.items()},
        "turnover": {name: values["turnover"] for name, values in measured.items()},
        "gross": {
            name: float(results.strategy(name).weights.abs().sum(axis=1).mean()) for name in strategies
        },
    }


def summary(kind: str, markets: list[dict[str, Any]]) -> dict[str, float]:
    """Mean over markets of the seeds' mean net Sharpe ratio (above equal weight where that earns), t interval."""
    import numpy as np
    from scipy import stats

    values = []
    for market in markets:
        sharpe = market["sharpe"]
        values.append(_mean_of_seeds(sharpe) - (sharpe["equal-weight"] if kind == "shuffled" else 0.0))
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    p = float(stats.t.sf(mean / error, len(values) - 1))
    return {"mean": mean, "low": mean - half, "high": mean + half, "p_above_nothing": p}


def against_former(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The seeds' mean gross exposure and turnover on ``random``, over those by former defaults; 95 % by bootstrap."""
    import numpy as np

    generator, result = np.random.default_rng(0), {}
    for name in ("gross", "turnover"):
        now, then = (
            np.array([_mean_of_seeds(market[name]) for market in found[kind]])
            for kind in ("random", "former")
        )
        drawn = generator.integers(0, len(now), (10_000, len(now)))
        low, high = np.quantile(now[drawn].mean(axis=1) / then[drawn].mean(axis=1), [0.025, 0.975])
        result[name] = {
            "now": float(now.mean()),
            "former": float(then.mean()),
            "ratio": float(now.mean() / then.mean()),
            "low": float(low),
            "high": float(high),
        }
    return result


def _mean_of_seeds(values: dict[str, float]) -> float:
    seeds = [value for name, value in values.items() if name.startswith("seed-")]
    return sum(seeds) / len(seeds)


@app.command()
def placebo(
    markets: Annotated[int, typer.Option(min=2, help="Placebo markets of each kind.")] = 6,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds trained on each.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Train on markets without any signal and store net Sharpe ratios under benchmarks/results/placebo.json."""
    found = {kind: [one_market(kind, index, seeds) for index in range(markets)] for kind in KINDS}
    summaries = {kind: summary(kind, rows) for kind, rows in found.items()}
    payload: dict[str, Any] = {
        "what": "net Sharpe ratio out of sample of relaxed agents trained on markets without a signal",
        "seeds": seeds,
        "markets": found,
        "summary": summaries,
        "against_former": against_former(found),
    }
    lines = [
        f"{kind}: net Sharpe{', above equal weight' if kind == 'shuffled' else ''} {row['mean']:+.2f} "
        f"({row['low']:+.2f} … {row['high']:+.2f}), p = {row['p_above_nothing']:.2f} that it lies above nothing"
        for kind, row in summaries.items()
    ]
    lines += [
        f"{name}: {row['now']:.2f}, by former defaults {row['former']:.2f}, ratio {row['ratio']:.2f} "
        f"({row['low']:.2f} … {row['high']:.2f})"
        for name, row in payload["against_former"].items()
    ]
    finish("placebo", payload, lines, as_json=as_json)
