"""Figures of a backtest by name: one table for the report and the dashboards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trading_app.report.figures.calendar import monthly_heatmap, return_distribution, yearly_bars
from trading_app.report.figures.contribution import contribution_bars, fold_strip
from trading_app.report.figures.performance import drawdown, equity_curve, rolling
from trading_app.report.figures.portfolio import (
    cost_waterfall,
    exposure,
    turnover_bars,
    weights_area,
    weights_heatmap,
)
from trading_app.report.figures.significance import sharpe_differences, sharpe_intervals
from trading_app.report.theme import Focus, Theme


@dataclass(frozen=True)
class BacktestView:
    """One strategy of a backtest and its reference, in a range of dates, as figures show it.

    ``document`` is the evidence (`trading_app.backtesting.summary`). ``equity`` is date × strategy, each starting at 1.
    ``weights``, ``costs`` and ``gains`` (`trading_app.report.figures.contribution.contributions`) are those of the
    strategy, empty where they were not saved; ``totals`` are profit components summed over the range, in units of the
    account's value at its start. ``folds`` are dates of training, validation and test. ``log`` is the axis of growth.
    """

    document: Mapping[str, Any]
    strategy: str
    reference: str | None
    equity: pd.DataFrame
    weights: pd.DataFrame
    costs: pd.DataFrame
    gains: pd.DataFrame
    totals: Mapping[str, float]
    folds: Sequence[Mapping[str, Any]] = ()
    log: bool = True

    @property
    def returns(self) -> pd.DataFrame:
        """Returns from close to close, date × strategy; 0 after ruin."""
        return self.equity.pct_change().iloc[1:].fillna(0.0)

    @property
    def pair(self) -> list[str]:
        """The strategy and its reference, if it has one."""
        return [self.strategy] + ([self.reference] if self.reference else [])


Draw = Callable[[BacktestView, Theme, Focus], go.Figure]


@dataclass(frozen=True)
class BacktestFigure:
    """A figure of a backtest with a short title, for navigation and tables.

    ``draw`` makes it from a view, a theme and the dates in focus. ``needs`` returns the part of the view without
    which the figure is left out. ``focusable``: zooming in redraws it with more detail.
    """

    title: str
    draw: Draw
    needs: Callable[[BacktestView], Sized] = lambda view: view.equity
    focusable: bool = False

    def available(self, view: BacktestView) -> bool:
        """Return whether the view has what the figure needs."""
        return bool(len(self.needs(view)))


def _equity(view: BacktestView, theme: Theme, focus: Focus) -> go.Figure:
    return equity_curve(view.equity, reference=view.reference, log=view.log, focus=focus, theme=theme)


def _drawdown(view: BacktestView, theme: Theme, focus: Focus) -> go.Figure:
    return drawdown(view.equity, strategy=view.strategy, reference=view.reference, focus=focus, theme=theme)


def _intervals(view: BacktestView, theme: Theme, focus: Focus) -> go.Figure:
    found = view.document
    reference = found.get("reference")
    return sharpe_intervals(found["strategies"], level=found["level"], reference=reference, theme=theme)


def _rolling(view: BacktestView, theme: Theme, focus: Focus) -> go.Figure:
    pair: dict[str, Any] = {"strategy": view.strategy, "reference": view.reference}
    return rolling(view.returns, **pair, periods=view.document["periods"], focus=focus, theme=theme)


def _turnover(view: BacktestView, theme: Theme, focus: Focus) -> go.Figure:
    return turnover_bars(view.costs["turnover"], periods=view.document["periods"], theme=theme)


#: Every figure of a backtest by name, in the order of the page.
BACKTEST_FIGURES: Mapping[str, BacktestFigure] = {
    "equity": BacktestFigure("Growth of 1, after costs", _equity, focusable=True),
    "drawdown": BacktestFigure("Drawdown", _drawdown, focusable=True),
    "sharpe-intervals": BacktestFigure("Sharpe ratio with intervals", _intervals),
    "sharpe-differences": BacktestFigure(
        "Sharpe ratio minus each baseline's",
        lambda view, theme, focus: sharpe_differences(view.document["comparisons"], theme=theme),
        lambda view: view.document.get("comparisons", ()),
    ),
    "rolling": BacktestFigure("Rolling Sharpe ratio, volatility and beta", _rolling, focusable=True),
    "monthly": BacktestFigure(
        "Monthly returns",
        lambda view, theme, focus: monthly_heatmap(view.returns[view.strategy], theme=theme),
    ),
    "yearly": BacktestFigure(
        "Yearly returns",
        lambda view, theme, focus: yearly_bars(view.returns[view.pair], theme=theme),
    ),
    "distribution": BacktestFigure(
        "Daily returns",
        lambda view, theme, focus: return_distribution(view.returns[view.strategy], theme=theme),
    ),
    "weights": BacktestFigure(
        "Weights over time",
        lambda view, theme, focus: weights_area(view.weights, focus=focus, theme=theme),
        lambda view: view.weights,
        focusable=True,
    ),
    "weights-map": BacktestFigure(
        "Weight of each asset",
        lambda view, theme, focus: weights_heatmap(view.weights, focus=focus, theme=theme),
        lambda view: view.weights,
        focusable=True,
    ),
    "contribution": BacktestFigure(
        "Contribution of each asset",
        lambda view, theme, focus: contribution_bars(view.gains, theme=theme),
        lambda view: view.gains,
    ),
    "exposure": BacktestFigure(
        "Exposure",
        lambda view, theme, focus: exposure(view.weights, focus=focus, theme=theme),
        lambda view: view.weights,
        focusable=True,
    ),
    "turnover": BacktestFigure("Turnover", _turnover, lambda view: view.costs),
    "waterfall": BacktestFigure(
        "From gross to net profit",
        lambda view, theme, focus: cost_waterfall(view.totals, theme=theme),
        lambda view: view.totals,
    ),
    "folds": BacktestFigure(
        "Training, validation and test dates",
        lambda view, theme, focus: fold_strip(view.folds, theme=theme),
        lambda view: view.folds,
    ),
}
