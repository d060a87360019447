"""Signals of one's own in a run: pinned to a version, named as features, checked and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import DataError
from data.prices import Prices
from data.signals.store import SignalStore
from data.signals.values import SEPARATOR
from data.splits import Split
from trading_app.experiments.config import RunConfig

__all__ = ["check_signals", "pin_signals", "signal_notes", "signal_records"]


def pin_signals(config: RunConfig, home: Path) -> RunConfig:
    """Return a configuration that names the versions of its signals, and their columns as features.

    By default these are all features. Where ``market.features`` names some, signals of which it names a column keep
    that choice, and all columns of others are added.

    Raises
    ------
    DataError
        If there are no signals of that name.
    """
    if not config.data.signals:
        return config
    store = SignalStore(home)
    opened = [store.open(reference) for reference in config.data.signals]
    features = config.market.features or ()
    for snapshot in opened:
        prefix = f"{snapshot.name}{SEPARATOR}"
        if not any(name.startswith(prefix) for name in features):
            features += tuple(prefix + column for column in snapshot.manifest["columns"])
    pinned = tuple(f"{snapshot.name}@{snapshot.version}" for snapshot in opened)
    return replace(
        config, data=replace(config.data, signals=pinned), market=replace(config.market, features=features)
    )


def check_signals(prices: Prices, split: Split) -> None:
    """Refuse signals without a value on the training dates, or that end before training and validation do.

    Raises
    ------
    DataError
        Names signals, column and dates.
    """
    first, last = _positions(prices, split.train)
    for signals in prices.signals:
        known = np.isfinite(signals.values[first : last + 1]).any(axis=(0, 1))
        for column, there in zip(signals.source.parity, known, strict=True):
            if not there:
                raise DataError(
                    f"signals '{signals.name}': column '{column}' has no value on the training dates "
                    f"{split.train[0].date()} to {split.train[1].date()}; import earlier values, or import the "
                    "signals without it"
                )
    prices.check_signals(first, _positions(prices, split.validation or split.train)[1])


def signal_records(prices: Prices) -> list[dict[str, Any]]:
    """Return what the manifest of a run records of its signals."""
    return [signals.source.record() for signals in prices.signals]


def signal_notes(prices: Prices, split: Split) -> list[str]:
    """Return a note on each of the signals: columns, lag, and the share of training dates with values."""
    first, last = _positions(prices, split.train)
    notes = []
    for signals in prices.signals:
        record: Mapping[str, Any] = signals.source.record()
        columns = ", ".join(f"{column} {parity}" for column, parity in record["columns"].items())
        share = np.isfinite(signals.values[first : last + 1]).mean()
        notes.append(
            f"Own signals {signals.name}@{record['version']} ({columns}), usable {record['lag']} sessions after their "
            f"stamp and carried {record['carry']}: values for {share:.1%} of the training dates and assets."
        )
    return notes


def _positions(prices: Prices, period: tuple[Any, Any]) -> tuple[int, int]:
    """Return the positions of the first and last session of a period."""
    first = int(prices.dates.searchsorted(period[0], side="left"))
    return first, int(prices.dates.searchsorted(period[1], side="right")) - 1
