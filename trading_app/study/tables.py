"""Tables of a study's results, as rows of text: for the command line and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trading_app.backtesting.summary import AGENT
from trading_app.evaluation.labels import format_number
from trading_app.study.comparisons import other_text
from trading_app.study.curves import PARTS
from trading_app.study.units import BASE, REFERENCES

__all__ = [
    "BASELINE_COLUMNS",
    "DATASET_COLUMNS",
    "LEARNING_COLUMNS",
    "UNIT_COLUMNS",
    "baseline_rows",
    "dataset_rows",
    "interval_text",
    "learning_rows",
    "unit_rows",
]

UNIT_COLUMNS = (
    "unit",
    "net Sharpe",
    *REFERENCES,
    "above reference a year",
    "deflated Sharpe",
    "turnover a year",
    "agreement",
    "folds at base",
)
DATASET_COLUMNS = (
    "other",
    "dataset",
    "Sharpe difference",
    "return difference a year",
    "of single seeds",
    "p",
    "Holm's p",
    "",
)
BASELINE_COLUMNS = ("dataset", "baseline", "net Sharpe", "growth a year", "turnover a year")
LEARNING_COLUMNS = ("unit", "dates", "first", "half", "last", "updates to 90 %")


def interval_text(estimate: Mapping[str, Any], *, percent: bool = False, signed: bool = True) -> str:
    """Return a value with its interval; a dash where it is undefined."""
    if estimate["value"] is None:
        return "–"
    value, low, high = (_number(estimate[key], percent, signed) for key in ("value", "low", "high"))
    return f"{value} ({low} … {high})"


def unit_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each unit that is done; the columns are `UNIT_COLUMNS`."""
    rows = []
    for name, unit in document["units"].items():
        metrics = unit["metrics"]
        low, high = unit["sharpe_interval"]
        sharpe = {"value": metrics[AGENT]["sharpe"], "low": low, "high": high}
        references = [metrics.get(name, {}).get("sharpe") for name in REFERENCES]
        known = [value for value in unit["agreement"] if value is not None]
        rows.append(
            [
                name,
                interval_text(sharpe, signed=False),
                *(_number(value) for value in references),
                interval_text(unit["active_return"], percent=True),
                _number(unit["deflated_sharpe"]),
                format_number(metrics[AGENT]["turnover"], "percent", 0),
                _number(sum(known) / len(known) if known else None),
                f"{sum(unit['held_base'])} of {len(unit['held_base'])}",
            ]
        )
    return rows


def dataset_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each comparison, over several datasets first; the columns are `DATASET_COLUMNS`."""
    rows = []
    for record in [*document["overall"], *document["comparisons"]]:
        where = record["dataset"] if "dataset" in record else f"{record['group']} {len(record['datasets'])}"
        difference, seeds = record.get("return_difference"), record.get("seed_difference")
        rows.append(
            [
                other_text(record),
                where,
                interval_text(record["sharpe_difference"]),
                "" if difference is None else interval_text(difference, percent=True),
                "" if seeds is None else interval_text(seeds),
                _probability(record["p"]),
                _probability(record["p_holm"]),
                record["verdict"],
            ]
        )
    return rows


def baseline_rows(units: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each dataset and baseline, from the dataset's first unit; the columns are `BASELINE_COLUMNS`."""
    rows, seen = [], set()
    for unit in units.values():
        if unit["dataset"] in seen:
            continue
        seen.add(unit["dataset"])
        for name, entry in unit["strategies"].items():
            if entry["kind"] != "baseline" or name == BASE:
                continue
            metrics, (low, high) = entry["metrics"], entry["intervals"]["sharpe"]
            sharpe = {"value": metrics["sharpe"], "low": low, "high": high}
            growth = format_number(metrics["cagr"], "percent", 1)
            turnover = format_number(metrics["turnover"], "percent", 0)
            rows.append([unit["dataset"], name, interval_text(sharpe, signed=False), growth, turnover])
    return rows


def learning_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Return rows of the Sharpe ratio above the base while learning; the columns are `LEARNING_COLUMNS`."""
    rows = []
    for name, summary in document["learning"].items():
        updates = summary["updates"]
        places = (0, (len(updates) - 1) // 2, -1)
        for part in PARTS:
            if part not in summary:
                continue
            shown = [_point(summary[part], updates, place) for place in places]
            reached = summary[part]["reached"]
            rows.append([name, part, *shown, "" if reached is None else f"{reached:,}"])
    return rows


def _point(band: Mapping[str, Iterable[Any]], updates: list[int], place: int) -> str:
    value, low, high = (list(band[key])[place] for key in ("estimate", "low", "high"))
    return f"{interval_text({'value': value, 'low': low, 'high': high})} at {updates[place]:,}"


def _probability(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None, percent: bool = False, signed: bool = False) -> str:
    text = format_number(value, "percent" if percent else "ratio", 2)
    return f"+{text}" if signed and value is not None and text[0].isdigit() and float(value) > 0 else text
