"""Columns that are no prices: rates, yields, returns, price relatives, weights, counters."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

_RATES = re.compile(
    r"\^?(TNX|TYX|FVX|IRX)|(DGS|DTB|GS|TB)\d+(MO|MS)?|FEDFUNDS|DFF|E?SOFR|EFFR|ESTR|EONIA|SONIA|(LIBOR|EURIBOR).*|"
    r".*(YIELD|RISK.?FREE|INTEREST.?RATE|T.?BILL).*|(.*[ _-])?(RATE|YLD)",
    re.IGNORECASE,
)
# RF is also the ticker of a bank: its price is above every rate.
_RISK_FREE = re.compile(r"RF(R|REE)?|.*[ _.]RF", re.IGNORECASE)
_HIGHEST_RATE, _HIGHEST_RISK_FREE = 30.0, 1.0
# A column far below the others with few values is a rate, whatever its name.
_LOW, _FEW = 0.01, 0.2
_CALENDAR = re.compile(r"YEAR|MONTH|DAY|WEEK|WEEKDAY|DAY.?OF.?WEEK|QUARTER", re.IGNORECASE)
_LEAST_COUNTER = 10
# Share of negative values of returns; a price is negative once in a century.
_NEGATIVE, _LEAST_NEGATIVE = 0.05, 3
# Relatives: near 1, and each one independent of the one before, as prices are not.
_LEAST_RELATIVES, _INDEPENDENT = 20, 1.2


def check_meaning(table: RawTable) -> Iterator[Finding]:
    """Yield findings of symbols whose closes are no prices.

    A rate is recognised by its name and level, returns by negative values, relatives by their independence, weights by
    their sum. Prices near 1, such as those of currencies, follow one another and are not suspected.
    """
    series = {table.symbol(int(rows[0])): (rows, values) for rows, values in _series(table)}
    wrong: dict[str, str] = {}
    returns, relatives = [], []
    levels = [float(np.median(np.abs(values))) for _, values in series.values()]
    usual = float(np.median(levels)) if levels else 0.0
    for (symbol, (_, values)), level in zip(series.items(), levels, strict=True):
        reason = _not_a_price(symbol, values, level, usual)
        if reason is not None:
            wrong[symbol] = reason
        elif _are_returns(values):
            returns.append(symbol)
        elif _are_relatives(values):
            relatives.append(symbol)
    others = len(series) - len(wrong)
    for symbol, reason in wrong.items():
        yield _finding(table, "not-a-price", int(series[symbol][0][0]), reason, (("--exclude", symbol),))
    if others and len(returns) == others:
        yield _returns(table, [series[symbol] for symbol in returns])
    elif others and len(relatives) == others:
        row = int(series[relatives[0]][0][0])
        message = (
            "closes lie around 1, each independent of the one before: price relatives (today's price over the last "
            "one); if they are prices: --allow relatives"
        )
        yield _finding(table, "relatives", row, message)
    else:
        for symbol in returns:
            message = "many values are negative: returns or differences"
            yield _finding(table, "not-a-price", int(series[symbol][0][0]), message, (("--exclude", symbol),))
    if not wrong and not returns and _are_weights(table, len(series)):
        message = "the values of each date add up to 1: weights; if they are prices: --allow weights"
        yield _finding(table, "weights", 0, message)


def _series(table: RawTable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and closes of each symbol in order of date, negative ones and zeros too."""
    values, dates = table.frame["close"].to_numpy(), table.frame["date"].to_numpy()
    rows = np.flatnonzero(~np.isnat(dates) & np.isfinite(values))
    rows = rows[np.lexsort((dates[rows], table.codes[rows]))]
    for part in np.split(rows, np.flatnonzero(np.diff(table.codes[rows])) + 1):
        if len(part) > 1:
            yield part, values[part]


def _not_a_price(symbol: str, values: np.ndarray, level: float, usual: float) -> str | None:
    """Return the reason why a symbol is a rate or a counter, or None; levels are medians of absolute values."""
    if _RATES.fullmatch(symbol) and level < _HIGHEST_RATE:
        return f"a rate or yield by its name and level ({level:g} at the median)"
    if _RISK_FREE.fullmatch(symbol) and level < _HIGHEST_RISK_FREE:
        return f"a risk-free rate by its name and level ({level:g} at the median)"
    if level < _LOW and usual > 1 and len(np.unique(values)) < _FEW * len(values):
        return f"a rate by its level ({level:g} at the median) and its few values"
    if len(values) >= _LEAST_COUNTER and values[0] in (0, 1) and bool((np.diff(values) == 1).all()):
        return f"a counter from {values[0]:g} to {values[-1]:g}"
    if _CALENDAR.fullmatch(symbol) and bool((values % 1 == 0).all()):
        return "a part of the date by its name"
    return None


def _are_returns(values: np.ndarray) -> bool:
    negative = int((values < 0).sum())
    return negative >= max(_LEAST_NEGATIVE, _NEGATIVE * len(values))


def _are_relatives(values: np.ndarray) -> bool:
    if len(values) < _LEAST_RELATIVES or values.min() < 0.2 or values.max() > 5:
        return False
    logs = np.log(values)
    spread = float(logs.var())
    if spread == 0 or abs(float(np.median(logs))) > 0.1:
        return False
    return float(np.diff(logs).var()) > _INDEPENDENT * spread


def _are_weights(table: RawTable, symbols: int) -> bool:
    closes = table.frame["close"].to_numpy()
    known = np.isfinite(closes) & table.frame["date"].notna().to_numpy()
    if symbols < 2 or not known.any() or closes[known].min() < 0 or closes[known].max() > 1.0 + 1e-9:
        return False
    sums = table.frame[known].groupby("date")["close"].sum()
    return len(sums) > 2 and bool((np.abs(sums - 1) < 1e-3).mean() > 0.95)


def _returns(table: RawTable, series: list[tuple[np.ndarray, np.ndarray]]) -> Finding:
    values = np.concatenate([part for _, part in series])
    example = values[np.argmax(values != 0)]
    choice: list[tuple[str, str]] = [("--repair", "chain-percent")]
    meaning = "in percent, since one lies below -1"
    if values.min() > -1:
        choice.insert(0, ("--repair", "chain-returns"))
        meaning = f"in fractions ({example:g} is {100 * example:.3g} %: chain-returns) or in percent (chain-percent)"
    message = f"closes lie around 0 on both sides: returns, {meaning}"
    return _finding(table, "returns", int(series[0][0][0]), message, tuple(choice))


def _finding(
    table: RawTable, kind: str, row: int, message: str, advice: tuple[tuple[str, str], ...] = ()
) -> Finding:
    symbol = table.symbol(row) or None
    if kind == "not-a-price":
        message = f"{message}, no price; if it is one: --allow not-a-price"
    return Finding(kind, message, symbol, None, table.place(row), advice)
