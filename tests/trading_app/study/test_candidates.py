"""Candidate settings: read, chosen on validation dates of the first fold, and counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trading_app.study.small import read, save_prices, small
from trading_app.experiments.config import ConfigurationError
from trading_app.experiments.tuning import trial_returns
from trading_app.study.candidates import read_candidates
from trading_app.study.run import run_study

FILE = """
[relaxed.defaults]

[relaxed.quick]
sac.actor_lr = 0.1
"market.max_tilt" = 0.2
"""


def test_candidates_are_chosen_on_validation_dates_and_counted(tmp_path: Path) -> None:
    save_prices(tmp_path)
    (tmp_path / "candidates.toml").write_text(
        "[exact.still]\nsac.actor_lr = 1e-12\n[exact.quick]\nsac.actor_lr = 0.1\n"
    )
    design = small(data=["first"], agents=["exact"], candidates=read_candidates(tmp_path / "candidates.toml"))
    told: list[tuple[str, float | None]] = []

    def stop(name: str, sharpe: float | None) -> None:
        told.append((name, sharpe))
        if len(told) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(design, home=tmp_path, name="s", on_trial=stop)
    choices = tmp_path / "studies" / "s" / "choices" / "exact-first"
    first = (choices / "trials" / "0" / "manifest.json").read_bytes()
    document = run_study(design, home=tmp_path, name="s", on_trial=stop)
    assert (choices / "trials" / "0" / "manifest.json").read_bytes() == first
    unit = read(tmp_path / "studies" / "s" / "units" / "exact-first.json")
    scores = {trial["name"]: trial["sharpe"] for trial in unit["candidates"]}
    assert [name for name, _ in told] == ["still", "still", "quick"]
    assert scores == dict(told)
    assert unit["candidate"] == max(scores, key=lambda name: scores[name])
    assert unit["settings"]["sac"]["actor_lr"] == {"still": 1e-12, "quick": 0.1}[unit["candidate"]]
    assert unit["trials"] == document["units"]["exact-first"]["trials"] == 2
    assert unit["settings"]["search"]["sharpes"] == list(scores.values())
    assert unit["deflated_sharpe"] != unit["probabilistic_sharpe"]
    returns = trial_returns(choices)
    fold = unit["folds"][0]
    assert str(returns.index[0].date()) >= fold["validation"][0]
    assert str(returns.index[-1].date()) == fold["validation"][1] < fold["test"][0]
    # The chosen settings are trained again on the first fold, to the same result.
    chosen = next(trial for trial in unit["candidates"] if trial["name"] == unit["candidate"])
    np.testing.assert_array_equal(unit["curves"][0]["validation"]["sharpe"][-1], chosen["sharpe_by_seed"])
    # A tilt that does not learn is its base, which learning curves are measured from.
    assert scores["still"] == pytest.approx(unit["curves"][0]["validation"]["base"], abs=1e-6)


def test_candidates_are_read_from_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(FILE)
    (tmp_path / "c.json").write_text(
        '{"relaxed": {"defaults": {}, "quick": {"sac.actor_lr": 0.1, "market": {"max_tilt": 0.2}}}}'
    )
    wanted = {"relaxed": {"defaults": {}, "quick": {"sac.actor_lr": 0.1, "market.max_tilt": 0.2}}}
    assert read_candidates(tmp_path / "c.toml") == read_candidates(tmp_path / "c.json") == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[relaxd.a]\n", "relaxd"),
        ("[exact]\nsac.width = 3\n", "width"),
        ("exact = 3\n", "table for each candidate"),
        ("[exact.a]\ncosts.commission_bps = 0.0\n", "commission_bps"),
        ("[exact.a]\ntraining.seeds = 1\n", "training.seeds"),
        ("[exact.a]\nwidth = 1\n", "width"),
        ("[exact.'a b']\n", "name it"),
        ("[exact\n", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(Exception, match=reason):
        small(candidates=read_candidates(tmp_path / "c.toml"))


def test_unknown_settings_of_a_candidate_are_refused_with_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"exact\.a.*wdith"):
        small(candidates={"exact": {"a": {"sac.wdith": 3}}})
