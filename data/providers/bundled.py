"""Real prices that arrive with the installed packages: no download, no account, no network."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from data.errors import DataError
from data.prices import Prices

SURVIVORSHIP_NOTE = (
    "Survivor-biased: these 20 constituents were chosen with hindsight among companies that were still "
    "listed in 2022. Returns of any strategy on them, passive ones included, overstate what could have been "
    "earned."
)
_ADJUSTED_NOTE = (
    "Closes are adjusted for splits and dividends (total return) and rounded to 0.001; there are no opens or "
    "volumes. Early prices of some symbols are below 1: there rounding alone moves them by parts of a "
    "percent."
)
_FACTORS_NOTE = (
    "Closes are adjusted for splits and dividends (total return); there are no opens or volumes. "
    "Nine years of five funds are a short history: intervals are wide."
)
_INDEX_NOTE = (
    "A price index: dividends are not in it, and it cannot itself be traded. Opens up to the middle "
    "of 2006 mostly repeat the previous close, so that fills at the open are not realistic there."
)


def _sp500_20() -> Prices:
    from skfolio.datasets import load_sp500_dataset

    return Prices.from_frames(
        "sp500-20", close=load_sp500_dataset(), notes=(SURVIVORSHIP_NOTE, _ADJUSTED_NOTE)
    )


def _factors_5() -> Prices:
    from skfolio.datasets import load_factors_dataset

    return Prices.from_frames("factors-5", close=load_factors_dataset(), notes=(_FACTORS_NOTE,))


def _sp500_index_ohlc() -> Prices:
    from arch.data import sp500

    table = sp500.load()

    def column(name: str) -> pd.DataFrame:
        frame: pd.DataFrame = table[[name]].set_axis(["SP500"], axis=1)
        return frame

    return Prices.from_frames(
        "sp500-index-ohlc",
        open=column("Open"),
        high=column("High"),
        low=column("Low"),
        close=column("Close"),
        adj_close=column("Adj Close"),
        volume=column("Volume"),
        notes=(_INDEX_NOTE,),
    )


_LOADERS: dict[str, tuple[Callable[[], Prices], str]] = {
    "sp500-20": (_sp500_20, "20 S&P 500 constituents, daily adjusted closes 1990-2022 (from skfolio)"),
    "factors-5": (_factors_5, "five factor ETFs, daily adjusted closes 2014-2022 (from skfolio)"),
    "sp500-index-ohlc": (_sp500_index_ohlc, "S&P 500 index, daily open to close 1999-2018 (from arch)"),
}


def bundled_names() -> dict[str, str]:
    """Return the names of the bundled datasets and what each holds."""
    return {name: description for name, (_, description) in _LOADERS.items()}


def load_bundled(name: str) -> Prices:
    """Load a bundled dataset.

    Raises
    ------
    DataError
        If there is no dataset of this name.
    """
    if name not in _LOADERS:
        raise DataError(f"no bundled dataset '{name}' (there are {', '.join(_LOADERS)})")
    return _LOADERS[name][0]()
