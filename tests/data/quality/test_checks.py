"""Checks and repairs: sessions, splits, stale runs; nothing is repaired unasked, and repairs are written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, Prices, load_prices
from data.quality.checks import check_table, validate
from data.quality.findings import CURES, ERRORS, WARNINGS
from data.quality.pipeline import CheckOptions, check_and_build
from data.quality.raw_table import RawTable, with_places
from data.quality.repairs import REPAIRS, apply_repairs

Rows = list[tuple[Any, ...]]


def table(rows: Rows, columns: str = "date symbol open high low close volume") -> RawTable:
    frame = pd.DataFrame(rows, columns=columns.split())
    frame["date"] = pd.to_datetime(frame["date"])
    frame["symbol"] = frame["symbol"].astype(object)
    for name in frame.columns[2:]:
        frame[name] = frame[name].astype(float)
    return RawTable(with_places(frame, "t.csv", np.arange(2, len(frame) + 2)))


def closes(dates: pd.DatetimeIndex, values: Any, **others: Any) -> Prices:
    frame = pd.DataFrame(np.asarray(values, dtype=float)[:, None], dates, ["A"])
    fields = {name: pd.DataFrame(np.asarray(v)[:, None], dates, ["A"]) for name, v in others.items()}
    return Prices.from_frames("x", close=frame, **fields)


def walk(length: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, length)))


def kinds(report: Any) -> dict[str, int]:
    return dict(report.counts())


def test_clean_prices_give_nothing(make_prices: Callable[..., Prices]) -> None:
    report = validate(make_prices(0, 250, 3))
    assert report.findings == ()
    assert report.calendar == "XNYS"


def test_missing_sessions_are_found_for_all_and_for_one(sessions: Any, make_prices: Any) -> None:
    prices: Prices = make_prices(0, 250, 3)
    long = prices.to_long()
    gone = prices.dates[[10, 11, 12, 40]]
    long = long[~long["date"].isin(gone)]
    hole = (long["symbol"] == "S1") & (long["date"] == prices.dates[100])
    late = (long["symbol"] == "S2") & (long["date"] < prices.dates[60])
    report = validate(Prices.from_long(long[~hole & ~late], "x"))
    assert kinds(report) == {"missing-session": 3}
    lines = [str(finding) for finding in report.findings]
    assert lines[0].startswith(f"{gone[0].date()}: no symbol has a row, XNYS was open, for 3 sessions")
    assert lines[1] == f"{gone[3].date()}: no symbol has a row, XNYS was open"
    # Before its first row a symbol misses nothing: it may not have been listed.
    assert lines[2] == f"S1 {prices.dates[100].date()}: no row, other symbols have one"


def test_rows_on_closed_days_are_found(sessions: Any) -> None:
    days = sessions("2023-01-03", "2023-12-29").union(pd.DatetimeIndex(["2023-07-04", "2023-12-23"]))
    report = validate(closes(days, walk(len(days))))
    assert [str(finding) for finding in report.findings] == [
        "2023-07-04: XNYS was closed on this Tuesday",
        "2023-12-23: XNYS was closed on this Saturday",
    ]


def test_dates_of_no_exchange_are_said() -> None:
    days = pd.date_range("2020-01-01", periods=120, freq="W")
    report = validate(closes(days, walk(120)))
    assert kinds(report) == {"no-calendar": 1}
    assert kinds(validate(closes(days, walk(120)), calendar="none")) == {}


@pytest.mark.parametrize(("ratio", "text"), [(2, "2:1"), (1.5, "3:2"), (20, "20:1"), (0.1, "1:10")])
def test_unadjusted_splits_are_suspected(sessions: Any, ratio: float, text: str) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] /= ratio
    report = validate(closes(days, values))
    assert kinds(report) == {"split-jump": 1}
    assert report.findings[0].date == str(days[150].date())
    assert f"like a {text} split" in report.findings[0].message


def test_jumps_that_are_no_splits_are_left_alone(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    crash = walk(len(days))
    crash[150:] *= 0.58
    assert kinds(validate(closes(days, crash))) == {}
    # Halved at the close, but the open was where it had been: a crash within the day.
    half = walk(len(days))
    half[150:] /= 2
    opened = np.r_[half[0], half[:-1]]
    assert kinds(validate(closes(days, half, open=opened))) == {}
    # Adjusted closes know of the split.
    adjusted = walk(len(days))
    assert kinds(validate(closes(days, half, adj_close=adjusted))) == {}
    # A wild asset moves by a third on many days.
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.3, len(days))))
    assert kinds(validate(closes(days, wild))) == {}


def test_a_symbol_without_adjusted_closes_is_looked_at_beside_one_with(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    half = walk(len(days))
    half[150:] /= 2
    frame = pd.DataFrame({"with": half, "without": half}, index=days)
    adjusted = pd.DataFrame({"with": walk(len(days)), "without": np.nan}, index=days)
    report = validate(Prices.from_frames("two", close=frame, adj_close=adjusted))
    jumps = [finding for finding in report.findings if finding.kind == "split-jump"]
    assert [(jump.symbol, jump.date) for jump in jumps] == [("without", str(days[150].date()))]


def test_stale_runs_are_found(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[50:65] = values[50]
    values[100:108] = values[100]
    report = validate(closes(days, values))
    assert kinds(report) == {"stale-run": 1}
    assert "for 15 sessions" in report.findings[0].message
    assert kinds(validate(closes(days, values), stale_sessions=8)) == {"stale-run": 2}


def test_a_close_outside_the_range_of_the_day_is_said() -> None:
    report = check_table(
        table([("2024-01-02", "A", 1.0, 2.0, 0.5, 2.5, 1), ("2024-01-03", "A", 1.0, 2.0, 0.5, 2.0, 1)]),
        calendar="none",
    )
    assert kinds(report) == {"outside-range": 1}
    assert "high 2, low 0.5, close 2.5" in report.findings[0].message
    assert report.findings[0].place == "t.csv line 2"


MESSY: Rows = [
    ("2024-01-03", "A", 1.0, 1.2, 0.9, 1.1, 10),
    ("2024-01-02", "A", 1.0, 1.2, 0.9, 1.0, 10),
    ("2024-01-02", "A", 1.0, 1.2, 0.9, 1.05, 10),
    ("2024-01-04", "A", 0.0, 1.2, 0.9, 1.0, -10),
    ("2024-01-05", "A", 1.0, 0.2, 0.9, np.inf, 10),
    ("2024-01-06", "A", 1.0, 1.2, 0.9, 1.0, 10),
    ("2024-01-08", "", 1.0, 1.2, 0.9, 1.0, 10),
    (None, "A", 1.0, 1.2, 0.9, 1.0, 10),
]


def test_every_kind_of_error_is_found_at_once() -> None:
    report = check_table(table(MESSY), calendar="XNYS")
    assert kinds(report) == {
        "missing-symbol": 1,
        "unsorted": 1,
        "duplicate": 1,
        "non-finite": 1,
        "non-positive": 2,
        "high-below-low": 1,
        "not-a-session": 1,
    }
    assert len(report.errors) == 7
    assert set(report.counts()) <= {*ERRORS, *WARNINGS}
    frame = report.to_frame()
    assert list(frame.columns) == ["kind", "severity", "place", "symbol", "date", "message"]
    assert (frame["severity"] == "warning").sum() == 1
    with pytest.raises(DataError, match=r"t\.csv line 8.*--repair drop-bad-rows"):
        report.raise_errors("messy")


def test_repairs_do_what_was_asked_and_write_it_down() -> None:
    wanted = (
        "keep-last",
        "sort",
        "drop-bad-rows",
        "blank-bad-values",
        "blank-high-low",
        "drop-closed-days",
    )
    result = check_and_build(table(MESSY), "x", {}, CheckOptions("XNYS", repair=wanted))
    prices = result.prices
    assert [str(date.date()) for date in prices.dates] == [
        "2024-01-02",
        "2024-01-03",
        "2024-01-04",
        "2024-01-05",
    ]
    np.testing.assert_array_equal(prices.close["A"], [1.05, 1.1, 1.0, np.nan])
    assert np.isnan(prices.fields["open"]["A"].iloc[2])
    assert np.isnan(prices.fields["high"]["A"].iloc[3])
    changes = {record["repair"]: record["changes"] for record in result.repairs}
    assert changes["sort"] == [
        "t.csv line 2: A 2024-01-03: row moved",
        "t.csv line 3: A 2024-01-02: row moved",
        "t.csv line 4: A 2024-01-02: row moved",
    ]
    assert list(changes) == [name for name in REPAIRS if name in wanted]
    assert changes["drop-bad-rows"] == [
        "t.csv line 8: 2024-01-08: row dropped",
        "t.csv line 9: A: row dropped",
    ]
    assert changes["keep-last"] == ["t.csv line 3: A 2024-01-02: row dropped"]
    assert changes["blank-bad-values"] == [
        "t.csv line 5: A 2024-01-04: open 0 → missing",
        "t.csv line 6: A 2024-01-05: close inf → missing",
        "t.csv line 5: A 2024-01-04: volume -10 → missing",
    ]
    assert changes["blank-high-low"] == ["t.csv line 6: A 2024-01-05: high 0.2 and low 0.9 → missing"]
    assert changes["drop-closed-days"] == ["t.csv line 7: A 2024-01-06: row dropped"]
    assert any("blank-bad-values (3 changes)" in note for note in prices.notes)


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(sorted(REPAIRS))))
def test_a_repair_changes_only_what_it_is_for(names: set[str]) -> None:
    before = table(MESSY)
    after, records = apply_repairs(before, names, calendar="XNYS")
    assert {record["repair"] for record in records} == names
    left = kinds(check_table(after, calendar="XNYS"))
    cured = {kind for kind, repairs in CURES.items() if names & set(repairs)}
    # What no repair was asked for is still there, unless its row was dropped for another reason.
    for kind, count in kinds(check_table(before, calendar="XNYS")).items():
        assert left.get(kind, 0) == 0 if kind in cured else left.get(kind, 0) <= count
    if not names:
        pd.testing.assert_frame_equal(before.frame, after.frame)


def test_every_cure_is_a_repair_of_a_known_kind() -> None:
    assert set(CURES) <= {*ERRORS, *WARNINGS}
    assert {repair for repairs in CURES.values() for repair in repairs} == set(REPAIRS)


def test_splits_are_adjusted_on_request(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    whole = walk(len(days))
    raw = whole.copy()
    raw[:150] *= 4
    rows = [(day, "A", value * 0.999, value, 10.0) for day, value in zip(days, raw, strict=True)]
    split = table(rows, "date symbol open close volume")
    result = check_and_build(split, "x", {}, CheckOptions("XNYS", repair=("adjust-splits",)))
    np.testing.assert_allclose(result.prices.close["A"], whole, rtol=1e-12)
    assert result.prices.fields["volume"]["A"].iloc[0] == 40
    assert result.repairs[0]["changes"] == [
        f"t.csv line 152: A {days[150].date()}: prices before divided by 4 (4:1 split)"
    ]
    assert result.report.findings == ()
    unasked = check_and_build(split, "x", {}, CheckOptions("XNYS"))
    np.testing.assert_array_equal(unasked.prices.close["A"], raw)
    assert any("look like splits" in note for note in unasked.prices.notes)


def test_accepted_errors_are_kept_and_written_down() -> None:
    rows: Rows = [("2024-01-02", "A", 1.0, 0.5, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match="--repair blank-high-low or --allow high-below-low"):
        check_and_build(table(rows), "x", {}, CheckOptions("none"))
    result = check_and_build(table(rows), "x", {}, CheckOptions("none", allow=("high-below-low",)))
    assert result.report.summary()["allowed"] == ["high-below-low"]
    assert result.prices.fields["high"].iloc[0, 0] == 0.5


def test_nothing_left_is_said() -> None:
    rows: Rows = [("2024-01-06", "A", 1.0, 2.0, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match="no row is left"):
        check_and_build(table(rows), "x", {}, CheckOptions("XNYS", repair=("drop-closed-days",)))


def test_bundled_prices_hold_no_errors() -> None:
    assert validate(load_prices("factors-5")).findings == ()
    report = validate(load_prices("sp500-20", start="2000-01-01"))
    assert report.errors == ()
    assert report.calendar == "XNYS"
    assert "missing-session" not in report.counts()
