"""Tests of the data commands: output, files and error messages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, Prices, SnapshotStore
from data.cli import app
from equitrade.errors import EquitradeError

Write = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Callable[..., str]:
    """Run a command and return its standard output."""

    def runner(*arguments: str | Path) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return runner


@pytest.fixture
def csv(write: Write, make_prices: Callable[..., Prices]) -> Path:
    long = make_prices(0, 60, 3).to_long()
    long.loc[5, "open"] = np.nan
    return write(long.to_csv(index=False), "market.csv")


def test_import_list_show_and_validate(run: Callable[..., str], csv: Path, home: Path) -> None:
    text = run("import", csv, "--name", "mine")
    assert "warning missing-value: 1" in text
    assert "market.csv line 7: S0 2001-01-09: no open" in text
    assert "60 sessions from 2001-01-02" in text
    assert "snapshot mine written to" in text
    assert "nothing written" in run("import", csv, "--name", "mine")

    listed = json.loads(run("list", "--json"))
    assert listed["snapshots"][0]["reference"] == "mine"
    assert "sp500-20" in listed["bundled"]
    assert "mine" in run("list")

    shown = json.loads(run("show", "mine", "--json"))
    assert shown["hash"] == SnapshotStore(home).load("mine").hash == listed["snapshots"][0]["hash"]
    assert shown["missing"]["open"] == 1
    assert shown["manifest"]["provider"]["files"][0]["path"] == "market.csv"
    text = run("show", "mine")
    assert "open (1 missing)" in text
    assert "1 missing-value" in text

    assert "S0 2001-01-09: no open" in run("validate", "mine")
    report = json.loads(run("validate", csv, "--json"))
    assert report["counts"] == {"missing-value": 1}
    assert report["findings"][0]["place"] == "market.csv line 7"
    kept = pd.read_csv(home / "data" / "mine" / "findings.csv")
    assert kept["place"].tolist() == ["market.csv line 7"]


def test_import_as_json(run: Callable[..., str], csv: Path) -> None:
    answer = json.loads(run("import", csv, "--name", "mine", "--json", "--repair", "sort"))
    assert answer["snapshot"] == "mine"
    assert answer["written"] is True
    assert answer["symbols"] == ["S0", "S1", "S2"]
    assert answer["repairs"] == [{"repair": "sort", "count": 0, "changes": []}]


def test_columns_without_a_role_are_listed(run: Callable[..., str], csv: Path, write: Write) -> None:
    path = write(pd.read_csv(csv).assign(**{"Capital Gains": 0.0, "Change %": 1.0}).to_csv(index=False))
    assert "ignored  Capital Gains, Change %" in run("import", path, "--name", "mine")
    answer = json.loads(run("import", path, "--name", "mine", "--json"))
    assert answer["ignored"] == ["Capital Gains", "Change %"]


def test_changed_file_makes_a_version_with_its_differences(
    run: Callable[..., str], csv: Path, write: Write
) -> None:
    run("import", csv, "--name", "mine")
    frame = pd.read_csv(csv)
    frame.loc[10, "close"] *= 1.001
    text = run("import", write(frame.to_csv(index=False), "market.csv"), "--name", "mine")
    assert "snapshot mine@2 written" in text
    assert "differs  close: 1 values changed since mine, by up to 0.100%" in text


def test_long_lists_are_cut_without_all(run: Callable[..., str], write: Write, make_prices: Any) -> None:
    long = make_prices(0, 120, 2).to_long()
    long["open"] = np.nan
    path = write(long.to_csv(index=False), "market.csv")
    text = run("import", path, "--name", "mine")
    assert text.count(": no open") == 100
    assert "… and 140 more (--all lists them, all in" in text
    assert run("validate", "mine", "--all").count(": no open") == 240


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["import", "none.csv", "--name", "x"], "no such file"),
        (["import", "CSV", "--name", "../x"], "not a valid snapshot name"),
        (["import", "CSV", "--name", "x", "--map", "close"], "write FIELD=COLUMN"),
        (["import", "CSV", "--name", "x", "--map", "close=Nope"], "no column 'Nope'"),
        (["import", "CSV", "--name", "x", "--calendar", "XXXX"], "no exchange calendar 'XXXX'"),
        (["import", "CSV", "--name", "x", "--repair", "magic"], "'magic' is not one of drop-bad-rows"),
        (["import", "CSV", "--name", "x", "--strict"], "no open"),
        (["show", "nope"], "no bundled dataset, snapshot"),
        (["validate", "nope"], "no bundled dataset, snapshot"),
        (
            ["fetch", "--symbols", "A", "--start", "2024-01-01", "--name", "x", "--provider", "z"],
            "--provider: 'z' is not one of yfinance",
        ),
        (["fetch", "--symbols", "A", "--start", "soon", "--name", "x"], "'soon' is not a date"),
        (["fetch", "--symbols", ",", "--start", "2024-01-01", "--name", "x"], "no symbol .write --symbols"),
    ],
)
def test_bad_input_gives_one_line_and_writes_nothing(
    run: Callable[..., str], csv: Path, home: Path, arguments: list[str], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        run(*(str(csv) if argument == "CSV" else argument for argument in arguments))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, EquitradeError)
    assert not home.exists()


def test_validate_lists_everything_and_then_fails(home: Path, write: Write) -> None:
    path = write("date,close\n2024-01-02,1\n2024-01-02,0\n")
    result = CliRunner().invoke(app, ["validate", str(path), "--home", str(home)])
    assert isinstance(result.exception, DataError)
    assert "error duplicate: 1" in result.stdout
    assert "error non-positive: 1" in result.stdout


def test_damaged_snapshots_are_listed_with_the_reason(run: Callable[..., str], csv: Path, home: Path) -> None:
    run("import", csv, "--name", "mine")
    (home / "data" / "mine" / "manifest.json").write_text("{")
    assert "manifest cannot be read" in run("list")
    assert "error" in json.loads(run("list", "--json"))["snapshots"][0]


def test_each_version_is_listed_with_its_own_values(run: Callable[..., str], home: Path) -> None:
    for days in (5, 8):
        close = pd.DataFrame({"AAA": np.arange(1.0, days + 1)}, pd.bdate_range("2024-01-01", periods=days))
        SnapshotStore(home).save(Prices.from_frames("mine", close=close), "mine", provider={"name": "test"})
    rows = json.loads(run("list", "--json"))["snapshots"]
    assert [(row["reference"], row["sessions"]) for row in rows] == [("mine", 5), ("mine@2", 8)]


def test_fetch_uses_the_library(
    run: Callable[..., str], chart_server: Any, make_chart: Any, answer: Any, sessions: Any
) -> None:
    days = sessions("2024-01-02", "2024-02-29")
    rising = np.linspace(10, 20, len(days))
    chart_server.answers["AAA"] = [answer(503, "busy"), answer(body=make_chart("AAA", days, rising))]
    options = (
        "--start",
        "2024-01-01",
        "--end",
        "2024-02-29",
        "--name",
        "web",
        "--pause",
        "0",
        "--first-wait",
        "0",
    )
    text = run(
        "fetch", "--provider", "yfinance", "--symbols", "AAA", *options, "--base-url", chart_server.url
    )
    assert "snapshot web written" in text
    assert "yfinance" in run("list")
    assert json.loads(run("show", "web", "--json"))["manifest"]["provider"]["currencies"] == {"AAA": "USD"}


def test_help_and_the_package_import_nothing_heavy() -> None:
    code = (
        "import sys; import data; import data.cli; "
        "heavy = {'pandas', 'numpy', 'yfinance', 'exchange_calendars', 'skfolio', 'pyarrow', 'rich.table'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_exported_names_exist() -> None:
    import data

    assert set(data.__all__) <= set(dir(data))
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = data.nothing


def test_export_as_json(run: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    answer = json.loads(run("export", "factors-5", path, "--json"))
    assert answer == {"name": "factors-5", "path": str(path), "rows": len(pd.read_csv(path))}
