"""Axes of sketched figures: where a value lies between their ends, and which values have names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "axis_of"]

Floats = NDArray[np.float64]
_TICKS = 6


@dataclass
class Axis:
    """An axis between two ends.

    Attributes
    ----------
    kind : str
        ``linear``, ``log``, ``date`` or ``category``.
    low, high : float
        Its ends, in units of the kind: logarithms, days since 1970, numbers of categories.
    backwards : bool
        Whether it begins at its upper or right end.
    unit : float
        Smallest distance of two places, in those units.
    categories : dict
        Their numbers.
    ticks : list
        Share of the axis and name of each value that is named.
    """

    kind: str
    low: float
    high: float
    backwards: bool = False
    unit: float = 1.0
    categories: dict[str, int] = field(default_factory=dict)
    ticks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def step(self) -> float:
        """Share of the axis between two neighbours."""
        return self.unit / (self.high - self.low)

    def places(self, values: Any) -> Floats:
        """Share of the axis of each value."""
        return self.shares(_numbers(values, self.kind, self.categories))

    def shares(self, numbers: Floats) -> Floats:
        """Share of the axis of numbers in units of its kind."""
        share: Floats = (numbers - self.low) / (self.high - self.low)
        return 1 - share if self.backwards else share


@dataclass(frozen=True)
class Content:
    """Values that an axis must hold; seated ones are the middles of bars or cells."""

    values: Any
    seated: bool = False


def axis_of(settings: Any, content: Sequence[Content]) -> Axis:
    """Make the axis that holds some values.

    Parameters
    ----------
    settings
        Plotly's settings of the axis.
    content
        What each trace has along it.
    """
    kind = settings.type if settings.type not in (None, "-") else _kind(content[0].values)
    categories: dict[str, int] = {}
    if kind == "category":
        for value in (value for item in content for value in item.values):
            categories.setdefault(str(value), len(categories))
    numbers = np.concatenate([_numbers(item.values, kind, categories) for item in content])
    numbers = np.unique(numbers[np.isfinite(numbers)])
    seated = kind == "category" or any(item.seated for item in content)
    unit = float(np.diff(numbers).min()) if len(numbers) > 1 and kind != "category" else 1.0
    low, high = _ends(numbers if len(numbers) else np.zeros(1), kind, settings, unit / 2 if seated else None)
    axis = Axis(kind, low, high, settings.autorange == "reversed", unit, categories)
    axis.ticks = [(float(axis.shares(np.array(at))), name) for at, name in _ticks(axis, settings) if name]
    return axis


def _ends(numbers: Floats, kind: str, settings: Any, half: float | None) -> tuple[float, float]:
    low, high = float(numbers[0]), float(numbers[-1])
    if settings.range is not None and kind in ("linear", "log"):
        low, high = (float(end) for end in settings.range)
    elif half is not None:
        low, high = low - half, high + half
    elif kind != "date":
        if settings.rangemode == "tozero" and kind == "linear":
            low, high = min(low, 0.0), max(high, 0.0)
        # Room at the ends, except where a bar or an area stands on its foot.
        pad = 0.055 * ((high - low) or abs(high) or 1.0)
        low -= pad if low != 0 or kind == "log" else 0.0
        high += pad if high != 0 or kind == "log" else 0.0
    return low, high if high > low else low + 1.0


def _kind(values: Any) -> str:
    first = next((value for value in values if value is not None), 0.0)
    if isinstance(first, str):
        return "date" if len(first) >= 10 and first[4] == "-" == first[7] else "category"
    return "linear"


def _numbers(values: Any, kind: str, categories: dict[str, int]) -> Floats:
    if kind == "category":
        return np.array([categories[str(value)] for value in values], dtype=float)
    if kind == "date":
        return np.asarray(list(values), dtype="datetime64[D]").astype(float)
    numbers = np.array([np.nan if value is None else value for value in values], dtype=float)
    if kind == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers = np.log10(numbers)
    return numbers


def _ticks(axis: Axis, settings: Any) -> list[tuple[float, str]]:
    if axis.kind == "category":
        names = list(axis.categories)
        every = 1 if settings.dtick == 1 else -(-len(names) // 40)
        return [(float(place), names[place]) for place in range(0, len(names), every)]
    if axis.kind == "date":
        return _dates(axis)
    if axis.kind == "log":
        exact = [
            10.0**e * m for e in range(math.floor(axis.low), math.ceil(axis.high) + 1) for m in (1, 2, 5)
        ]
        inside = [value for value in exact if axis.low <= math.log10(value) <= axis.high]
        if len(inside) < 3:
            inside = [value for value in _nice(10.0**axis.low, 10.0**axis.high) if value > 0]
        return [(math.log10(value), _label(value, settings)) for value in inside]
    return [(value, _label(value, settings)) for value in _nice(axis.low, axis.high)]


def _nice(low: float, high: float) -> list[float]:
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _dates(axis: Axis) -> list[tuple[float, str]]:
    first, last = (np.datetime64(int(end), "D") for end in (axis.low, axis.high))
    years = (axis.high - axis.low) / 365.25
    if years < 2:
        months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
        chosen = months[:: max(1, -(-len(months) // 8))]
        named = [(month, str(month)) for month in chosen]
    else:
        step = next(s for s in (1, 2, 5, 10, 20, 50) if years / s <= 9)
        begin = int(str(first)[:4]) // step * step
        named = [(np.datetime64(f"{y:04d}", "M"), str(y)) for y in range(begin, int(str(last)[:4]) + 1, step)]
    at = [(float(month.astype("datetime64[D]").astype(float)), name) for month, name in named]
    return [(place, name) for place, name in at if axis.low <= place <= axis.high]


def _label(value: float, settings: Any) -> str:
    form = settings.tickformat or ""
    if form == "d":
        return f"{value:.0f}" if abs(value - round(value)) < 1e-9 else ""
    text = f"{100 * value:g}\u202f%" if form.endswith("%") else f"{value:.6g}"
    return text.replace("-", "−") + (settings.ticksuffix or "")
