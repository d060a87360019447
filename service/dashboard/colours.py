"""Colours of sketched figures: names that stand for one colour on light paper and another on dark.

``static/dashboard.css`` says which; a look whose colours are numbers tells which name a figure means.
"""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from typing import Any

from trading_app.report.theme import DARK, LIGHT, Theme

__all__ = ["MARKED", "NAMED", "layers", "shade"]

_RGBA = re.compile(r"rgba?\((\d+), ?(\d+), ?(\d+)(?:, ?([\d.]+))?\)")


def _named() -> dict[str, tuple[str, str]]:
    names = [f.name for f in fields(Theme) if f.name not in ("name", "palette")]
    single = {f"k-{name.replace('_', '-')}": (getattr(LIGHT, name), getattr(DARK, name)) for name in names}
    palette = zip(LIGHT.palette, DARK.palette, strict=True)
    return single | {f"k-{number}": pair for number, pair in enumerate(palette)}


#: Class → its colour on light and on dark paper.
NAMED = _named()
_NUMBERS = {(0, 0, number): name for number, name in enumerate(NAMED, start=1)}


def _marked() -> Theme:
    codes = {name: f"#0000{number[2]:02x}" for number, name in _NUMBERS.items()}
    single = {f.name: codes.get(f"k-{f.name.replace('_', '-')}", "light") for f in fields(Theme)}
    palette = tuple(codes[f"k-{number}"] for number in range(len(LIGHT.palette)))
    return Theme(**(single | {"palette": palette}))  # type: ignore[arg-type]


#: The look that a figure to be sketched is made in.
MARKED = _marked()


def shade(colour: str | None) -> tuple[str, float]:
    """The class that a figure's colour stands for, and its opacity; ink for what is no colour of the look."""
    match = _RGBA.fullmatch(colour or "")
    if match:
        return _NUMBERS.get((int(match[1]), int(match[2]), int(match[3])), "k-ink"), float(match[4] or 1)
    if colour and re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return _NUMBERS.get((red, green, blue), "k-ink"), 1.0
    return "k-ink", 1.0


def layers(scale: Any, share: float) -> list[tuple[str, float]]:
    """What to lay over each other, classes and opacities, for the colour at a share of a colour scale."""
    stops = [(float(stop), shade(colour)[0]) for stop, colour in scale]
    for (a, one), (b, two) in pairwise(stops):
        if share <= b:
            part = (share - a) / ((b - a) or 1.0)
            if one == two or part in (0, 1):
                return [(two if part else one, 1.0)]
            if two == "k-paper":
                return [(one, 1.0 - part)]
            return [(two, part)] if one == "k-paper" else [(one, 1.0), (two, part)]
    return [(stops[-1][1], 1.0)]
