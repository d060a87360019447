"""Configuration: layers in order, round trip through TOML, and one line for everything wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from equitrade.errors import EquitradeError
from rl_core.config import PRESETS_BY_AGENT
from trading_app.experiments.config import (
    ConfigurationError,
    RunConfig,
    load_config,
    stored_config,
    to_dict,
    to_toml,
)
from trading_app.market.config import MarketConfig


def test_command_line_wins_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[sac]\nwidth = 16\nbanks = 3\ndepth = 4\n[training]\nseeds = 2\n")
    environment = {"EQUITRADE_SAC__WIDTH": "32", "EQUITRADE_SAC__BANKS": "4", "EQUITRADE_HOME": "/nowhere"}
    config = load_config(file, environment, {"sac.width": 64, "training.steps": None})
    assert (config.sac.width, config.sac.banks, config.sac.depth) == (64, 4, 4)
    assert (config.training.seeds, config.training.steps) == (2, RunConfig().training.steps)


def test_toml_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(
        None, {}, {"data.symbols": ["A", "B"], "data.start": "2000-01-03", "market.actions": "long-only"}
    )
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config))
    assert load_config(file) == config
    assert json.loads(json.dumps(to_dict(config)))["data"]["start"] == "2000-01-03"


def test_a_file_without_later_settings_describes_the_training_of_its_time(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[sac]\nwidth = 16\n")
    sac = stored_config(tmp_path).sac
    assert (sac.transitions, sac.row_values, sac.actor_average, sac.bank_start) == (
        "stored",
        False,
        0.0,
        "equal",
    )


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[sac]\nwidht = 3\n", ["widht", "width"]),
        ("[sacs]\nwidth = 3\n", ["sacs", "sac"]),
        ("[sac]\nwidth = 0\n", ["width", "0"]),
        ("[sac]\nwidth = 'wide'\n", ["sac.width", "wide"]),
        ("[sac]\nagent = 'best'\n", ["agent", "best", "relaxed"]),
        ("[costs]\ncommission_bps = -1\n", ["commission_bps"]),
        ("[market]\nfill = 'yesterday'\n", ["fill", "yesterday"]),
        ("[split]\ntrain = 0.9\n", ["split", "overlap"]),
        ("[training]\nseeds = 0\n", ["training.seeds"]),
        ("[data]\nstart = 2001-01-01\nend = 2000-01-01\n", ["data.start"]),
        (
            "[sac]\ntransitions = 'made'\n[market]\nreward = 'differential-sharpe'\n",
            ["market.reward", "stored"],
        ),
        ("width = 3\n", ["width"]),
        ("[sac\n", ["TOML"]),
    ],
)
def test_bad_configurations_name_the_key(tmp_path: Path, toml: str, words: list[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(toml)
    with pytest.raises(ValueError) as caught:
        load_config(file)
    assert isinstance(caught.value, EquitradeError)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("overrides", [{"sac.nothing": 1}, {"nothing.width": 1}])
def test_unknown_overrides_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="nothing"):
        load_config(None, {}, overrides)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        load_config(tmp_path / "none.toml")


def test_a_file_of_an_earlier_run_is_read_with_the_current_names(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[sac]\ngain_lr_multiplier = 5.0\n")
    assert load_config(file).sac.relaxed_lr_multiplier == 5.0


def test_preset_fills_what_its_source_does_not_name(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[sac]\npreset = "strong"\nupdates_per_step = 3\n')
    sac = load_config(file).sac
    assert (sac.layer_norm, sac.normalize_observations, sac.updates_per_step) == (True, True, 3)
    assert sac.width == RunConfig().sac.width
    later = load_config(file, {"EQUITRADE_SAC__PRESET": "paper"}, {"sac.layer_norm": True}).sac
    assert (later.layer_norm, later.normalize_observations) == (True, False)
    file.write_text('[sac]\npreset = "weak"\n')
    with pytest.raises(EquitradeError, match="preset is 'weak'; choose one of paper, strong"):
        load_config(file)


def test_preset_has_the_rates_of_the_agent_that_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS_BY_AGENT, "strong", {"exact": {"critic_lr": 0.007}})
    file = tmp_path / "run.toml"
    file.write_text('[sac]\npreset = "strong"\n')
    assert load_config(file).sac.critic_lr != 0.007
    assert load_config(file, overrides={"sac.agent": "exact"}).sac.critic_lr == 0.007


def test_a_tilt_with_schedule_is_read_from_text_and_starts_at_its_base() -> None:
    texts = {
        "market.actions": "tilt",
        "market.base": "given",
        "market.base_weights": "A=0.6,B=0.4",
        "market.rebalance": "5",
        "market.no_trade_band": "0.01",
    }
    config = load_config(None, {}, texts)
    assert (config.market.rebalance, config.market.base_weights) == (5, {"A": 0.6, "B": 0.4})
    assert config.learner.actor_start == "zero"
    untilted = RunConfig(market=MarketConfig(actions="long-only"))
    assert untilted.learner == untilted.sac


def test_limits_are_read_from_every_source_and_groups_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "sectors.csv").write_text("symbol,group\nA,tech\nB,energy\n")
    (tmp_path / "run.toml").write_text("[market.limits]\nmax_weight = 0.3\nno_buy = ['A']\n")
    texts = {"market.limits.group_file": str(tmp_path / "sectors.csv"), "market.limits.group_weight": "0.5"}
    config = load_config(tmp_path / "run.toml", {"EQUITRADE_MARKET__LIMITS__TURNOVER": "0.1"}, texts)
    limits = config.market.limits
    assert (limits.max_weight, limits.turnover, limits.group_weight, limits.no_buy) == (0.3, 0.1, 0.5, ("A",))
    assert limits.groups == {"A": "tech", "B": "energy"}
    (tmp_path / "stored.toml").write_text(to_toml(config))
    assert load_config(tmp_path / "stored.toml") == config
    with pytest.raises(ConfigurationError, match=r"unknown key in \[market.limits\]: 'max_wieght'"):
        load_config(overrides={"market.limits.max_wieght": 0.1})
    (tmp_path / "sectors.csv").write_text("symbol,group\nA,tech\nA,energy\n")
    with pytest.raises(EquitradeError, match="A is there twice"):
        load_config(overrides=texts)
