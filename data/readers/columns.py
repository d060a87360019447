"""Roles of columns, by the usual names in exports of Yahoo, Google, Stooq, Nasdaq, Bloomberg, MetaTrader and Kaggle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data.errors import DataError
from data.fields import FIELDS
from data.quality.advice import Refusal

ROLES = ("date", "time", "symbol", *FIELDS, "currency")
LAYOUTS = ("auto", "long", "wide")
# Of two columns with the same role, the one whose name comes first here is taken.
_ALIASES: dict[str, tuple[str, ...]] = {
    "date": (
        "date",
        "dates",
        "datetime",
        "timestamp",
        "tradedate",
        "tradingdate",
        "observationdate",
        "day",
        "time",
        "local_time",
    ),
    "time": ("time",),
    "symbol": ("symbol", "ticker", "tic", "name", "stock", "instrument", "asset", "code"),
    "open": ("open", "openprice", "opening", "pxopen"),
    "high": ("high", "highprice", "max", "pxhigh"),
    "low": ("low", "lowprice", "min", "pxlow"),
    "close": ("close", "closeprice", "closelast", "closingprice", "closing", "last", "pxlast", "price"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice", "closeadj", "adjustedclosingprice"),
    "volume": ("volume", "vol", "sharevolume", "tradedvolume", "pxvolume"),
    "dividends": (
        "dividends",
        "dividend",
        "exdividend",
        "divcash",
        "dividendamount",
        "cashdividend",
        "cashdividends",
        "dividendpershare",
        "distributions",
        "div",
    ),
    "splits": (
        "splits",
        "stocksplits",
        "stocksplit",
        "split",
        "splitratio",
        "splitfactor",
        "splitcoefficient",
    ),
    "currency": ("currency", "ccy"),
}
# Single letters stand for fields only where all four prices are there.
_LETTERS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
# An unnamed first column is the index that a table was written with.
_INDEX = re.compile(r"^(unnamed:?\s*\d*|index|__index_level_\d+__|)$", re.IGNORECASE)
_TUPLE = re.compile(r"""^\(\s*['"]?(.*?)['"]?\s*,\s*['"]?(.*?)['"]?\s*\)$""")
# Bloomberg's fields have an underscore of their own.
_BLOOMBERG = re.compile(r"(?<![A-Za-z0-9])PX_(?=[A-Z])")
_TICKER = re.compile(r"[A-Z][A-Z0-9.=^-]{0,7}")
_PAIR_SEPARATORS = ("|", "_", " ", ":", ".")


@dataclass(frozen=True)
class Layout:
    """Roles of the columns of a table, and the columns without one.

    `roles` are role → column of a long table (of a single symbol without a symbol column), `wide` (symbol, field) →
    column of a wide one. `adjusted`: the closes are adjusted ones, by the name of their column.
    """

    roles: Mapping[str, str]
    wide: Mapping[tuple[str, str], str]
    ignored: tuple[str, ...]
    adjusted: bool = False


def parse_mapping(entries: Iterable[str]) -> dict[str, str]:
    """Return role → column of entries such as ``close=Last Price``.

    Raises `DataError` if an entry is not of the form ``FIELD=COLUMN``.
    """
    mapping = {}
    for entry in entries:
        role, _, column = entry.partition("=")
        if not role or not column:
            raise DataError(f"--map {entry}: write FIELD=COLUMN, for example --map close='Last Price'")
        mapping[role.strip()] = column
    return mapping


def is_index_name(column: str) -> bool:
    """Return whether this is how the index is called that a table was written with."""
    return _INDEX.match(column) is not None


def role_of(column: str) -> str | None:
    """Return the role that a column name usually stands for, or None."""
    return next((role for role in ROLES if _reduced(column) in _ALIASES[role]), None)


def field_of(column: str) -> str | None:
    """Return the field that a column name usually stands for, or None."""
    role = role_of(column)
    return role if role in FIELDS else None


def detect_layout(
    columns: Sequence[str],
    place: str,
    *,
    mapping: Mapping[str, str] | None = None,
    layout: str = "auto",
    are_fields: Callable[[Mapping[str, str]], bool] = lambda _: True,
) -> Layout:
    """Return the roles of the columns of a ``long`` or ``wide`` table; `mapping` has those that the user names.

    `are_fields` is called with field → column and returns False if the numbers cannot be open, high, low and close of
    one symbol: it tells tickers such as LOW, OPEN, C and V from fields.

    Raises `DataError` if a mapped column does not exist, two columns have one role, or there is no date or no price.
    """
    roles = _mapped(columns, place, mapping or {})
    for role in ("date", *(ROLES if layout != "wide" else ())):
        if role not in roles:
            found = _find(columns, role, place, set(roles.values()), are_fields)
            if found is not None:
                roles[role] = found
    if "date" not in roles:
        first = columns[0] if columns else ""
        if not is_index_name(first):
            listed = ", ".join(columns)
            raise DataError(f"{place}: no date column among {listed}; name it with --map date=COLUMN")
        roles["date"] = first
    if "symbol" not in roles and "symbol" not in (mapping or {}):
        roles = _without_tickers(roles, mapping or {}, are_fields)
    if "close" not in roles and "adj_close" in roles:
        # The only close of the file is adjusted: it is what the prices are.
        roles["close"] = roles.pop("adj_close")
        roles |= _adjusted_fields(columns, mapping or {})
    rest = [name for name in columns if name not in roles.values() and not is_index_name(name)]
    if "close" in roles and layout != "wide":
        if layout == "auto" and not mapping and _may_be_tickers(roles, rest):
            message = f"{place}: '{roles['close']}' may be the close or, like {', '.join(rest[:3])}, a symbol"
            raise Refusal(message, [(("--layout", "long"), ("--layout", "wide"))])
        return Layout(roles, {}, tuple(rest), field_of(roles["close"]) == "adj_close")
    if layout == "long":
        raise DataError(f"{place}: no close among {', '.join(columns)}; name it with --map close=COLUMN")
    return _wide(columns, place, roles, rest, layout)


def _adjusted_fields(columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the columns ``adj_open``, … of Quandl and ``adjOpen``, … of Tiingo, which belong to adjusted closes."""
    by_name = {_reduced(name): name for name in columns if name not in mapping.values()}
    fields = (name for name in ("open", "high", "low", "volume") if name not in mapping)
    return {name: by_name[f"adj{name}"] for name in fields if f"adj{name}" in by_name}


def _without_tickers(
    roles: dict[str, str], mapping: Mapping[str, str], are_fields: Callable[[Mapping[str, str]], bool]
) -> dict[str, str]:
    """Return the roles without prices that their numbers contradict."""
    prices: dict[str, str] = {role: roles[role] for role in ("open", "high", "low", "close") if role in roles}
    if len(prices) < 2 or set(prices) <= set(mapping) or are_fields(prices):
        return roles
    return {role: name for role, name in roles.items() if role in mapping or role in ("date", "time")}


def _may_be_tickers(roles: Mapping[str, str], rest: Sequence[str]) -> bool:
    """Return True if the only field of a table is a close, named in capitals like all other columns."""
    names = [roles["close"], *rest]
    return set(roles) == {"date", "close"} and len(names) > 1 and all(map(_TICKER.fullmatch, names))


def _wide(columns: Sequence[str], place: str, roles: dict[str, str], rest: list[str], layout: str) -> Layout:
    others = [role for role in roles if role in FIELDS]
    # One column named Low or Max may be a ticker; two fields and no close are a table that lacks it.
    no_prices = {"symbol", "currency", "volume", "dividends", "splits"} & set(roles)
    if layout == "auto" and (no_prices or len(others) > 1 or (others and not rest)):
        raise DataError(
            f"{place}: no close among {', '.join(columns)}; name it with --map close=COLUMN, or write --layout wide if "
            "every column is a symbol"
        )
    values = [name for name in columns if name != roles["date"] and not is_index_name(name)]
    if not values:
        raise DataError(f"{place}: no price column beside '{roles['date']}'")
    pairs = _split_names(values) or {(name.strip(), "close"): name for name in values}
    adjusted = all(field != "close" for _, field in pairs)
    if adjusted:
        # The only closes of the file are adjusted: they are what the prices are.
        pairs = {
            (symbol, "close" if name == "adj_close" else name): column
            for (symbol, name), column in pairs.items()
        }
    return Layout({"date": roles["date"]}, pairs, (), adjusted)


def _find(
    columns: Sequence[str],
    role: str,
    place: str,
    taken: set[str],
    are_fields: Callable[[Mapping[str, str]], bool],
) -> str | None:
    free = [name for name in columns if name not in taken]
    for alias in _ALIASES[role]:
        found = [name for name in free if _reduced(name) == alias]
        if len(found) > 1:
            raise DataError(
                f"{place}: both '{found[0]}' and '{found[1]}' look like the {role}; "
                f"name one with --map {role}=COLUMN"
            )
        if found:
            return found[0]
    letters = {_reduced(name): name for name in columns}
    if role in _LETTERS and {"o", "h", "l", "c"} <= set(letters):
        prices = {field: letters[_LETTERS[field]] for field in ("open", "high", "low", "close")}
        if are_fields(prices):
            return next((name for name in free if _reduced(name) == _LETTERS[role]), None)
    return None


def _mapped(columns: Sequence[str], place: str, mapping: Mapping[str, str]) -> dict[str, str]:
    for role, column in mapping.items():
        if role not in ROLES:
            raise DataError(f"--map: no field '{role}' (fields: {', '.join(ROLES)})")
        if column not in columns:
            raise DataError(f"{place}: no column '{column}' for the {role} (columns: {', '.join(columns)})")
    return dict(mapping)


def _reduced(column: str) -> str:
    """Return a column name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _split_names(columns: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return (symbol, field) → column of names such as "AAPL_Close", if every name has both parts."""
    names = [_BLOOMBERG.sub("PX", _TUPLE.sub(r"\1|\2", column)) for column in columns]
    for separator in _PAIR_SEPARATORS:
        for field_first in (False, True):
            pairs = _pairs(names, columns, separator, field_first)
            if pairs is not None and {"close", "adj_close"} & {field for _, field in pairs}:
                return pairs
    return {}


def _pairs(
    names: Sequence[str], columns: Sequence[str], separator: str, field_first: bool
) -> dict[tuple[str, str], str] | None:
    pairs: dict[tuple[str, str], str] = {}
    for name, column in zip(names, columns, strict=True):
        if separator not in name:
            return None
        if field_first:
            field_name, _, symbol = name.partition(separator)
        else:
            symbol, _, field_name = name.rpartition(separator)
        field = field_of(field_name)
        if field is None or not symbol.strip() or (symbol.strip(), field) in pairs:
            return None
        pairs[symbol.strip(), field] = column
    return pairs
