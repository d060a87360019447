"""Holdings as people type or paste them: a line an asset, in shares or in percent of the account."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.problems import Problem

#: Unit → what the form calls it.
UNITS = {"percent": "% of the account", "shares": "shares"}
_MOST = 2000
_BETWEEN = re.compile(r"[\t;:, ]+")


@dataclass(frozen=True)
class HeldText:
    """Holdings as a form shows them: lines, their unit, and cash beside shares."""

    lines: str = ""
    unit: str = "percent"
    cash: str = ""


def read_holdings(text: str, unit: str, cash: str = "") -> dict[str, Any]:
    """Holdings of a request from what somebody typed: ``weights``, or ``shares`` and ``cash``, as in the API.

    A line is ``SYMBOL NUMBER``, in ``percent`` of the account or ``shares``, separated by blanks, a tab, a comma, a
    semicolon or a colon, as spreadsheets paste it. An empty text is an account of cash; empty cash is 0.

    Raises `Problem` ``invalid-request``, with the line that cannot be read.
    """
    if unit not in UNITS:
        raise Problem("invalid-request", f"unit {unit[:20]!r}: give percent or shares")
    held: dict[str, float] = {}
    for number, line in enumerate(text.splitlines()[:_MOST], start=1):
        if not line.strip():
            continue
        symbol, *rest = [part for part in _BETWEEN.split(line.strip().removesuffix("%")) if part]
        if len(rest) != 1:
            raise Problem(
                "invalid-request", f"holdings, line {number}: write a symbol and a number, as in `KO 5.2`"
            )
        if symbol in held:
            raise Problem("invalid-request", f"holdings, line {number}: {symbol[:20]} is listed twice")
        held[symbol] = _number(rest[0], f"holdings, line {number}")
    if unit == "shares":
        return {"shares": held, "cash": _number(cash, "cash") if cash.strip() else 0.0}
    if cash.strip():
        raise Problem("invalid-request", "cash goes with shares; in percent it is what the assets leave")
    return {"weights": {symbol: round(value / 100, 12) for symbol, value in held.items()}}


def write_holdings(holdings: Mapping[str, Any] | None) -> HeldText:
    """The form's text of a request's holdings."""
    if not holdings:
        return HeldText()
    if holdings.get("shares") is not None:
        lines = [f"{symbol} {value:.12g}" for symbol, value in holdings["shares"].items()]
        return HeldText("\n".join(lines), "shares", f"{holdings.get('cash') or 0:.12g}")
    lines = [f"{symbol} {100 * value:.12g}" for symbol, value in (holdings.get("weights") or {}).items()]
    return HeldText("\n".join(lines))


def _number(text: str, place: str) -> float:
    try:
        value = float(text.strip().replace("\u2212", "-").replace("\u202f", "").replace("'", ""))
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:
        raise Problem("invalid-request", f"{place}: {text[:30]!r} is not a number; write it as 1234.5")
    return value
