"""Figures of reports and dashboards: pure functions from data frames or plain values and a theme to a Plotly figure.

None reads files. The title of a figure states its main result. Long series are thinned to the resolution of a screen.
``layout.meta["narrow"]`` of a figure maps paths to the values that they have on a narrow screen. `BACKTEST_FIGURES` is
the table of all figures of a backtest.
"""

from __future__ import annotations

from trading_app.report.figures.allocation import allocation_bars, change_bars
from trading_app.report.figures.backtest import BACKTEST_FIGURES, BacktestFigure, BacktestView
from trading_app.report.figures.calendar import (
    calendar_returns,
    monthly_heatmap,
    return_distribution,
    yearly_bars,
)
from trading_app.report.figures.comparison import run_curves, run_differences, run_measures
from trading_app.report.figures.contribution import contribution_bars, contributions, fold_strip
from trading_app.report.figures.performance import drawdown, equity_curve, rolling
from trading_app.report.figures.portfolio import (
    cost_waterfall,
    exposure,
    turnover_bars,
    weights_area,
    weights_heatmap,
)
from trading_app.report.figures.significance import measure_intervals, sharpe_differences, training_curve
from trading_app.report.theme import DARK, LIGHT, THEMES, Theme, theme_named

__all__ = [
    "BACKTEST_FIGURES",
    "DARK",
    "LIGHT",
    "THEMES",
    "BacktestFigure",
    "BacktestView",
    "Theme",
    "allocation_bars",
    "calendar_returns",
    "change_bars",
    "contribution_bars",
    "contributions",
    "cost_waterfall",
    "drawdown",
    "equity_curve",
    "exposure",
    "fold_strip",
    "measure_intervals",
    "monthly_heatmap",
    "return_distribution",
    "rolling",
    "run_curves",
    "run_differences",
    "run_measures",
    "sharpe_differences",
    "theme_named",
    "training_curve",
    "turnover_bars",
    "weights_area",
    "weights_heatmap",
    "yearly_bars",
]
