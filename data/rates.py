"""Dated risk-free rates: a yearly rate by the date from which it is known.

A file has the columns ``date`` and ``rate``, yearly rates as fractions (0.02 is 2 %).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data.errors import DataError
from data.readers.dates import parse_dates
from data.readers.files import read_source

__all__ = ["read_rates"]

_COLUMNS = {"date": ("date", "dates"), "rate": ("rate", "risk_free", "rf")}
_LOW, _HIGH = -0.5, 1.0


def read_rates(source: str | Path) -> dict[str, float]:
    """Read dated rates from a CSV, Parquet or Excel file, or those that come with the dataset ``industries``.

    Returns
    -------
    dict
        Yearly rate by the date (YYYY-MM-DD) from which it is known, oldest first. Dates between the first and the last
        whose rate is that of the date before are left out.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing, a date is unreadable or given twice, or a rate is missing or
        out of range. The message names file and row.
    """
    if str(source) == "industries":
        return _changes(_industries())
    file = Path(source)
    table = read_source(file)
    for finding in table.findings:
        raise DataError(f"{finding}; give every row a date and a rate")
    names = {str(name).strip().lower(): name for name in table.frame.columns}
    columns = {}
    for role, aliases in _COLUMNS.items():
        found = [names[alias] for alias in aliases if alias in names]
        if len(found) != 1:
            raise DataError(
                f"{file.name}: {len(found)} columns for '{role}'; a file of rates has the columns date and rate"
            )
        columns[role] = table.frame[found[0]].reset_index(drop=True)
    places = [f"{file.name} {table.word} {line}" for line in table.lines]
    dates, rates = _dates(columns["date"], places), _rates(columns["rate"], places)
    series = pd.Series(rates, pd.DatetimeIndex(dates)).sort_index()
    if series.empty:
        raise DataError(f"{file.name}: there is no row below the header")
    if not series.index.is_unique:
        twice = series.index[series.index.duplicated()][0].date()
        raise DataError(f"{file.name}: {twice} has more than one rate; leave one")
    return _changes(series)


def _industries() -> pd.Series:
    from data.providers.french import risk_free_rates

    earned = risk_free_rates()
    # The rate of a month is known when the month begins.
    return pd.Series(12.0 * earned.to_numpy(), pd.DatetimeIndex(earned.index) - pd.offsets.BMonthEnd())


def _changes(series: pd.Series) -> dict[str, float]:
    values = series.to_numpy(dtype=np.float64)
    new = np.concatenate([[True], values[1:] != values[:-1]])
    new[-1] = True
    return {f"{day:%Y-%m-%d}": float(rate) for day, rate in zip(series.index[new], values[new], strict=True)}


def _dates(column: pd.Series, places: list[str]) -> np.ndarray:
    parsed = parse_dates(column, None)
    for problem in parsed.problems:
        raise DataError(f"{places[problem.row]}: date {problem.message}; write dates as YYYY-MM-DD")
    if parsed.unreadable.any():
        row = int(parsed.unreadable.argmax())
        raise DataError(f"{places[row]}: date '{column.iat[row]}' is not a date; write it as YYYY-MM-DD")
    return parsed.dates


def _rates(column: pd.Series, places: list[str]) -> np.ndarray:
    rates = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~((rates >= _LOW) & (rates <= _HIGH))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{places[row]}: rate '{column.iat[row]}' does not lie from {_LOW:g} to {_HIGH:g}; "
            "write yearly rates as fractions, 2 % as 0.02"
        )
    return rates
