"""Presets: named settings, with explicit ones before them."""

from __future__ import annotations

import pytest

from rl_core.config import PRESETS_BY_AGENT, SACConfig
from rl_core.errors import ConfigError


def test_paper_is_free_and_the_default_goes_by_evidence() -> None:
    assert SACConfig.preset("paper") == SACConfig(relaxation="free")
    assert SACConfig.preset("paper", "exact") == SACConfig(agent="exact", relaxation="free")


def test_stored_settings_that_lack_a_younger_one_mean_what_was_done_then() -> None:
    assert SACConfig.from_stored({"width": 8}) == SACConfig(width=8, relaxation="free")
    assert SACConfig.from_stored(SACConfig().to_dict()) == SACConfig()


def test_explicit_settings_win_over_a_preset() -> None:
    found = SACConfig.from_dict({"preset": "strong", "layer_norm": False})
    assert (found.layer_norm, found.normalize_observations, found.updates_per_step) == (False, True, 2)


def test_preset_of_a_changed_configuration() -> None:
    config = SACConfig(width=8, layer_norm=True)
    assert config.replace(preset="paper") == SACConfig(width=8, relaxation="free")
    assert config.replace(preset="strong", updates_per_step=1).updates_per_step == 1


def test_rates_of_a_preset_depend_on_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS_BY_AGENT, "strong", {"exact": {"critic_lr": 0.007}})
    assert SACConfig.preset("strong", "exact").critic_lr == 0.007
    assert SACConfig.preset("strong", "dense").critic_lr == SACConfig().critic_lr
    assert SACConfig(agent="dense").replace(preset="strong", agent="exact").critic_lr == 0.007


def test_unknown_preset_is_one_line() -> None:
    with pytest.raises(ConfigError, match="preset is 'weak'; choose one of paper, strong"):
        SACConfig.preset("weak")
