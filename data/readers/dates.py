"""Dates and time stamps of a column, read without guessing: ambiguous and unreadable texts are reported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from data.errors import DataError
from data.quality.advice import Step

# Each class of dates: pattern and strptime formats, without the time of day. Spreadsheets number days from 1899-12-30.
_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", ("%Y.%m.%d",)),
    (r"\d{8}(?:\.0)?", ("%Y%m%d",)),
    (r"[2-7]\d{4}(?:\.0)?", ("day number",)),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4}", ("%d-%b-%Y",)),
    (r"\d{1,2}-[A-Za-z]{3}-\d{2}", ("%d-%b-%y",)),
    (r"\d{1,2} [A-Za-z]{3} \d{4}", ("%d %b %Y",)),
    (r"[A-Za-z]{3} \d{1,2}, \d{4}", ("%b %d, %Y",)),
    (r"[A-Za-z]{4,9} \d{1,2}, \d{4}", ("%B %d, %Y",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y", "%d/%m/%Y")),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%m/%d/%y", "%d/%m/%y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%m-%d-%Y", "%d-%m-%Y")),
)
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[AP]M)?"
_TAIL = rf"(?:[T ]+(?P<time>{_TIME})\s*(?P<offset>Z|UTC|[+-]\d{{2}}:?\d{{2}})?)?$"


class DateProblem(NamedTuple):
    """A fault of a column of dates: kind of finding, first row, message, and options to choose from."""

    kind: str
    row: int
    message: str
    advice: Step = ()


@dataclass(frozen=True)
class ParsedDates:
    """Dates of a column (datetime64[ns] by the wall clock, NaT where unreadable), and faults of the column as a whole.

    `offsets` are minutes east of UTC, `times` minutes after midnight; NaN where a stamp has none. All are [rows].
    """

    dates: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    problems: list[DateProblem] = field(default_factory=list)

    @property
    def unreadable(self) -> np.ndarray:
        """True where a text is not a date, an empty one included [rows]."""
        unreadable: np.ndarray = np.isnat(self.dates)
        return unreadable


def check_zone(zone: str | None) -> None:
    """Raise DataError if `zone` is not a time zone such as Asia/Tokyo."""
    try:
        ZoneInfo(zone or "UTC")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"--zone: '{zone}' is not a time zone (for example Asia/Tokyo)") from error


def parse_dates(column: pd.Series, date_format: str | None = None) -> ParsedDates:
    """Return the dates of a column of texts (in a strptime format, if given) or of datetime64, with or without zone."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _of_stamps(column)
    texts = column.astype("str").str.strip()
    # Long files have every date once per symbol: each text is parsed once.
    codes, unique = pd.factorize(texts, use_na_sentinel=False)
    parsed = _parse_texts(pd.Series(unique, dtype="str"), date_format)
    first = np.unique(codes, return_index=True)[1]
    problems = [problem._replace(row=int(first[problem.row])) for problem in parsed.problems]
    return ParsedDates(parsed.dates[codes], parsed.offsets[codes], parsed.times[codes], problems)


def parse_times(column: pd.Series) -> np.ndarray:
    """Return the minutes after midnight of a column of times (``09:30``, ``093000``), NaN where there is none."""
    texts = column.astype("str").str.strip().str.removesuffix(".0")
    compact = texts.str.extract(r"^(?P<hour>\d{1,2})(?P<minute>\d{2})(?P<second>\d{2})$").astype(float)
    minutes = compact["hour"] * 60 + compact["minute"] + compact["second"] / 60
    return minutes.fillna(pd.Series(_minutes_of_day(texts), index=texts.index)).to_numpy(dtype=float)


def _of_stamps(column: pd.Series) -> ParsedDates:
    offsets = np.full(len(column), np.nan)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        local = column.dt.tz_localize(None)
        offsets = (
            (local - column.dt.tz_convert("UTC").dt.tz_localize(None)).dt.total_seconds() / 60
        ).to_numpy(dtype=float)
        column = local
    days = column.dt.normalize()
    times = ((column - days).dt.total_seconds() / 60).to_numpy(dtype=float)
    if not np.nan_to_num(times).any():
        times = np.full(len(times), np.nan)
    return ParsedDates(days.to_numpy().astype("datetime64[ns]"), offsets, times)


def in_zone(parsed: ParsedDates, zone: str) -> ParsedDates:
    """Return the dates by the wall clock of a time zone; stamps without a zone are in UTC."""
    minutes = np.nan_to_num(parsed.times) - np.nan_to_num(parsed.offsets)
    stamps = parsed.dates + (minutes * 60e9).astype("timedelta64[ns]")
    local = pd.Series(stamps).dt.tz_localize("UTC").dt.tz_convert(zone)
    in_zone = _of_stamps(local)
    return ParsedDates(in_zone.dates, np.full(len(stamps), np.nan), in_zone.times, parsed.problems)


def _parse_texts(texts: pd.Series, date_format: str | None) -> ParsedDates:
    count = len(texts)
    dates = np.full(count, np.datetime64("NaT"), dtype="datetime64[ns]")
    offsets, times = np.full(count, np.nan), np.full(count, np.nan)
    if date_format is not None:
        stamps = pd.to_datetime(texts, format=date_format, errors="coerce", utc="%z" in date_format)
        return _of_stamps(stamps)
    if texts.str.fullmatch(r"\d{10}(\d{3})?").all():
        # Seconds or milliseconds since 1970 in UTC, as interfaces of data providers answer.
        numbers = texts.astype("int64")
        seconds = numbers.where(texts.str.len() == 10, numbers // 1000)
        return _of_stamps(pd.to_datetime(seconds, unit="s", utc=True))
    problems: list[DateProblem] = []
    classes = []
    for pattern, formats in _CLASSES:
        parts = texts.str.extract(rf"^(?P<head>{pattern}){_TAIL}", flags=re.IGNORECASE)
        here = np.flatnonzero(parts["head"].notna().to_numpy())
        if len(here) == 0:
            continue
        heads = parts["head"].iloc[here].str.removesuffix(".0")
        dates[here], ambiguous = _by_format(heads, formats)
        if ambiguous:
            choice = tuple(("--date-format", form) for form in formats)
            message = f"'{heads.iloc[0]}' may have the day or the month first"
            problems.append(DateProblem("ambiguous-date", int(here[0]), message, choice))
        offsets[here] = parts["offset"].iloc[here].map(_offset, na_action="ignore").to_numpy(dtype=float)
        times[here] = _minutes_of_day(parts["time"].iloc[here])
        classes.append(here)
    problems += _mixed(texts, dates, classes)
    return ParsedDates(dates, offsets, times, problems)


def _by_format(heads: pd.Series, formats: tuple[str, ...]) -> tuple[np.ndarray, bool]:
    """Return the dates in the format that reads most texts, and True if another one reads as many otherwise."""
    if formats == ("day number",):
        days = pd.to_datetime(heads.astype(int), unit="D", origin="1899-12-30")
        return days.to_numpy().astype("datetime64[ns]"), False
    attempts = [pd.to_datetime(heads, format=form, errors="coerce") for form in formats]
    readable = [int(attempt.notna().sum()) for attempt in attempts]
    ambiguous = len(attempts) > 1 and readable[0] == readable[1] and not attempts[0].equals(attempts[1])
    best = attempts[int(np.argmax(readable))]
    # A year that nanoseconds cannot hold would become another one.
    best = best.where(best.dt.year.between(1678, 2261))
    return best.to_numpy().astype("datetime64[ns]"), ambiguous


def _mixed(texts: pd.Series, dates: np.ndarray, classes: list[np.ndarray]) -> list[DateProblem]:
    """Report two formats of which one has only days up to 12 and the other one only later days.

    A spreadsheet leaves this behind: it turned the texts around that it could read in its own order of day and month.
    """
    days = pd.DatetimeIndex(dates).day.to_numpy()
    read = [rows[~np.isnat(dates[rows])] for rows in classes]
    early = [rows for rows in read if len(rows) and days[rows].max() <= 12]
    late = [rows for rows in read if len(rows) and days[rows].min() > 12]
    if not early or not late:
        return []
    a, b = int(early[0][0]), int(late[0][0])
    message = (
        f"is in two formats, '{texts[a]}' with days up to 12 and '{texts[b]}' with later days: a spreadsheet may have "
        "exchanged day and month; write the dates in one format"
    )
    return [DateProblem("mixed-date-formats", a, message)]


def _minutes_of_day(texts: pd.Series) -> np.ndarray:
    parts = texts.str.extract(r"^(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s?([AP]M)?$", flags=re.IGNORECASE)
    half = parts[3].str.upper()
    hour = parts[0].astype(float)
    hour = hour.where(half.isna(), hour % 12 + 12.0 * (half == "PM"))
    minutes: np.ndarray = (
        hour * 60 + parts[1].astype(float) + parts[2].astype(float).fillna(0.0) / 60
    ).to_numpy(dtype=float)
    return minutes


def _offset(text: str) -> float:
    if text.upper() in ("Z", "UTC"):
        return 0.0
    digits = text[1:].replace(":", "")
    return (1 if text[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:]))
