"""Splits in order of time whose parts never overlap, with purge and embargo between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from data.errors import DataError
from data.fields import parse_date
from data.prices import Prices

__all__ = ["ChronologicalSplitter", "Period", "Split", "WalkForwardSplitter", "chronological_split"]

Period = tuple[pd.Timestamp, pd.Timestamp]


@dataclass(frozen=True)
class Split:
    """Train, validation and test periods, each (first date, last date), both included.

    The periods follow one another in time and share no date. `validation` may be None. Dates may be given as text.

    Raises
    ------
    DataError
        If a period ends before it starts, or two periods overlap or are out of order.
    """

    train: Period
    validation: Period | None
    test: Period

    def __post_init__(self) -> None:
        previous: tuple[str, Period] | None = None
        for name in ("train", "validation", "test"):
            raw = getattr(self, name)
            if raw is None:
                continue
            period = (parse_date(raw[0], f"{name} start"), parse_date(raw[1], f"{name} end"))
            object.__setattr__(self, name, period)
            if period[0] > period[1]:
                raise DataError(
                    f"split: {name} ends on {period[1].date()}, before it starts on {period[0].date()}"
                )
            if previous is not None and period[0] <= previous[1][1]:
                raise DataError(
                    f"split: {name} starts on {period[0].date()}, but {previous[0]} lasts until "
                    f"{previous[1][1].date()}: periods must not overlap"
                )
            previous = (name, period)

    @property
    def periods(self) -> dict[str, Period]:
        """Periods of the split by name, in order of time."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: period for name, period in named.items() if period is not None}


@dataclass(frozen=True)
class ChronologicalSplitter:
    """Split of the sessions into train, validation and test, in this order of time.

    Parameters
    ----------
    fractions
        Fractions of the sessions for train, validation and test; they sum to 1. Two numbers, or 0 for validation, make
        a split without validation.
    purge
        Sessions dropped at the end of each part that has a successor: at least as many as an outcome (a label, a
        held position, an n-step return) reaches into the future.
    embargo
        Sessions dropped at the start of each part that has a predecessor, against slow serial dependence.

    Raises
    ------
    DataError
        If the fractions do not sum to 1, or purge or embargo is negative.
    """

    fractions: Sequence[float] = (0.6, 0.2, 0.2)
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        shares = tuple(float(share) for share in self.fractions)
        if len(shares) == 2:
            shares = (shares[0], 0.0, shares[1])
        if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise DataError(
                f"split: fractions {tuple(self.fractions)} must be three numbers of sum 1 for train, validation, test"
            )
        if min(shares[0], shares[2]) <= 0:
            raise DataError(f"split: fractions {tuple(self.fractions)} leave nothing for train or test")
        _check_gaps(self.purge, self.embargo)
        object.__setattr__(self, "fractions", shares)

    def split(self, prices: Prices) -> list[Split]:
        """Return the split of the sessions of `prices`, as a list of one.

        Raises
        ------
        DataError
            If a part would be empty.
        """
        dates = prices.dates
        count = len(dates)
        first = round(count * self.fractions[0])
        second = round(count * (self.fractions[0] + self.fractions[1]))
        bounds = {"train": (0, first), "validation": (first, second), "test": (second, count)}
        if self.fractions[1] == 0:
            del bounds["validation"]
        return [_cut(dates, bounds, self.purge, self.embargo)]


def chronological_split(
    prices: Prices, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, purge: int = 0, embargo: int = 0
) -> Split:
    """Return the one split that `ChronologicalSplitter` makes of these prices."""
    return ChronologicalSplitter(fractions, purge, embargo).split(prices)[0]


@dataclass(frozen=True, kw_only=True)
class WalkForwardSplitter:
    """Folds that roll forward in time; every test period lies after all that its fold was trained on.

    Parameters
    ----------
    train, validation, test
        Sessions of each part, before purge and embargo. The last test period may be shorter.
    step
        Sessions from one fold to the next; `test` by default, so that test periods tile the time line.
    expanding
        Train from the first session on, instead of on a window of fixed length.
    purge, embargo
        As in `ChronologicalSplitter`.

    Raises
    ------
    DataError
        If lengths are not positive, or test periods would overlap.
    """

    train: int
    test: int
    validation: int = 0
    step: int | None = None
    expanding: bool = False
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        step = self.test if self.step is None else self.step
        if self.train < 1 or self.test < 1 or self.validation < 0 or step < 1:
            raise DataError(
                f"walk-forward: train {self.train}, test {self.test} and step {step} must be positive, validation "
                f"{self.validation} not negative"
            )
        if step < self.test:
            raise DataError(
                f"walk-forward: a step of {step} makes test periods of {self.test} sessions overlap"
            )
        _check_gaps(self.purge, self.embargo)

    def split(self, prices: Prices) -> list[Split]:
        """Return the folds of the sessions of `prices`, in order of time, at least one.

        Raises
        ------
        DataError
            If there are too few sessions for one fold, or a part would be empty.
        """
        dates = prices.dates
        folds = []
        # A last fold is kept if it has at least one session to test on.
        for origin in range(0, len(dates), self.step or self.test):
            fit = origin + self.train
            chosen = fit + self.validation
            last = min(chosen + self.test, len(dates))
            if last - chosen <= self.embargo:
                break
            bounds = {
                "train": (0 if self.expanding else origin, fit),
                "validation": (fit, chosen),
                "test": (chosen, last),
            }
            if self.validation == 0:
                del bounds["validation"]
            folds.append(_cut(dates, bounds, self.purge, self.embargo))
        if not folds:
            raise DataError(
                f"walk-forward: {len(dates)} sessions are too few for train {self.train} + validation "
                f"{self.validation} + embargo {self.embargo} and a test period"
            )
        return folds


def _check_gaps(purge: int, embargo: int) -> None:
    if purge < 0 or embargo < 0:
        raise DataError(f"split: purge {purge} and embargo {embargo} must not be negative")


def _cut(dates: pd.DatetimeIndex, bounds: dict[str, tuple[int, int]], purge: int, embargo: int) -> Split:
    names = list(bounds)
    periods: dict[str, Period] = {}
    for name, (low, high) in bounds.items():
        first = low + (embargo if name != names[0] else 0)
        stop = high - (purge if name != names[-1] else 0)
        if first >= stop:
            raise DataError(
                f"split: {name} is empty: {max(high - low, 0)} of {len(dates)} sessions minus purge {purge} "
                f"and embargo {embargo}"
            )
        periods[name] = (dates[first], dates[stop - 1])
    return Split(periods["train"], periods.get("validation"), periods["test"])
