"""The measures of performance: their names, units and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """Name, unit and format of a measure, for reports, dashboards and the command line."""

    label: str
    unit: Literal["percent", "ratio", "bps"]
    digits: int
    meaning: str
    higher_is_better: bool | None = True


MEASURES: dict[str, Measure] = {
    "total_return": Measure("Total return", "percent", 1, "growth of the portfolio over the whole period"),
    "cagr": Measure("Annual growth", "percent", 1, "compound annual growth rate"),
    "volatility": Measure(
        "Volatility", "percent", 1, "annualised standard deviation of returns", higher_is_better=None
    ),
    "sharpe": Measure("Sharpe ratio", "ratio", 2, "annualised mean excess return over standard deviation"),
    "sortino": Measure("Sortino ratio", "ratio", 2, "annualised mean excess return over downside deviation"),
    "max_drawdown": Measure(
        "Maximum drawdown", "percent", 1, "largest fall from a peak of the compounded value"
    ),
    "calmar": Measure("Calmar ratio", "ratio", 2, "annual growth over maximum drawdown"),
    "cvar_5": Measure("CVaR 5 %", "percent", 2, "mean return of the worst 5 % of periods (historical)"),
    "hit_rate": Measure("Hit rate", "percent", 1, "share of periods with a positive return"),
    "skew": Measure("Skewness", "ratio", 2, "asymmetry of returns; negative is a heavier loss tail"),
    "kurtosis": Measure(
        "Excess kurtosis",
        "ratio",
        1,
        "weight of the tails; 0 for a normal distribution",
        higher_is_better=None,
    ),
    "turnover": Measure(
        "Annual turnover", "percent", 0, "half the traded value per year, as a share of the portfolio", None
    ),
    "break_even_bps": Measure(
        "Break-even cost", "bps", 1, "cost per unit traded at which the mean net return is zero"
    ),
}

#: Estimates of the return above the reference (`trading_app.evaluation.active`).
ACTIVE_MEASURES: dict[str, Measure] = {
    "active_return": Measure(
        "Return above the reference, a year", "percent", 2, "mean difference of the returns, after costs"
    ),
    "alpha": Measure(
        "Alpha, a year",
        "percent",
        2,
        "mean return that is not explained by beta times the return of the reference",
    ),
    "beta": Measure("Beta", "ratio", 2, "change of the return when the reference's changes by one", None),
    "tracking_error": Measure(
        "Tracking error, a year", "percent", 2, "standard deviation of the return above the reference", None
    ),
    "information_ratio": Measure(
        "Information ratio", "ratio", 2, "return above the reference over tracking error, annualised"
    ),
    "break_even_bps": Measure(
        "Break-even cost of the difference",
        "bps",
        1,
        "cost per unit traded at which the mean return above the reference is zero",
    ),
}

#: Regimes of the reference (`trading_app.evaluation.active.market_regimes`): label and meaning.
REGIMES = {
    "up": ("In rising months", "in months in which the reference gained"),
    "down": ("In falling months", "in months in which the reference lost"),
    "calm": ("In calm sessions", "after a quarter of a year of volatility below the median"),
    "turbulent": ("In turbulent sessions", "after a quarter of a year of volatility above the median"),
}


def format_measure(name: str, value: float | None) -> str:
    """Return a value of a measure of `MEASURES` with its unit and precision; an en dash if it is undefined."""
    measure = MEASURES[name]
    return format_number(value, measure.unit, measure.digits)


def format_number(value: float | None, unit: Literal["percent", "ratio", "bps"], digits: int) -> str:
    """Return a number with a true minus sign, thousands separated by narrow spaces, and its unit."""
    if value is None or value != value:
        return "–"
    scaled = value * 100 if unit == "percent" else value
    if abs(scaled) >= {"percent": 1000, "bps": 100, "ratio": 1000}[unit]:
        digits = 0
    text = f"{scaled:,.{digits}f}".replace(",", "\u202f")
    text = text.removeprefix("-") if float(f"{scaled:.{digits}f}") == 0 else text.replace("-", "\u2212")
    return text + {"percent": "\u202f%", "ratio": "", "bps": "\u202fbp"}[unit]
