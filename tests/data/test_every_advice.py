"""Tests that follow every piece of advice in messages about files, on the command line, and check the prices."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import data
from data import DataError, Prices, load_prices
from data.cli import app
from data.quality.findings import ALLOWABLE, ERRORS, REPAIRS_BY_KIND, WARNINGS
from data.quality.repairs import REPAIRS
from tests.data.advice_cases import CASES, CLOSES, DAYS, OTHER, hole


def invoke(path: Path, name: str, options: str) -> BaseException | None:
    """Import a file and return the exception that ended the command."""
    arguments = ["import", str(path), "--name", name, "--home", str(path.parent / "home")]
    result = CliRunner().invoke(app, [*arguments, *shlex.split(options)])
    if result.exception is not None:
        return result.exception
    assert result.exit_code == 0, result.output
    return None


@pytest.mark.parametrize("name", CASES)
def test_advice_leads_to_the_right_prices(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = tmp_path / "A.csv"
    path.write_text(case.text)
    refusal = invoke(path, "refused", case.given)
    assert isinstance(refusal, DataError)
    message = str(refusal)
    assert case.reason in message
    assert "\n" not in message
    assert not (tmp_path / "home").exists()
    for number, (advice, closes) in enumerate(case.results.items()):
        assert advice.replace("--calendar NAME", "--calendar") in message
        typed = re.sub(r" \(or [^)]*\)", "", case.written.get(advice, advice))
        assert invoke(path, f"n{number}", f"{case.given} {typed}") is None
        prices: Prices = load_prices(f"n{number}", home=tmp_path / "home")
        assert prices.symbols == tuple(closes)
        for symbol, expected in closes.items():
            np.testing.assert_allclose(prices.close[symbol], expected, rtol=1e-9)
        if case.days is not None:
            assert list(prices.dates) == list(case.days)
    # Nothing is proposed that this table does not follow.
    proposed = message.split("; to continue, import with ")[1:]
    for way in proposed[0].split(", or ") if proposed else ():
        assert way in case.results


def test_every_repair_and_every_error_has_a_case() -> None:
    followed = {option for case in CASES.values() for option in case.results}
    text = " ".join(followed)
    assert {f"--repair {name}" for name in REPAIRS} <= set(re.findall(r"--repair [\w-]+", text))
    errors = {f"--allow {kind}" for kind in ALLOWABLE if kind in ERRORS}
    assert errors <= set(re.findall(r"--allow [\w-]+", text))
    cured = {kind for kind in REPAIRS_BY_KIND if kind in ERRORS or kind in WARNINGS}
    assert cured <= {name.split(",")[0].split(" ")[0] for name in CASES}
    # Two formats that no exchange of day and month explains cannot be mended by an option.
    assert set(ERRORS) - {name.split(",")[0].split(" ")[0] for name in CASES} == {"mixed-date-formats"}


# Options that messages of these modules name, beside repairs and kinds: the case that follows them, or another test.
NAMED = {
    "--calendar": "no-calendar",
    "--closes": "tests/data/quality/test_adjustment.py",
    "--date-format": "ambiguous-date",
    "--decimal": "ambiguous-number",
    "--exclude": "not-a-price",
    "--layout": "which layout",
    "--map": "no close",
    "--sheet": "tests/data/readers/test_header.py",
    "--zone": "shifted-dates",
    "--all": "lists more findings",
    "--skip-missing": "tests/data/providers/test_yahoo.py",
    "--symbols": "tests/data/providers/test_yahoo.py",
    "--repair": "every repair",
    "--allow": "every kind that can be accepted",
    "--odd": "tests/data/signals/test_files.py",
    "--even": "tests/data/signals/test_files.py",
    "--prices": "tests/data/signals/test_store.py",
}


def test_every_option_that_a_message_names_is_followed() -> None:
    root = Path(data.__file__).parent
    found = set()
    for file in root.rglob("*.py"):
        if file.name == "cli.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found |= set(re.findall(r"--[a-z][a-z-]*[a-z]", node.value))
    assert found == set(NAMED)
    for place in NAMED.values():
        assert place in CASES or not place.endswith(".py") or (root.parent / place).is_file()


def test_all_faults_of_a_file_are_listed_at_once_with_one_command_that_mends_them(tmp_path: Path) -> None:
    days = [f"{day:%Y-%m-%d}" for day in DAYS]
    rows = [f"{day},A,{close},{rate}" for day, close, rate in zip(days, CLOSES, OTHER / 25, strict=True)]
    rows[10] = f"{days[10]},A,0,{OTHER[10] / 25}"
    rows[20] = f"{days[20]},A,inf,{OTHER[20] / 25}"
    rows[30] = f"{days[30]},A"
    rows[31] = f"2024-99-99,A,{CLOSES[31]},1"
    rows[40], rows[41] = rows[41], rows[40]
    rows.insert(5, rows[5])
    path = tmp_path / "A.csv"
    path.write_text("date,symbol,close,volume\n" + "\n".join(rows) + "\n")
    message = str(invoke(path, "refused", ""))
    for kind in ("truncated-row", "unreadable-date", "duplicate", "non-finite", "non-positive", "unsorted"):
        assert f"1 {kind}" in message
    command = message.split("; to continue, import with ")[1]
    assert command == (
        "--repair drop-bad-rows --repair keep-first (or --repair keep-last) --repair blank-bad-values --repair sort"
    )
    assert invoke(path, "mended", re.sub(r" \(or [^)]*\)", "", command)) is None
    prices = load_prices("mended", home=tmp_path / "home")
    kept = np.delete(np.arange(50), [30, 31])
    assert list(prices.dates) == list(DAYS[kept])
    np.testing.assert_array_equal(prices.close["A"], hole(10, 20)[kept])


def test_answers_come_with_the_repairs_that_each_of_them_needs(tmp_path: Path) -> None:
    path = tmp_path / "A.csv"
    path.write_text(
        "date,close\n" + "".join(f"{day:02d}/01/2024,{100 + day}\n" for day in (2, 3, 5, 4, 5, 8))
    )
    message = str(invoke(path, "refused", ""))
    ways = message.split("; to continue, import with ")[1].split(", or --date")
    assert len(ways) == 2
    for number, way in enumerate(ways):
        options = re.sub(r" \(or [^)]*\)", "", way if way.startswith("--") else f"--date{way}")
        assert invoke(path, f"n{number}", options) is None
