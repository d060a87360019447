"""Export of prices to CSV and Parquet files, which can be imported again."""

from __future__ import annotations

from pathlib import Path

from data.errors import DataError
from data.prices import Prices
from equitrade.atomic import atomic_path

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def export_prices(prices: Prices, path: Path) -> int:
    """Write prices in long form (date, symbol, fields) to one of `SUFFIXES` and return the number of rows.

    Raises `DataError` if the file has another ending, its folder does not exist, or it cannot be written; an existing
    file is replaced atomically.
    """
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: the name must end with {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist")
    frame = prices.to_long()
    try:
        with atomic_path(path) as temporary:
            if path.suffix == ".parquet":
                frame.to_parquet(temporary, index=False)
            else:
                frame.to_csv(temporary, index=False, compression="gzip" if path.suffix == ".gz" else None)
    except OSError as error:
        raise DataError(f"{path}: not written: {error.strerror or error}; nothing was changed") from error
    return len(frame)
