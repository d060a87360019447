"""Training of a run: from prices and a configuration to a run directory with checkpoints.

The dates are split once; agents train on the first part, are watched on the second, and never see the third, which
is what `trading_app.cli.backtest` and the report use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import DataError
from data.loading import load_prices
from data.prices import Prices
from data.splits import Period, Split, chronological_split
from rl_core.sac import SAC
from rl_core.training import Progress, TrainResult, train
from trading_app.backtesting.policies import AgentPolicy
from trading_app.evaluation.agreement import Agreement, seed_agreement
from trading_app.evaluation.sizing import Sizing
from trading_app.experiments.config import ConfigurationError, RunConfig, stored_config, to_dict, to_toml
from trading_app.experiments.cross_fitting import choose_sizing
from trading_app.experiments.equivariance import deviations
from trading_app.experiments.own_signals import check_signals, pin_signals, signal_notes, signal_records
from trading_app.market.env import Market
from trading_app.runs.run import Run, create_run, open_run, unused_name

# The observation looks back over its window of features, each of which looks back itself.
MINIMUM_TRAINING_SESSIONS = 100


def prices_of(config: RunConfig, home: Path) -> Prices:
    """Load the prices of a configuration, with its signals beside them."""
    d = config.data
    return load_prices(
        d.name, home=home, start=d.start, end=d.end, symbols=d.symbols, signals=d.signals or ()
    )


def split_of(config: RunConfig, prices: Prices) -> Split:
    """Cut the sessions into train, validation and test.

    Raises
    ------
    DataError
        If a part would be empty or there is too little to train on.
    """
    s = config.split
    split = chronological_split(prices, (s.train, s.validation, s.test), purge=s.purge, embargo=s.embargo)
    check_training(prices, split)
    return split


def check_training(prices: Prices, split: Split) -> None:
    """Check that a split leaves enough sessions for training."""
    sessions = len(prices.between(*split.train).dates)
    if sessions < MINIMUM_TRAINING_SESSIONS:
        raise DataError(
            f"{prices.name}: {sessions} training sessions are too few; at least "
            f"{MINIMUM_TRAINING_SESSIONS} are needed"
        )


def check_device(config: RunConfig) -> None:
    """Refuse a device that PyTorch does not find on this machine."""
    name = config.sac.device
    try:
        device = torch.device(name)
        found = device.type == "cpu" or (
            device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()
        )
    except RuntimeError:  # not the name of any device
        found = False
    if not found:
        raise ConfigurationError(f"sac.device: PyTorch finds no {name!r} on this machine; use 'cpu'")


def recorded_dates(parts: Mapping[str, Any]) -> Split:
    """The split that a manifest records, ``train``, ``validation`` and ``test`` → first and last date."""
    return Split(parts["train"], parts.get("validation"), parts["test"])


def train_run(
    config: RunConfig,
    *,
    home: Path,
    name: str | None = None,
    resume: bool = False,
    directory: Path | None = None,
    split: Split | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[Run, TrainResult]:
    """Train all seeds of a run at once.

    Parameters
    ----------
    config : RunConfig
        Ignored where a run is resumed: its own configuration counts.
    home : Path
        State directory; the run goes to ``home/runs/NAME``.
    name : str, optional
        Name of the run; one is made up from agent and data otherwise.
    resume : bool
        Continue the run of that name from its newest checkpoint.
    directory : Path, optional
        Put the run there instead.
    split : Split, optional
        Dates to train, validate and test on, instead of those that the configuration's shares give.
    on_progress : callable, optional
        Told about each logging step.

    Raises
    ------
    DataError, ConfigError
        For prices, dates or settings that cannot be used; nothing is written then.
    """
    if resume:
        run = open_run(name or directory or "", home=home)
        config = stored_config(run.path)
    config = pin_signals(config, home)
    check_device(config)
    prices = prices_of(config, home)
    if resume:
        _check_data(run, prices)
    if resume:
        split = recorded_dates(run.manifest["split"])
    elif split is None:
        split = split_of(config, prices)
    check_signals(prices, split)
    market = training_market(config, prices, split)
    if not resume:
        run = create_run(
            manifest(config, prices, split),
            to_toml(config),
            home=home,
            name=name or unused_name(home, default_name(config)),
            path=directory,
        )
    started = time.perf_counter()
    watch = validation(config, prices, split)
    t = config.training
    with run.training():
        result = train(
            market,
            config.learner,
            seeds=t.seed_list,
            steps=t.steps,
            directory=run.path,
            evaluate=watch,
            evaluate_every=t.evaluate_every,
            log_every=t.log_every,
            checkpoint_every=t.checkpoint_every,
            resume=resume,
            on_progress=on_progress,
        )
    diverged = [seed for seed, over in zip(t.seed_list, result.diverged, strict=True) if over]
    measured = result.agent, config, prices, split
    run = run.finish(
        wall_time=time.perf_counter() - started,
        stopped=result.stopped,
        diverged=diverged,
        agreement=[asdict(found) for found in measure_agreement(*measured)],
        sizing=[asdict(found) for found in measure_sizing(*measured, market)],
    )
    return run, result


def _check_data(run: Run, prices: Prices) -> None:
    """Check that a run is resumed on the prices and signals that it was trained on."""
    recorded = run.manifest["data"]
    if recorded["hash"] != prices.hash:
        raise DataError(
            f"{run.name} was trained on other prices: {prices.name} has hash {prices.hash[:12]} now, "
            f"{recorded['hash'][:12]} then"
        )
    if recorded.get("signals", []) != signal_records(prices):
        raise DataError(
            f"{run.name} was trained on other signals than those stored now; import the same files again"
        )


def default_name(config: RunConfig) -> str:
    """``relaxed-sp500-20``: agent and data."""
    return f"{config.sac.agent}-{Path(config.data.name).stem}"


def training_market(config: RunConfig, prices: Prices, split: Split) -> Market:
    """The market on the training dates, where all seeds act at once."""
    return Market(
        prices,
        config=config.market,
        costs=config.costs,
        seeds=config.training.seed_list,
        n_envs=config.training.n_envs,
        start=split.train[0],
        end=split.train[1],
        cross_fit=config.cross_fits,
        device=config.sac.device,
    )


def validation(config: RunConfig, prices: Prices, split: Split) -> Callable[[SAC, int], Mapping[str, Tensor]]:
    """Return a function that measures an agent: each seed's net Sharpe ratio and growth on the validation dates, and
    the distance of each relaxed layer from its symmetry; where the configuration asks for it, also on `late_training`.
    """
    period = split.validation or split.train
    known = prices.between(None, period[1])
    late = late_training(prices, split) if config.training.evaluate_training else None

    def evaluate(agent: SAC, _step: int) -> Mapping[str, Tensor]:
        policy = AgentPolicy(agent, config.market, config.costs, prices.symbols)
        found = {**policy.rollout(known, *period).summary(), **deviations(agent)}
        if late is not None:
            inside = policy.rollout(prices, *late).summary()
            found |= {f"train_{name}": values for name, values in inside.items()}
        return found

    return evaluate


def late_training(prices: Prices, split: Split) -> Period:
    """Return the last training dates, as many as there are validation dates, but at most half of them."""
    dates = prices.between(*split.train).dates
    count = len(prices.between(*(split.validation or split.train)).dates)
    return dates[-min(count, len(dates) // 2)], dates[-1]


def measure_agreement(agent: SAC, config: RunConfig, prices: Prices, split: Split) -> list[Agreement]:
    """Return the agreement of an agent's seeds on the validation dates; nothing without such dates."""
    if split.validation is None:
        return []
    market = config.market
    policy = AgentPolicy(agent, market, config.costs, prices.symbols)
    path = policy.rollout(prices, *split.validation)
    dates = [str(day.date()) for day in path.ensemble.index[[0, -1]]]
    needed, base = config.training.agreement, market.base if market.tilts else None
    found = seed_agreement(path.active)
    return [replace(found, start=dates[0], end=dates[1], needed=needed, base=base)]


def measure_sizing(
    agent: SAC, config: RunConfig, prices: Prices, split: Split, learned: Market
) -> list[Sizing]:
    """Return size and speed of an agent's ensemble; nothing without a base, or without dates to choose on."""
    if not (config.training.cross_fit and config.market.tilts):
        return []
    policy = AgentPolicy(agent, config.market, config.costs, prices.symbols)
    found = choose_sizing(policy, learned, split, config.split.embargo)
    return [] if found is None else [found]


def manifest(config: RunConfig, prices: Prices, split: Split) -> dict[str, Any]:
    """Return the manifest of a run, without code, versions and machine, which `trading_app.runs.run` adds."""
    rates = config.costs.rates_record()
    return {
        "config": to_dict(config),
        **({} if rates is None else {"risk_free": rates}),
        "seeds": config.training.seed_list,
        "agent": config.sac.agent,
        # By name, though the configuration may leave them to the default: that may be another in a later version.
        "features": list(config.market.feature_names),
        "data": {
            "name": prices.name,
            "hash": prices.hash,
            "symbols": list(prices.symbols),
            "start": str(prices.dates[0].date()),
            "end": str(prices.dates[-1].date()),
            "notes": [*prices.notes, *signal_notes(prices, split)],
            **({"signals": signal_records(prices)} if prices.signals else {}),
        },
        "split": {
            part: [str(first.date()), str(last.date())] for part, (first, last) in split.periods.items()
        },
    }
