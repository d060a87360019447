"""Tables of a report as rows of formatted text, for the page and the dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trading_app.backtesting.summary import kind_of
from trading_app.evaluation.labels import (
    ACTIVE_MEASURES,
    MEASURES,
    REGIMES,
    format_measure,
    format_number,
)
from trading_app.evaluation.metrics import worst_drawdowns
from trading_app.report.figures.portfolio import COST_LABELS
from trading_app.report.theme import label_of
from trading_app.report.verdict import p_value, percent_chance

HEADLINES = ("cagr", "sharpe", "volatility", "max_drawdown", "turnover", "break_even_bps")
SEED_MEASURES = ("cagr", "volatility", "sharpe", "sortino", "max_drawdown", "turnover")


@dataclass(frozen=True)
class Cell:
    """A value and, in small print, its qualification."""

    text: str
    note: str = ""


Row = tuple[str, tuple[Cell, ...]]


@dataclass(frozen=True)
class Table:
    """Column heads, rows that begin with their own head, and a caption for screen readers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    foot: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Headline:
    """A measure of the subject and of the reference."""

    label: str
    value: str
    interval: str
    reference: str
    meaning: str


def headlines(document: Mapping[str, Any], subject: str, reference: str | None) -> list[Headline]:
    """Return the measures at the top of a report."""
    own = document["strategies"][subject]
    other = document["strategies"].get(reference, {}).get("metrics", {})
    rows = []
    for name in HEADLINES:
        if name not in own["metrics"]:
            continue
        shown = (
            f"{label_of(reference)} {format_measure(name, other.get(name))}" if reference and other else ""
        )
        rows.append(
            Headline(
                MEASURES[name].label,
                format_measure(name, own["metrics"][name]),
                interval_text(name, own["intervals"].get(name)),
                shown,
                MEASURES[name].meaning,
            )
        )
    return rows


def backtest_tables(document: Mapping[str, Any], equity: pd.Series, costs: pd.DataFrame) -> dict[str, Table]:
    """Return the tables of a backtest by name, those of equity and costs (may be empty) for one strategy."""
    made = {"measures": measures_table(document), "drawdowns": drawdowns_table(equity)}
    if len(costs):
        made["costs"] = costs_table(costs, equity, document["periods"])
    if evidence := evidence_table(document):
        made["evidence"] = evidence
    if benchmark := benchmark_table(document):
        made["benchmark"] = benchmark
    if document.get("comparisons"):
        made["comparisons"] = comparisons_table(document)
    if seeds := seeds_table(document):
        made["seeds"] = seeds
    return made


def measures_table(document: Mapping[str, Any]) -> Table:
    """Every measure of the agent and the baselines, with intervals."""
    strategies = {name: entry for name, entry in document["strategies"].items() if kind_of(name) != "seed"}
    rows = []
    for measure, about in MEASURES.items():
        if not any(measure in entry["metrics"] for entry in strategies.values()):
            continue
        cells = tuple(
            Cell(
                format_measure(measure, entry["metrics"].get(measure)),
                interval_text(measure, entry["intervals"].get(measure)),
            )
            for entry in strategies.values()
        )
        rows.append((about.label, cells))
    level = format_number(document["level"], "percent", 0)
    return Table(
        f"Measures of each strategy with {level} intervals", tuple(map(label_of, strategies)), tuple(rows)
    )


def comparisons_table(document: Mapping[str, Any]) -> Table:
    """The agent against each baseline: differences with intervals, probability, SPA p-value."""
    tests = {test["benchmark"]: test for test in document.get("spa", [])}
    words = {"better": "higher", "worse": "lower", "indistinguishable": "open"}
    rows = []
    for entry in document.get("comparisons", []):
        test = tests.get(entry["baseline"])
        cells = (
            Cell(
                format_number(entry["sharpe_difference"], "ratio", 2),
                _span(entry["sharpe_low"], entry["sharpe_high"], "ratio", 2),
            ),
            Cell(words[entry["verdict"]]),
            Cell(
                format_number(entry["excess_return"], "percent", 1),
                _span(entry["excess_low"], entry["excess_high"], "percent", 1),
            ),
            Cell(percent_chance(entry["probability_ahead"])),
            Cell("–" if test is None else p_value(test).removeprefix("p = ").removeprefix("p ")),
        )
        rows.append((label_of(entry["baseline"]), cells))
    columns = (
        "Sharpe difference",
        "Finding",
        "Mean excess a year",
        "Chance mean is higher",
        "SPA p-value",
    )
    return Table("The agent against each baseline", columns, tuple(rows))


def evidence_table(document: Mapping[str, Any]) -> Table | None:
    """What the return above the reference is worth, and what it depends on; None without a reference."""
    above = document.get("above_reference") or {}
    if "estimates" not in above:
        return None
    rows = _estimate_rows(above)
    trials = document.get("trials", 1)
    chance = "chance that the true information ratio is above " + (
        "zero" if trials == 1 else f"the best that luck gives {trials} settings"
    )
    rows.append(("Deflated Sharpe ratio", (Cell(percent_chance(above["deflated_sharpe"])), Cell(chance))))
    if document.get("overfitting") is not None:
        meaning = f"probability that the best of the {trials} settings is below their median on other dates"
        rows.append(("Overfitting", (Cell(percent_chance(document["overfitting"])), Cell(meaning))))
    rows += _distance_rows(document, above["active_share"])
    unit, digits = ACTIVE_MEASURES["active_return"].unit, ACTIVE_MEASURES["active_return"].digits
    rows += _regime_rows(above)
    drop = above["drop_one"]
    meaning = f"return above the reference, a year, less the contribution of {drop['symbol']}, on which it depends most"
    rows.append((f"Without {drop['symbol']}", _estimate_cells(drop["without"], unit, digits, meaning)))
    rows += _capacity_rows(above["capacity"])
    level = format_number(document["level"], "percent", 0)
    title = f"Above {label_of(document['reference']).lower()}: size and sources, with {level} intervals"
    return Table(title, ("Value", "Meaning"), tuple(rows))


def benchmark_table(document: Mapping[str, Any]) -> Table | None:
    """Return above a benchmark that is a series, as an index; None without one."""
    above = document.get("above_benchmark")
    if above is None:
        return None
    level = format_number(document["level"], "percent", 0)
    title = f"Above the benchmark {above['name']}, which is the reference here, with {level} intervals"
    return Table(title, ("Value", "Meaning"), (*_estimate_rows(above), *_regime_rows(above)))


def _estimate_rows(above: Mapping[str, Any]) -> list[Row]:
    return [
        (about.label, _estimate_cells(above["estimates"][name], about.unit, about.digits, about.meaning))
        for name, about in ACTIVE_MEASURES.items()
    ]


def _regime_rows(above: Mapping[str, Any]) -> list[Row]:
    about = ACTIVE_MEASURES["active_return"]
    rows: list[Row] = []
    for name, entry in above["regimes"].items():
        label, when = REGIMES[name]
        meaning = f"return above the reference, a year, {when} ({entry['sessions']} sessions)"
        rows.append((label, _estimate_cells(entry["active_return"], about.unit, about.digits, meaning)))
    return rows


def _estimate_cells(estimate: Mapping[str, Any], unit: Any, digits: int, meaning: str) -> tuple[Cell, Cell]:
    span = _span(estimate["low"], estimate["high"], unit, digits)
    return Cell(format_number(estimate["value"], unit, digits), span), Cell(meaning)


def _distance_rows(document: Mapping[str, Any], held: float) -> list[Row]:
    rows: list[Row] = [
        (
            "Distance from the reference",
            (
                Cell(format_number(held, "percent", 1)),
                Cell("mean active share: half the sum of the differences of the weights held"),
            ),
        )
    ]
    departure = document.get("departure")
    if departure is None:
        return rows
    meaning = "mean active share of the seeds' average from their base portfolio"
    rows.append(
        (
            "Distance from the base",
            (Cell(format_number(departure["active_share"], "percent", 1)), Cell(meaning)),
        )
    )
    meaning = (
        "part of a seed's squared active weights that all seeds share (signal); the rest is its own (noise)"
    )
    rows.append(("Shared by the seeds", _estimate_cells(departure["shared"], "percent", 0, meaning)))
    return rows


def _capacity_rows(capacity: Mapping[str, Any]) -> list[Row]:
    if capacity["reason"] is not None:
        return [("Capacity", (Cell("–"), Cell(f"not measured: {capacity['reason']}")))]
    limit, points = capacity["limit"], capacity["points"]
    largest = _money(points[-1]["capital"])
    meaning = "size of the account at which market impact makes the return above the reference zero"
    if limit is None:
        positive = points[0]["active_return"]["value"] > 0
        meaning = f"return above the reference {'still positive at' if positive else 'not positive below'} {largest}"
    rows: list[Row] = [("Capacity", (Cell("–" if limit is None else _money(limit)), Cell(meaning)))]
    about = ACTIVE_MEASURES["active_return"]
    for point in points:
        cells = _estimate_cells(
            point["active_return"],
            about.unit,
            about.digits,
            f"return above the reference, a year; own mean return {format_number(point['net_return'], 'percent', 2)}",
        )
        rows.append((f"With {_money(point['capital'])}", cells))
    return rows


def _money(amount: float) -> str:
    """Return an amount of currency with three significant digits, thousands separated."""
    return f"{float(f'{amount:.3g}'):,.0f}".replace(",", "\u202f")


def seeds_table(document: Mapping[str, Any]) -> Table | None:
    """Each seed, and their interquartile mean with its interval; None without seeds."""
    seeds = {name: entry for name, entry in document["strategies"].items() if entry["kind"] == "seed"}
    if not seeds:
        return None
    measures = [name for name in SEED_MEASURES if name in next(iter(seeds.values()))["metrics"]]
    rows = tuple(
        (label_of(name), tuple(Cell(format_measure(m, entry["metrics"][m])) for m in measures))
        for name, entry in seeds.items()
    )
    spread = document.get("seeds", {})
    foot = tuple(
        Cell(
            format_measure(m, spread[m]["mean"]) if m in spread else "–",
            _span(spread[m]["low"], spread[m]["high"], MEASURES[m].unit, MEASURES[m].digits)
            if m in spread
            else "",
        )
        for m in measures
    )
    columns = tuple(MEASURES[m].label for m in measures)
    return Table("Each seed alone", columns, rows, (("Interquartile mean", foot),) if len(seeds) > 1 else ())


def drawdowns_table(equity: pd.Series) -> Table:
    """Deepest drawdowns: depth, dates and length."""
    rows = []
    for number, fall in enumerate(worst_drawdowns(equity).to_dict("records"), start=1):
        recovery = "not yet" if pd.isna(fall["recovery"]) else f"{fall['recovery']:%d %b %Y}"
        cells = (
            Cell(format_number(fall["depth"], "percent", 1)),
            Cell(f"{fall['peak']:%d %b %Y}"),
            Cell(f"{fall['trough']:%d %b %Y}"),
            Cell(recovery),
            Cell(f"{fall['periods']:,}".replace(",", "\u202f")),
        )
        rows.append((str(number), cells))
    return Table("Deepest drawdowns", ("Depth", "Peak", "Trough", "Recovery", "Sessions"), tuple(rows))


def costs_table(costs: pd.DataFrame, equity: pd.Series, periods: int) -> Table:
    """Return each component of the profit: over the whole period and for one year.

    Costs are date × component in units of the account's start; equity is the value of the account at each close.
    """
    before = equity.shift(1).iloc[1:].to_numpy(dtype=np.float64)
    rows = []
    for name, label in COST_LABELS.items():
        sign = -1.0 if name in ("commission", "spread", "impact", "borrow") else 1.0
        series = sign * costs[name].iloc[1:].to_numpy(dtype=np.float64)
        yearly = (
            float(np.mean(np.where(before > 0, series / np.where(before > 0, before, 1.0), 0.0))) * periods
        )
        total = sign * float(costs[name].sum())
        rows.append(
            (label, (Cell(format_number(total, "percent", 2)), Cell(format_number(1e4 * yearly, "bps", 0))))
        )
    net = Cell(format_number(float(equity.iloc[-1] / equity.iloc[0] - 1), "percent", 2))
    mean = float(equity.pct_change().iloc[1:].fillna(0.0).mean()) * periods
    foot = (("Net", (net, Cell(format_number(1e4 * mean, "bps", 0)))),)
    columns = ("Of the starting capital", "Of the account, a year")
    return Table("Profit by source", columns, tuple(rows), foot)


def interval_text(measure: str, bounds: list[float | None] | None) -> str:
    """``low to high`` in the measure's unit; empty where there is no interval."""
    if bounds is None or None in bounds:
        return ""
    return _span(bounds[0], bounds[1], MEASURES[measure].unit, MEASURES[measure].digits)


def _span(low: float | None, high: float | None, unit: Any, digits: int) -> str:
    if low is None or high is None:
        return ""
    first = format_number(low, unit, digits)
    suffix = {"percent": "\u202f%", "bps": "\u202fbp", "ratio": ""}[unit]
    return f"{first.removesuffix(suffix)} to {format_number(high, unit, digits)}"
