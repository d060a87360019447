"""The view that a page's address names: run, strategy, dates and scale; what is left out is shown whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from fastapi import Depends, Query

from service.dashboard.figures import address
from service.schemas.common import NAME_PATTERN
from trading_app.report.theme import Focus

#: Years of the buttons that choose a range.
YEARS = (1, 3, 5, 10)
_DAY = r"[12]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_SPAN = f"^(?:{_DAY}_{_DAY})?$"


@dataclass(frozen=True)
class View:
    """Choices of a backtest's page: strategy, dates and scale."""

    strategy: str | None = None
    start: date | None = None
    end: date | None = None
    scale: str = "log"

    @property
    def query(self) -> dict[str, str | None]:
        """The members of the address that figures depend on."""
        return {
            "strategy": self.strategy,
            "from": f"{self.start:%Y-%m-%d}" if self.start else None,
            "to": f"{self.end:%Y-%m-%d}" if self.end else None,
        }


def _view(
    strategy: Annotated[str, Query(pattern=f"^$|{NAME_PATTERN}")] = "",
    start: Annotated[date | Literal[""], Query(alias="from")] = "",
    end: Annotated[date | Literal[""], Query(alias="to")] = "",
    scale: Literal["log", "linear"] = "log",
) -> View:
    return View(strategy or None, start or None, end or None, scale)


ViewDep = Annotated[View, Depends(_view)]


def _zoom(zoom: Annotated[str, Query(pattern=_SPAN)] = "") -> Focus:
    first, _, last = zoom.partition("_")
    return (first, last) if zoom else None


#: The dates that a reader has zoomed to, for files of figures that are drawn in their detail.
Zoom = Annotated[Focus, Depends(_zoom)]


@dataclass(frozen=True)
class Preset:
    """A button that shows a range."""

    label: str
    url: str
    current: bool


def presets(view: View, first: date, last: date, path: str, run: str | None = None) -> list[Preset]:
    """Buttons for the whole range and the last years of it."""
    found = [(f"{years} y", last.replace(year=last.year - years, day=min(last.day, 28))) for years in YEARS]
    spans: list[tuple[str, date | None]] = [("All", None)]
    spans += [(label, start) for label, start in found if start > first]
    return [
        Preset(
            label,
            address(path, {"run": run, **View(view.strategy, start).query}),
            view.start == start and view.end is None,
        )
        for label, start in spans
    ]
