"""Monthly returns of 30 portfolios of US stocks and the risk-free rate, 1949-2017, from Kenneth French's data library.

``french.csv.bz2`` is the unchanged file ``linearmodels/datasets/french/french.csv.bz2`` of linearmodels 7.1, which its
author distributes under the NCSA licence (``french.LICENSE.txt``). The returns come from
https://mba.tuck.dartmouth.edu/pages/faculty/ken.french/data_library.html, copyright Kenneth R. French, who publishes
them there free of charge and names no licence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data.prices import Prices

__all__ = ["INDUSTRIES", "industry_prices", "risk_free_rates"]

#: Industry portfolios; the other 18 are sorted by size and value (S1V1 …) or size and momentum (S1M1 …).
INDUSTRIES = (
    *("NoDur", "Durbl", "Manuf", "Enrgy", "Chems", "BusEq"),
    *("Telcm", "Utils", "Shops", "Hlth", "Money", "Other"),
)
_FILE = Path(__file__).with_name("french.csv.bz2")
_FACTORS = ["MktRF", "SMB", "HML", "Mom", "RF"]
_START = 100.0

_PORTFOLIOS_NOTE = (
    "Portfolios of all listed US stocks, formed again at the end of each June (momentum: each month) from what was "
    "known then: companies that later failed are in them. 12 are industries, 18 are sorted by size and value or by "
    "size and momentum; the groups hold the same stocks."
)
_INDEX_NOTE = (
    "Closes are total return indexes made from monthly returns that are rounded to 0.01 %; there are no opens or "
    "volumes. The portfolios cannot be bought as such: trading the stocks in them, small ones above all, costs more "
    "than trading a fund."
)


def industry_prices() -> Prices:
    """Return the dataset ``industries``: 30 total return indexes at the last weekday of each month, from 100."""
    returns = _table().drop(columns=_FACTORS)
    growth = np.cumprod(np.vstack([np.ones(returns.shape[1]), 1.0 + returns.to_numpy()]), axis=0)
    dates = returns.index.insert(0, returns.index[0] - pd.offsets.BMonthEnd())
    close = pd.DataFrame(_START * growth, dates, list(returns.columns))
    return Prices.from_frames("industries", close=close, notes=(_PORTFOLIOS_NOTE, _INDEX_NOTE))


def risk_free_rates() -> pd.Series:
    """Return the one-month Treasury bill rate earned in each month, a fraction, at the month's last weekday [T − 1].

    The rate of a month is known when the month begins.
    """
    return _table()["RF"].rename("risk_free")


def _table() -> pd.DataFrame:
    table = pd.read_csv(_FILE, index_col="dates", parse_dates=True, float_precision="round_trip")
    # The source dates a month's return by the month's first day.
    table.index = pd.DatetimeIndex(table.index) + pd.offsets.BMonthEnd()
    return table
