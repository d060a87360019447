"""Options of reading price files, as given on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data.errors import check_choices
from data.quality.adjustment import CLOSES
from data.quality.advice import Option
from data.readers.columns import LAYOUTS
from data.readers.dates import check_zone


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading files.

    Attributes
    ----------
    mapping
        Role → column where the usual names are not used (``{"close": "Last price"}``).
    symbol
        Symbol of a file without a symbol column; the file's name by default.
    date_format
        A strptime format where the order of day and month is not clear.
    decimal
        Decimal mark, ``.`` or ``,``, where it is not clear.
    layout
        ``long``, ``wide`` or ``auto``.
    closes
        ``raw``, ``adjusted`` or ``auto``: see `data.quality.adjustment.CLOSES`.
    sheet
        Sheet of Excel workbooks; by default the only one with a table.
    skip_rows
        Lines above the header, where it is not found.
    zone
        Time zone in whose days the rows are dated, where the stamps are in UTC.
    exclude
        Columns and symbols to leave out.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    layout: str = "auto"
    closes: str = "auto"
    sheet: str | None = None
    skip_rows: int | None = None
    zone: str | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choices([self.layout], LAYOUTS, "--layout")
        check_choices([self.closes], CLOSES, "--closes")
        check_zone(self.zone)
        check_choices([self.decimal or "."], (".", ","), "--decimal")

    def added(self, options: Sequence[Option]) -> ReadOptions:
        """Return the options with further ones of the command line; those of checks are left out."""
        names = {
            f"--{name.replace('_', '-')}": name
            for name in ("date_format", "decimal", "layout", "zone", "sheet")
        }
        changed: dict[str, Any] = {names[flag]: value for flag, value in options if flag in names}
        excluded = tuple(value for flag, value in options if flag == "--exclude")
        return replace(self, exclude=(*self.exclude, *excluded), **changed)
