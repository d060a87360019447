"""Differences between two versions of a panel, in lines for people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.prices import Prices


def differences(before: Prices, after: Prices, reference: str) -> list[str]:
    """Return the changes from `before`, the snapshot named `reference`, to `after`; one line per kind of change.

    Added and removed symbols, sessions and fields, then for every common field the number of changed values, the
    largest change and the first one.
    """
    lines = []
    for what, old, new in (
        ("symbols", list(before.symbols), list(after.symbols)),
        ("sessions", _days(before.dates), _days(after.dates)),
        ("fields", list(before.fields), list(after.fields)),
    ):
        gained = [item for item in new if item not in set(old)]
        lost = [item for item in old if item not in set(new)]
        if gained:
            lines.append(f"{len(gained)} {what} added since {reference}: {_listed(gained)}")
        if lost:
            lines.append(f"{len(lost)} {what} removed since {reference}: {_listed(lost)}")
    if set(before.symbols) == set(after.symbols) and before.symbols != after.symbols:
        lines.append(f"symbols are in another order than in {reference}")
    dates = before.dates.intersection(after.dates)
    symbols = [symbol for symbol in before.symbols if symbol in set(after.symbols)]
    for field in before.fields:
        if field in after.fields and len(dates) and symbols:
            old_values = before.fields[field].loc[dates, symbols]
            line = _changed(field, old_values, after.fields[field].loc[dates, symbols], reference)
            if line:
                lines.append(line)
    return lines


def _changed(field: str, old: pd.DataFrame, new: pd.DataFrame, reference: str) -> str:
    a, b = old.to_numpy(), new.to_numpy()
    changed = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not changed.any():
        return ""
    row, column = np.argwhere(changed)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.abs(b / a - 1)
    finite = relative[changed & np.isfinite(relative)]
    most = f", by up to {finite.max():.3%}" if finite.size else ""
    place = f"{old.columns[column]} on {old.index[row].date()}"
    return (
        f"{field}: {int(changed.sum())} values changed since {reference}{most}; first {place}: "
        f"{_shown(a[row, column])} → {_shown(b[row, column])}"
    )


def _shown(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:g}"


def _days(dates: pd.DatetimeIndex) -> list[str]:
    return [str(date) for date in dates.date]


def _listed(items: list[str]) -> str:
    if len(items) <= 4:
        return ", ".join(items)
    return f"{items[0]}, {items[1]}, … {items[-1]}"
