"""Options of an import of signals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from data.errors import DataError, check_choices

__all__ = ["REPAIRS", "SignalOptions"]

#: Repair → what it does.
REPAIRS = {
    "drop-symbols": "leaves out symbols that the prices do not have",
    "drop-outside": "leaves out stamps before the first and after the last session of the prices",
    "drop-bad-rows": "leaves out rows without a readable date or a symbol",
    "blank-bad-values": "makes values missing that are no numbers or infinite",
    "keep-first": "of rows for one symbol and date, keeps the first",
    "keep-last": "of rows for one symbol and date, keeps the last",
}
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class SignalOptions:
    """Options of an import.

    Attributes
    ----------
    odd, even
        Columns that change sign under the mirror of returns, and columns that do not.
    lag
        Sessions from a stamp to the first decision that may use the value.
    carry
        Sessions that the last value is used for without a newer one.
    mapping
        ``date`` and ``symbol`` → column where the usual names are not used.
    date_format, decimal, sheet, skip_rows
        As for prices.
    repair
        Keys of `REPAIRS`.
    """

    odd: tuple[str, ...] = ()
    even: tuple[str, ...] = ()
    lag: int = 1
    carry: int = 5
    mapping: Mapping[str, str] = field(default_factory=dict)
    date_format: str | None = None
    decimal: str | None = None
    sheet: str | None = None
    skip_rows: int | None = None
    repair: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self.repair, REPAIRS, "--repair")
        check_choices([self.decimal or "."], (".", ","), "--decimal")
        check_choices(self.mapping, ("date", "symbol"), "--map")
        if {"keep-first", "keep-last"} <= set(self.repair):
            raise DataError("--repair: keep-first and keep-last exclude each other; choose one")
        for column in (*self.odd, *self.even):
            if _COLUMN.fullmatch(column) is None or column in ("date", "symbol"):
                raise DataError(
                    f"'{column}' cannot be the name of a signal: use letters, digits, '.', '_', '-', beginning with a "
                    "letter, and not date or symbol; rename the column in the file"
                )
            if column in self.odd and column in self.even:
                raise DataError(
                    f"signal '{column}' is declared odd and even: name it once, in --odd if it changes sign when all "
                    "returns do, in --even if not"
                )
            if (*self.odd, *self.even).count(column) > 1:
                raise DataError(f"signal '{column}' is named twice; name it once")
        if not self.odd and not self.even:
            raise DataError(
                "no signal is declared: name the columns with --odd (they change sign when all returns do) and --even"
            )

    @property
    def parity(self) -> dict[str, int]:
        """Column → −1 or +1, odd ones first."""
        return {**dict.fromkeys(self.odd, -1), **dict.fromkeys(self.even, 1)}
