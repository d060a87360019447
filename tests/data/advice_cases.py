"""Files that are refused, each with the advice of the refusal and the prices that the advice must lead to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

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
