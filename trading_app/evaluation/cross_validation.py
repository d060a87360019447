"""Combinatorial purged cross-validation of a choice among configurations (López de Prado 2018), through ``skfolio``.

The dates are cut into folds. For each choice of test folds, the configuration that is best on the other folds trades on
them. The test folds of all choices join to several paths, each over all dates, so that a choice has a distribution of
results instead of one.

Axes: T time, K configurations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from trading_app.evaluation.metrics import Rate, returns_array, sharpe


@dataclass(frozen=True)
class CombinatorialSplit:
    """Positions of the training dates, and of each test fold with the number of the path that it belongs to."""

    train: npt.NDArray[np.int64]
    tests: tuple[tuple[int, npt.NDArray[np.int64]], ...]


@dataclass(frozen=True)
class CrossValidation:
    """Results of a choice among configurations on dates that did not choose.

    Attributes
    ----------
    paths
        Returns of each path, date × path: on each date, those of the configuration chosen without that date.
    choices
        Share of the splits in which each configuration was chosen.
    sharpes
        Annualised Sharpe ratio of each path.
    """

    paths: pd.DataFrame = field(repr=False)
    choices: dict[str, float]
    sharpes: tuple[float, ...]


def combinatorial_splits(
    sessions: int, *, folds: int = 10, test_folds: int = 2, purge: int = 1, embargo: int = 5
) -> Iterator[CombinatorialSplit]:
    """Split dates in all ways into training dates and test folds.

    Parameters
    ----------
    sessions
        Number of dates.
    folds, test_folds
        Number of folds, and how many of them are test dates in each split.
    purge, embargo
        Sessions left out of the training dates on both sides of test dates, and further ones after them.

    Raises
    ------
    DataError
        If the numbers do not fit one another.
    """
    from skfolio.model_selection import CombinatorialPurgedCV

    try:
        splitter = CombinatorialPurgedCV(folds, test_folds, purged_size=purge, embargo_size=embargo)
        paths = splitter.get_path_ids()
        splits = list(splitter.split(np.empty((sessions, 1))))
    except ValueError as error:
        raise DataError(
            f"{sessions} sessions in {folds} folds, {test_folds} of them for tests: {error}"
        ) from None
    for (train, tests), numbers in zip(splits, paths, strict=True):
        yield CombinatorialSplit(train, tuple(zip(map(int, numbers), tests, strict=True)))


def cross_validate(
    returns: pd.DataFrame, *, periods: int = 252, risk_free: Rate = 0.0, **options: int
) -> CrossValidation:
    """Choose the configuration with the highest Sharpe ratio on training dates, and follow it on test dates.

    Parameters
    ----------
    returns
        Net returns, date × configuration; they must not depend on the split.
    periods, risk_free
        Sessions a year, and annual rate or that of each return [T].
    **options
        As of `combinatorial_splits`.

    Raises
    ------
    DataError
        For a missing return, or folds that do not fit the dates.
    """
    values = returns_array(returns)
    names = [str(name) for name in returns.columns]
    splits = list(combinatorial_splits(len(values), **options))
    count = 1 + max(path for split in splits for path, _ in split.tests)
    joined = np.full((len(values), count), np.nan)
    chosen = np.zeros(len(names))
    for split in splits:
        rate = risk_free if isinstance(risk_free, int | float) else risk_free[split.train]
        ratios = sharpe(values[split.train], periods=periods, risk_free=rate)
        best = int(np.nan_to_num(ratios, nan=0.0).argmax())
        chosen[best] += 1 / len(splits)
        for path, days in split.tests:
            joined[days, path] = values[days, best]
    sharpes = sharpe(joined, periods=periods, risk_free=risk_free)
    return CrossValidation(
        pd.DataFrame(joined, index=returns.index),
        dict(zip(names, chosen.tolist(), strict=True)),
        tuple(float(ratio) for ratio in sharpes),
    )
