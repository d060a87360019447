"""Which column is what: the usual names in exports of Yahoo, Google, Stooq, Nasdaq, Quandl and Kaggle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data.errors import DataError
from data.fields import FIELDS

ROLES = ("date", "symbol", *FIELDS, "currency")
# Where two columns could have a role, the name that stands first here wins.
_ALIASES: dict[str, tuple[str, ...]] = {
    "date": ("date", "datetime", "timestamp", "tradedate", "tradingdate", "day", "time"),
    "symbol": ("symbol", "ticker", "tic", "name", "stock", "instrument", "asset", "code"),
    "open": ("open", "openprice", "opening"),
    "high": ("high", "highprice", "max"),
    "low": ("low", "lowprice", "min"),
    "close": ("close", "closeprice", "closelast", "closingprice", "closing", "last", "price"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice", "closeadj", "adjustedclosingprice"),
    "volume": ("volume", "vol", "sharevolume", "tradedvolume"),
    "dividends": ("dividends", "dividend", "exdividend", "divcash"),
    "splits": ("splits", "stocksplits", "split", "splitratio", "splitfactor", "splitcoefficient"),
    "currency": ("currency", "ccy"),
}
# Single letters are tickers too (C, V, O, L, H): they count only where all four prices are there.
_LETTERS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
# An unnamed first column is the index that a table was written with.
_INDEX = re.compile(r"^(unnamed:?\s*\d*|index|__index_level_\d+__|)$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What the columns of a table are.

    Attributes
    ----------
    roles
        Role → column, for a long table (or one of a single symbol, which has no symbol column).
    wide
        (symbol, field) → column, for a wide table; empty for a long one.
    ignored
        Columns that are none of it.
    """

    roles: Mapping[str, str]
    wide: Mapping[tuple[str, str], str]
    ignored: tuple[str, ...]


def parse_mapping(entries: Iterable[str]) -> dict[str, str]:
    """Return role → column of entries such as ``close=Last Price``.

    Raises
    ------
    DataError
        If an entry is not of the form ``FIELD=COLUMN``.
    """
    mapping = {}
    for entry in entries:
        role, _, column = entry.partition("=")
        if not role or not column:
            raise DataError(f"--map {entry}: write FIELD=COLUMN, for example --map close='Last Price'")
        mapping[role.strip()] = column
    return mapping


def plain(column: str) -> str:
    """Reduce a column name to what is compared: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def field_of(column: str) -> str | None:
    """Return the field that a column name usually stands for, or None."""
    return next((role for role in FIELDS if plain(column) in _ALIASES[role]), None)


def detect(columns: Sequence[str], place: str, mapping: Mapping[str, str] | None = None) -> Layout:
    """Find out what the columns of a table are.

    Parameters
    ----------
    columns
        Names as in the file.
    place
        The file, for messages.
    mapping
        Role → column, for those that a person settles.

    Raises
    ------
    DataError
        If a mapped column is not there, two columns have one role, or there is no date or no price.
    """
    roles = _mapped(columns, place, mapping or {})
    for role in ROLES:
        if role not in roles:
            found = _find(columns, role, place, set(roles.values()))
            if found is not None:
                roles[role] = found
    if "date" not in roles:
        first = columns[0] if columns else ""
        if not _INDEX.match(first):
            listed = ", ".join(columns)
            raise DataError(f"{place}: no date column among {listed}; say which with --map date=COLUMN")
        roles["date"] = first
    if "close" not in roles and "adj_close" in roles:
        # The only close there is: it is what the prices are, adjusted by whoever made the file.
        roles["close"] = roles.pop("adj_close")
    rest = [name for name in columns if name not in roles.values() and not _INDEX.match(name)]
    if "close" in roles:
        return Layout(roles, {}, tuple(rest))
    return _wide(columns, place, roles, rest)


def _wide(columns: Sequence[str], place: str, roles: dict[str, str], rest: list[str]) -> Layout:
    others = [role for role in roles if role in FIELDS]
    # One column called Low or Max may be a ticker; two fields and no close are a table that lacks it.
    if "symbol" in roles or len(others) > 1 or (others and not rest):
        raise DataError(f"{place}: no close among {', '.join(columns)}; say which with --map close=COLUMN")
    values = [name for name in columns if name != roles["date"] and not _INDEX.match(name)]
    if not values:
        raise DataError(f"{place}: no price column beside '{roles['date']}'")
    pairs = _split_names(values) or {(name.strip(), "close"): name for name in values}
    return Layout({"date": roles["date"]}, pairs, ())


def _find(columns: Sequence[str], role: str, place: str, taken: set[str]) -> str | None:
    free = [name for name in columns if name not in taken]
    for alias in _ALIASES[role]:
        found = [name for name in free if plain(name) == alias]
        if len(found) > 1:
            raise DataError(
                f"{place}: both '{found[0]}' and '{found[1]}' look like the {role}; "
                f"say which with --map {role}=COLUMN"
            )
        if found:
            return found[0]
    if role in _LETTERS and {"o", "h", "l", "c"} <= {plain(name) for name in columns}:
        return next((name for name in free if plain(name) == _LETTERS[role]), None)
    return None


def _mapped(columns: Sequence[str], place: str, mapping: Mapping[str, str]) -> dict[str, str]:
    for role, column in mapping.items():
        if role not in ROLES:
            raise DataError(f"--map: no field '{role}' (there are {', '.join(ROLES)})")
        if column not in columns:
            raise DataError(f"{place}: no column '{column}' for the {role} (there are {', '.join(columns)})")
    return dict(mapping)


def _split_names(columns: Sequence[str]) -> dict[tuple[str, str], str]:
    # "AAPL_Close" or "Close AAPL": taken apart only if every column comes apart the same way.
    for separator in ("|", "_", " ", ":", "."):
        for field_first in (False, True):
            pairs = _pairs(columns, separator, field_first)
            if pairs is not None and any(field == "close" for _, field in pairs):
                return pairs
    return {}


def _pairs(columns: Sequence[str], separator: str, field_first: bool) -> dict[tuple[str, str], str] | None:
    pairs: dict[tuple[str, str], str] = {}
    for column in columns:
        if separator not in column:
            return None
        if field_first:
            name, _, symbol = column.partition(separator)
        else:
            symbol, _, name = column.rpartition(separator)
        field = field_of(name)
        if field is None or not symbol.strip() or (symbol.strip(), field) in pairs:
            return None
        pairs[symbol.strip(), field] = column
    return pairs
