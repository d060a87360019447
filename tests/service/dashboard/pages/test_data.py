"""The page *Data*: every dataset, what the checks found in it, and which sessions it lacks."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices, SnapshotStore
from data.calendars import sessions_of
from data.quality.checks import validate

PATH = "/dashboard/data"


def prices_with_gaps(level: float = 10.0) -> Prices:
    days = sessions_of("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-03-28"))
    close = pd.DataFrame(level + np.arange(len(days))[:, None] * [0.1, 0.2], days, ["AAA", "BBB"])
    close.iloc[5:8, 0] = np.nan
    return Prices.from_frames("mine", close=close, notes=["A note for <readers>."])


def save(home: Path, **options: Any) -> None:
    prices = prices_with_gaps(options.pop("level", 10.0))
    report = validate(prices)
    SnapshotStore(home).save(
        prices,
        "mine",
        provider={"name": "files", "files": ["mine.csv"]},
        validation=report.summary(),
        findings=report.to_frame(),
        **options,
    )


def table(site: Any, name: str, query: str = "") -> pd.DataFrame:
    answer = site.client.get(f"{PATH}/figures/{name}.csv{query}")
    assert answer.status_code == 200
    return pd.read_csv(io.StringIO(answer.text))


def test_empty_home_shows_bundled_data_and_how_to_bring_ones_own(site: Any) -> None:
    page = site.client.get(PATH)
    assert page.status_code == 200
    for words in (
        "sp500-20",
        "factors-5",
        "sp500-index-ohlc",
        "industries",
        "equitrade data import",
        "Survivor-biased",
    ):
        assert words in page.text


def test_snapshot_is_shown_with_its_gaps_and_findings(site: Any) -> None:
    save(site.home)
    page = site.client.get(PATH).text
    assert "mine, version 1" in page
    assert "for 3 sessions until 2024-01-11" in page
    assert "A note for &lt;readers&gt;." in page
    assert re.findall(r'data-figure="([^"]+)"', page) == ["gaps", "findings"]
    for source in re.findall(r'data-source="([^"]+)"', page):
        assert site.client.get(source.replace("&amp;", "&")).json()["data"]
    assert table(site, "gaps").to_numpy().tolist() == [
        [f"2024-01-{day}", "AAA"] for day in ("09", "10", "11")
    ]
    assert table(site, "findings")["kind"].tolist() == ["missing-session"]


def test_bundled_gaps_need_no_prices(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.state.snapshots, "get", None)
    assert site.client.get(f"{PATH}?data=sp500-20").status_code == 200
    assert table(site, "gaps", "?data=sp500-20").empty
    assert len(table(site, "findings", "?data=sp500-20")) == 30


def test_versions_are_told_apart(site: Any) -> None:
    save(site.home)
    save(site.home, level=20.0)
    first = site.client.get(f"{PATH}?data=mine@1").text
    newest = site.client.get(f"{PATH}?data=mine").text
    assert "mine, version 1" in first
    assert "Against the version before" not in first
    assert "mine, version 2" in newest
    assert "Against the version before" in newest
    store = SnapshotStore(site.home)
    hashes = [
        json.loads((store.directory / name / "manifest.json").read_text())["hash"]
        for name in ("mine", "mine@2")
    ]
    assert hashes[0] in first
    assert hashes[1] in newest


def test_repairs_are_told_with_what_they_changed(site: Any) -> None:
    save(site.home, repairs=[{"repair": "sort", "count": 2, "changes": ["line 3: moved", "line 9: moved"]}])
    page = site.client.get(PATH).text
    assert "sort rows by date" in page
    assert "line 9: moved" in page


def test_damaged_snapshot_is_named_and_the_rest_is_shown(site: Any) -> None:
    save(site.home)
    manifest = site.home / "data" / "mine" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("AAA", "AXA"))
    page = site.client.get(PATH)
    assert page.status_code == 200
    assert "its checksum differs" in page.text
    assert "sp500-20" in page.text
    assert "its checksum differs" in site.client.get(f"{PATH}?data=mine@1").text
    assert site.client.get(f"{PATH}/figures/gaps.json?data=mine@1").status_code == 404


def test_snapshot_of_a_program_says_that_it_was_not_checked(site: Any) -> None:
    SnapshotStore(site.home).save(prices_with_gaps(), "mine", provider={"name": "test"})
    assert "equitrade data validate mine@1" in site.client.get(PATH).text
    assert len(table(site, "gaps")) == 3


def test_runs_on_the_same_prices_are_linked(site: Any) -> None:
    save(site.home)
    folder = site.home / "runs" / "first"
    folder.mkdir(parents=True)
    own = SnapshotStore(site.home).open("mine").manifest["hash"]
    (folder / "manifest.json").write_text(json.dumps({"name": "first", "data": {"hash": own}}))
    assert 'href="/dashboard/run?run=first"' in site.client.get(PATH).text


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("data=nothing", 404, "no snapshot"), ("data=../../etc", 422, "data"), ("data=mine@0", 422, "data")],
)
def test_bad_addresses_get_a_page_that_says_why(site: Any, query: str, status: int, words: str) -> None:
    answer = site.client.get(f"{PATH}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
