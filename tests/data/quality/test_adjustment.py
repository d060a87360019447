"""Tests of adjusted closes from splits and dividends, whether the closes are adjusted already or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, SnapshotStore, load_prices
from data.cli import app
from data.quality.checks import validate
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices
from tests.data.quality.tables import closes, kinds, walk

Write = Callable[..., Path]
STRICT = CheckOptions("none", strict=True)


def growth(path: Path, **options: Any) -> float:
    adjusted = read_prices([path], options=ReadOptions(**options)).prices.adjusted().iloc[:, 0]
    return float(adjusted.iloc[-1] / adjusted.iloc[0])


@pytest.mark.parametrize("repair", [(), ("adjust-splits",)])
def test_split_column_of_unadjusted_closes_is_used_once(cases: Path, repair: tuple[str, ...]) -> None:
    result = read_prices([cases / "split-column.csv"], checks=CheckOptions(repair=repair, strict=True))
    adjusted = result.prices.adjusted()["AAPL"]
    assert adjusted.iloc[-1] / adjusted.iloc[0] == pytest.approx(0.98, abs=0.01)
    assert adjusted.pct_change().abs().max() < 0.1
    assert result.report.findings == ()
    assert "Adjusted closes are made from 1 split of the source." in result.prices.notes


@pytest.mark.parametrize("repair", [(), ("adjust-splits", "blank-spikes")])
def test_crash_on_a_day_without_a_split_stays_a_crash(cases: Path, repair: tuple[str, ...]) -> None:
    checks = CheckOptions(repair=repair)
    result = read_prices([cases / "true-crash.csv"], checks=checks)
    assert result.prices.adjusted()["X"].pct_change().min() == pytest.approx(-0.51, abs=0.01)
    assert kinds(result.report) == {"large-move": 1}
    with pytest.raises(DataError, match="does not return") as caught:
        read_prices([cases / "true-crash.csv"], checks=CheckOptions(repair=repair, strict=True))
    assert "adjust-splits" not in str(caught.value)


def test_empty_cells_of_a_split_column_are_days_without_a_split(cases: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(cases / "true-crash.csv").replace({"Stock Splits": {0.0: np.nan}})
    other = frame.assign(Symbol="Y", Close=10.0, Open=10.0, High=10.0, Low=10.0)
    other.loc[5, "Stock Splits"] = 2.0
    path = tmp_path / "sparse.csv"
    pd.concat([frame, other]).to_csv(path, index=False)
    result = read_prices([path], checks=CheckOptions(repair=("adjust-splits",)))
    assert result.prices.adjusted()["X"].pct_change().min() == pytest.approx(-0.51, abs=0.01)


def test_dividend_column_makes_total_returns(cases: Path) -> None:
    assert growth(cases / "dividend-column.csv") == pytest.approx(1.015, abs=0.005)


@pytest.mark.parametrize(
    ("date", "dividend", "split", "adjusted"),
    [
        ("Date", "Dividends", "Stock Splits", None),
        ("date", "divCash", "splitFactor", None),
        ("Date", "Ex-Dividend", "Split Ratio", None),
        ("timestamp", "dividend_amount", "split_coefficient", None),
        ("Date", "Dividends", "Splits", None),
        ("date", "divCash", "splitFactor", "adjClose"),
    ],
)
def test_columns_of_several_sources(
    write: Write, sessions: Any, date: str, dividend: str, split: str, adjusted: str | None
) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    total = walk(len(days))
    close = total.copy()
    close[100:] /= 7
    close[:60] += 5  # a dividend of 5, paid on day 60
    frame = pd.DataFrame({date: days.strftime("%Y-%m-%d"), "close": np.round(close, 4)})
    frame[dividend], frame[split] = 0.0, 1.0
    frame.loc[60, dividend], frame.loc[100, split] = 5.0, 7.0
    if adjusted is not None:
        frame[adjusted] = total / 7
    prices = read_prices([write(frame.to_csv(index=False))], checks=STRICT).prices
    found = prices.adjusted().pct_change().to_numpy()[1:, 0]
    np.testing.assert_allclose(found, pd.Series(total).pct_change().to_numpy()[1:], atol=3e-3)


@pytest.mark.parametrize(
    ("text", "ratio"), [("4:1", 4), ("4/1", 4), ("4-for-1", 4), ("3 for 2", 1.5), ("1:10", 0.1), ("4.0", 4)]
)
def test_split_ratios_as_text(write: Write, sessions: Any, text: str, ratio: float) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] /= ratio
    rows = [
        f"{day.date()},{value:.4f},{text if row == 150 else ''}"
        for row, (day, value) in enumerate(zip(days, values, strict=True))
    ]
    prices = read_prices([write("\n".join(["date,close,split", *rows]))], checks=STRICT).prices
    assert prices.fields["splits"].iloc[150, 0] == ratio
    np.testing.assert_allclose(prices.adjusted().iloc[:, 0], walk(len(days)), rtol=1e-4)


def market(days: pd.DatetimeIndex, *, adjusted: bool, decimals: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Return a file of quarterly dividends of 0.7 % and a 2:1 split, and the total return index behind it."""
    rng = np.random.default_rng(seed)
    total = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
    paid = np.arange(len(days)) % 63 == 31
    factor = np.cumprod(np.where(paid, 1 / 0.993, 1.0)) * np.where(np.arange(len(days)) >= 400, 2.0, 1.0)
    close = total if adjusted else total / factor
    before = np.r_[np.nan, close[:-1]]
    frame = pd.DataFrame({"Date": days.strftime("%Y-%m-%d"), "Close": np.round(close, decimals)})
    frame["Dividends"] = np.where(paid, 0.007 * before, 0.0)
    frame["Stock Splits"] = np.where(np.arange(len(days)) == 400, 2.0, 0.0)
    return frame, total


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("years", [2, 10])
def test_closes_that_are_adjusted_already_are_not_adjusted_again(
    write: Write, sessions: Any, adjusted: bool, years: int
) -> None:
    days = sessions("2012-01-03", f"{2012 + years}-12-30")
    frame, total = market(days, adjusted=adjusted, decimals=10 if adjusted else 2)
    path = write(frame.to_csv(index=False))
    assert growth(path) == pytest.approx(total[-1] / total[0], rel=1e-3)
    notes = read_prices([path]).prices.notes
    assert any("1 split" in note and ("taken as adjusted" in note) is adjusted for note in notes)


def test_closes_option_settles_what_closes_do_not_show(cases: Path, write: Write) -> None:
    rows = "\n".join(f"2024-01-{day:02d},{100 + day % 3},{0.1 if day == 9 else 0}" for day in range(2, 20))
    path = write(f"Date,Close,Dividends\n{rows}\n")
    (note,) = read_prices([path]).prices.notes
    assert note == (
        "Adjusted closes are made from 1 dividend of the source; if the closes are adjusted already, import with "
        "--closes adjusted."
    )
    assert growth(path, closes="raw") > growth(path, closes="adjusted")
    assert growth(path, closes="adjusted") == pytest.approx(101 / 102)
    prices = read_prices([path], options=ReadOptions(closes="adjusted")).prices
    assert prices.notes == ("Closes are taken as adjusted for splits and dividends.",)
    with pytest.raises(DataError, match="--closes: 'total' is not one of auto, raw, adjusted"):
        ReadOptions(closes="total")


def test_advice_for_closes_that_seem_adjusted_is_followed(
    write: Write, sessions: Any, tmp_path: Path
) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    frame, total = market(days, adjusted=False, decimals=10)
    frame = frame[:90]
    path = write(frame.to_csv(index=False))

    def imported(*options: str) -> Any:
        arguments = ["import", str(path), "--name", "m", "--json", "--home", str(tmp_path / "home"), *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["notes"]

    assert imported() == [
        "Closes are taken as adjusted for 1 dividend of the source; if the closes are as traded, import "
        "with --closes raw."
    ]
    assert imported("--closes", "raw") == ["Adjusted closes are made from 1 dividend of the source."]
    adjusted = load_prices("m", home=tmp_path / "home").adjusted().iloc[:, 0]
    assert adjusted.iloc[-1] / adjusted.iloc[0] == pytest.approx(total[89] / total[0], rel=1e-6)


def test_price_returns_are_noted_at_import_in_the_snapshot_and_in_checks(
    write: Write, sessions: Any, tmp_path: Path
) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    lines = [f"{day.date()},{value:.2f}" for day, value in zip(days, walk(len(days)), strict=True)]
    path = write("\n".join(["Date,SPY", *lines]))
    home = tmp_path / "home"
    expected = (
        "Returns are price returns: the source has neither adjusted closes nor dividends; if the closes are "
        "adjusted already, import with --closes adjusted."
    )
    for command in (
        ["import", str(path), "--name", "spy"],
        ["show", "spy"],
        ["validate", "spy"],
        ["validate", str(path)],
    ):
        output = CliRunner().invoke(app, [*command, "--home", str(home)]).stdout
        assert output.count(expected) == 1, output
    assert SnapshotStore(home).open("spy").manifest["notes"] == [expected]
    advice = ["import", str(path), "--name", "tr", "--closes", "adjusted", "--home", str(home)]
    assert CliRunner().invoke(app, advice).exit_code == 0
    assert load_prices("tr", home=home).notes == ("Closes are taken as adjusted for splits and dividends.",)


@pytest.mark.parametrize("header", ["Date,Adj Close", "Date,SPY_AdjClose", "Date,Adjusted Close"])
def test_adjusted_closes_alone_are_no_price_returns(write: Write, header: str) -> None:
    path = write(f"{header}\n2024-01-02,10.5\n2024-01-03,10.6\n")
    prices = read_prices([path], checks=CheckOptions("none")).prices
    assert prices.notes == ("Closes are taken as adjusted for splits and dividends.",)
    assert prices.close.iloc[0, 0] == 10.5


def test_made_adjusted_closes_do_not_depend_on_later_rows(cases: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(cases / "split-column.csv")
    short = tmp_path / "AAPL.csv"
    frame.iloc[:25].to_csv(short, index=False)
    whole = read_prices([cases / "split-column.csv"]).prices.adjusted()
    pd.testing.assert_frame_equal(whole.iloc[:25], read_prices([short]).prices.adjusted(), check_exact=True)


def test_splits_that_a_source_dates_a_few_days_off_are_still_suspected(write: Write, sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] /= 4
    frame = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "close": values, "splits": 0.0})
    frame.loc[148, "splits"] = 4.0
    path = write(frame.to_csv(index=False))
    assert "split-jump" in kinds(read_prices([path]).report)
    repaired = read_prices([path], checks=CheckOptions(repair=("adjust-splits",)))
    adjusted = repaired.prices.adjusted().iloc[:, 0]
    assert adjusted.iloc[-1] / adjusted.iloc[0] == pytest.approx(walk(len(days))[-1] / walk(len(days))[0])


def test_event_on_a_day_without_a_close_belongs_to_the_next_close(write: Write) -> None:
    path = write(
        "date,close,dividends,splits\n2024-01-02,100,0,1\n2024-01-03,,0,2\n2024-01-04,50,0,1\n"
        "2024-01-05,51,0,1\n"
    )
    adjusted = read_prices([path], checks=CheckOptions("none")).prices.adjusted().iloc[:, 0]
    np.testing.assert_array_equal(adjusted, [100, np.nan, 100, 102])


@pytest.mark.parametrize("adjusted", [False, True])
def test_small_splits_follow_the_large_ones_of_other_symbols(
    write: Write, sessions: Any, adjusted: bool
) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    whole = {"A": walk(len(days), 1), "B": walk(len(days), 2)}
    parts = []
    for symbol, ratio in (("A", 4.0), ("B", 1.02)):
        close = whole[symbol] / np.where((np.arange(len(days)) >= 100) & (not adjusted), ratio, 1.0)
        frame = pd.DataFrame(
            {"date": days.strftime("%Y-%m-%d"), "symbol": symbol, "close": close, "splits": 0.0}
        )
        frame.loc[100, "splits"] = ratio
        parts.append(frame)
    prices = read_prices([write(pd.concat(parts).to_csv(index=False))]).prices
    for symbol in whole:
        np.testing.assert_allclose(prices.adjusted()[symbol], whole[symbol], rtol=1e-9)


def test_dividends_above_the_close_are_not_used_and_noted(write: Write) -> None:
    path = write("date,close,dividends\n2024-01-02,100,0\n2024-01-03,101,150\n2024-01-04,102,0\n")
    prices = read_prices([path], checks=CheckOptions("none")).prices
    assert "adj_close" not in prices.fields
    assert prices.notes == ("Not used, because not below the close before: 1 dividend.",)


def test_adjusted_closes_that_begin_later_are_a_finding(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    adjusted = np.where(np.arange(len(days)) < 100, np.nan, 0.9 * values)
    (finding,) = validate(closes(days, values, adj_close=adjusted)).of_kind("late-adjustment")
    assert finding.date == str(days[100].date())
    assert "0.9 of the close" in finding.message
    assert "wrong by -10.0%" in finding.message
