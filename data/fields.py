"""Fields of price panels, and dates as users write them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime

import numpy as np
import pandas as pd

from data.errors import DataError

PRICE_FIELDS = ("open", "high", "low", "close", "adj_close")
FIELDS = (*PRICE_FIELDS, "volume", "dividends", "splits")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]00:00(:00)?)?")
DateLike = str | date | np.datetime64  # a pd.Timestamp is a date


def parse_date(value: DateLike, option: str) -> pd.Timestamp:
    """Return a date at midnight without time zone.

    Raises `DataError` if `value` is not a date, or a text other than YYYY-MM-DD; the message names `option`.
    """
    if isinstance(value, str) and not _ISO_DATE.fullmatch(value):
        raise DataError(f"{option}: '{value}' {_complaint(value)}")
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{option}: '{value}' is not a date (write YYYY-MM-DD)") from error
    if pd.isna(stamp):
        raise DataError(f"{option}: '{value}' is not a date (write YYYY-MM-DD)")
    return stamp.tz_localize(None).normalize()


def _complaint(text: str) -> str:
    """Return the reason to refuse a text: the dates that it may mean, if it is one."""
    readings = []
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        with suppress(ValueError):
            readings.append(datetime.strptime(re.sub(r"[-.]", "/", text.strip()), form).date().isoformat())
    if not readings:
        return "is not a date (write YYYY-MM-DD)"
    return f"may mean {' or '.join(dict.fromkeys(readings))}: write YYYY-MM-DD"
