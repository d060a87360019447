"""Signals as imported, and aligned to the sessions of prices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data.errors import DataError

if TYPE_CHECKING:
    from data.prices import Prices

__all__ = ["LONGEST_CARRY", "LONGEST_LAG", "SEPARATOR", "AlignedSignals", "Signals"]

#: Between the name of signals and that of a column, in the name of a feature: ``alpha:value``.
SEPARATOR = ":"
LONGEST_LAG, LONGEST_CARRY = 21, 63


@dataclass(frozen=True, eq=False)
class Signals:
    """Values of signals by date stamp, symbol and column, as imported.

    A value stamped d is usable from the decision at the close of session d + `lag` on, and for `carry` sessions more
    where no newer one comes. A stamp that is no session counts as the next one.

    Attributes
    ----------
    name
        Name of the snapshot.
    dates
        Stamps, strictly increasing, midnight [R].
    symbols
        Symbols [N].
    parity
        Column → −1 (odd: changes sign under the mirror) or +1 (even) [C].
    values
        float64 [R, N, C], NaN where missing.
    lag, carry
        In sessions.
    version
        Version of the snapshot; 0 if not stored.
    """

    name: str
    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    parity: Mapping[str, int]
    values: np.ndarray
    lag: int = 1
    carry: int = 5
    version: int = 0

    def __post_init__(self) -> None:
        for option, value, most in (("lag", self.lag, LONGEST_LAG), ("carry", self.carry, LONGEST_CARRY)):
            if not 0 <= value <= most:
                raise DataError(f"--{option} is {value}: it must lie from 0 to {most} sessions")

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of stamps, symbols, columns, parities, lag, carry and values."""
        parity = " ".join(f"{column}={sign}" for column, sign in self.parity.items())
        digest = hashlib.sha256(f"equitrade-signals-1\n{parity}\n{self.lag} {self.carry}\n".encode())
        digest.update(self.dates.to_numpy().astype("datetime64[D]").astype("<i8").tobytes())
        digest.update("\n".join(("", *self.symbols, "")).encode())
        digest.update(_canonical(self.values))
        return digest.hexdigest()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns as features, ``NAME:COLUMN``."""
        return tuple(f"{self.name}{SEPARATOR}{column}" for column in self.parity)

    @property
    def last_stamps(self) -> list[pd.Timestamp]:
        """Last stamp with a value of each column [C]."""
        known = np.isfinite(self.values).any(axis=1)
        rows = len(known) - 1 - known[::-1].argmax(axis=0)
        return [self.dates[row] for row in rows]

    def until(self, end: pd.Timestamp) -> Signals:
        """Return the signals stamped up to a date."""
        count = int(self.dates.searchsorted(end, side="right"))
        return replace(self, dates=self.dates[:count], values=self.values[:count])

    def record(self) -> dict[str, Any]:
        """Return the description that the manifest of a run records."""
        return {
            "name": self.name,
            "version": self.version,
            "hash": self.hash,
            "end": str(self.dates[-1].date()),
            "lag": self.lag,
            "carry": self.carry,
            "columns": {column: "odd" if sign < 0 else "even" for column, sign in self.parity.items()},
        }

    def usable(self, sessions: pd.DatetimeIndex) -> np.ndarray:
        """Return the position of the first session that may use each stamp [R]; beyond the last one if none may."""
        return _positions(self.dates, sessions) + self.lag

    def align(self, prices: Prices) -> AlignedSignals:
        """Return the values that are usable at the close of each session of prices.

        Nothing stamped after a session enters it, whatever the lag.

        Raises
        ------
        DataError
            If a symbol of the prices is not among those of the signals.
        """
        unknown = [symbol for symbol in prices.symbols if symbol not in self.symbols]
        if unknown:
            raise DataError(
                f"signals '{self.name}' are for other symbols: they lack {', '.join(unknown[:5])} of {prices.name}; "
                f"import signals of these symbols with --prices {prices.name}"
            )
        columns = [self.symbols.index(symbol) for symbol in prices.symbols]
        usable = self.usable(prices.dates)
        sessions = len(prices.dates)
        # Rows before the first session hold the values that are carried into it.
        placed = np.full((self.carry + sessions, len(columns), len(self.parity)), np.nan)
        for row, position in enumerate(usable + self.carry):
            if 0 <= position < len(placed):
                fresh = self.values[row][columns]
                placed[position] = np.where(np.isfinite(fresh), fresh, placed[position])
        ends = _positions(pd.DatetimeIndex(self.last_stamps), prices.dates) + self.lag + self.carry
        stale = np.arange(sessions)[:, None] > ends
        return AlignedSignals(self, _carried(placed, self.carry)[self.carry :], stale)


@dataclass(frozen=True, eq=False)
class AlignedSignals:
    """Signals on the sessions and symbols of prices.

    Attributes
    ----------
    source
        The signals.
    values
        float64 [T, N, C] at the close of each session, NaN where missing.
    stale
        Whether a column has ended longer ago than its values are carried [T, C].
    """

    source: Signals
    values: np.ndarray
    stale: np.ndarray

    @property
    def name(self) -> str:
        """Name of the signals."""
        return self.source.name

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the source's hash and the aligned values."""
        return hashlib.sha256(self.source.hash.encode() + _canonical(self.values)).hexdigest()

    def select(self, columns: Sequence[int]) -> AlignedSignals:
        """Return the signals of some symbols, by position."""
        return replace(self, values=self.values[:, columns])

    def between(self, first: int, stop: int) -> AlignedSignals:
        """Return sessions first … stop − 1."""
        return replace(self, values=self.values[first:stop], stale=self.stale[first:stop])

    def check_fresh(self, dates: pd.DatetimeIndex, first: int, last: int) -> None:
        """Refuse decisions in sessions first … last, both included, in which a column has ended.

        Raises
        ------
        DataError
            Names the column, its last stamp and the first session without values.
        """
        rows, columns = np.nonzero(self.stale[first : last + 1])
        if len(rows) == 0:
            return
        column, day = list(self.source.parity)[columns[0]], dates[first + rows[0]].date()
        stamp = self.source.last_stamps[columns[0]].date()
        raise DataError(
            f"signals '{self.name}' are too old: column '{column}' ends on {stamp} and is carried "
            f"{self.source.carry} sessions after a lag of {self.source.lag}, so a decision on {day} has none; "
            f"import newer values as '{self.name}', or choose an earlier end"
        )


def _positions(stamps: pd.DatetimeIndex, sessions: pd.DatetimeIndex) -> np.ndarray:
    """Return the position of the first session on or after each stamp; before the first one, weekdays are counted."""
    found: np.ndarray = np.asarray(sessions.searchsorted(stamps, side="left")).astype(np.int64)
    before = np.asarray(stamps < sessions[0])
    if before.any():
        days = stamps[before].to_numpy().astype("datetime64[D]")
        found[before] = -np.busday_count(days, sessions[0].to_datetime64().astype("datetime64[D]"))
    return found


def _carried(placed: np.ndarray, carry: int) -> np.ndarray:
    """Return the last value of each cell where it is at most `carry` rows old [T, N, C]."""
    rows = np.arange(len(placed))[:, None, None]
    last = np.maximum.accumulate(np.where(np.isfinite(placed), rows, -1), axis=0)
    carried = np.take_along_axis(placed, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (rows - last <= carry), carried, np.nan)


def _canonical(values: np.ndarray) -> bytes:
    # One bit pattern for every NaN, and one for zero.
    return np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes()
