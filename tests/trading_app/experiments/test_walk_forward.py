"""Walk-forward runs: folds that follow one another, agents that never saw what they act on, and one account."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.loading import load_prices
from data.prices import Prices
from data.snapshots.store import SnapshotStore
from trading_app.backtesting.policies import AgentPolicy
from trading_app.backtesting.relay import RelayPolicy
from trading_app.experiments.config import RunConfig, load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy
from trading_app.experiments.walk_forward import fold_splits, walk_forward_run
from trading_app.files import RunError
from trading_app.report.data import load_report_data
from trading_app.report.facts import sampling
from trading_app.runs.run import Run, fold_path, open_run

SMALL = {
    "data.name": "factors-5",
    "market.window": 4,
    "sac.width": 8,
    "sac.batch_size": 16,
    "sac.learning_starts": 16,
    "training.seeds": 2,
    "training.steps": 12,
    "training.n_envs": 2,
    "training.cross_fit": False,
    "training.evaluate_every": 12,
    "training.checkpoint_every": 6,
}


def small(**changes: object) -> RunConfig:
    return load_config(None, {}, {**SMALL, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    return walk_forward_run(small(), home=home, folds=3, name="forward")


@settings(max_examples=30, deadline=None)
@given(folds=st.integers(2, 8), expanding=st.booleans(), embargo=st.integers(0, 20))
def test_each_test_period_follows_what_was_learned_and_the_one_before(
    folds: int, expanding: bool, embargo: int
) -> None:
    prices = load_prices("factors-5")
    config = small(**{"split.embargo": embargo})
    cut = fold_splits(config, prices, folds, expanding=expanding)
    assert len(cut) == folds
    assert cut[-1].test[1] == prices.dates[-1]
    for before, after in pairwise(cut):
        # The next session after one test period is the first of the next: somebody acts on every date.
        assert prices.dates.searchsorted(after.test[0]) == prices.dates.searchsorted(before.test[1]) + 1
        assert (after.train[0] == prices.dates[0]) == expanding
    for split in cut:
        assert split.validation is not None
        assert split.train[1] < split.validation[0] <= split.validation[1] < split.test[0]


@pytest.mark.parametrize("folds", [1, 5000])
def test_too_many_or_too_few_folds_are_refused(folds: int) -> None:
    with pytest.raises(DataError, match="walk-forward"):
        fold_splits(small(), load_prices("factors-5"), folds)


class Constant(AgentPolicy):
    """Wants one asset, and remembers when it was asked and what it held."""

    def __init__(self, like: AgentPolicy, asset: int) -> None:
        super().__init__(like.agent, like.config, like.costs, like.symbols)
        self.asset, self.asked = asset, dict[pd.Timestamp, torch.Tensor]()

    def targets(self, market: Any, day: int, held: torch.Tensor) -> torch.Tensor:
        self.asked[market.panel.dates[day]] = held.clone()
        wanted = torch.zeros_like(held)
        wanted[..., self.asset] = 1.0
        return wanted


def test_agents_take_over_on_their_dates_with_what_the_one_before_held(run: Run) -> None:
    like = load_policy(run.path)
    days = pd.DatetimeIndex(["2022-03-01", "2022-04-01", "2022-05-02"])
    agents = [Constant(like, asset) for asset in range(3)]
    path = RelayPolicy(agents, days).rollout(load_prices("factors-5"), days[0], "2022-06-01")
    for agent, start in zip(agents, days, strict=True):
        assert min(agent.asked) == start
    assert sum(len(agent.asked) for agent in agents) == len(path.ensemble)
    assert not agents[0].asked[days[0]].any()
    for asset, (agent, start) in enumerate(zip(agents[1:], days[1:], strict=True)):
        # Yesterday's order of the one before is what the account holds at the hand-over.
        assert agent.asked[start][..., asset].min() > 0.9


def test_folds_act_in_turn_and_the_backtest_is_one_account(run: Run, home: Path) -> None:
    saved = backtest_run(run, home=home)
    folds = run.manifest["folds"]
    assert (saved.document["start"], saved.document["end"]) == (folds[0]["test"][0], folds[-1]["test"][1])
    assert open_run("forward", home=home).status == "backtested"
    known, sentence = sampling(load_report_data(run))
    assert known
    assert sentence.startswith("Out of sample")
    assert "3 times" in sentence
    prices = load_prices("factors-5")
    path = load_policy(run.path).rollout(prices, folds[0]["test"][0])
    alone = load_policy(fold_path(run.path, 1)).rollout(prices, *folds[0]["test"])
    pd.testing.assert_frame_equal(path.ensemble.loc[: folds[0]["test"][1]], alone.ensemble)
    assert json.loads((fold_path(run.path, 2) / "manifest.json").read_text())["split"] == folds[1]


def test_no_fold_learns_from_its_test_dates(run: Run, tmp_path: Path) -> None:
    """Other prices from the first test date on: later folds are watched on them, the first never sees them."""
    prices = load_prices("factors-5")
    since = prices.dates >= pd.Timestamp(run.manifest["folds"][0]["test"][0])
    noise = np.random.default_rng(0).uniform(0.7, 1.4, size=(since.sum(), len(prices.symbols)))
    fields = {name: frame.copy() for name, frame in prices.fields.items()}
    for frame in fields.values():
        frame.loc[since] *= noise
    SnapshotStore(tmp_path).save(
        Prices.from_frames("other", **fields, notes=prices.notes), "other", provider={"kind": "test"}
    )
    other = walk_forward_run(small(**{"data.name": "other"}), home=tmp_path, folds=3, name="forward")
    weights = [[load_policy(fold_path(r.path, k)).agent.flat.values for k in (1, 2, 3)] for r in (run, other)]
    watched = [
        [open_run(fold_path(r.path, k), home=tmp_path).progress()["eval_sharpe"].dropna() for k in (1, 2, 3)]
        for r in (run, other)
    ]
    assert all(torch.equal(a, b) for a, b in zip(weights[0][:2], weights[1][:2], strict=True))
    assert [a.equals(b) for a, b in zip(*watched, strict=True)] == [True, False, False]


def test_a_run_that_was_stopped_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    @contextmanager
    def stop(number: int, folds: int, steps: int) -> Iterator[Callable[[Any], None] | None]:
        def progress(told: Any) -> None:
            if (number, told.step) == (2, 12):
                raise KeyboardInterrupt

        yield progress

    with pytest.raises(KeyboardInterrupt):
        walk_forward_run(small(), home=tmp_path, folds=3, name="forward", watch=stop)
    stopped = open_run("forward", home=tmp_path)
    assert stopped.status == "incomplete"
    with pytest.raises(DataError, match="walk-forward --resume --name forward"):
        load_policy(stopped.path)
    first = (fold_path(stopped.path, 1) / "manifest.json").read_bytes()
    resumed = walk_forward_run(RunConfig(), home=tmp_path, name="forward", resume=True)
    assert (fold_path(stopped.path, 1) / "manifest.json").read_bytes() == first
    assert resumed.status == "complete"
    for k in (1, 2, 3):
        a, b = (load_policy(fold_path(r.path, k)).agent.flat.values for r in (run, resumed))
        assert torch.equal(a, b)


def test_other_runs_are_not_resumed_as_walk_forward(run: Run, home: Path) -> None:
    with pytest.raises(RunError, match="not a walk-forward run"):
        walk_forward_run(RunConfig(), home=home, name=str(fold_path(run.path, 1)), resume=True)


def test_nothing_is_written_for_settings_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        walk_forward_run(small(), home=tmp_path, folds=900, name="forward")
    short = small()
    short = replace(short, split=replace(short.split, train=0.02, validation=0.02, test=0.96))
    with pytest.raises(DataError, match="too few"):
        walk_forward_run(short, home=tmp_path, folds=2, name="forward")
    assert not list(tmp_path.rglob("*.json"))
