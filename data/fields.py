"""Fields of price panels, and dates as users write them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from data.errors import DataError

__all__ = ["FIELDS", "PRICE_FIELDS", "DateLike", "parse_date"]

PRICE_FIELDS = ("open", "high", "low", "close", "adj_close")
FIELDS = (*PRICE_FIELDS, "volume", "dividends", "splits")
DateLike = str | date | np.datetime64  # a pd.Timestamp is a date


def parse_date(value: DateLike, option: str) -> pd.Timestamp:
    """Return a date at midnight without time zone.

    Raises
    ------
    DataError
        If `value` is not a date; the message names `option`.
    """
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{option}: '{value}' is not a date (write YYYY-MM-DD)") from error
    if pd.isna(stamp):
        raise DataError(f"{option}: '{value}' is not a date (write YYYY-MM-DD)")
    return stamp.tz_localize(None).normalize()
