"""Backtest of a run out of sample, beside the baselines, saved with its evidence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from data.errors import DataError
from data.fields import DateLike, parse_date
from data.loading import load_prices
from data.prices import Prices
from data.signals.store import recorded_references
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import NEED_SIGNALS, OPTIMISED, Terms, usable_baselines
from trading_app.backtesting.results import BatchResult
from trading_app.experiments.config import RunConfig, stored_config
from trading_app.experiments.equivariance import measure_equivariance, save_equivariance
from trading_app.experiments.policies import load_policy
from trading_app.files import RunError, read_json
from trading_app.market.benchmark import benchmark_levels, benchmark_returns
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.panel import resolve_fill, trading_panel
from trading_app.runs.backtests import WHAT_IF, SavedBacktest, save_backtest
from trading_app.runs.run import Run


def backtest_run(
    run: Run,
    *,
    home: Path,
    data: str | None = None,
    start: DateLike | None = None,
    end: DateLike | None = None,
    costs_bps: float | None = None,
    fill: str | None = None,
    trials: int | None = None,
) -> SavedBacktest:
    """Backtest a finished run's ensemble, each of its seeds and the baselines under the same costs and fills.

    With other prices, dates, costs or fills than the run's this is a what-if backtest: it is saved in
    ``what-if/LABEL/`` of the run, and the run's own evidence stays.

    The equivariance errors of policy and critic on those dates are measured and saved too, see
    `trading_app.experiments.equivariance`.

    Parameters
    ----------
    run, home
        The run, and the state directory.
    data
        Other prices; the run's own by default. They may have other symbols, see `AgentPolicy.on_symbols`.
    start, end
        By default from the first test date to the last one; to the last price where rows were added since training or
        the prices are others. An earlier start is refused on any prices with a symbol of the run: the agent was trained
        there. On prices with none of them, from the first session with enough history.
    costs_bps
        Commission and half-spread together, instead of the run's.
    fill
        Instead of the run's.
    trials
        Number of settings tried, for the deflated Sharpe ratio. The largest number of the run's
        configuration and of all its backtests counts.

    Raises
    ------
    DataError
        For a run whose training is not finished, an empty range or dates that the agent was trained on.
    """
    config = stored_config(run.path)
    data = None if data == config.data.name else data
    prices, first, last = unseen_period(run, home=home, data=data, start=start, end=end)
    label = _what_if_label(data, start, end, costs_bps, fill)
    costs = with_costs(config.costs, costs_bps)
    policy = load_policy(run.path)
    strangers = _other_symbols(policy.symbols, prices)
    if tuple(prices.symbols) != policy.symbols:
        policy = policy.on_symbols(prices.symbols)
    path = policy.rollout(prices, first, last)
    strategies: dict[str, pd.DataFrame] = {"agent": path.ensemble}
    for seed, targets in zip(policy.seeds, path.per_seed, strict=True):
        strategies[f"seed-{seed}"] = pd.DataFrame(
            targets, index=path.ensemble.index, columns=path.ensemble.columns
        )
    # A walk-forward run is trained again before each fold, and what is fitted as a baseline is fitted every year.
    trained = None if run.manifest.get("folds") else run.manifest["split"]["train"][1]
    baselines, left_out = baseline_weights(prices, first, last, Terms(config.market, costs, trained))
    strategies |= baselines
    above = benchmark_targets(prices, config.market, costs, first, last)
    if above is not None:
        strategies["benchmark"] = above
    index, missing = benchmark_series(prices, config.market, first, last)
    rule = resolve_fill(prices, fill or config.market.fill)
    results: BatchResult = backtest(
        prices,
        strategies,
        costs=costs,
        start=first,
        end=last,
        partial_orders=True,
        **replace(config.market, fill=rule).account,
    )
    count, ignored = _count_trials(run, config, trials)
    stopped, diverged = run.manifest.get("stopped"), run.manifest.get("diverged")
    saved = save_backtest(
        run,
        results,
        folder=run.path / WHAT_IF / label if label else None,
        data_hash=prices.hash,
        notes=[
            *([f"Training stopped early: {stopped}."] if stopped else []),
            *([f"Diverged in training and kept as they were before: seeds {diverged}."] if diverged else []),
            *(strangers or _changes_of_prices(run, prices)),
            *_changes_of_signals(run, prices),
            *path.notes,
            *left_out,
            *missing,
            *ignored,
        ],
        reference="equal-weight" if above is None else "benchmark",
        active=path.active,
        benchmark=index,
        trials=count,
        overfitting=config.search.overfitting,
        trial_sharpes=config.search.sharpes or None if count == config.search.trials else None,
    )
    save_equivariance(Run(saved.path, run.manifest), measure_equivariance(policy, path))
    return saved


def unseen_period(
    run: Run,
    *,
    home: Path,
    data: str | None = None,
    start: DateLike | None = None,
    end: DateLike | None = None,
) -> tuple[Prices, pd.Timestamp, pd.Timestamp]:
    """Return the prices that `backtest_run` uses for these arguments, and the first and last day of its range.

    The signals beside them are those that the run recorded, or a version that only adds stamps to them.

    Raises
    ------
    DataError
        For a run whose training is not finished, an empty range or dates that the agent was trained on.
    """
    run.require_finished()
    d = stored_config(run.path).data
    signals = recorded_references(run.manifest["data"].get("signals", ()), home)
    prices = load_prices(
        data or d.name,
        home=home,
        start=None if data else d.start,
        end=None if data else d.end,
        symbols=None if data else d.symbols,
        signals=signals,
    )
    return prices, *_period(run, prices, start, end)


MOST_OPTIMISATIONS = 120
"""Months up to which a backtest computes baselines that solve an optimisation each month."""


def baseline_weights(
    prices: Prices, start: DateLike, end: DateLike, terms: Terms
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the targets of every baseline that can be computed, and a note on each that cannot.

    Those that decide once a month follow the schedule of the market instead, where it has one.
    """
    found, left_out = {}, []
    prices = terms.market.universe(prices)
    schedule = terms.market.rebalance
    months = (parse_date(end, "end") - parse_date(start, "start")).days / 30.4
    for name, rule in usable_baselines(prices).items():
        if name in OPTIMISED and months > MOST_OPTIMISATIONS:
            left_out.append(
                f"The baseline {name} is left out: {months:.0f} months of optimisations take long. "
                f"`equitrade backtest --strategy {name}` computes it."
            )
            continue
        own = name in NEED_SIGNALS or schedule != "daily"
        options = {"rebalance": schedule} if own and not name.endswith("-daily") else {}
        try:
            found[name] = rule(prices, start, end, terms=terms, **options)
        except DataError as error:
            left_out.append(f"The baseline {name} is left out: {error}.")
    return found, left_out


def benchmark_targets(
    prices: Prices, market: MarketConfig, costs: CostModel, start: DateLike, end: DateLike
) -> pd.DataFrame | None:
    """Return the targets of the benchmark that a market names; None where there is none, or a series from a file."""
    if market.benchmark is None and market.reward != "active":
        return None
    known = market.universe(prices.between(None, end))
    first = int(known.dates.searchsorted(parse_date(start, "start")))
    panel = trading_panel(
        known, market.fill, delist_after=market.delist_after, delisting_return=market.delisting_return
    )
    model = costs.for_dates(known.dates)
    targets = benchmark_returns(known, panel, market, model, first, len(known.dates) - 1).targets
    if targets is None:
        return None
    return pd.DataFrame(targets[first:], index=known.dates[first:], columns=list(known.symbols))


def benchmark_series(
    prices: Prices, market: MarketConfig, first: pd.Timestamp, last: pd.Timestamp
) -> tuple[pd.Series | None, list[str]]:
    """Return the returns from close to close of a benchmark from a file, and a note where it lacks these dates.

    None where the market names no file.
    """
    path = Path(market.benchmark or "")
    if not path.is_file():
        return None, []
    levels = benchmark_levels(path)
    if levels.index[0] > first or levels.index[-1] < last:
        lacks = f"the benchmark {path.name} has levels from {levels.index[0].date()} to {levels.index[-1].date()} only"
        return None, [f"Nothing is compared with the benchmark: {lacks}."]
    carried = levels.reindex(prices.dates, method="ffill")
    return carried.pct_change().rename(path.stem), []


def with_costs(costs: CostModel, costs_bps: float | None) -> CostModel:
    """Return the cost model with commission and half-spread replaced by one rate, unless that is None."""
    if costs_bps is None:
        return costs
    return replace(costs, commission_bps=costs_bps, half_spread_bps=0.0)


def _period(
    run: Run, prices: Prices, start: DateLike | None, end: DateLike | None
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last day of a backtest; days before the test period are refused where the run knows a symbol."""
    test_start, test_end = (pd.Timestamp(day) for day in run.manifest["split"]["test"])
    seen = bool(set(prices.symbols) & set(run.symbols))
    if start is not None:
        first = parse_date(start, "start")
    else:
        enough = stored_config(run.path).market.history - 1
        first = max(test_start, prices.dates[0]) if seen else prices.dates[min(enough, len(prices.dates) - 1)]
    if seen and first < test_start:
        raise DataError(
            f"start {first.date()} lies before the test period, which begins on {test_start.date()}: "
            "the agent was trained on earlier dates; choose a later start"
        )
    same = prices.hash == run.manifest["data"]["hash"]
    last = parse_date(end, "end") if end is not None else (test_end if same else prices.dates[-1])
    if last <= first:
        raise DataError(f"no session from {first.date()} to {last.date()}: start must be before end")
    return first, last


def _what_if_label(
    data: str | None,
    start: DateLike | None,
    end: DateLike | None,
    costs_bps: float | None,
    fill: str | None,
) -> str:
    """Name of a what-if backtest by its options, ``start-2022-01-03_costs-0``; empty where all are the run's own."""
    options = {
        "data": None if data is None else Path(data).stem,
        "start": None if start is None else parse_date(start, "start").date(),
        "end": None if end is None else parse_date(end, "end").date(),
        "costs": None if costs_bps is None else f"{costs_bps:g}",
        "fill": fill,
    }
    label = "_".join(f"{name}-{value}" for name, value in options.items() if value is not None)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label)


def _count_trials(run: Run, config: RunConfig, trials: int | None) -> tuple[int, list[str]]:
    """Return the largest number of trials ever given for a run, now recorded there, and a note on a smaller one."""
    recorded = Run(run.path, read_json(run.path / "manifest.json"))
    try:
        earlier = (run.metrics or {}).get("trials") or 1
    except RunError:  # damaged: the backtest replaces it
        earlier = 1
    known = max(config.search.trials, recorded.manifest.get("trials", 1), earlier)
    count = max(known, trials or 1)
    if count > max(config.search.trials, recorded.manifest.get("trials", 1)):
        recorded.with_manifest(trials=count)
    if trials is None or trials == count:
        return count, []
    return count, [
        f"{count} trials are counted, as recorded for this run; the smaller number {trials} is ignored."
    ]


def _other_symbols(trained: tuple[str, ...], prices: Prices) -> list[str]:
    """A note on prices with symbols that the agent was not trained on."""
    unknown = [symbol for symbol in prices.symbols if symbol not in trained]
    if not unknown:
        return []
    named = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
    return [
        f"{len(unknown)} of {len(prices.symbols)} symbols of {prices.name} are not among those that the run was "
        f"trained on ({named}): they are treated by the mean of the trained symbols' weights, as by an exact agent."
    ]


def _changes_of_prices(run: Run, prices: Prices) -> list[str]:
    """A note where the prices are not those that the run was trained on: rows were added, or rows differ."""
    trained = run.manifest["data"]
    if prices.hash == trained["hash"]:
        return []
    first, last = (pd.Timestamp(trained.get(end)) for end in ("start", "end"))
    if prices.dates[0] <= first and last <= prices.dates[-1]:  # False for a date that was not recorded
        known = prices.between(first, last)
        if known.hash == trained["hash"]:
            added = len(prices.dates) - len(known.dates)
            return [
                f"{prices.name} has {added} more session{'s' if added > 1 else ''} than at training; "
                "the earlier prices are unchanged."
            ]
    return [
        f"The prices of {prices.name} up to {trained.get('end', 'the end of training')} differ from those that the run "
        "was trained on; the test period may rest on other prices than the training."
    ]


def _changes_of_signals(run: Run, prices: Prices) -> list[str]:
    """A note on each of the signals that has later stamps than at training."""
    recorded = {record["name"]: record["hash"] for record in run.manifest["data"].get("signals", ())}
    return [
        f"Signals {signals.name} have later stamps than at training; the earlier values are unchanged."
        for signals in prices.signals
        if signals.source.hash != recorded.get(signals.name)
    ]
