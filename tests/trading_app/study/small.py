"""A small study on two made-up markets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.prices import Prices
from data.snapshots.store import SnapshotStore
from trading_app.study.design import StudyDesign, design_study

SMALL: dict[str, Any] = {
    "training.cross_fit": False,
    "split.train": 0.5,
    "split.validation": 0.2,
    "split.test": 0.3,
    "market.window": 2,
    "market.features": ["ret_1", "abs_ret"],
    "sac.width": 8,
    "sac.batch_size": 16,
    "training.seeds": 2,
    "training.steps": 8,
    "training.evaluate_every": 4,
    "training.checkpoint_every": 4,
    "training.agreement": 0.0,
}
DATA = ("first", "second")


def save_prices(home: Path) -> None:
    """Write both markets to the store: 240 sessions of three symbols."""
    dates = pd.bdate_range("2020-01-01", periods=240)
    for seed, name in enumerate(DATA):
        steps = np.random.default_rng(seed).normal(0.0003, 0.01, (len(dates), 3))
        close = pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), dates, list("ABC"))
        prices = Prices.from_frames(name, close=close, open=close.shift(1).bfill())
        SnapshotStore(home).save(prices, name, provider={"kind": "test"})


def small(**changes: Any) -> StudyDesign:
    """The design of the small study: agents exact and relaxed, two folds, two seeds."""
    options: dict[str, Any] = {"data": DATA, "agents": ("exact", "relaxed"), "folds": 2, "settings": SMALL}
    return design_study(**{**options, **changes})


def read(path: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
