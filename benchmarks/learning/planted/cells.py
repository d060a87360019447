"""Cells of the planted benchmark: one agent on one market with one change of settings, all seeds at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rl_core.config import SACConfig
from trading_app.synthetic.planted_problem import PlantedConfig

AGENTS = ("relaxed", "exact", "dense", "rpp", "augmented")
DENSE_WIDTH = 256
# Common to all agents. A smooth activation and rewards near 1 help each of them; see the ablation.
SETTINGS: dict[str, Any] = {
    "width": 64,
    "depth": 2,
    "banks": 4,
    "activation": "silu",
    "gamma": 0.99,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "alpha_lr": 1e-3,
    "initial_alpha": 0.1,
    "batch_size": 256,
    "capacity": 100_000,
    "learning_starts": 256,
    "relaxed_lr_multiplier": 20.0,
    # Data are unlimited here: what evidence is worth is the question of the hard market.
    "relaxation": "free",
}
# By strength of breaking: somewhat more than the updates in which a symmetric agent should get there.
UPDATES = {0.0: 2000, 1.0: 3000}
# Five times the updates in which a symmetric agent should get there, four times for a broken market.
LONG_UPDATES = {0.0: 7500, 1.0: 10_000}
ABLATION_UPDATES = 1500
STRENGTHS = (1.0, 0.5, 0.25)
STRENGTH_UPDATES = 1500
# One change of the relaxed agent's settings a line, but that gains were first tried with two banks and He's weights.
ABLATION: dict[str, dict[str, Any]] = {
    "banks-2": {"banks": 2},
    "banks-2-initial-gain-2": {"banks": 2, "initial_gain": 2.0},
    "banks-2-initial-gain-2-gain-lr-10": {"banks": 2, "initial_gain": 2.0, "relaxed_lr_multiplier": 10.0},
    "banks-2-initial-gain-2-gain-lr-5": {"banks": 2, "initial_gain": 2.0, "relaxed_lr_multiplier": 5.0},
    "banks-1": {"banks": 1},
    "banks-8": {"banks": 8},
    "banks-16": {"banks": 16},
    "gain-lr-1": {"relaxed_lr_multiplier": 1.0},
    "gain-lr-5": {"relaxed_lr_multiplier": 5.0},
    "gain-lr-10": {"relaxed_lr_multiplier": 10.0},
    "penalty-0.001": {"relaxed_penalty": 1e-3},
    "penalty-0.01": {"relaxed_penalty": 1e-2},
    "penalty-0.1": {"relaxed_penalty": 1e-1},
    "decay-0.1": {"relaxed_decay": 0.1},
    "decay-0.3": {"relaxed_decay": 0.3},
    "decay-1": {"relaxed_decay": 1.0},
    "actor-only": {"relax": "actor"},
    "critic-only": {"relax": "critic"},
    "first-layers-only": {"relax_layers": "first"},
    "inner-layers-only": {"relax_layers": "inner"},
    "last-layers-only": {"relax_layers": "last"},
    "start-apart-0.1": {"relaxed_noise": 0.1},
    "start-apart-0.5": {"relaxed_noise": 0.5},
    "relu": {"activation": "relu"},
    "width-32": {"width": 32},
    "width-128": {"width": 128},
    "gamma-0.9": {"gamma": 0.9},
    "rewards-unscaled": {"reward_scale": 1.0, "initial_alpha": 1.0},
    "return-noise-1": {"return_noise": 1.0},
    "return-noise-1-gain-lr-1": {"return_noise": 1.0, "relaxed_lr_multiplier": 1.0},
    "return-noise-1-decay-0.1": {"return_noise": 1.0, "relaxed_decay": 0.1},
    "return-noise-1-decay-0.3": {"return_noise": 1.0, "relaxed_decay": 0.3},
    "return-noise-1-decay-1": {"return_noise": 1.0, "relaxed_decay": 1.0},
}
# The same for the dense agent: is it weak, or do the settings suit only the others?
DENSE_ABLATION: dict[str, dict[str, Any]] = {
    "initial-gain-2": {"initial_gain": 2.0},
    "initial-gain-2-lr-0.0003": {
        "initial_gain": 2.0,
        "actor_lr": 3e-4,
        "critic_lr": 3e-4,
        "alpha_lr": 3e-4,
    },
    "lr-0.0003": {"actor_lr": 3e-4, "critic_lr": 3e-4, "alpha_lr": 3e-4},
    "relu": {"activation": "relu"},
    "width-64": {"width": 64},
    "layer-norm": {"layer_norm": True},
    "gamma-0.9": {"gamma": 0.9},
    "rewards-unscaled": {"reward_scale": 1.0, "initial_alpha": 1.0},
    "batch-64": {"batch_size": 64},
    "return-noise-1": {"return_noise": 1.0},
}
EXACT_ABLATION: dict[str, dict[str, Any]] = {
    "initial-gain-2": {"initial_gain": 2.0},
    "return-noise-1": {"return_noise": 1.0},
}
ABLATIONS = {"relaxed": ABLATION, "dense": DENSE_ABLATION, "exact": EXACT_ABLATION}
# Changes that concern the market or its rewards, not the agent.
NOT_THE_AGENTS = ("reward_scale", "return_noise")
# What only some agents make use of: a change of one leaves the results of the others what they are.
USED_BY = {
    "banks": ("relaxed",),
    "relax": ("relaxed",),
    "relax_layers": ("relaxed",),
    "relaxed_noise": ("relaxed",),
    "relaxed_lr_multiplier": ("relaxed",),
    "relaxation": ("relaxed",),
    "relaxed_decay": ("relaxed",),
    "relaxed_penalty": ("relaxed", "rpp"),
}
# Settings are chosen on the seeds from 0 on; these test the choice on fresh seeds.
OTHER_SEEDS = 10
GROUPS = ("main", "confirm", "ablation", "strengths")


@dataclass(frozen=True)
class Cell:
    """One training of all seeds: an agent, a market's breaking, and changed settings."""

    group: str
    agent: str
    exchange: float
    mirror: float
    variant: str = "default"
    changes: Mapping[str, Any] = field(default_factory=dict)
    updates: int = UPDATES[1.0]
    first_seed: int = 0

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        market = f"exchange{self.exchange:g}-mirror{self.mirror:g}"
        return f"{self.group}-{self.agent}-{market}-{self.variant}"

    @property
    def market(self) -> PlantedConfig:
        """The market of the cell."""
        noise = {k: v for k, v in self.changes.items() if k == "return_noise"}
        return replace(PlantedConfig(), **noise).broken(exchange=self.exchange, mirror=self.mirror)

    @property
    def reward_scale(self) -> float:
        """Factor of the learner's rewards."""
        return float(self.changes.get("reward_scale", 0.1))

    def config(self, device: str) -> SACConfig:
        """The agent's settings."""
        width = DENSE_WIDTH if self.agent in ("dense", "augmented") else SETTINGS["width"]
        changes = {k: v for k, v in self.changes.items() if k not in NOT_THE_AGENTS}
        return SACConfig.from_dict(
            {**SETTINGS, "width": width, "agent": self.agent, "device": device, **changes}
        )

    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on but the seeds, for the record and for resuming."""
        return {
            **{k: v for k, v in asdict(self).items() if k != "group"},
            "agent_settings": {k: v for k, v in self.config("cpu").to_dict().items() if k != "device"},
            "market_settings": asdict(self.market),
            "reward_scale": self.reward_scale,
        }


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a cell's shares depend on, without the number of updates."""
    agent = settings["agent"]
    every = SACConfig.from_stored(settings["agent_settings"]).to_dict()
    used = {k: v for k, v in every.items() if k != "device" and agent in USED_BY.get(k, (agent,))}
    rest = {k: v for k, v in settings.items() if k != "updates"}
    return {"first_seed": 0, **rest, "agent_settings": used}


def cells(groups: tuple[str, ...] = GROUPS, agents: tuple[str, ...] = AGENTS) -> list[Cell]:
    """All cells of these groups, those of the targets first."""
    found: list[Cell] = []
    markets = ((0.0, 0.0), (1.0, 1.0))
    if "main" in groups:
        for agent in agents:
            for exchange, mirror in markets:
                updates = (LONG_UPDATES if agent == "dense" else UPDATES)[exchange]
                found.append(Cell("main", agent, exchange, mirror, updates=updates))
    if "confirm" in groups and "relaxed" in agents:
        found += [
            Cell("confirm", "relaxed", *m, "other-seeds", {}, UPDATES[m[0]], OTHER_SEEDS) for m in markets
        ]
    if "ablation" in groups:
        found += _ablations(agents, markets)
    if "strengths" in groups:
        for strength in STRENGTHS:
            for agent in agents:
                found.append(Cell("strengths", agent, strength, 0.0, updates=STRENGTH_UPDATES))
                found.append(Cell("strengths", agent, 0.0, strength, updates=STRENGTH_UPDATES))
    return found


def _ablations(agents: tuple[str, ...], markets: tuple[tuple[float, float], ...]) -> Iterator[Cell]:
    for agent, variants in ABLATIONS.items():
        for variant, changes in variants.items():
            long = (agent, variant) == ("dense", "initial-gain-2")
            for m in markets if agent in agents else ():
                updates = LONG_UPDATES[m[0]] if long else ABLATION_UPDATES
                yield Cell("ablation", agent, *m, variant, changes, updates)
