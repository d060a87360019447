"""Figures of a backtest in a range of dates: those of the report, on the page *Run* and on a job's result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from service.core.problems import Problem
from service.dashboard.figures import PageFigure
from trading_app.files import RunError, read_json
from trading_app.report import figures
from trading_app.report.data import ReportData, load_report_data, training_progress
from trading_app.report.figures.contribution import contributions
from trading_app.report.figures.significance import metric_label
from trading_app.report.page import CURVES, training_metrics
from trading_app.runs.backtests import load_backtest
from trading_app.runs.run import Run

if TYPE_CHECKING:
    from trading_app.report.theme import Focus, Theme

#: Fewest sessions that rolling measures and months say anything of.
FEWEST = 20


@dataclass(frozen=True)
class Backtested:
    """A backtest as pages show it: what `trading_app.runs.backtests` keeps, in a range of dates.

    Attributes
    ----------
    data : ReportData
        The whole backtest.
    strategy : str
        The strategy looked at.
    equity : DataFrame
        Date × strategy in the range, each starting at 1.
    weights, costs, gains : DataFrame or None
        Of the strategy, in the range; None where a backtest does not keep them.
    whole : bool
        Whether the range is the whole backtest.
    """

    data: ReportData
    strategy: str
    equity: pd.DataFrame = field(repr=False)
    weights: pd.DataFrame | None = field(repr=False, default=None)
    costs: pd.DataFrame | None = field(repr=False, default=None)
    gains: pd.DataFrame | None = field(repr=False, default=None)
    whole: bool = True

    @property
    def reference(self) -> str | None:
        """The baseline to hold the strategy against."""
        reference = self.data.document.get("reference")
        return None if reference == self.strategy else reference

    @property
    def returns(self) -> pd.DataFrame:
        """Returns in the range, date × strategy."""
        return self.equity.pct_change().iloc[1:].fillna(0.0)

    @property
    def totals(self) -> Mapping[str, float]:
        """Components of the profit in the range, in units of the account's value at its begin."""
        if self.whole or self.costs is None:
            totals: Mapping[str, float] = self.data.document["strategies"][self.strategy]["totals"]
            return totals
        return {str(name): float(total) for name, total in self.costs.drop(columns="turnover").sum().items()}


def load_backtested(run: Run, strategy: str | None, start: date | None, end: date | None) -> Backtested:
    """Read a run's backtest; what was read last is kept until the run is backtested again.

    Raises
    ------
    Problem
        ``invalid-request`` for a strategy or range that the backtest does not have.
    RunError
        If there is no backtest.
    """
    stamp = opened(run)
    data = _data(run.path, stamp)
    name = strategy or data.subject
    if name not in data.document["strategies"]:
        raise Problem(
            "invalid-request", f"strategy {name!r}: the backtest of {run.name} has none of this name"
        )
    weights, costs, gains = _parts(run.path, stamp, name)
    return cut(Backtested(data, name, data.equity, weights, costs, gains), start, end)


def opened(run: Run) -> int:
    """When a run was backtested, to keep what was read until it is again.

    Raises
    ------
    RunError
        If there is no backtest.
    """
    try:
        return (run.path / "metrics.json").stat().st_mtime_ns
    except FileNotFoundError:
        raise RunError(
            f"run {run.name!r} has no backtest yet; `equitrade backtest {run.name}` makes one"
        ) from None


def cut(whole: Backtested, start: date | None, end: date | None) -> Backtested:
    """The backtest between two dates, its accounts starting at 1 again."""
    equity = whole.equity.loc[_stamp(start) : _stamp(end)]
    if len(equity) == len(whole.equity):
        return whole
    if len(equity) < FEWEST:
        first, last = whole.equity.index[0], whole.equity.index[-1]
        raise Problem(
            "invalid-request",
            f"from {start or 'the begin'} to {end or 'the end'} there are {len(equity)} sessions, at least {FEWEST} "
            f"are needed; the backtest runs from {first:%Y-%m-%d} to {last:%Y-%m-%d}",
        )
    begin = float(equity[whole.strategy].iloc[0])

    def inside(frame: pd.DataFrame | None) -> pd.DataFrame | None:
        return None if frame is None else frame.loc[equity.index[0] : equity.index[-1]]

    costs, gains = inside(whole.costs), inside(whole.gains)
    if costs is not None:
        shares = {name: costs[name] / begin for name in costs.columns if name != "turnover"}
        costs = _from_second(costs.assign(**shares))
    if gains is not None:
        gains = _from_second(gains / begin)
    return Backtested(
        whole.data, whole.strategy, equity / equity.iloc[0], inside(whole.weights), costs, gains, whole=False
    )


def _from_second(frame: pd.DataFrame) -> pd.DataFrame:
    """What happened up to the first close lies before the range."""
    frame = frame.copy()
    frame.iloc[0] = 0.0
    return frame


def backtest_figures(shown: Backtested, *, log: bool = True, focus: Focus = None) -> list[PageFigure]:
    """Every figure of a backtest, in the order of the page; those over time in the detail of the dates in focus."""
    return [
        *_growth(shown, log, focus),
        *_evidence(shown),
        *_time(shown, focus),
        *_portfolio(shown, focus),
        *_training(shown),
    ]


def _growth(shown: Backtested, log: bool, focus: Focus) -> Iterator[PageFigure]:
    own, reference = shown.strategy, shown.reference

    def equity(theme: Theme) -> Any:
        return figures.equity_curve(shown.equity, reference=reference, log=log, focus=focus, theme=theme)

    def drawdown(theme: Theme) -> Any:
        return figures.drawdown(shown.equity, strategy=own, reference=reference, focus=focus, theme=theme)

    yield PageFigure(
        "equity",
        "Growth of 1, after costs",
        equity,
        lambda: shown.equity,
        height=440,
        has_log_axis=True,
        zooms_in=True,
    )
    yield PageFigure(
        "drawdown", "Drawdown", drawdown, lambda: shown.equity / shown.equity.cummax() - 1, zooms_in=True
    )


def _evidence(shown: Backtested) -> Iterator[PageFigure]:
    document = shown.data.document
    strategies, comparisons = document["strategies"], document.get("comparisons")

    def intervals(theme: Theme) -> Any:
        return figures.measure_intervals(
            strategies, level=document["level"], reference=document.get("reference"), theme=theme
        )

    yield PageFigure(
        "sharpe-intervals",
        "Sharpe ratio with intervals",
        intervals,
        lambda: measures(document),
        wide=not comparisons,
    )
    if comparisons:
        yield PageFigure(
            "sharpe-differences",
            "Sharpe ratio less each baseline's",
            lambda theme: figures.sharpe_differences(comparisons, theme=theme),
            lambda: pd.DataFrame(comparisons),
            False,
        )


def _time(shown: Backtested, focus: Focus) -> Iterator[PageFigure]:
    own, reference, periods = shown.strategy, shown.reference, shown.data.document["periods"]
    returns = shown.returns
    pair = returns[[own] + ([reference] if reference else [])]

    def rolling(theme: Theme) -> Any:
        return figures.rolling(
            returns, strategy=own, reference=reference, periods=periods, focus=focus, theme=theme
        )

    yield PageFigure(
        "rolling",
        "Rolling Sharpe ratio, volatility and beta",
        rolling,
        lambda: returns,
        height=440,
        zooms_in=True,
    )
    yield PageFigure(
        "monthly",
        "Monthly returns",
        lambda theme: figures.monthly_heatmap(returns[own], theme=theme),
        lambda: _calendar(pair, "M"),
    )
    yield PageFigure(
        "yearly",
        "Return of each year",
        lambda theme: figures.yearly_bars(pair, theme=theme),
        lambda: _calendar(pair, "Y"),
        False,
    )
    yield PageFigure(
        "distribution",
        "Daily returns",
        lambda theme: figures.return_distribution(returns[own], theme=theme),
        lambda: pair,
        False,
    )


def _portfolio(shown: Backtested, focus: Focus) -> Iterator[PageFigure]:
    weights, costs, gains, periods = shown.weights, shown.costs, shown.gains, shown.data.document["periods"]
    if weights is not None:
        yield PageFigure(
            "weights",
            "Weights over time",
            lambda theme: figures.weights_area(weights, focus=focus, theme=theme),
            lambda: weights,
            height=440,
            zooms_in=True,
        )
        yield PageFigure(
            "weights-map",
            "Each asset's weight",
            lambda theme: figures.weights_heatmap(weights, focus=focus, theme=theme),
            lambda: weights,
            height=440,
            zooms_in=True,
        )
    if gains is not None:
        yield PageFigure(
            "contribution",
            "Contribution of each asset",
            lambda theme: figures.contribution_bars(gains, theme=theme),
            lambda: gains,
            height=440,
        )
    if weights is not None:
        yield PageFigure(
            "exposure",
            "Exposure",
            lambda theme: figures.exposure(weights, focus=focus, theme=theme),
            lambda: _exposure(weights),
            False,
            zooms_in=True,
        )
    if costs is not None:
        turnover = costs["turnover"]
        yield PageFigure(
            "turnover",
            "Turnover",
            lambda theme: figures.turnover_bars(turnover, periods=periods, theme=theme),
            lambda: costs[["turnover"]],
            False,
        )
    yield PageFigure(
        "waterfall",
        "From gross to net",
        lambda theme: figures.cost_waterfall(shown.totals, theme=theme),
        lambda: costs if costs is not None else pd.DataFrame([dict(shown.totals)]),
    )


def _training(shown: Backtested) -> Iterator[PageFigure]:
    data = shown.data
    folds = data.folds
    if folds:
        yield PageFigure(
            "folds",
            "Dates: learned from, tested on",
            lambda theme: figures.fold_strip(folds, theme=theme),
            lambda: fold_table(folds),
            height=280,
        )
    yield from training_figures(data.progress)


def progress_figures(run: Run) -> Iterator[PageFigure]:
    """What can be shown of a run before its backtest: how its training goes."""
    yield from training_figures(training_progress(run))


def training_figures(progress: pd.DataFrame, limit: int | None = CURVES) -> Iterator[PageFigure]:
    """A picture of each quantity of training worth a look, or of each there is."""
    for metric in training_metrics(progress, limit):

        def curve(theme: Theme, metric: str = metric) -> Any:
            return figures.training_curve(progress, metric, theme=theme)

        def table(metric: str = metric) -> pd.DataFrame:
            keys = [name for name in ("fold", "step", "seed") if name in progress]
            return progress.dropna(subset=[metric])[[*keys, metric]].reset_index(drop=True)

        name = f"training-{metric.replace('/', '-').replace('_', '-')}"
        yield PageFigure(name, metric_label(metric), curve, table, wide=False, height=280)


def measures(document: Mapping[str, Any]) -> pd.DataFrame:
    """Every measure of every strategy with its interval, a row each."""
    rows = []
    for name, entry in document["strategies"].items():
        for measure, value in entry["metrics"].items():
            low, high = entry["intervals"].get(measure) or (None, None)
            rows.append({"strategy": name, "measure": measure, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def fold_table(folds: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Dates of folds, a row each."""
    return pd.DataFrame(
        [
            {"fold": k, "part": part, "start": span[0], "end": span[1]}
            for k, fold in enumerate(folds, start=1)
            for part, span in fold.items()
            if span
        ]
    )


def _calendar(returns: pd.DataFrame, frequency: str) -> pd.DataFrame:
    columns = {str(name): figures.calendar_returns(returns[name], frequency) for name in returns.columns}
    return pd.DataFrame(columns).rename_axis("period")


def _exposure(weights: pd.DataFrame) -> pd.DataFrame:
    net = weights.sum(axis=1)
    return pd.DataFrame({"gross": weights.abs().sum(axis=1), "net": net, "cash": 1 - net})


def _stamp(day: date | None) -> pd.Timestamp | None:
    return None if day is None else pd.Timestamp(day)


@lru_cache(maxsize=24)
def _data(path: Path, _stamp: int) -> ReportData:
    return load_report_data(_run(path))


@lru_cache(maxsize=24)
def _parts(path: Path, stamp: int, strategy: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Weights, costs and contributions of a strategy."""
    data = _data(path, stamp)
    saved = load_backtest(_run(path))
    weights, costs = saved.weights(strategy), saved.costs(strategy)
    return weights, costs, contributions(weights, data.equity[strategy], saved.trades(strategy))


def _run(path: Path) -> Run:
    return Run(path, read_json(path / "manifest.json"))
