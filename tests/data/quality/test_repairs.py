"""Tests of repairs: each changes what was requested and records it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.quality.checks import check_table
from data.quality.findings import ERRORS, REPAIRS_BY_KIND, WARNINGS
from data.quality.pipeline import CheckOptions, check_and_build
from data.quality.repairs import REPAIRS, apply_repairs
from tests.data.quality.tables import MESSY, kinds, table, walk


def test_repairs_change_what_was_requested_and_record_it() -> None:
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
@given(st.sets(st.sampled_from([name for name in REPAIRS if not name.startswith(("swap", "chain"))])))
def test_repair_changes_only_its_kinds_of_findings(names: set[str]) -> None:
    before = table(MESSY)
    after, records = apply_repairs(before, names, calendar="XNYS")
    assert {record["repair"] for record in records} == names
    left = kinds(check_table(after, calendar="XNYS"))
    cured = {kind for kind, repairs in REPAIRS_BY_KIND.items() if names & set(repairs)}
    # What no repair was asked for is still there, unless its row was dropped for another reason.
    for kind, count in kinds(check_table(before, calendar="XNYS")).items():
        assert left.get(kind, 0) == 0 if kind in cured else left.get(kind, 0) <= count
    if not names:
        pd.testing.assert_frame_equal(before.frame, after.frame)


def test_every_cure_is_a_repair_of_a_known_kind() -> None:
    assert set(REPAIRS_BY_KIND) <= {*ERRORS, *WARNINGS}
    assert {repair for repairs in REPAIRS_BY_KIND.values() for repair in repairs} == set(REPAIRS)


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
