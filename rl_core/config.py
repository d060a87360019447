"""The settings of the agent and its training, checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rl_core.agents import check_kind
from rl_core.errors import ConfigError

__all__ = ["PRESETS", "MatmulDtype", "SACConfig", "with_preset"]

MatmulDtype = Literal["float32", "tf32", "bfloat16"]
Gradient = Literal["auto", "autograd", "fused"]

FORMER_NAMES = {
    "gain_lr_multiplier": "relaxed_lr_multiplier",
    "gain_decay": "relaxed_decay",
    "gain_penalty": "relaxed_penalty",
    "gain_noise": "relaxed_noise",
}
"""Settings under the names that files written earlier have."""

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "relaxation": "free",
        "normalize_observations": False,
        "layer_norm": False,
        "residual": False,
        "activation": "relu",
        "updates_per_step": 1,
        "actor_lr": 3e-4,
        "critic_lr": 3e-4,
        "alpha_lr": 3e-4,
        "relaxed_lr_multiplier": 20.0,
    },
    "strong": {
        "relaxation": "evidence",
        "normalize_observations": True,
        "layer_norm": True,
        "updates_per_step": 2,
    },
}
"""Named settings, from which a configuration can start: those of the paper, and of a stronger learner on vectors."""

PRESETS_BY_AGENT: dict[str, dict[str, dict[str, Any]]] = {
    "strong": {
        "exact": {"actor_lr": 1e-3, "critic_lr": 1e-3, "alpha_lr": 1e-3},
        "relaxed": {"actor_lr": 1e-3, "critic_lr": 1e-3, "alpha_lr": 1e-3, "relaxed_lr_multiplier": 5.0},
    }
}
"""What a preset has besides for an agent, by preset and agent."""


@dataclass(frozen=True)
class SACConfig:
    """Settings of soft actor-critic (Haarnoja et al. 2018b) and of the networks it trains.

    Defaults are those of the paper's second version unless a line says otherwise. On vectors, the preset `strong`
    learns faster.
    """

    agent: str = "relaxed"
    """Kind of agent (`rl_core.agents`)."""
    width: int = 256
    """Hidden width of actor and critics."""
    depth: int = 2
    """Hidden layers, or residual blocks."""
    banks: int = 4
    """Filter banks of a relaxed layer, at most as many as the group has elements (times rows, where there are any): as
    many can represent any layer. On the planted market's eight assets four learn a broken symmetry in fewer updates
    than two."""
    bank_start: Literal["equal", "first"] = "equal"
    """Relaxed weights at the start: one in every bank, or one in the first bank and zero in the others. With `first`
    a relaxed agent is the exact one until evidence moves it, with the same steps: several equal banks together take
    steps several times as large."""
    relax: Literal["both", "actor", "critic"] = "both"
    """Which networks of a relaxed agent are relaxed; the other is exact. Relaxing only one network does not help."""
    relax_layers: Literal["all", "first", "inner", "last"] = "all"
    """Which layers of these networks are relaxed: the first (with images, the encoder), those between, or the last
    (of critics on rows, all from the pooling of rows on)."""
    relax_over: Literal["assets", "sectors"] = "assets"
    """Whether each row (asset) or each sector has relaxed weights, where rows are exchangeable within sectors only.
    With `sectors`, the rows of a sector stay exactly exchangeable."""
    relaxation: str = "evidence"
    """Rule that decides how far relaxed weights leave their symmetry (`rl_core.relaxation`): by evidence, or free."""
    relaxed_noise: float = 0.0
    """Standard deviation of relaxed weights around their start; above 0 the agent does not start symmetric."""
    normalize_observations: bool = False
    """Shift and scale network inputs by their running mean and standard deviation, averaged over the group so that
    they commute with it (`rl_core.experience.normalization`)."""
    layer_norm: bool = False
    """Normalise hidden layers."""
    residual: bool = False
    """On vectors, and behind the encoder of images: residual blocks x + W₂ f(W₁ LayerNorm(x)) instead of plain hidden
    layers, as in SimBa (Lee et al. 2025) with inner layers as wide as outer ones. ``depth`` blocks follow the first
    layer; a LayerNorm comes before the output, so that ``layer_norm`` has no effect."""
    activation: Literal["relu", "silu"] = "relu"
    """Of hidden layers; a smooth one finds the best action of smooth tasks from far fewer updates."""
    initial_gain: float = 1.0 / 3.0
    """Variance of hidden layers' initial weights times their fan-in: a third is PyTorch's default for linear layers,
    as in Stable-Baselines3 and CleanRL; 2, He's for rectifiers, makes critics steep at the start."""
    actor_start: Literal["random", "zero"] = "random"
    """Last layer of the actor at the start: small random weights, or zero, so that an untrained agent's deterministic
    action is 0 (for a portfolio that tilts, its base)."""
    critic_start: Literal["random", "zero"] = "random"
    """Last layer of the critics at the start: small random weights, or zero, so that every value is 0. Where rewards
    depend on actions only a little, as returns do on a signal, an actor would first follow what random critics value,
    and that is far larger."""
    interaction: Literal["mean", "attention"] = "mean"
    """Exchange of information between rows (assets)."""
    heads: int = 1
    """Attention heads."""
    ensemble: int = 2
    """Critics whose minimum is taken."""
    row_values: bool = False
    """With rows (assets): critics return a value of each row, trained on that row's rewards; their sum is Q. The noise
    of other rows' rewards then stays out of a row's value. Needs rewards by row, as made transitions have them."""

    image_size: int = 85
    """Pixels of a side of images, or the length of time windows; odd, so that stride 2 keeps the symmetry."""
    encoder_layer: Literal["group", "steerable"] = "group"
    """Convolutions of the encoder of images: between group elements, or on steerable kernels (needs escnn), whose
    relaxed coefficients depend on the offset, as in the paper's second version."""
    encoder_channels: int = 32
    encoder_convolutions: int = 4
    encoder_features: int = 64
    """Channels and number of the convolutions, and length of the encoded vector."""

    gamma: float = 0.99
    """Discount of one step."""
    n_step: int = 1
    """Steps whose rewards are summed before the critic's value is added."""
    tau: float = 0.005
    """Share of the new weights in the target critic at each update."""
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    alpha_lr: float = 3e-4
    initial_alpha: float = 1.0
    """Temperature at the start."""
    target_entropy_per_dimension: float = -1.0
    """Entropy that the temperature is steered to, for each entry of the action."""
    log_std_min: float = -20.0
    log_std_max: float = 2.0
    """Bounds of the policy's log standard deviation, as in Stable-Baselines3."""

    relaxed_lr_multiplier: float = 20.0
    """Learning rate of relaxed weights over that of the other weights. On the planted market lower values learn a
    broken symmetry later. Where the symmetry holds, this value costs nothing measurable at low noise, and five points
    of the optimum at ten times the noise of returns, see `relaxed_decay`."""
    relaxed_decay: float = 0.0
    """Share of their learning rate by which relaxed weights decay to their mean over the group at each step, apart
    from the loss as in AdamW (Loshchilov & Hutter 2019). Relaxed weights then stay as far from symmetry as their
    gradient points there steadily, whatever the size of rewards."""
    relaxed_penalty: float = 0.0
    """λ of λ Σ (w − mean w)², a penalty on the distance of relaxed weights from symmetry (scales the priors of rpp)."""

    anneal_updates: int = 0
    """Updates over which the learning rates fall linearly to zero; 0: they stay. Noise of the last updates then does
    not remain in the weights."""
    actor_average: float = 0.0
    """Share of the averaged actor that is kept at each update; above 0, deterministic actions are those of the average
    of actors (Polyak & Juditsky 1992), which has less noise than the last one."""
    transitions: Literal["stored", "made"] = "stored"
    """Source of batches: the replay of what was done, or (made) transitions computed from a known history, where the
    environment can compute them (`rl_core.experience.transitions`); nothing is stepped then."""

    exploration: float = 0.0
    """Share of made transitions whose actions are random, for which critics learn values too: near the policy's own
    actions alone, differences of values can be smaller than the errors of the critics."""
    horizon: int = 20
    """Steps that the direct agent's gradient goes through; without effect on others."""
    batch_size: int = 256
    capacity: int = 1_000_000
    """Transitions that are stored for each seed; without effect on made transitions."""
    learning_starts: int = 1000
    """Transitions of each seed taken with random actions before the first update; without effect on made ones."""
    updates_per_step: int = 1
    """Gradient updates for each step of the environments; with made transitions, a step of training has these alone."""

    matmul_dtype: MatmulDtype = "float32"
    """Precision of the matrix products; tf32 concerns CUDA alone."""
    gradient: Gradient = "auto"
    """Computation of gradients: by autograd, by the fused code of `rl_core.fused` (the same numbers, faster),
    or (auto) fused where it supports the networks and ``compile`` is off."""
    compile: bool = False
    """Compile the losses with torch.compile where a compiler is found."""
    cuda_graph: bool = True
    """On CUDA, run the updates of a step as one graph."""
    deterministic: bool = False
    """Refuse operations whose result may vary from run to run."""
    device: str = "cpu"

    divergence_limit: float = 1e8
    """A seed has diverged, and stays at its last good parameters, when a loss or a value is not finite or larger than
    this; training stops when all seeds have."""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises
        ------
        ConfigError
            Naming the setting, its value and what is allowed.
        """
        check_kind(self.agent)
        _choice("relax", self.relax, ("both", "actor", "critic"))
        _choice("bank_start", self.bank_start, ("equal", "first"))
        _choice("actor_start", self.actor_start, ("random", "zero"))
        _choice("critic_start", self.critic_start, ("random", "zero"))
        _choice("relax_over", self.relax_over, ("assets", "sectors"))
        _choice("relax_layers", self.relax_layers, ("all", "first", "inner", "last"))
        _choice("activation", self.activation, ("relu", "silu"))
        _choice("encoder_layer", self.encoder_layer, ("group", "steerable"))
        _choice("transitions", self.transitions, ("stored", "made"))
        _choice("interaction", self.interaction, ("mean", "attention"))
        _choice("matmul_dtype", self.matmul_dtype, get_args(MatmulDtype))
        _choice("gradient", self.gradient, get_args(Gradient))
        for name in (
            "width",
            "depth",
            "banks",
            "heads",
            "ensemble",
            "image_size",
            "encoder_channels",
            "encoder_convolutions",
            "encoder_features",
            "n_step",
            "horizon",
            "batch_size",
            "capacity",
        ):
            _whole(name, getattr(self, name), 1)
        for name in ("learning_starts", "updates_per_step", "anneal_updates"):
            _whole(name, getattr(self, name), 0)
        for name in (
            "actor_lr",
            "critic_lr",
            "alpha_lr",
            "relaxed_lr_multiplier",
            "relaxed_decay",
            "relaxed_penalty",
            "relaxed_noise",
        ):
            _between(name, getattr(self, name), 0.0, math.inf)
        _between("gamma", self.gamma, 0.0, 1.0)
        _between("tau", self.tau, 0.0, 1.0)
        _between("actor_average", self.actor_average, 0.0, 1.0)
        _between("exploration", self.exploration, 0.0, 1.0)
        if self.transitions == "made" and self.n_step != 1:
            raise ConfigError(
                f"n_step is {self.n_step}, but made transitions are of one step; set n_step = 1"
            )
        if self.row_values and self.transitions != "made":
            raise ConfigError('row_values needs rewards by row; set transitions = "made"')
        for name in ("initial_alpha", "initial_gain", "divergence_limit"):
            _between(name, getattr(self, name), 0.0, math.inf)
            if getattr(self, name) == 0:
                raise ConfigError(f"{name} must be above 0")
        _between("target_entropy_per_dimension", self.target_entropy_per_dimension, -math.inf, math.inf)
        _between("log_std_max", self.log_std_max, -math.inf, math.inf)
        _between("log_std_min", self.log_std_min, -math.inf, self.log_std_max)

    @classmethod
    def preset(cls, name: str, agent: str = "relaxed") -> SACConfig:
        """Return the named settings of an agent: ``"paper"`` or ``"strong"``; other settings are at their defaults.

        Raises
        ------
        ConfigError
            If there is no such preset.
        """
        return cls.from_dict({"preset": name, "agent": agent})

    def replace(self, **changes: Any) -> SACConfig:
        """Return a copy with some settings changed; ``preset`` changes all that a preset names."""
        changes = with_preset(changes, changes.get("agent", self.agent))
        return SACConfig.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for JSON or TOML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SACConfig:
        """Return the configuration of plain values; former names of settings are accepted, as in stored files.

        The key ``preset`` names a preset for all settings without a value; it is not stored itself.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is out of range.
        """
        values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
        values = with_preset(values, values.get("agent", cls.agent))
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"unknown setting {unknown[0]!r} of the agent; known: {', '.join(sorted(known))}"
            )
        return cls(**values)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> SACConfig:
        """Return the configuration of a stored file; settings that are younger than the file are those of `paper`.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is out of range.
        """
        return cls.from_dict({"preset": "paper", **values})


def with_preset(values: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """Return settings with those of the preset that the key ``preset`` names, where there is one, in its place.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    own = dict(values)
    if "preset" not in own:
        return own
    name = own.pop("preset")
    if name not in PRESETS:
        raise ConfigError(f"preset is {name!r}; choose one of {', '.join(PRESETS)}")
    return {**PRESETS[name], **PRESETS_BY_AGENT.get(name, {}).get(agent, {}), **own}


def _choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def _between(name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{name} is {value!r}; it must be a finite number from {low:g} to {high:g}")
