"""The search over settings: what it tries is counted, and test dates do not enter it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.loading import load_prices
from data.prices import Prices
from data.snapshots.store import SnapshotStore
from rl_core.divergence import FrozenSeeds
from trading_app.experiments.config import ConfigurationError, RunConfig, load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.training import split_of, train_run
from trading_app.experiments.tuning import (
    DEFAULT_SPACE,
    Dimension,
    changed,
    parse_dimension,
    trial_returns,
    tune,
)
from trading_app.files import RunError

SPACE = (Dimension("sac.actor_lr", 1e-4, 1e-2), Dimension("sac.width", choices=(4, 8)))


def small(**changes: object) -> RunConfig:
    values = {
        "data.name": "factors-5",
        "market.window": 4,
        "sac.batch_size": 16,
        "sac.learning_starts": 16,
        "training.seeds": 2,
        "training.steps": 10,
        "training.n_envs": 2,
        "training.cross_fit": False,
        "training.evaluate_every": 10,
    }
    return load_config(None, {}, {**values, **changes})


def test_a_study_goes_on_counts_its_trials_and_its_best_remembers_them(tmp_path: Path) -> None:
    whole = tune(small(), home=tmp_path / "a", name="s", trials=2, space=SPACE)
    tune(small(), home=tmp_path / "b", name="s", trials=1, space=SPACE)
    (tmp_path / "b" / "tuning" / "s" / "trials" / "1").mkdir()  # of a trial that was killed
    pieces = tune(small(), home=tmp_path / "b", name="s", trials=2, space=SPACE)
    assert pieces["trials"] == whole["trials"]
    assert [row["trial"] for row in whole["trials"]] == [0, 1]
    assert len({row["settings"]["sac.actor_lr"] for row in whole["trials"]}) == 2

    config = load_config(Path(whole["config"]))
    assert config.search.trials == 2
    best = max(whole["trials"], key=lambda row: row["sharpe"])
    assert best["trial"] == whole["best"]
    assert config.sac.actor_lr == best["settings"]["sac.actor_lr"]
    run, result = train_run(config, home=tmp_path, name="best")
    assert np.mean([row["eval_sharpe"] for row in result.history if "eval_sharpe" in row]) == best["sharpe"]
    chosen = backtest_run(run, home=tmp_path).document
    assert chosen["trials"] == 2
    assert chosen["deflated_sharpe"] < chosen["probabilistic_sharpe"]
    assert whole["overfitting"]["configurations"] == 2
    assert pieces["overfitting"] == whole["overfitting"]
    assert chosen["overfitting"] == config.search.overfitting == whole["overfitting"]["probability"]
    returns = trial_returns(tmp_path / "a" / "tuning" / "s")
    validation = run.manifest["split"]["validation"]
    assert list(returns.columns) == ["0", "1"]
    assert [str(returns.index[0].date()) >= validation[0], str(returns.index[-1].date())] == [
        True,
        validation[1],
    ]
    with pytest.raises(RunError, match="other settings"):
        tune(small(**{"sac.gamma": 0.5}), home=tmp_path / "a", name="s", trials=3, space=SPACE)


def test_diverged_seed_is_named_and_its_settings_are_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = FrozenSeeds.faults

    def second_seed(frozen: FrozenSeeds, *arguments: Any) -> dict[int, str]:
        return faults(frozen, *arguments) or ({} if frozen.diverged else {1: "q of seed 1 is inf"})

    monkeypatch.setattr(FrozenSeeds, "faults", second_seed)
    run, result = train_run(small(), home=tmp_path, name="one")
    assert result.stopped is None
    assert result.diverged == (False, True)
    assert run.manifest["diverged"] == [1]
    assert "seed 1 diverged by step 10" in caplog.text
    progress = run.progress()
    assert progress.groupby("seed")["diverged"].last().tolist() == [0.0, 1.0]
    notes = backtest_run(run, home=tmp_path).document["notes"]
    assert "Diverged in training and kept as they were before: seeds [1]." in notes
    study = tune(small(), home=tmp_path, name="s", trials=1, space=SPACE)
    assert study["trials"][0]["sharpe"] is None
    assert study["overfitting"] is None


def test_test_dates_do_not_enter_the_search(tmp_path: Path) -> None:
    prices = load_prices("factors-5")
    first = split_of(small(), prices).test[0]
    found = []
    for name, factor in (("same", 1.0), ("other", 0.6)):
        fields = {key: frame.copy() for key, frame in prices.fields.items()}
        for frame in fields.values():
            frame.loc[frame.index >= first] *= (
                factor * np.linspace(1, 2, (prices.dates >= first).sum())[:, None]
            )
        panel = Prices.from_frames("p", **fields)
        SnapshotStore(tmp_path / name).save(panel, "p", provider={"kind": "test"})
        config = small(**{"data.name": "p"})
        found.append(tune(config, home=tmp_path / name, name="s", trials=2, space=SPACE)["trials"])
    assert found[0] == found[1]


def test_a_training_that_diverges_counts_and_is_not_best(tmp_path: Path) -> None:
    space = (Dimension("sac.critic_lr", choices=(1e-3,)),)
    found = tune(small(**{"sac.divergence_limit": 1e-12}), home=tmp_path, name="s", trials=1, space=space)
    assert [row["sharpe"] for row in found["trials"]] == [None]
    assert found["best"] is None
    assert not (tmp_path / "tuning" / "s" / "best.toml").exists()


@pytest.mark.parametrize("text", ["sac.width", "width=3", "sac.width=9:3", "sac.width=a:b", "sac.width="])
def test_dimensions_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="LOW:HIGH"):
        parse_dimension(text)


def test_dimensions_are_read_as_they_are_written() -> None:
    for dimension in (*DEFAULT_SPACE, *SPACE):
        assert parse_dimension(dimension.text()) == dimension


@pytest.mark.parametrize("key", ["sac.wdith", "nothing.at_all", "data.name", "split.test"])
def test_unknown_settings_are_refused_before_anything_is_written(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        tune(small(), home=tmp_path, name="s", trials=1, space=(Dimension(key, choices=(1,)),))
    assert not (tmp_path / "tuning").exists()


def test_default_space_fits_the_default_settings() -> None:
    for dimension in DEFAULT_SPACE:
        value = dimension.choices[0] if dimension.choices else dimension.low
        section, name = dimension.key.split(".")
        assert getattr(getattr(changed(RunConfig(), {dimension.key: value}), section), name) == value


def test_a_log_is_kept_that_is_json(tmp_path: Path) -> None:
    tune(small(), home=tmp_path, name="s", trials=1, space=SPACE)
    lines = (tmp_path / "tuning" / "s" / "journal.log").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
