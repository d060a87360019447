"""Every figure of reports and dashboards: pure functions from data to a Plotly figure, one a picture.

Each takes data frames or plain values and a theme, and has a title that says what it shows; none reads files.
Long series are thinned to what the eye sees. ``layout.meta["narrow"]`` of a figure, where there is one, says
what to change on a narrow screen (path → value).
"""

from __future__ import annotations

from trading_app.report.figures.allocation import allocation_bars, change_bars
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
    "DARK",
    "LIGHT",
    "THEMES",
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
