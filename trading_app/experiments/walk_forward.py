"""Walk-forward runs: the agent is retrained on a moving or growing range and tested on the dates after it.

A walk-forward run is a run whose manifest lists ``folds`` (dates by part) and whose directory holds a run of its own
for each, ``folds/fold-1``, ``folds/fold-2``, …. Its policy passes from fold to fold with its holdings, so that the
backtest is one account over all test dates, each after the training dates of the agent that trades on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.prices import Prices
from data.splits import Split, WalkForwardSplitter
from rl_core.training import Progress
from trading_app.experiments.config import RunConfig, stored_config, to_toml
from trading_app.experiments.own_signals import check_signals, pin_signals
from trading_app.experiments.training import (
    check_device,
    check_training,
    default_name,
    manifest,
    prices_of,
    recorded_dates,
    train_run,
)
from trading_app.files import RunError
from trading_app.runs.run import Run, create_run, fold_path, open_run, unused_name

__all__ = ["fold_splits", "usable_folds", "walk_forward_run"]

#: Called with the fold, the number of folds and the steps of each; returns a context that yields a progress callback.
Watch = Callable[[int, int, int], AbstractContextManager[Callable[["Progress"], None] | None]]


def fold_splits(config: RunConfig, prices: Prices, folds: int, *, expanding: bool = False) -> list[Split]:
    """Split the sessions into folds: the test share of the configuration's split is divided into equal parts.

    The configuration's shares of training and validation are those of the first fold. With `expanding` each fold
    trains from the first session on; otherwise on a window that keeps its length. Test periods follow one another
    without a gap: an agent acts until the next one takes over. DataError if there are too few sessions for so many
    folds.
    """
    s, count = config.split, len(prices.dates)
    train = round(count * s.train)
    validation = round(count * (s.train + s.validation)) - train
    test = -(-(count - train - validation) // max(folds, 1))
    if folds < 2 or test <= s.embargo:
        raise DataError(
            f"walk-forward: {folds} folds of {count - train - validation} test sessions cannot be made; give at least "
            f"2, each longer than the embargo of {s.embargo}"
        )
    splitter = WalkForwardSplitter(
        train=train,
        validation=validation,
        test=test,
        expanding=expanding,
        purge=s.purge,
        embargo=s.embargo,
    )
    cut = splitter.split(prices)
    dates = prices.dates
    ends = [dates[int(dates.searchsorted(fold.test[0])) - 1] for fold in cut[1:]] + [dates[-1]]
    return [replace(fold, test=(fold.test[0], end)) for fold, end in zip(cut, ends, strict=True)]


def usable_folds(config: RunConfig, prices: Prices, folds: int, *, expanding: bool = False) -> list[Split]:
    """Return `fold_splits`, each checked: that there is the device, enough to train on, and a value of each signal."""
    check_device(config)
    splits = fold_splits(config, prices, folds, expanding=expanding)
    for split in splits:
        check_training(prices, split)
        check_signals(prices, split)
    return splits


def walk_forward_run(
    config: RunConfig,
    *,
    home: Path,
    folds: int = 4,
    expanding: bool = False,
    name: str | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Train every fold; `trading_app.experiments.out_of_sample.backtest_run` then backtests them as one account.

    Parameters
    ----------
    config
        Of each fold. Ignored where a run is resumed, as are `folds` and `expanding`: its own count.
    home, name
        State directory and name of the run (``home/runs/NAME``); one is made up by default.
    folds, expanding
        As for `fold_splits`.
    resume
        Continue the run of that name; finished folds are not trained again.
    watch
        Opens a view of each fold's progress.

    Raises
    ------
    DataError, ConfigError, RunError
        For prices, dates or settings that cannot be used; nothing is written then.
    """
    if resume:
        run = open_run(name or "", home=home)
        if not run.manifest.get("folds"):
            raise RunError(
                f"run {run.name!r} is not a walk-forward run; continue it with `equitrade train --resume`"
            )
        config = stored_config(run.path)
        splits = [recorded_dates(fold) for fold in run.manifest["folds"]]
    else:
        config = pin_signals(config, home)
        run, splits = _begin(config, home, folds, expanding, name)
    started = time.perf_counter()
    with run.training():
        for number, split in enumerate(splits, start=1):
            _train_fold(fold_path(run.path, number), number, splits, split, config, home, watch)
    paths = [fold_path(run.path, number) for number in range(1, len(splits) + 1)]
    manifests = [open_run(path, home).manifest for path in paths]
    found = {
        name: [record for manifest in manifests for record in manifest.get(name, ())]
        for name in ("agreement", "sizing")
    }
    return run.finish(wall_time=time.perf_counter() - started, **found)


def _begin(
    config: RunConfig, home: Path, folds: int, expanding: bool, name: str | None
) -> tuple[Run, list[Split]]:
    prices = prices_of(config, home)
    splits = usable_folds(config, prices, folds, expanding=expanding)
    whole = replace(splits[0], test=(splits[0].test[0], splits[-1].test[1]))
    content: dict[str, Any] = manifest(config, prices, whole)
    content["folds"] = [manifest(config, prices, split)["split"] for split in splits]
    chosen = name or unused_name(home, f"{default_name(config)}-walk-forward")
    return create_run(content, to_toml(config), home=home, name=chosen), splits


def _train_fold(
    directory: Path,
    number: int,
    splits: list[Split],
    split: Split,
    config: RunConfig,
    home: Path,
    watch: Watch | None,
) -> None:
    begun = (directory / "manifest.json").is_file()
    if begun and open_run(directory, home=home).status != "incomplete":
        return
    view = nullcontext() if watch is None else watch(number, len(splits), config.training.steps)
    with view as on_progress:
        train_run(config, home=home, directory=directory, split=split, resume=begun, on_progress=on_progress)
