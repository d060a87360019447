"""Figures of prices by their data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trading_app.report.figures import data as f
from trading_app.report.theme import DARK, LIGHT


def spans(**symbols: tuple[str, str]) -> pd.DataFrame:
    rows = [(name, pd.Timestamp(first), pd.Timestamp(last), 0) for name, (first, last) in symbols.items()]
    return pd.DataFrame(rows, columns=["symbol", "first", "last", "sessions"])


def gaps(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["date", "symbol"])
    return frame.astype({"date": "datetime64[ns]"})


WHOLE = ("2020-01-02", "2020-06-30")


def test_calendar_counts_missing_sessions_by_month() -> None:
    missing = gaps(("2020-02-03", "AAA"), ("2020-02-04", "AAA"), ("2020-05-01", "BBB"), ("2020-03-02", "*"))
    found = f.gaps_calendar(missing, spans(AAA=WHOLE, BBB=WHOLE), start=WHOLE[0], end=WHOLE[1])
    heat = found.data[0]
    assert list(heat.y) == ["every symbol", "AAA", "BBB"]
    assert list(heat.x) == [f"2020-0{month}-01" for month in range(1, 7)]
    np.testing.assert_array_equal(heat.z, [[0, 0, 1, 0, 0, 0], [0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])
    assert found.layout.title.text == "Gaps: 4 missing sessions"
    assert "AAA 2" in found.layout.title.subtitle.text


def test_months_before_and_after_a_listing_are_blank() -> None:
    listed = spans(AAA=("2020-03-15", "2020-04-15"), BBB=WHOLE)
    heat = f.gaps_calendar(gaps(), listed, start=WHOLE[0], end=WHOLE[1]).data[0]
    np.testing.assert_array_equal(np.isnan(heat.z[0]), [True, True, False, False, True, True])
    assert not np.isnan(heat.z[1]).any()


def test_symbol_without_any_price_is_blank() -> None:
    listed = pd.DataFrame({"symbol": ["AAA"], "first": [pd.NaT], "last": [pd.NaT], "sessions": [0]})
    heat = f.gaps_calendar(gaps(), listed, start=WHOLE[0], end=WHOLE[1]).data[0]
    assert np.isnan(heat.z).all()


def test_prices_without_gaps_say_so() -> None:
    found = f.gaps_calendar(gaps(), spans(AAA=WHOLE), start=WHOLE[0], end=WHOLE[1])
    assert found.layout.title.text == "Gaps: no session is missing"
    assert len({colour for _, colour in found.data[0].colorscale}) == 1


def test_many_symbols_are_cut_to_those_that_lack_most() -> None:
    listed = spans(**{f"S{k}": WHOLE for k in range(100)})
    missing = gaps(*(("2020-02-03", f"S{k}") for k in range(70, 100)))
    found = f.gaps_calendar(missing, listed, start=WHOLE[0], end=WHOLE[1])
    assert len(found.data[0].y) == f.ROWS
    assert {f"S{k}" for k in range(70, 100)} <= set(found.data[0].y)
    assert "60 symbols" in found.layout.title.subtitle.text


def test_one_missing_session_is_seen_beside_a_month_of_them() -> None:
    missing = gaps(
        ("2020-02-03", "AAA"), *((str(day.date()), "BBB") for day in pd.bdate_range("2020-03-02", periods=22))
    )
    for theme in (LIGHT, DARK):
        scale = f.gaps_calendar(
            missing, spans(AAA=WHOLE, BBB=WHOLE), start=WHOLE[0], end=WHOLE[1], theme=theme
        ).data[0]
        (_, none), (least, few), _ = scale.colorscale
        assert least < 1 / scale.zmax
        assert none != few


def test_findings_are_counted_by_year_and_kind() -> None:
    findings = pd.DataFrame(
        {"kind": ["stale-run", "stale-run", "split-jump", "no-calendar"],
         "date": ["2019-05-01", "2020-05-01", "2020-06-01", None]}
    )  # fmt: skip
    found = f.findings_by_year(findings)
    bars = {bar.name: dict(zip(bar.x.tolist(), bar.y.tolist(), strict=True)) for bar in found.data}
    assert bars == {"stale run": {2019: 1, 2020: 1}, "split jump": {2020: 1}}
    assert "1 more" in found.layout.title.subtitle.text
    assert list(found.layout.xaxis.range) == [2018.4, 2020.6]
    assert (
        found.layout.xaxis.dtick == found.layout.yaxis.dtick == 1
    )  # no ticks at half years or half findings
    whole = f.findings_by_year(findings, start="1990-01-02", end="2020-12-31").layout
    assert list(whole.xaxis.range) == [1989.4, 2020.6]
    assert whole.xaxis.dtick is None


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_figures_of_nothing_can_be_drawn(theme) -> None:
    assert f.findings_by_year(pd.DataFrame(columns=["kind", "date"]), theme=theme).to_json()
