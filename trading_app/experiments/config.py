"""The configuration of a run: command line over environment over TOML file over defaults.

A configuration is a few frozen dataclasses, one a section; their defaults stand in one place, beside the code that
uses them (`MarketConfig`, `CostModel`, `SACConfig`). An unknown key, a value of the wrong type or out of range is a
`ConfigurationError` that names the key.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from data.errors import DataError
from equitrade.errors import EquitradeError
from rl_core.config import FORMER_NAMES, SACConfig, with_preset
from trading_app.files import read_groups
from trading_app.market.costs import CostModel
from trading_app.market.env import MarketConfig
from trading_app.market.transitions import check_reward

PREFIX = "EQUITRADE_"


class ConfigurationError(DataError):
    """An invalid configuration; the message names the key and the allowed values."""


def _require(condition: bool, key: str, reason: str) -> None:
    if not condition:
        raise ConfigurationError(f"{key}: {reason}")


@dataclass(frozen=True)
class DataConfig:
    """Prices: a bundled dataset, a snapshot or a file; optionally some of its symbols and dates.

    ``signals`` are signals of one's own beside them, ``NAME`` or ``NAME@2``; `trading_app.experiments.own_signals`.
    """

    name: str = "sp500-20"
    symbols: tuple[str, ...] | None = None
    signals: tuple[str, ...] | None = None
    start: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        if self.start and self.end:
            _require(self.start < self.end, "data.start", f"{self.start} is not before data.end {self.end}")


@dataclass(frozen=True)
class SplitConfig:
    """Chronological split: fractions of the dates, with sessions left out between the parts.

    ``purge`` sessions are dropped before each boundary, so that no window or label of one part reaches into the
    next (the observation's own window looks back only, which needs no purge).
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    purge: int = 1
    embargo: int = 5

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            _require(0 < getattr(self, name) < 1, f"split.{name}", "must lie between 0 and 1")
        total = self.train + self.validation + self.test
        _require(
            total <= 1 + 1e-9, "split", f"train + validation + test is {total:.3f}; parts overlap above 1"
        )
        for name in ("purge", "embargo"):
            _require(getattr(self, name) >= 0, f"split.{name}", "must not be negative")


@dataclass(frozen=True)
class TrainingConfig:
    """Length of training, logging, checkpoints and seeds; every run trains several seeds at once.

    ``n_envs``, the accounts of each seed, has no effect on made transitions, for which no account is stepped.
    With ``evaluate_training`` agents are evaluated on the last training dates too, beside the validation dates.
    ``agreement`` is the correlation of the seeds' active weights on the validation dates that the ensemble of a tilt
    needs to depart from its base; 0 for any (`trading_app.evaluation.agreement`). With ``cross_fit``, even and odd
    seeds learn from different halves of the training dates, and size and speed of a tilt are chosen on dates that are
    new to the seeds (`trading_app.evaluation.sizing`).
    """

    seeds: int = 5
    first_seed: int = 0
    steps: int = 300
    n_envs: int = 8
    evaluate_every: int = 150
    log_every: int = 50
    checkpoint_every: int = 150
    agreement: float = 0.5
    evaluate_training: bool = False
    cross_fit: bool = True

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "n_envs", "evaluate_every", "log_every", "checkpoint_every"):
            _require(getattr(self, name) >= 1, f"training.{name}", "must be at least 1")
        _require(self.first_seed >= 0, "training.first_seed", "must not be negative")
        _require(0 <= self.agreement <= 1, "training.agreement", "must lie from 0 to 1")

    @property
    def seed_list(self) -> list[int]:
        """The seeds of the run."""
        return list(range(self.first_seed, self.first_seed + self.seeds))


@dataclass(frozen=True)
class SearchConfig:
    """Settings tried before these were chosen, for the deflated Sharpe ratio; `equitrade tune` fills them in.

    ``trials`` counts all settings that were looked at, these included; ``sharpes`` are their annualised Sharpe ratios
    where they were logged; ``overfitting`` is the probability that the choice among them is overfitted
    (`trading_app.evaluation.overfitting`).
    """

    trials: int = 1
    sharpes: tuple[float, ...] = ()
    overfitting: float | None = None

    def __post_init__(self) -> None:
        _require(self.trials >= 1, "search.trials", "must be at least 1")


def trading_learner() -> SACConfig:
    """Learner settings for daily portfolios: small, since daily returns carry little signal.

    Transitions are made from the whole history, critics value each asset, and evidence decides how far assets are
    treated differently: what won on the hard planted market. Rewards are in per cent (see `trading_market`), so that a
    temperature of a hundredth leaves them audible from the start. Critics start at zero and see random actions, too:
    critics that start at random value actions far more than returns do.
    """
    return SACConfig(
        width=32,
        activation="silu",
        critic_start="zero",
        transitions="made",
        exploration=0.5,
        row_values=True,
        relaxation="evidence",
        actor_average=0.99,
        batch_size=128,
        # For stored transitions, where a run asks for them.
        capacity=20_000,
        learning_starts=400,
        gamma=0.9,
        actor_lr=1e-3,
        critic_lr=3e-3,
        alpha_lr=1e-3,
        initial_alpha=0.02,
        initial_gain=2.0,
        banks=3,
        bank_start="first",
        relaxed_lr_multiplier=2.0,
    )


def trading_market() -> MarketConfig:
    """Market settings: tilts around equal weight, decided weekly, rewards in per cent, the features of one session.

    Chosen on validation dates of ``sp500-20`` and ``factors-5``: agents that traded daily turned the account over about
    ten times a year; with a decision each week, and orders only where a weight is 2 % of the account away from its
    target, they turned it over about once or less, at much the same growth. One session of features
    instead of eight was chosen on dates before the test dates of these two and of ``industries``.
    """
    return MarketConfig(actions="tilt", rebalance="weekly", no_trade_band=0.02, reward_scale=100.0, window=1)


SIGNAL_DEFAULTS: dict[str, dict[str, Any]] = {
    "market": {"rebalance": "daily", "no_trade_band": 0.005, "reward_scale": 250.0},
}
"""Defaults of runs with signals of one's own, where they differ: decisions each session, and larger rewards.

Chosen on planted panels of seeds 100 to 102 (`equitrade data planted`: 20 assets, R² 0.5 %, half-life of 5 sessions).
"""


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run, with the code and the data."""

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    market: MarketConfig = field(default_factory=trading_market)
    costs: CostModel = field(default_factory=CostModel)
    sac: SACConfig = field(default_factory=trading_learner)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if self.sac.transitions == "made":
            check_reward(self.market)

    @property
    def learner(self) -> SACConfig:
        """Settings of the learner; the actor of a tilt starts at the base."""
        return self.sac.replace(actor_start="zero") if self.market.tilts else self.sac

    @property
    def cross_fits(self) -> bool:
        """Whether even and odd seeds learn from different halves: tilts, made transitions and seeds of both kinds."""
        apart = {seed % 2 for seed in self.training.seed_list} == {0, 1}
        return self.training.cross_fit and self.market.tilts and self.sac.transitions == "made" and apart


SECTIONS: dict[str, Any] = {f.name: f for f in fields(RunConfig)}


def load_config(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Merge the layers and validate.

    Parameters
    ----------
    file
        TOML with the sections ``data``, ``split``, ``market``, ``costs``, ``sac``, ``training``, ``search``. In
        ``sac``, the key ``preset`` names a preset of `rl_core.SACConfig`; the section's other keys win over it.
    environment
        Variables such as ``EQUITRADE_SAC__WIDTH=128``.
    overrides
        ``"section.key"`` to value; None values are ignored, so that absent options fall through.

    Raises
    ------
    ConfigurationError
        For an unknown key, a wrong type or a value out of range, naming the key.
    """
    layers = asdict(RunConfig())
    sources = {
        str(file): _read_toml(file) if file else {},
        "environment": _from_environment(environment or {}),
        "command line": _from_overrides(overrides or {}),
    }
    agents = [
        values["sac"].get("agent") for values in sources.values() if isinstance(values.get("sac"), dict)
    ]
    agent = next(filter(None, reversed(agents)), layers["sac"]["agent"])
    if any(
        isinstance(values.get("data"), dict) and values["data"].get("signals") for values in sources.values()
    ):
        _merge(layers, SIGNAL_DEFAULTS, "defaults")
    for source, values in sources.items():
        if isinstance(values.get("sac"), dict):
            values["sac"] = with_preset(values["sac"], agent)
        _merge(layers, values, source)
    market = layers["market"]
    if market["sector_file"] and not market["sectors"]:
        market["sectors"] = read_groups(Path(market["sector_file"]))
    if market["member_file"] and not market["members"]:
        from data.membership import read_membership

        market["members"] = read_membership(market["member_file"]).times()
    costs = layers["costs"]
    if costs["risk_free_file"] and not costs["risk_free_rates"]:
        from data.rates import read_rates

        costs["risk_free_rates"] = read_rates(costs["risk_free_file"])
    limits = market["limits"]
    if limits["group_file"] and not limits["groups"]:
        limits["groups"] = read_groups(Path(limits["group_file"]))
    return from_dict(layers)


def stored_config(folder: Path) -> RunConfig:
    """Return the configuration of a stored run, ``config.toml`` in its folder, whatever version wrote it."""
    file = folder / "config.toml"
    # A setting that is younger than the file is as it was before, not at the default of trading.
    former = TrainingConfig(cross_fit=False)
    layers = asdict(RunConfig(market=MarketConfig(), sac=SACConfig.from_stored({}), training=former))
    _merge(layers, _read_toml(file), str(file))
    return from_dict(layers)


def from_dict(values: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Validate a nested mapping, as read from a file, into a `RunConfig`."""
    return RunConfig(**{name: _section(name, values.get(name, {})) for name in SECTIONS})


def to_toml(config: RunConfig) -> str:
    """Return TOML text that `load_config` reads back to an equal configuration."""
    import tomli_w

    return tomli_w.dumps(_plain(asdict(config)))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return the configuration in JSON's own types, for manifests; dates as text."""
    return dict(_plain(asdict(config), dates_as_text=True))


def _plain(value: Any, dates_as_text: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item, dates_as_text) for key, item in value.items() if item is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(item, dates_as_text) for item in value]
    return value.isoformat() if dates_as_text and isinstance(value, date) else value


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    if isinstance(content.get("sac"), dict):  # the file of a run may have former names
        content["sac"] = {FORMER_NAMES.get(key, key): value for key, value in content["sac"].items()}
    return content


def _from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for variable, text in environment.items():
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if variable.startswith(PREFIX) and separator and section in SECTIONS:
            _put(values, section, key.replace("__", "."), text)
    return values


def _from_overrides(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for name, value in overrides.items():
        if value is not None:
            section, _, key = name.partition(".")
            _put(values, section, key, value)
    return values


def _put(values: dict[str, dict[str, Any]], section: str, key: str, value: Any) -> None:
    """Add a value of the environment or the command line; a key with a dot is one of a table in the section."""
    table, dot, inner = key.partition(".")
    content = values.setdefault(section, {})
    if isinstance(value, str):
        value = _from_text(inner or table, value)
    if dot:
        content.setdefault(table, {})[inner] = value
    else:
        content[table] = value


def _from_text(key: str, text: str) -> Any:
    """Return a value of the environment or the command line: lists as A,B and weights as A=0.6,B=0.4."""
    if key in {"symbols", "features", "signals", "no_buy", "no_sell"}:
        return [part.strip() for part in text.split(",")]
    if key == "base_weights":
        return dict(part.partition("=")[::2] for part in text.split(","))
    return text


def _merge(layers: dict[str, dict[str, Any]], values: Mapping[str, Any], source: str) -> None:
    for section, content in values.items():
        _known(section, layers, "section", source)
        if not isinstance(content, Mapping):
            raise ConfigurationError(f"{source}: [{section}] must be a table of keys and values")
        for key, value in content.items():
            _known(key, layers[section], f"key in [{section}]", source)
            if key == "limits" and isinstance(value, Mapping):
                for name in value:
                    _known(name, layers[section][key], f"key in [{section}.{key}]", source)
                layers[section][key] |= value
            else:
                layers[section][key] = value


def _known(name: str, known: Mapping[str, Any], what: str, source: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigurationError(f"{source}: unknown {what}: {name!r}; {hint}")


@cache
def _section_type(name: str) -> tuple[Any, Any]:
    """Return the dataclass of a section and its validator, which takes a while to build."""
    from pydantic import TypeAdapter

    kind = get_type_hints(RunConfig)[name]
    assert is_dataclass(kind)
    return kind, TypeAdapter(kind)


def _section(name: str, values: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    kind, validator = _section_type(name)
    known = {f.name: None for f in fields(kind)}
    for key in values:
        _known(key, known, f"key in [{name}]", "configuration")
    try:
        return validator.validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, EquitradeError):  # raised by the section's own checks, which name the key
            raise ConfigurationError(str(cause)) from None
        place = ".".join([name, *(str(part) for part in first["loc"])])
        raise ConfigurationError(f"{place}: {first['msg']} (got {first['input']!r})") from None
