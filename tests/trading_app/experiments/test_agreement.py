"""Agreement of seeds in runs: measured on validation dates, recorded, and obeyed by the ensemble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.loading import load_prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import BASELINES
from trading_app.evaluation.agreement import seed_agreement
from trading_app.experiments.config import ConfigurationError, load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import train_run
from trading_app.experiments.walk_forward import walk_forward_run
from trading_app.lookahead.check import check_run
from trading_app.report.page import write_report
from trading_app.report.verdict import agreement_sentence, verdict
from trading_app.runs.run import Run, fold_path, open_run

TILT = {
    "data.name": "factors-5",
    "market.actions": "tilt",
    "market.rebalance": "monthly",
    "market.no_trade_band": 0.0,
    "market.window": 4,
    "sac.width": 8,
    "sac.batch_size": 16,
    "training.seeds": 3,
    "training.steps": 20,
    "training.evaluate_every": 20,
    "training.cross_fit": False,
}
NEVER = 1.0  # seeds of so short a training do not agree to the last digit


def trained(home: Path, name: str = "run", **changes: Any) -> Run:
    run, _ = train_run(load_config(None, {}, {**TILT, **changes}), home=home, name=name)
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agreement")


@pytest.fixture(scope="module")
def gated(home: Path) -> Run:
    run = trained(home, "gated", **{"training.agreement": NEVER, "market.trading_speed": 0.5})
    backtest_run(run, home=home)
    return run


def without_record(run: Run) -> None:
    """Make the manifest that of a version that did not measure agreement."""
    manifest = {key: value for key, value in run.manifest.items() if key != "agreement"}
    (run.path / "manifest.json").write_text(json.dumps(manifest))


def test_agreement_is_measured_on_the_validation_dates(home: Path, gated: Run) -> None:
    (record,) = gated.manifest["agreement"]
    validation = gated.manifest["split"]["validation"]
    assert [record["start"], record["end"]] == validation
    assert record["end"] < gated.manifest["split"]["test"][0]
    assert (record["needed"], record["base"], record["seeds"]) == (NEVER, "equal-weight", 3)
    path = load_policy(gated.path).rollout(load_prices("factors-5"), *validation)
    again = seed_agreement(path.active)
    # Decisions are the same to rounding, which may move the bootstrap's block length by one session.
    assert again.correlation == pytest.approx(record["correlation"], rel=1e-6)
    assert [again.low, again.high] == pytest.approx([record["low"], record["high"]], abs=0.02)
    assert record["sessions"] == len(path.ensemble)
    # An aim departs from the base by at most what the market allows, and in sum not at all, also while moving in.
    assert np.abs(path.active).sum(axis=-1).max() <= 0.5 + 1e-9
    assert np.abs(path.active.sum(axis=-1)).max() < 1e-9


def test_an_ensemble_whose_seeds_do_not_agree_is_its_base(home: Path, gated: Run) -> None:
    start, end = gated.manifest["split"]["test"]
    policy, prices = load_policy(gated.path), load_prices("factors-5")
    assert policy.holds_base
    path = policy.rollout(prices, start, end)
    orders = path.ensemble.dropna()
    assert len(orders) < len(path.ensemble)
    np.testing.assert_allclose(orders.iloc[30:], 0.2, atol=0.02)  # half of the way back to equal weights
    without_record(run := trained(home, "old", **{"market.trading_speed": 0.5}))
    old = load_policy(run.path)
    assert not old.holds_base
    before = old.rollout(prices, start, end)
    # The seeds trade as ever; without the record so does their mean.
    np.testing.assert_array_equal(before.per_seed, path.per_seed)
    assert not np.array_equal(before.ensemble, path.ensemble, equal_nan=True)
    assert agreement_sentence(open_run("old", home).manifest) == ""


def test_at_full_speed_it_is_the_baseline_of_the_same_schedule(home: Path) -> None:
    run = trained(home, "fast", **{"training.agreement": NEVER})
    start, end = run.manifest["split"]["test"]
    policy, prices = load_policy(run.path), load_prices("factors-5")
    options: dict[str, Any] = {"costs": policy.costs, "start": start, "end": end, **policy.config.account}
    own = backtest(prices, policy.rollout(prices, start, end).ensemble, partial_orders=True, **options)
    base = backtest(prices, BASELINES["equal-weight"](prices, start, end, rebalance="monthly"), **options)
    np.testing.assert_allclose(own.equity, base.equity, rtol=1e-9)
    assert own.metrics()["turnover"] == pytest.approx(base.metrics()["turnover"], rel=1e-9)


def test_backtest_and_report_say_it_in_one_sentence(home: Path, gated: Run) -> None:
    found = verdict(open_run("gated", home).metrics or {})
    assert found.agreement.startswith("The seeds do not agree (correlation ")
    assert found.agreement.endswith(", needed 1), so the agent holds its base, equal weight.")
    assert found.details[0] == found.agreement
    page = write_report(open_run("gated", home)).read_text(encoding="utf-8")
    assert found.agreement in page
    assert "Holds its base." in page


def test_look_ahead_is_looked_for_in_the_seeds(home: Path, gated: Run) -> None:
    assert check_run(gated, home, days=2).checked["policies"] == ["agent"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training.agreement": 0.0}, "The seeds "),
        ({"training.seeds": 1}, "The run has one seed"),
        ({"market.actions": "long-only", "training.agreement": NEVER}, "The seeds do not agree"),
        ({"market.actions": "long-short", "training.agreement": NEVER}, "The seeds do not agree"),
    ],
)
def test_without_base_need_or_second_seed_it_is_only_said(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    run = trained(tmp_path, **changes)
    said = agreement_sentence(run.manifest)
    assert said.startswith(sentence)
    assert "base" not in said
    policy = load_policy(run.path)
    assert not policy.holds_base
    assert policy.decide_base(load_prices("factors-5"), "2020-01-03", np.zeros(5)) is None


def test_each_fold_obeys_its_own_agreement(tmp_path: Path) -> None:
    config = load_config(None, {}, {**TILT, "training.agreement": NEVER, "market.rebalance": "daily"})
    run = walk_forward_run(config, home=tmp_path, folds=2, name="forward")
    folds = [open_run(fold_path(run.path, k), tmp_path) for k in (1, 2)]
    assert run.manifest["agreement"] == [fold.manifest["agreement"][0] for fold in folds]
    assert "in 2 of 2 trainings" in agreement_sentence(run.manifest)
    without_record(folds[0])
    start = pd.Timestamp(folds[1].manifest["split"]["test"][0])
    policy = load_policy(run.path)
    assert policy.holds_base
    ensemble = policy.rollout(load_prices("factors-5"), start - pd.Timedelta(days=90), None).ensemble
    assert (ensemble[ensemble.index >= start] == 0.2).all(axis=None)
    assert (ensemble[ensemble.index < start] != 0.2).any(axis=None)


def test_needed_correlation_is_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"training\.agreement"):
        load_config(None, {}, {"training.agreement": "1.5"})
