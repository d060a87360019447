"""The theme: thinned series, averages and colours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trading_app.report import theme as t


def test_thinning_keeps_extremes_and_ends() -> None:
    values = np.random.default_rng(0).normal(size=20_000).cumsum()
    rows = t.thin(values, 300)
    assert len(rows) <= 304
    assert rows[0] == 0
    assert rows[-1] == len(values) - 1
    assert values[rows].max() == values.max()
    assert values[rows].min() == values.min()
    assert (np.diff(rows) > 0).all()
    assert len(t.thin(values[:100], 300)) == 100


def test_averaging_keeps_the_mean() -> None:
    frame = pd.DataFrame({"a": np.arange(1000.0)}, pd.bdate_range("2000-01-03", periods=1000))
    short = t.averaged(frame, 100)
    assert len(short) == 100
    assert short["a"].mean() == pytest.approx(frame["a"].mean())
    assert short.index[-1] == frame.index[-1]
    assert t.averaged(frame, 2000) is frame


def test_colours_are_stable_and_visible() -> None:
    names = ["agent", "seed-0", "equal-weight", "buy-and-hold", "momentum"]
    for theme in (t.LIGHT, t.DARK):
        colours = t.strategy_colours(names, theme)
        assert colours["agent"] == colours["seed-0"] == theme.agent
        assert colours["equal-weight"] == theme.reference
        assert len({colours[name] for name in names if name != "seed-0"}) == 4
        for colour in (theme.agent, theme.reference, theme.gain, theme.loss, theme.ink, theme.muted):
            assert contrast(colour, theme.paper) >= 3


def contrast(one: str, other: str) -> float:
    """Contrast ratio of the WCAG."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
