"""Kinds of agents by name; one object declares all in which a kind differs from the others.

A kind of this package is a module of `rl_core.agents.kinds`, whose ``KIND`` declares it. Other packages declare theirs
with `register_kind`, or with an entry point of the group ``equitrade.agents``, which commands find by themselves.
Nothing here needs torch: a kind's module is imported when the kind is used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rl_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Generator

    from rl_core.layers.base import Layer
    from rl_core.networks.base import Network, Shape
    from rl_core.networks.images import EncoderShape
    from rl_core.relaxation import Rule
    from rl_core.sac import SAC
    from rl_core.symmetry.symmetry import Symmetry

__all__ = ["Kind", "check_kind", "find_kind", "kind_names", "register_kind"]

GROUP = "equitrade.agents"
"""Entry points of other packages; each names a `Kind`."""


class Build(Protocol):
    """Builds the actor (no ensemble) or the critics of a kind; ``generators`` has one for each copy."""

    def __call__(
        self,
        kind: Kind,
        symmetry: Symmetry,
        shape: Shape,
        encoder: EncoderShape | None,
        ensemble: int | None,
        generators: Sequence[Generator],
    ) -> Network:
        """Return the network."""


@dataclass(frozen=True)
class Kind:
    """A kind of agent.

    Attributes
    ----------
    name : str
        Value of `SACConfig.agent`.
    about : str
        One line for people.
    group_layers : bool
        Whether hidden layers hold regular fields of the group; otherwise they are dense.
    relaxes : bool
        Whether the layers have relaxed weights, which a rule of relaxation (`rl_core.relaxation`) governs.
    augments : bool
        Whether each sampled transition is moved by a random group element.
    wrap : callable, optional
        Replaces each exact layer, given the number of rows (None without rows) and a generator for each copy.
    build : Build, optional
        Builds the networks; by default `rl_core.networks.build.standard_network`.
    rule : callable, optional
        Makes an object that acts at each update, as a rule of relaxation does; its state is stored in checkpoints.
    halves : bool
        Whether the two halves of a batch have to come from data that do not overlap.
    direct : bool
        Whether the actor follows the gradient of rewards through the environment
        (`rl_core.experience.rollouts.RollsOut`); the critics are then left as they start.
    """

    name: str
    about: str = ""
    group_layers: bool = True
    relaxes: bool = False
    augments: bool = False
    wrap: Callable[[Layer, int | None, Sequence[Generator]], Layer] | None = None
    build: Build | None = None
    rule: Callable[[SAC], Rule] | None = None
    halves: bool = False
    direct: bool = False

    @property
    def exact(self) -> bool:
        """Whether the standard networks of this kind are exactly equivariant."""
        return self.group_layers and not self.relaxes and self.wrap is None

    @property
    def symmetric(self) -> bool:
        """Whether this kind uses the symmetry of its environment."""
        return self.group_layers or self.augments

    def unrelaxed(self) -> Kind:
        """Return the same kind without relaxed weights."""
        return replace(self, relaxes=False)


_REGISTERED: dict[str, Kind] = {}


def register_kind(kind: Kind) -> None:
    """Make a kind known by its name, for `SACConfig.agent`.

    Raises
    ------
    ConfigError
        If a kind of this package has that name.
    """
    if kind.name in _own():
        raise ConfigError(f"an agent named {kind.name!r} is part of rl_core; choose another name")
    _REGISTERED[kind.name] = kind


def kind_names() -> tuple[str, ...]:
    """Return the names of the known kinds: this package's, registered ones, those of installed packages."""
    return tuple(dict.fromkeys((*_own(), *_REGISTERED, *_installed())))


def check_kind(name: str) -> None:
    """Refuse an unknown kind.

    Raises
    ------
    ConfigError
        With the names of the known ones.
    """
    if name not in _own() and name not in kind_names():
        raise ConfigError(f"agent is {name!r}; choose one of {', '.join(kind_names())}")


def find_kind(kind: str | Kind) -> Kind:
    """Return the kind of a name; its module is imported.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if isinstance(kind, Kind):
        return kind
    check_kind(kind)
    if kind in _own():
        declared = import_module(f"rl_core.agents.kinds.{kind}").KIND
    else:
        declared = _REGISTERED.get(kind) or _installed()[kind].load()
    if not isinstance(declared, Kind) or declared.name != kind:
        raise ConfigError(f"agent {kind!r}: its declaration must be a Kind of that name, got {declared!r}")
    return declared


@cache
def _own() -> tuple[str, ...]:
    """Modules of `rl_core.agents.kinds`; each is named like its kind."""
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).with_name("kinds"))]))
    )


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
