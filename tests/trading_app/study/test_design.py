"""Designs of studies: datasets, defaults, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import DataError
from data.loading import load_prices
from data.providers.planted import PanelConfig, planted_panel
from data.signals.store import SignalStore
from rl_core.errors import ConfigError
from tests.trading_app.study.small import SMALL, save_prices, small
from trading_app.experiments.config import ConfigurationError
from trading_app.study.design import DEFAULT_AGENTS, DEFAULT_DATA, Dataset, check_design, design_study


def test_the_default_study_has_every_agent_on_every_dataset_with_ten_seeds_and_ten_basis_points() -> None:
    design = design_study()
    assert len(design.units) == len(DEFAULT_DATA) * len(DEFAULT_AGENTS) == 20
    assert design.subject == "relaxed"
    for unit in design.units:
        (config,) = unit.candidates.values()
        assert config.training.seeds == 10
        assert config.costs.commission_bps + config.costs.half_spread_bps == 10
        assert config.sac.agent == unit.agent
        assert config.data.signals == (("planted-0",) if unit.dataset.label == "planted-0" else None)


def test_options_win_over_the_environment_and_this_over_the_defaults_of_studies() -> None:
    environment = {"EQUITRADE_TRAINING__SEEDS": "3", "EQUITRADE_COSTS__HALF_SPREAD_BPS": "1"}
    design = design_study(
        ["factors-5"],
        ["exact"],
        settings={"training.seeds": 4, "training.steps": None},
        environment=environment,
    )
    (config,) = design.units[0].candidates.values()
    assert (config.training.seeds, config.costs.half_spread_bps, config.costs.commission_bps) == (4, 1, 8)


def test_a_planted_panel_is_made_once_and_is_that_of_its_seed(tmp_path: Path) -> None:
    dataset = Dataset.parse("planted-3")
    for _ in range(2):
        dataset.make(tmp_path)
    config = PanelConfig(assets=20, r2=0.005, half_life=5.0, heterogeneity=1.0, seed=3)
    panel = planted_panel("planted-3", config)
    assert load_prices("planted-3", home=tmp_path).hash == panel.prices.hash
    assert SignalStore(tmp_path).versions("planted-3") == [1]
    design = design_study(["planted-3", "factors-5"], ["exact"])
    recorded = design.record({"planted-3": panel.prices, "factors-5": load_prices("factors-5")})
    assert {label: data["simulated"] for label, data in recorded["data"].items()} == {
        "planted-3": True,
        "factors-5": False,
    }


@pytest.mark.parametrize(
    ("text", "name", "signals", "label"),
    [
        ("sp500-20", "sp500-20", None, "sp500-20"),
        ("mine+alpha", "mine", "alpha", "mine"),
        ("planted-1", "planted-1", "planted-1", "planted-1"),
        ("folder/my prices.csv", "folder/my prices.csv", None, "my-prices"),
    ],
)
def test_datasets_are_named_with_their_signals(text: str, name: str, signals: str | None, label: str) -> None:
    dataset = Dataset.parse(text)
    assert (dataset.name, dataset.signals, dataset.label) == (name, signals, label)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"agents": ["exact", "exact"]}, "exact is there twice"),
        ({"agents": []}, "at least one"),
        ({"agents": ["exat"]}, "exat"),
        ({"data": ["first", "second", "first"]}, "first is there twice"),
        ({"data": ["first+"]}, r"NAME\+SIGNALS"),
        ({"settings": {"data.name": "first"}}, "--data"),
        ({"settings": {"sac.wdith": 3}}, "wdith"),
    ],
)
def test_designs_that_cannot_be_used_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises((ConfigurationError, ConfigError), match=reason):
        small(**options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"folds": 90}, "folds"),
        ({"data": ["third"]}, "third"),
        ({"settings": {**SMALL, "market.features": ["ret_252"]}}, "sessions of history"),
    ],
)
def test_data_and_dates_are_checked_before_anything_is_trained(
    options: dict[str, object], reason: str, tmp_path: Path
) -> None:
    save_prices(tmp_path)
    with pytest.raises(DataError, match=reason):
        check_design(small(**options), tmp_path)
    assert not (tmp_path / "runs").exists()
