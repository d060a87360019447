"""Chronological splits whose parts never overlap, with purge and embargo between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from data.errors import DataError
from data.fields import DateLike, parse_date

Period = tuple[pd.Timestamp, pd.Timestamp]


@dataclass(frozen=True)
class Split:
    """Train, validation and test periods, each (first date, last date), both included.

    The periods follow one another in time and share no date. `validation` may be None.

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
        """The periods that are there, by name, in order of time."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: period for name, period in named.items() if period is not None}


def split(
    train: tuple[DateLike, DateLike],
    test: tuple[DateLike, DateLike],
    validation: tuple[DateLike, DateLike] | None = None,
) -> Split:
    """Make a split from dates as a person writes them.

    Raises
    ------
    DataError
        If a date cannot be read or periods overlap.
    """

    def period(name: str, bounds: tuple[DateLike, DateLike]) -> Period:
        return parse_date(bounds[0], f"{name} start"), parse_date(bounds[1], f"{name} end")

    return Split(
        period("train", train),
        period("validation", validation) if validation is not None else None,
        period("test", test),
    )


def chronological(
    dates: pd.DatetimeIndex,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    *,
    purge: int = 0,
    embargo: int = 0,
) -> Split:
    """Cut the sessions into train, validation and test, in this order of time.

    Parameters
    ----------
    dates
        Sessions, increasing.
    fractions
        Shares of the sessions for train, validation, test; they sum to 1. Two numbers, or a validation share
        of 0, make a split without validation.
    purge
        Sessions dropped at the end of each part that has a successor: at least as many as an outcome (a
        label, a held position, an n-step return) reaches into the future.
    embargo
        Sessions dropped at the start of each part that has a predecessor, against slow serial dependence.

    Raises
    ------
    DataError
        If the fractions are not shares of 1, or a part would be empty.
    """
    shares = tuple(float(share) for share in fractions)
    if len(shares) == 2:
        shares = (shares[0], 0.0, shares[1])
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise DataError(
            f"split: fractions {tuple(fractions)} must be train, validation, test shares of sum 1"
        )
    if min(shares[0], shares[2]) <= 0:
        raise DataError(f"split: fractions {tuple(fractions)} leave nothing for train or test")
    _check_gaps(purge, embargo)
    count = len(dates)
    first = round(count * shares[0])
    second = round(count * (shares[0] + shares[1]))
    bounds = {"train": (0, first), "validation": (first, second), "test": (second, count)}
    if shares[1] == 0:
        del bounds["validation"]
    return _cut(dates, bounds, purge, embargo)


def walk_forward(
    dates: pd.DatetimeIndex,
    *,
    train: int,
    test: int,
    validation: int = 0,
    step: int | None = None,
    expanding: bool = False,
    purge: int = 0,
    embargo: int = 0,
) -> list[Split]:
    """Cut the sessions into folds that roll forward; every test period lies after all it was trained on.

    Parameters
    ----------
    dates
        Sessions, increasing.
    train, validation, test
        Sessions of each part before purge and embargo are taken off. The last test period may be shorter.
    step
        Sessions from one fold to the next; by default `test`, so that test periods tile the time line.
    expanding
        Train from the first session on rather than on a window of fixed length.
    purge, embargo
        As in `chronological`.

    Returns
    -------
    list of Split
        In order of time, at least one.

    Raises
    ------
    DataError
        If lengths are not positive, test periods would overlap, or there are too few sessions for one fold.
    """
    stride = test if step is None else step
    if train < 1 or test < 1 or validation < 0 or stride < 1:
        raise DataError(
            f"walk-forward: train {train}, test {test} and step {stride} must be positive, validation "
            f"{validation} not negative"
        )
    if stride < test:
        raise DataError(f"walk-forward: a step of {stride} makes test periods of {test} sessions overlap")
    _check_gaps(purge, embargo)
    folds = []
    # A last fold is kept while it has at least one session to test on.
    for origin in range(0, len(dates), stride):
        fit = origin + train
        chosen = fit + validation
        last = min(chosen + test, len(dates))
        if last - chosen <= embargo:
            break
        bounds = {
            "train": (0 if expanding else origin, fit),
            "validation": (fit, chosen),
            "test": (chosen, last),
        }
        if validation == 0:
            del bounds["validation"]
        folds.append(_cut(dates, bounds, purge, embargo))
    if not folds:
        raise DataError(
            f"walk-forward: {len(dates)} sessions are too few for train {train} + validation {validation} + "
            f"embargo {embargo} and a test period"
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
                f"split: {name} is empty: {max(high - low, 0)} of {len(dates)} sessions less purge {purge} "
                f"and embargo {embargo}"
            )
        periods[name] = (dates[first], dates[stop - 1])
    return Split(periods["train"], periods.get("validation"), periods["test"])
