"""Tests that follow every piece of advice in messages about files, on the command line, and check the prices."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import data
from data import DataError, Prices, load_prices
from data.cli import app
from data.quality.findings import ALLOWABLE, CURES, ERRORS, WARNINGS
from data.quality.repairs import REPAIRS
from tests.data.quality.tables import walk

DAYS = pd.bdate_range("2024-01-02", periods=50)
CLOSES = walk(50).round(2)
NOISE = np.random.default_rng(3).normal(0, 0.01, 50).round(5)
OTHER = walk(50, seed=9).round(2)


@dataclass(frozen=True)
class Case:
    """A file that is refused, and what the prices must be once the advice is followed.

    Attributes
    ----------
    text
        The file.
    reason
        Part of the refusal.
    results
        Options → closes of each symbol; the options must be those that the message names, in these words.
    written
        Options in the message's words → what is typed, where the user has to fill in a name.
    given
        Options of the first command.
    days
        Dates of the prices.
    """

    text: str
    reason: str
    results: dict[str, dict[str, np.ndarray | list[float]]]
    written: dict[str, str] = field(default_factory=dict)
    given: str = ""
    days: pd.DatetimeIndex | None = None


def long(closes: object, days: object = None, head: str = "date,close", form: str = "%Y-%m-%d") -> str:
    """Return a long file of one symbol."""
    stamps = DAYS if days is None else days
    rows = (
        f"{day.strftime(form) if isinstance(day, pd.Timestamp) else day},{value}"
        for day, value in zip(stamps, closes, strict=True)  # type: ignore[call-overload]
    )
    return "\n".join([head, *rows]) + "\n"


def wide(**columns: object) -> str:
    """Return a wide file."""
    return str(pd.DataFrame(columns, index=pd.Index(DAYS, name="Date")).to_csv())


def with_row(position: int, row: str, text: str | None = None) -> str:
    """Return a file with a row more, or with another row if `position` is negative."""
    lines = (text or long(CLOSES)).splitlines()
    lines[abs(position) : abs(position) + (position < 0)] = [row]
    return "\n".join(lines) + "\n"


def without(position: int) -> np.ndarray:
    return np.delete(CLOSES, position)


def hole(*positions: int) -> np.ndarray:
    values = CLOSES.copy()
    values[list(positions)] = np.nan
    return values


def prices_of(factors: np.ndarray) -> np.ndarray:
    return 100 * np.cumprod(factors)


LATER = pd.bdate_range("2024-01-02", periods=8)
BARS = "date,high,low,close\n" + "".join(
    f"{day:%Y-%m-%d},{1.01 * value},{0.99 * value},{value}\n" for day, value in zip(DAYS, CLOSES, strict=True)
)
TOKYO = [f"{day - pd.Timedelta('9h'):%Y-%m-%dT%H:%M:%SZ}" for day in DAYS]
SHIFTED = DAYS - pd.Timedelta("1D")
SATURDAY = with_row(10, f"2024-01-13,{CLOSES[8]}")
HOLIDAYS = pd.DatetimeIndex(["2024-01-15", "2024-02-19"])
EVERY = {"A": CLOSES}

CASES: dict[str, Case] = {
    "truncated-row": Case(
        with_row(-5, "2024-01-08"), "1 columns where", {"--repair drop-bad-rows": {"A": without(4)}}
    ),
    "unreadable-date": Case(
        with_row(-5, f"2024-13-99,{CLOSES[4]}"),
        "is not a date",
        {"--repair drop-bad-rows": {"A": without(4)}},
    ),
    "unreadable-value": Case(
        with_row(-5, "2024-01-08,1.2.3"), "is not a number", {"--repair drop-bad-rows": {"A": without(4)}}
    ),
    "missing-symbol": Case(
        with_row(
            -5,
            f"2024-01-08,{CLOSES[4]},",
            long((f"{v},A" for v in CLOSES), head="date,close,symbol"),
        ),
        "has no symbol",
        {"--repair drop-bad-rows": {"A": without(4)}},
    ),
    "exchanged-dates": Case(
        long(CLOSES, [f"{d:%Y-%d-%m}" if d.day <= 12 else f"{d:%d/%m/%Y}" for d in DAYS]),
        "day and month are exchanged",
        {"--repair swap-day-month": EVERY},
        days=DAYS,
    ),
    "mixed-time-zones": Case(
        long(
            CLOSES,
            [f"{day:%Y-%m-%d}T00:00:00{'+01:00' if at % 2 else '-05:00'}" for at, day in enumerate(DAYS)],
        ),
        "the first row is UTC-05:00",
        {"--repair local-dates": EVERY},
        days=DAYS,
    ),
    "mixed-currency": Case(
        "date,close,currency\n"
        + "".join(
            f"{d:%Y-%m-%d},{v},{'USD' if d.day > 9 else 'EUR'}\n" for d, v in zip(DAYS, CLOSES, strict=True)
        ),
        "rows before are in",
        {"--allow mixed-currency": EVERY},
    ),
    "unsorted": Case(
        long(np.roll(CLOSES, 7), np.roll(DAYS, 7)),
        "dates are not sorted",
        {"--repair sort": EVERY},
        days=DAYS,
    ),
    "duplicate, equal": Case(
        with_row(5, f"2024-01-05,{CLOSES[3]}"),
        "with the same values",
        {"--repair keep-first (or --repair keep-last)": EVERY, "--repair keep-last": EVERY},
    ),
    "duplicate, conflicting": Case(
        with_row(5, "2024-01-05,101.5"),
        f"with close 101.5 and not {CLOSES[3]:g}",
        {
            "--repair keep-first (or --repair keep-last)": EVERY,
            "--repair keep-last": {"A": np.where(np.arange(50) == 3, 101.5, CLOSES)},
        },
    ),
    "intraday": Case(
        long(
            [1.01, *CLOSES[:1], 1.01 * CLOSES[1], CLOSES[1]],
            [f"2024-01-0{day} {hour}:00" for day in (2, 3) for hour in (10, 16)],
        ),
        "intraday bars",
        {"--repair aggregate-days": {"A": CLOSES[:2]}},
    ),
    "non-finite": Case(
        with_row(-5, "2024-01-08,inf"), "close is inf", {"--repair blank-bad-values": {"A": hole(4)}}
    ),
    "non-positive": Case(
        with_row(-5, "2024-01-08,0"), "close is 0", {"--repair blank-bad-values": {"A": hole(4)}}
    ),
    "high-below-low": Case(
        with_row(-5, f"2024-01-08,{0.98 * CLOSES[4]},{1.02 * CLOSES[4]},{CLOSES[4]}", BARS),
        "is below low",
        {
            "--repair blank-high-low (or --allow high-below-low)": EVERY,
            "--allow high-below-low": EVERY,
        },
    ),
    "returns": Case(
        wide(A=NOISE, B=NOISE[::-1]),
        "returns, in fractions",
        {
            "--repair chain-returns": {"A": prices_of(1 + NOISE), "B": prices_of(1 + NOISE[::-1])},
            "--repair chain-percent": {
                "A": prices_of(1 + NOISE / 100),
                "B": prices_of(1 + NOISE[::-1] / 100),
            },
        },
    ),
    "relatives": Case(
        wide(A=1 + NOISE, B=1 - NOISE),
        "price relatives",
        {
            "--repair chain-relatives": {"A": prices_of(1 + NOISE), "B": prices_of(1 - NOISE)},
            "--allow relatives": {"A": 1 + NOISE, "B": 1 - NOISE},
        },
    ),
    "weights": Case(
        wide(A=0.5 + np.cumsum(NOISE), B=0.5 - np.cumsum(NOISE)),
        "add up to 1",
        {"--allow weights": {"A": 0.5 + np.cumsum(NOISE), "B": 0.5 - np.cumsum(NOISE)}},
    ),
    "not-a-price": Case(
        wide(A=CLOSES, DGS10=CLOSES / 25),
        "a rate or yield",
        {"--exclude DGS10": EVERY, "--allow not-a-price": {"A": CLOSES, "DGS10": CLOSES / 25}},
    ),
    "unreadable-column": Case(
        wide(A=CLOSES, note="abc"), "holds texts such as 'abc'", {"--exclude note": EVERY}
    ),
    "shifted-dates": Case(
        long(CLOSES, TOKYO), "sessions on Sundays", {"--zone Asia/Tokyo": EVERY}, days=DAYS
    ),
    "shifted-dates without times": Case(
        long(CLOSES, SHIFTED),
        "if the exchange does trade on Sundays",
        {"--allow shifted-dates": EVERY},
        days=SHIFTED,
    ),
    "ambiguous-date": Case(
        long(CLOSES[:8], LATER, form="%d/%m/%Y"),
        "may have the day or the month first",
        {
            "--date-format '%m/%d/%Y'": {"A": CLOSES[:8]},
            "--date-format '%d/%m/%Y'": {"A": CLOSES[:8]},
        },
    ),
    "ambiguous-number": Case(
        "date;close\n" + "".join(f"{day:%Y-%m-%d};15.7{30 + at}\n" for at, day in enumerate(DAYS)),
        "may have a decimal mark",
        {
            "--decimal '.'": {"A": [15.73 + at / 1000 for at in range(50)]},
            "--decimal ','": {"A": [15730.0 + at for at in range(50)]},
        },
    ),
    "which layout": Case(
        wide(LAST=CLOSES, AAPL=OTHER),
        "may be the close or",
        {"--layout long": EVERY, "--layout wide": {"LAST": CLOSES, "AAPL": OTHER}},
    ),
    "no close": Case(
        wide(LOW=CLOSES, OPEN=1.002 * CLOSES),
        "no close among",
        {"--map close=COLUMN": {"A": CLOSES}, "--layout wide": {"LOW": CLOSES, "OPEN": 1.002 * CLOSES}},
        {"--map close=COLUMN": "--map close=LOW"},
    ),
    "no close in a long file": Case(
        long(CLOSES, head="date,kurs"),
        "no close among",
        {"--map close=COLUMN": EVERY},
        {"--map close=COLUMN": "--map close=kurs"},
        given="--layout long",
    ),
    "no date": Case(
        long(CLOSES, head="tag,close"),
        "no date column",
        {"--map date=COLUMN": EVERY},
        {"--map date=COLUMN": "--map date=tag"},
    ),
    "two closes": Case(
        long((f"{a},{b}" for a, b in zip(CLOSES, OTHER, strict=True)), head="date,Close,close"),
        "look like the close",
        {"--map close=COLUMN": {"A": OTHER}},
        {"--map close=COLUMN": "--map close=close"},
    ),
    "not-a-session": Case(
        SATURDAY,
        "closed on this Saturday",
        {
            "--repair drop-closed-days (or --allow not-a-session)": {"A": CLOSES[~DAYS.isin(HOLIDAYS)]},
            "--allow not-a-session": {"A": np.insert(CLOSES, 9, CLOSES[8])},
        },
        given="--strict --calendar XNYS --allow missing-session",
    ),
    "spike": Case(
        long(np.where(np.arange(50) == 20, 1000 * CLOSES, CLOSES)),
        "and returns after",
        {
            "--repair blank-spikes (or --allow spike) --allow missing-value": {"A": hole(20)},
            "--allow spike": {"A": np.where(np.arange(50) == 20, 1000 * CLOSES, CLOSES)},
        },
        given="--strict --calendar none",
    ),
    "split-jump": Case(
        long(np.where(np.arange(50) < 20, 4 * CLOSES, CLOSES)),
        "unadjusted 4:1 split",
        {
            "--repair adjust-splits (or --allow split-jump)": EVERY,
            "--allow split-jump": {"A": np.where(np.arange(50) < 20, 4 * CLOSES, CLOSES)},
        },
        given="--strict --calendar none",
    ),
    "no-calendar": Case(
        long(CLOSES, pd.date_range("2020-01-03", periods=50, freq="W-FRI")),
        "name one with --calendar",
        {"--calendar NAME": EVERY, "--allow no-calendar": EVERY},
        {"--calendar NAME": "--calendar none"},
        given="--strict",
    ),
}


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
    cured = {kind for kind in CURES if kind in ERRORS or kind in WARNINGS}
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
