"""Tests of imported files: usual exports are recognised, and every error has its row."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import DataError, Prices, load_prices
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices, read_table

Write = Callable[..., Path]
NO_CALENDAR = CheckOptions(calendar="none")

EXPORTS = {
    "yahoo": "Date,Open,High,Low,Close,Adj Close,Volume\n"
    "2024-01-02,187.15,188.44,183.89,185.64,184.9,82488700\n"
    "2024-01-03,184.22,185.88,183.43,184.25,183.5,58414500\n",
    "google": "\ufeffDate,Open,High,Low,Close,Volume\n"
    "3-Jan-24,184.22,185.88,183.43,184.25,58414500\n"
    "2-Jan-24,187.15,188.44,183.89,185.64,82488700\n",
    "googlefinance": '"Date","Close"\n"1/2/2024 16:00:00","185.64"\n"1/3/2024 16:00:00","184.25"\n'
    '"1/31/2024 16:00:00","184.4"\n',
    "stooq": "Date,Open,High,Low,Close,Volume\n"
    "2024-01-02,187.15,188.44,183.89,185.64,82488700\n"
    "2024-01-03,184.22,185.88,183.43,184.25,58414500\n",
    "stooq bulk": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    "FILE,D,20240102,000000,187.15,188.44,183.89,185.64,82488700,0\n"
    "FILE,D,20240103,000000,184.22,185.88,183.43,184.25,58414500,0\n",
    "nasdaq": "Date,Close/Last,Volume,Open,High,Low\n"
    "01/31/2024,$184.40,55467800,$187.04,$187.10,$184.35\n"
    "01/03/2024,$184.25,58414500,$184.22,$185.88,$183.43\n"
    "01/02/2024,$185.64,82488700,$187.15,$188.44,$183.89\n",
    "investing": '"Date","Price","Open","High","Low","Vol.","Change %"\n'
    '"01/31/2024","184.40","187.04","187.10","184.35","55.47M","-1.94%"\n'
    '"01/03/2024","184.25","184.22","185.88","183.43","58.41M","-0.75%"\n'
    '"01/02/2024","185.64","187.15","188.44","183.89","82.49M","-3.58%"\n',
    "kaggle": "date,open,high,low,close,volume,Name\n"
    "2024-01-02,187.15,188.44,183.89,185.64,82488700,FILE\n"
    "2024-01-03,184.22,185.88,183.43,184.25,58414500,FILE\n",
    "yfinance history": "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
    "2024-01-02 00:00:00-05:00,187.15,188.44,183.89,185.64,82488700,0.0,0.0\n"
    "2024-01-03 00:00:00-05:00,184.22,185.88,183.43,184.25,58414500,0.0,0.0\n"
    "2024-07-01 00:00:00-04:00,184.22,185.88,183.43,184.25,58414500,0.0,2.0\n",
    "yfinance download": "Price,Close,High,Low,Open,Volume\nTicker,FILE,FILE,FILE,FILE,FILE\nDate,,,,,\n"
    "2024-01-02,185.64,188.44,183.89,187.15,82488700\n"
    "2024-01-03,184.25,185.88,183.43,184.22,58414500\n",
    "semicolons": "Datum_;x\n".replace("Datum_;x\n", "Date;Open;High;Low;Close;Volume\n")
    + "02.01.2024;187,15;188,44;183,89;185,64;82.488.700,0\n03.01.2024;184,22;185,88;183,43;184,25;58414500\n",
    "letters": "t_,o,h,l,c,v\n".replace("t_", "timestamp")
    + "2024-01-02,187.15,188.44,183.89,185.64,82488700\n2024-01-03,184.22,185.88,183.43,184.25,58414500\n",
    "wide": "Date,FILE,LOW,V\n2024-01-02,185.64,220.1,258.9\n2024-01-03,184.25,219.2,257.98\n",
    "wide with fields": "Date,FILE_Open,FILE_Close,BRK_B_Close\n"
    "2024-01-02,187.15,185.64,362.46\n2024-01-03,184.22,184.25,365.5\n",
    "index column": ",Date,Close,Symbol\n0,2024-01-02,185.64,FILE\n1,2024-01-03,184.25,FILE\n",
    "unnamed index": ",FILE,OTHER\n2024-01-02,185.64,1.5\n2024-01-03,184.25,1.6\n",
    "month names": 'Date,Close\n"Jan 02, 2024",185.64\n"Jan 03, 2024",184.25\n',
    "blank lines": "\nDate,Close\n\n2024-01-02,185.64\n\n2024-01-03,184.25\n\n",
}


@pytest.mark.parametrize("export", EXPORTS)
def test_usual_exports_are_recognised(write: Write, export: str) -> None:
    prices = read_prices([write(EXPORTS[export])], checks=NO_CALENDAR).prices
    close = prices.close[prices.symbols[0] if "file" not in prices.symbols else "file"]
    assert prices.symbols[0] in ("file", "FILE")
    assert close.loc["2024-01-02"] == 185.64
    assert close.loc["2024-01-03"] == 184.25
    if "open" in prices.fields:
        assert prices.fields["open"].iloc[:, 0].loc["2024-01-02"] == 187.15
    if "volume" in prices.fields:
        assert prices.fields["volume"].iloc[0, 0] == pytest.approx(82488700, rel=1e-3)


def test_details_of_some_exports(write: Write) -> None:
    yahoo = read_prices([write(EXPORTS["yahoo"])], checks=NO_CALENDAR)
    assert yahoo.prices.adjusted()["file"].iloc[0] == 184.9
    history = read_prices([write(EXPORTS["yfinance history"])], checks=NO_CALENDAR).prices
    assert history.fields["splits"]["file"].tolist() == [1, 1, 2]
    wide = read_prices([write(EXPORTS["wide"])], checks=NO_CALENDAR).prices
    assert wide.symbols == ("FILE", "LOW", "V")
    fields = read_prices([write(EXPORTS["wide with fields"])], checks=NO_CALENDAR).prices
    assert fields.symbols == ("FILE", "BRK_B")
    assert fields.fields["open"]["BRK_B"].isna().all()
    google = read_prices([write(EXPORTS["google"])], checks=NO_CALENDAR)
    assert google.source["order"] == "newest first"
    investing = read_prices([write(EXPORTS["investing"])], checks=NO_CALENDAR)
    assert investing.source["files"][0]["ignored"] == ["Change %"]


def test_gzip_parquet_and_several_files(tmp_path: Path, write: Write, make_prices: Any) -> None:
    packed = tmp_path / "AAPL.csv.gz"
    packed.write_bytes(gzip.compress(EXPORTS["yahoo"].encode()))
    other = write(EXPORTS["stooq"], "MSFT.csv")
    both = read_prices([packed, other], name="both", checks=NO_CALENDAR).prices
    assert both.symbols == ("AAPL", "MSFT")
    assert both.fields["adj_close"]["MSFT"].isna().all()
    assert both.name == "both"

    prices: Prices = make_prices(3, 30, 3)
    long, wide, pairs = tmp_path / "long.parquet", tmp_path / "wide.parquet", tmp_path / "pairs.parquet"
    prices.to_long().to_parquet(long)
    prices.close.to_parquet(wide)
    pd.concat({"Close": prices.close, "Open": prices.fields["open"]}, axis=1).to_parquet(pairs)
    assert read_prices([long]).prices == prices
    assert load_prices(long) == prices
    pd.testing.assert_frame_equal(read_prices([wide]).prices.close, prices.close)
    pd.testing.assert_frame_equal(read_prices([pairs]).prices.fields["open"], prices.fields["open"])


def test_csv_export_reads_back_bit_for_bit(tmp_path: Path, make_prices: Any) -> None:
    prices: Prices = make_prices(4, 40, 3)
    path = tmp_path / "back.csv"
    prices.to_long().to_csv(path, index=False)
    assert read_prices([path]).prices.hash == prices.hash


@pytest.fixture(scope="module")
def kaggle(sessions: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Return a file like that of the 31 Dow stocks from 2006 to 2017: long, with gaps in open, high and low."""
    days = sessions("2006-01-03", "2017-12-29")
    rng = np.random.default_rng(0)
    parts = []
    for number in range(31):
        close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.015, len(days)))), 2)
        opened = np.round(close * np.exp(rng.normal(0, 0.003, len(days))), 2)
        parts.append(
            pd.DataFrame(
                {
                    "Date": days.strftime("%Y-%m-%d"),
                    "Open": opened,
                    "High": np.round(np.maximum(opened, close) * 1.01, 2),
                    "Low": np.round(np.minimum(opened, close) * 0.99, 2),
                    "Close": close,
                    "Volume": rng.integers(10_000, 1_000_000, len(days)),
                    "Name": f"DJ{number:02d}",
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    for column, count in (("Open", 25), ("High", 10), ("Low", 20)):
        frame.loc[rng.choice(len(frame), count, replace=False), column] = np.nan
    path = tmp_path_factory.mktemp("kaggle") / "all_stocks.csv"
    frame.to_csv(path, index=False)
    return path, frame


def test_long_file_with_gaps_is_imported_with_a_finding_per_row(
    kaggle: tuple[Path, pd.DataFrame],
) -> None:
    path, frame = kaggle
    result = read_prices([path], name="dow")
    assert result.prices.close.shape == (3020, 31)
    assert result.report.calendar == "XNYS"
    expected = {
        f"all_stocks.csv line {row + 2}: {values.Name} {values.Date}: no "
        + ", ".join(name.lower() for name in ("Open", "High", "Low") if np.isnan(getattr(values, name)))
        for row, values in zip(frame.index, frame.itertuples(), strict=True)
        if np.isnan([values.Open, values.High, values.Low]).any()
    }
    assert {str(finding) for finding in result.report.of_kind("missing-value")} == expected
    assert result.report.counts() == {"missing-value": len(expected)}
    # Nothing was filled in, nothing else was lost.
    for column, field in (("Open", "open"), ("High", "high"), ("Low", "low"), ("Close", "close")):
        found = result.prices.fields[field].to_numpy().T.ravel()
        np.testing.assert_array_equal(found, frame[column].to_numpy())
    assert "adj_close" not in result.prices.fields
    assert result.prices.has_opens


HEAD = "date,symbol,open,high,low,close,volume\n"
GOOD = "2024-01-02,A,1,2,0.5,1.5,10\n"
WRONG = {
    "zero": ("2024-01-03,A,1,2,0.5,0,10\n", "line 3: A 2024-01-03: close is 0"),
    "negative": ("2024-01-03,A,-1,2,0.5,1,10\n", "line 3: A 2024-01-03: open is -1"),
    "negative volume": ("2024-01-03,A,1,2,0.5,1,-7\n", "line 3: A 2024-01-03: volume is -7"),
    "infinite": ("2024-01-03,A,1,inf,0.5,1,10\n", "line 3: A 2024-01-03: high is inf"),
    "text": ("2024-01-03,A,1,2,0.5,1.2.3,10\n", "line 3: A 2024-01-03: close '1.2.3' is not a number"),
    "high below low": ("2024-01-03,A,1,0.4,0.5,1,10\n", "line 3: A 2024-01-03: high 0.4 is below low 0.5"),
    "duplicate": (GOOD, "line 3: A 2024-01-02: a second row for this date .the first is file.csv line 2"),
    "unsorted": (
        "2024-01-05,A,1,2,0.5,1,10\n2024-01-04,A,1,2,0.5,1,10\n",
        "line 4: A 2024-01-04: comes after 2024-01-05",
    ),
    "bad date": ("2024-13-45,A,1,2,0.5,1,10\n", "line 3: A: date '2024-13-45' is not a date"),
    "no date": (",A,1,2,0.5,1,10\n", "line 3: A: date '' is not a date"),
    "no symbol": ("2024-01-03,,1,2,0.5,1,10\n", "line 3: 2024-01-03: the row has no symbol"),
    "cut row": ("2024-01-03,A,1,2", "line 3: 4 columns where the header has 7 .'2024-01-03,A,1,2'"),
    "long row": ("2024-01-03,A,1,2,0.5,1,10,11\n", "line 3: 8 columns where the header has 7"),
    "two currencies": (
        "2024-01-03,A,€1,€2,€0.5,€1,10\n2024-01-04,A,$1,$2,$0.5,$1,10\n",
        "line 4: A 2024-01-04: in \\$",
    ),
    "two zones": (
        "2024-01-03T00:00:00+09:00,A,1,2,0.5,1,10\n",
        "line 3: A 2024-01-03: a time stamp with a time zone, the first has none",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rows_stop_the_import(write: Write, case: str) -> None:
    rows, reason = WRONG[case]
    with pytest.raises(DataError, match=rf"file: file.csv {reason}") as caught:
        read_prices([write(HEAD + GOOD + rows)], checks=NO_CALENDAR)
    assert "\n" not in str(caught.value)


def test_several_time_zones_are_distinguished_from_summer_time(write: Write) -> None:
    two_zones = "date,close\n2024-01-02 00:00:00-05:00,1\n2024-01-03 00:00:00+01:00,2\n"
    with pytest.raises(DataError, match=r"line 3.*UTC\+01:00, the first row is UTC-05:00"):
        read_prices([write(two_zones)], checks=NO_CALENDAR)
    repaired = read_prices([write(two_zones)], checks=CheckOptions("none", repair=("local-dates",)))
    assert len(repaired.prices) == 2
    assert repaired.repairs[0]["count"] == 1


FILES = {
    "empty": (b"  \n", "the file is empty"),
    "header only": (b"Date,Close\n", "there is a header and no row"),
    "no header": (b"2024-01-02,1.5\n2024-01-03,1.6\n", "the first line must name the columns"),
    "page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "this is a web page"),
    "binary": (b"\x89PNG\x00\x00\x00\x08" * 20, "this is no text file"),
    "cut gzip": (gzip.compress(EXPORTS["yahoo"].encode() * 50)[:-60], "cut short or damaged"),
    "cut parquet": (b"PAR1" + b"\x00" * 100, "cut short or damaged"),
    "no close": (b"Date,Open,High,Low,Volume\n2024-01-02,1,2,1,5\n", "no close among Date, Open, High"),
    "no close, long": (b"Date,Open,Name\n2024-01-02,1,A\n", "no close among"),
    "no date": (b"Name,Close\nA,1\n", "no date column among Name, Close"),
    "twice": (b"Date,Close,Close\n2024-01-02,1,2\n", "two columns are called 'Close'"),
    "which": (b"Date,Close,close\n2024-01-02,1,2\n", "both 'Close' and 'close' look like the close"),
    "only dates": (b"Date\n2024-01-02\n", "no price column beside 'Date'"),
    "day or month": (b"Date,Close\n01/02/2024,1\n02/03/2024,2\n", "day or the month first.*--date-format"),
}


@pytest.mark.parametrize("case", FILES)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, reason = FILES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_prices([path])
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_wrong_options_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_prices([tmp_path / "none.csv"])
    with pytest.raises(DataError, match="no file given"):
        read_table([], ReadOptions())
    path = write(EXPORTS["yahoo"])
    with pytest.raises(DataError, match="no column 'Last' for the close"):
        read_prices([path], options=ReadOptions({"close": "Last"}))
    with pytest.raises(DataError, match="--map: no field 'clsoe'"):
        read_prices([path], options=ReadOptions({"clsoe": "Close"}))
    with pytest.raises(DataError, match="--repair: 'everything' is not one of"):
        read_prices([path], checks=CheckOptions(repair=("everything",)))
    with pytest.raises(DataError, match="--allow: 'duplicate' is not one of"):
        read_prices([path], checks=CheckOptions(allow=("duplicate",)))
    with pytest.raises(DataError, match="no exchange calendar 'NYSE2'"):
        read_prices([path], checks=CheckOptions(calendar="NYSE2"))


def test_columns_can_be_named_and_dates_settled(write: Write) -> None:
    path = write("Tag,Kurs,Papier\n02/01/2024,1.5,A\n03/01/2024,1.6,A\n")
    options = ReadOptions({"date": "Tag", "close": "Kurs", "symbol": "Papier"}, date_format="%d/%m/%Y")
    prices = read_prices([path], options=options, checks=NO_CALENDAR).prices
    assert prices.close["A"].to_dict() == {
        pd.Timestamp("2024-01-02"): 1.5,
        pd.Timestamp("2024-01-03"): 1.6,
    }
    one = read_prices(
        [write(EXPORTS["yahoo"])], options=ReadOptions(symbol="AAPL"), checks=NO_CALENDAR
    ).prices
    assert one.symbols == ("AAPL",)


def test_day_first_dates_are_recognised_by_a_late_day(write: Write) -> None:
    path = write("Date,Close\n02/01/2024,1\n03/01/2024,2\n31/01/2024,3\n")
    prices = read_prices([path], checks=NO_CALENDAR).prices
    assert [str(date.date()) for date in prices.dates] == ["2024-01-02", "2024-01-03", "2024-01-31"]


def test_missing_values_warn_and_strict_refuses_them(write: Write) -> None:
    path = write(HEAD + GOOD + "2024-01-03,A,-,,n/a,1.2,\n2024-01-04,A,,,,,\n")
    result = read_prices([path], checks=NO_CALENDAR)
    assert [str(finding) for finding in result.report.findings] == [
        "file.csv line 3: A 2024-01-03: no open, high, low, volume",
        "file.csv line 4: A 2024-01-04: no open, high, low, close, volume",
    ]
    assert np.isnan(result.prices.fields["open"].iloc[1, 0])
    with pytest.raises(DataError, match="line 3: A 2024-01-03: no open"):
        read_prices([path], checks=CheckOptions("none", strict=True))


def test_a_currency_column_is_read(write: Write) -> None:
    path = write("date,symbol,close,currency\n2024-01-02,A,1,USD\n2024-01-02,B,2,EUR\n")
    with pytest.raises(DataError, match=r"line 3: B 2024-01-02: in EUR, rows before are in USD"):
        read_prices([path], checks=NO_CALENDAR)
    accepted = read_prices([path], checks=CheckOptions("none", allow=("mixed-currency",)))
    assert "Accepted on request: mixed-currency." in accepted.prices.notes


def test_a_refused_file_is_read_once_for_all_repairs_of_the_advice(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []

    def counted(*arguments: Any) -> Any:
        reads.append(arguments)
        return read_table(*arguments)

    monkeypatch.setattr("data.readers.files.read_table", counted)
    with pytest.raises(DataError, match="--repair blank-bad-values --repair sort"):
        read_prices([write("date,close\n2024-01-03,1\n2024-01-02,2\n2024-01-04,0\n2024-01-05,2\n")])
    assert len(reads) == 1
