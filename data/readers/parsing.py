"""Dates and numbers as files write them, read without guessing: what is ambiguous or unreadable is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.errors import DataError

NULLS = frozenset({"", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "nat", "n.a."})
_CURRENCY = re.compile(
    r"^(?P<before>[$€£¥₹]|[A-Z]{3}(?=\s*[-\d.]))?\s*(?P<number>.*?)\s*(?P<after>[$€£¥₹]|[A-Z]{3})?$"
)
_THOUSANDS = re.compile(r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$")
_DECIMAL_COMMA = re.compile(r"^[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+$")
_MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_MULTIPLE = re.compile(r"^([-+]?\d+(?:\.\d+)?)\s*([KMBT])$", re.IGNORECASE)

# Each class of dates: what it looks like, and its strptime formats (without the time of day).
_DATE_CLASSES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("iso", r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    ("year first", r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    ("compact", r"\d{8}(?:\.0)?", ("%Y%m%d",)),
    ("dotted", r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    ("day-month-name", r"\d{1,2}-[A-Za-z]{3}-\d{4}", ("%d-%b-%Y",)),
    ("day-month-name-yy", r"\d{1,2}-[A-Za-z]{3}-\d{2}", ("%d-%b-%y",)),
    ("day month name", r"\d{1,2} [A-Za-z]{3} \d{4}", ("%d %b %Y",)),
    ("month name", r"[A-Za-z]{3} \d{1,2}, \d{4}", ("%b %d, %Y",)),
    ("long month name", r"[A-Za-z]{4,9} \d{1,2}, \d{4}", ("%B %d, %Y",)),
    ("slashes", r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y", "%d/%m/%Y")),
    ("slashes-yy", r"\d{1,2}/\d{1,2}/\d{2}", ("%m/%d/%y", "%d/%m/%y")),
    ("dashes", r"\d{1,2}-\d{1,2}-\d{4}", ("%m-%d-%Y", "%d-%m-%Y")),
)
_TAIL = (
    r"(?P<tail>[T ]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[AP]M)?\s*(?P<offset>Z|UTC|[+-]\d{2}:?\d{2})?)?$"
)


@dataclass(frozen=True)
class ParsedDates:
    """Dates of a column.

    Attributes
    ----------
    dates
        datetime64[ns] by the wall clock of each stamp, NaT where unreadable [rows].
    offsets
        Minutes east of UTC, NaN where a stamp names no zone [rows].
    unreadable
        Where a text is not a date (an empty one included) [rows].
    """

    dates: np.ndarray
    offsets: np.ndarray
    unreadable: np.ndarray


def parse_dates(column: pd.Series, place: str, date_format: str | None = None) -> ParsedDates:
    """Read a column of dates, as text or as time stamps.

    Parameters
    ----------
    column
        Text, or datetime64 with or without zone [rows].
    place
        File and column, for messages.
    date_format
        A strptime format that settles what the texts mean.

    Raises
    ------
    DataError
        If it cannot be told whether days or months come first.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        stamps = column.dt.tz_localize(None)
        shift = (stamps - column.dt.tz_convert("UTC").dt.tz_localize(None)).dt.total_seconds() / 60
        dates = stamps.dt.normalize().to_numpy().astype("datetime64[ns]")
        return ParsedDates(dates, shift.to_numpy(dtype=float), np.isnat(dates))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = column.dt.normalize().to_numpy().astype("datetime64[ns]")
        return ParsedDates(dates, np.full(len(column), np.nan), np.isnat(dates))
    texts = column.astype("str").str.strip()
    codes, unique = pd.factorize(texts, use_na_sentinel=False)
    parsed, offsets = _parse_unique(pd.Series(unique, dtype="str"), place, date_format)
    dates = parsed[codes]
    return ParsedDates(dates, offsets[codes], np.isnat(dates))


def _parse_unique(texts: pd.Series, place: str, date_format: str | None) -> tuple[np.ndarray, np.ndarray]:
    # Every date occurs once a symbol: parsing each text once is what makes a long file quick.
    dates = np.full(len(texts), np.datetime64("NaT"), dtype="datetime64[ns]")
    offsets = np.full(len(texts), np.nan)
    if date_format is not None:
        stamps = pd.to_datetime(texts, format=date_format, errors="coerce", utc="%z" in date_format)
        if isinstance(stamps.dtype, pd.DatetimeTZDtype):
            stamps = stamps.dt.tz_localize(None)
        return stamps.dt.normalize().to_numpy().astype("datetime64[ns]"), offsets
    for _, pattern, formats in _DATE_CLASSES:
        parts = texts.str.extract(rf"^(?P<head>{pattern}){_TAIL}", flags=re.IGNORECASE)
        here = (parts["head"].notna()).to_numpy()
        if not here.any():
            continue
        heads = parts.loc[here, "head"].str.removesuffix(".0")
        dates[here] = _by_format(heads, formats, place)
        offsets[here] = parts.loc[here, "offset"].map(_minutes, na_action="ignore").to_numpy(dtype=float)
    return dates, offsets


def _by_format(heads: pd.Series, formats: tuple[str, ...], place: str) -> np.ndarray:
    attempts = [pd.to_datetime(heads, format=form, errors="coerce") for form in formats]
    if len(attempts) > 1:
        # Where one order of day and month reads more texts than the other, it is the one that was meant.
        readable = [int(attempt.notna().sum()) for attempt in attempts]
        if readable[0] == readable[1] and not attempts[0].equals(attempts[1]):
            raise DataError(
                f"{place}: '{heads.iloc[0]}' may have the day or the month first and no other date settles "
                f"it; say which with --date-format '{formats[0]}' or '{formats[1]}'"
            )
        attempts.sort(key=lambda attempt: -int(attempt.notna().sum()))
    return attempts[0].to_numpy().astype("datetime64[ns]")


def _minutes(offset: str) -> float:
    if offset.upper() in ("Z", "UTC"):
        return 0.0
    digits = offset[1:].replace(":", "")
    return (1 if offset[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:]))


@dataclass(frozen=True)
class ParsedNumbers:
    """Numbers of a column.

    Attributes
    ----------
    values
        float64, NaN where empty or unreadable [rows].
    unreadable
        Where a text is neither a number nor a usual sign for "empty" [rows].
    currencies
        Row → currency sign or code, where a text carries one.
    """

    values: np.ndarray
    unreadable: np.ndarray
    currencies: dict[int, str]


def parse_numbers(column: pd.Series, *, decimal_comma: bool = False) -> ParsedNumbers:
    """Read a column of numbers.

    Understands thousands separators, currency signs and codes, ``1.2M`` and usual signs for an empty cell.

    Parameters
    ----------
    column
        Text or numbers [rows].
    decimal_comma
        Read ``1,5`` as one and a half (files that separate columns by semicolons).
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return ParsedNumbers(values, np.zeros(len(values), dtype=bool), {})
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    unreadable = np.zeros(len(values), dtype=bool)
    currencies: dict[int, str] = {}
    texts = column.astype("str").to_numpy(dtype=object)
    for row in np.flatnonzero(np.isnan(values)):
        raw = texts[row]
        text = "" if not isinstance(raw, str) else raw.strip()
        if text.lower() in NULLS:
            continue
        number, currency = _parse_number(text, decimal_comma)
        if number is None:
            unreadable[row] = True
            continue
        values[row] = number
        if currency:
            currencies[int(row)] = currency
    return ParsedNumbers(values, unreadable, currencies)


def _parse_number(text: str, decimal_comma: bool) -> tuple[float | None, str | None]:
    match = _CURRENCY.match(text)
    currency = None
    if match is not None:
        currency = match["before"] or match["after"]
        text = match["number"]
    if decimal_comma and _DECIMAL_COMMA.match(text):
        text = text.replace(".", "").replace(",", ".")
    elif _THOUSANDS.match(text):
        text = text.replace(",", "")
    multiple = _MULTIPLE.match(text)
    try:
        if multiple is not None:
            return float(multiple[1]) * _MULTIPLES[multiple[2].upper()], currency
        return float(text), currency
    except ValueError:
        return None, None
