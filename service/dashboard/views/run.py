"""Figures of a backtest in a range of dates, on the page *Run* and on the page of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from service.core.problems import Problem
from service.dashboard.figures import PageFigure
from trading_app.files import RunError, read_json
from trading_app.report.data import ReportData, load_report_data, training_progress
from trading_app.report.figures.backtest import BACKTEST_FIGURES, BacktestFigure, BacktestView
from trading_app.report.figures.calendar import calendar_returns
from trading_app.report.figures.contribution import contributions
from trading_app.report.figures.significance import metric_label, training_curve
from trading_app.report.page import CURVES, HALF, training_metrics
from trading_app.report.theme import HEIGHT, Focus, Theme
from trading_app.runs.backtests import load_backtest
from trading_app.runs.run import Run

#: Fewest sessions of a range: rolling measures and months need them.
FEWEST = 20
#: Heights of figures in pixels, where they differ from the usual one.
HEIGHTS = {
    "equity": 440,
    "rolling": 540,
    "weights": 400,
    "weights-map": 430,
    "contribution": 460,
    "folds": 140,
}


@dataclass(frozen=True)
class ShownBacktest:
    """A whole backtest, the strategy shown in the range of dates shown, and whether that is the whole range."""

    data: ReportData
    view: BacktestView
    whole: bool = True


def load_shown(run: Run, strategy: str | None, start: date | None, end: date | None) -> ShownBacktest:
    """Read a run's backtest; it is cached until the run is backtested again.

    Raises `Problem` ``invalid-request`` for a strategy or range that the backtest does not have; `RunError` if there is
    no backtest.
    """
    stamp = backtested_at(run)
    data = _data(run.path, stamp)
    name = strategy or data.subject
    if name not in data.document["strategies"]:
        known = ", ".join(data.document["strategies"])
        raise Problem(
            "invalid-request", f"strategy {name!r} is not in the backtest of {run.name}; it has {known}"
        )
    view = data.view_of(name, *_parts(run.path, stamp, name))
    return in_range(ShownBacktest(data, view), start, end)


def backtested_at(run: Run) -> int:
    """Time of a run's backtest in nanoseconds; a cache of its content is valid as long as it stays the same.

    Raises `RunError` if there is no backtest.
    """
    try:
        return (run.path / "metrics.json").stat().st_mtime_ns
    except FileNotFoundError:
        raise RunError(without_backtest(run)) from None


def without_backtest(run: Run) -> str:
    """Return the sentence on a run without a backtest: the command that comes next."""
    try:
        run.require_finished()
    except RunError as error:
        return str(error)
    return f"run {run.name!r} has no backtest yet; `equitrade backtest {run.name}` makes one"


def in_range(whole: ShownBacktest, start: date | None, end: date | None) -> ShownBacktest:
    """The backtest between two dates, with accounts that start at 1.

    Raises `Problem` ``invalid-request`` if there are too few sessions between them.
    """
    view = whole.view
    equity = view.equity.loc[_stamp(start) : _stamp(end)]
    if len(equity) == len(view.equity):
        return whole
    if len(equity) < FEWEST:
        first, last = view.equity.index[0], view.equity.index[-1]
        raise Problem(
            "invalid-request",
            f"from {start or 'the start'} to {end or 'the end'} there are {len(equity)} sessions, at least {FEWEST} "
            f"are needed; the backtest runs from {first:%Y-%m-%d} to {last:%Y-%m-%d}",
        )
    initial = float(equity[view.strategy].iloc[0])
    dates = slice(equity.index[0], equity.index[-1])
    costs, gains = view.costs.loc[dates], _without_first(view.gains.loc[dates] / initial)
    if len(costs):
        shares = {name: costs[name] / initial for name in costs.columns if name != "turnover"}
        costs = _without_first(costs.assign(**shares))
    sums = costs.drop(columns="turnover", errors="ignore").sum()
    cut = replace(
        view,
        equity=equity / equity.iloc[0],
        weights=view.weights.loc[dates],
        costs=costs,
        gains=gains,
        totals={str(name): float(total) for name, total in sums.items()} if len(costs) else view.totals,
    )
    return ShownBacktest(whole.data, cut, whole=False)


def _without_first(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with zeros in its first row: what happened up to the first close lies before the range."""
    frame = frame.copy()
    frame.iloc[:1] = 0.0
    return frame


def backtest_figures(view: BacktestView, *, log: bool = True, focus: Focus = None) -> list[PageFigure]:
    """Every figure of a backtest, in the order of the page; those over time in detail for the dates in focus."""
    view = replace(view, log=log)
    return [
        PageFigure(
            name,
            entry.title,
            partial(_draw, entry, view, focus),
            partial(TABLES[name], view),
            wide=name not in HALF or (name == "sharpe-intervals" and not view.document.get("comparisons")),
            height=HEIGHTS.get(name, HEIGHT),
            has_log_axis=name == "equity",
            zooms_in=entry.focusable,
        )
        for name, entry in BACKTEST_FIGURES.items()
        if entry.available(view)
    ]


def _draw(entry: BacktestFigure, view: BacktestView, focus: Focus, theme: Theme) -> go.Figure:
    return entry.draw(view, theme, focus)


def progress_figures(run: Run) -> Iterator[PageFigure]:
    """Figures of a run before its backtest: its training curves."""
    yield from training_figures(training_progress(run))


def training_figures(progress: pd.DataFrame, limit: int | None = CURVES) -> Iterator[PageFigure]:
    """A figure of each of the main training quantities, or of all without a limit."""
    for metric in training_metrics(progress, limit):

        def curve(theme: Theme, metric: str = metric) -> Any:
            return training_curve(progress, metric, theme=theme)

        def table(metric: str = metric) -> pd.DataFrame:
            keys = [name for name in ("fold", "step", "seed") if name in progress]
            return progress.dropna(subset=[metric])[[*keys, metric]].reset_index(drop=True)

        name = f"training-{metric.replace('/', '-').replace('_', '-')}"
        yield PageFigure(name, metric_label(metric), curve, table, wide=False, height=280)


def measures(entries: Mapping[str, Any], heading: str = "strategy") -> pd.DataFrame:
    """Every measure of every strategy with its interval, a row each; the heading is that of the names."""
    rows = []
    for name, entry in entries.items():
        for measure, value in entry["metrics"].items():
            low, high = entry["intervals"].get(measure) or (None, None)
            rows.append({heading: name, "measure": measure, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def fold_table(folds: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
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
    columns = {str(name): calendar_returns(returns[name], frequency) for name in returns.columns}
    return pd.DataFrame(columns).rename_axis("period")


def _exposure(weights: pd.DataFrame) -> pd.DataFrame:
    net = weights.sum(axis=1)
    return pd.DataFrame({"gross": weights.abs().sum(axis=1), "net": net, "cash": 1 - net})


def _waterfall(view: BacktestView) -> pd.DataFrame:
    return view.costs if len(view.costs) else pd.DataFrame([dict(view.totals)])


#: The data behind each figure of `BACKTEST_FIGURES`, as the page offers it for download.
TABLES: Mapping[str, Callable[[BacktestView], pd.DataFrame]] = {
    "equity": lambda view: view.equity,
    "drawdown": lambda view: view.equity / view.equity.cummax() - 1,
    "sharpe-intervals": lambda view: measures(view.document["strategies"]),
    "sharpe-differences": lambda view: pd.DataFrame(view.document["comparisons"]),
    "rolling": lambda view: view.returns,
    "monthly": lambda view: _calendar(view.returns[view.pair], "M"),
    "yearly": lambda view: _calendar(view.returns[view.pair], "Y"),
    "distribution": lambda view: view.returns[view.pair],
    "weights": lambda view: view.weights,
    "weights-map": lambda view: view.weights,
    "contribution": lambda view: view.gains,
    "exposure": lambda view: _exposure(view.weights),
    "turnover": lambda view: view.costs[["turnover"]],
    "waterfall": _waterfall,
    "folds": lambda view: fold_table(view.folds),
}


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
