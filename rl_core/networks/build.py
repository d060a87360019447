"""Actors and critics, generated from a symmetry; K = S (actors) or S·E (critics) copies in one module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator

from rl_core.agents import Kind, find_kind
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.networks.base import Network, Shape
from rl_core.networks.images import EncoderShape, ImageNetwork
from rl_core.networks.sets import SetNetwork
from rl_core.networks.vectors import vector_network
from rl_core.random import generators as seed_generators
from rl_core.symmetry.symmetry import Symmetry

__all__ = ["build_actor", "build_critic", "build_networks", "matching_width", "standard_network"]

DEFAULT_SHAPE = Shape()


def build_actor(
    kind: str | Kind,
    symmetry: Symmetry,
    shape: Shape = DEFAULT_SHAPE,
    *,
    encoder: EncoderShape | None = None,
    generators: Sequence[Generator],
) -> Network:
    """Return an actor for each seed: observation [S, B, …] to mean and log-std [S, B, 2A] of a tanh-Gaussian.

    Parameters
    ----------
    kind : str or Kind
        Kind of the agent, see `rl_core.agents`.
    symmetry : Symmetry
        How the group acts on observations and actions.
    shape : Shape
        Size of the network.
    encoder : EncoderShape, optional
        Size of the encoder of images and time windows; its defaults fit images of 85 × 85.
    generators : sequence of torch.Generator
        One for each seed; copy k is initialised from ``generators[k]`` alone.

    Returns
    -------
    Network
        The mean carries ρ_a and the log-std |ρ_a|; with rows they are [S, B, N] each.
    """
    return _build(kind, symmetry, shape, encoder, None, generators)


def build_critic(
    kind: str | Kind,
    symmetry: Symmetry,
    shape: Shape = DEFAULT_SHAPE,
    *,
    ensemble: int = 2,
    encoder: EncoderShape | None = None,
    generators: Sequence[Generator],
) -> Network:
    """Return E critics for each seed: ``pack(observation, action)`` to values [S, E, B], invariant under the group.

    With `Shape.row_values` they return values of rows [S, E, B, N], which move with the rows.

    Parameters
    ----------
    ensemble : int
        E; copies are ordered seed by seed, and a seed's critics are drawn from its one generator.
    kind, symmetry, shape, encoder, generators
        As for `build_actor`.
    """
    if ensemble < 1:
        raise ConfigError(f"ensemble: must be at least 1, got {ensemble}")
    return _build(kind, symmetry, shape, encoder, ensemble, [g for g in generators for _ in range(ensemble)])


def build_networks(symmetry: Symmetry, config: SACConfig, seeds: Sequence[int]) -> tuple[Network, Network]:
    """Return the actor and the critics of an agent, with the weights that they start with.

    Parameters
    ----------
    symmetry
        How the group acts on observations and actions.
    config
        The agent's settings; of a relaxed agent one of the two networks may be exact.
    seeds
        Each seed's weights depend on that seed alone.
    """
    kind, shape, encoder = find_kind(config.agent), Shape.of(config), EncoderShape.of(config)
    kinds = [kind if config.relax in ("both", name) else kind.unrelaxed() for name in ("actor", "critic")]
    actor = build_actor(
        kinds[0], symmetry, shape, encoder=encoder, generators=seed_generators(seeds, "actor")
    )
    critic = build_critic(
        kinds[1],
        symmetry,
        shape,
        encoder=encoder,
        ensemble=config.ensemble,
        generators=seed_generators(seeds, "critic"),
    )
    if config.bank_start == "first":
        actor.start_in_first_bank()
        critic.start_in_first_bank()
    if config.actor_start == "zero":
        actor.start_at_zero()
    if config.critic_start == "zero":
        critic.start_at_zero()
    if config.relaxed_noise > 0:
        sources = seed_generators(seeds, "gains")
        for parameter in [*actor.relaxed_parameters(), *critic.relaxed_parameters()]:
            noise_shape = (len(parameter) // len(seeds), *parameter.shape[1:])
            noise = torch.cat([torch.randn(noise_shape, generator=source) for source in sources])
            parameter.data.add_(config.relaxed_noise * noise)
    return actor, critic


def matching_width(
    kind: str | Kind, symmetry: Symmetry, shape: Shape, *, reference: str | Kind, ensemble: int = 1
) -> int:
    """Return the width at which a kind of agent has nearest to the parameters of a reference agent.

    Parameters
    ----------
    kind
        Kind of the agent.
    symmetry
        How the group acts on observations and actions.
    shape
        Size of the reference agent; the other agent differs from it in width only.
    reference
        Kind of the reference agent.
    ensemble
        Critics that are counted beside the actor.
    """

    def count(of: str | Kind, width: int) -> int:
        sized, generators = replace(shape, width=width), [torch.Generator().manual_seed(0)]
        actor = build_actor(of, symmetry, sized, generators=generators)
        critic = build_critic(of, symmetry, sized, ensemble=1, generators=generators)
        return actor.parameter_count() + ensemble * critic.parameter_count()

    wanted = count(reference, shape.width)
    # Group layers round their width to a multiple of the group's order.
    step = symmetry.group.order if find_kind(kind).group_layers else 1
    low, high = 1, 2
    while count(kind, high * step) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(kind, middle * step) < wanted else (low, middle)
    return min((low, high), key=lambda m: abs(count(kind, m * step) - wanted)) * step


def _build(
    kind: str | Kind,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    declared = find_kind(kind)
    if not generators:
        raise ConfigError("generators: one is needed for each seed")
    if shape.row_values and symmetry.rows is None:
        raise ConfigError("row_values: the symmetry has no rows; use a critic with one value")
    build = declared.build or standard_network
    return build(declared, symmetry, shape, encoder, ensemble, generators)


def standard_network(
    kind: Kind,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    """Return the network on images, rows or vectors, as the symmetry has them, with the layers of a kind.

    Parameters
    ----------
    kind : Kind
        Form of the layers.
    symmetry, shape, encoder
        As for `build_actor`.
    ensemble : int or None
        E for critics, None for an actor.
    generators : sequence of torch.Generator
        One for each copy, of critics S·E.
    """
    if symmetry.plane is not None:
        return ImageNetwork(kind, symmetry, encoder or EncoderShape(), shape, ensemble, generators)
    if symmetry.rows is not None and kind.group_layers:
        if shape.residual:
            raise ConfigError("residual: networks on rows have no residual blocks; set residual = false")
        return SetNetwork(kind, symmetry, shape, ensemble, generators)
    return vector_network(kind, symmetry, shape, ensemble, generators)
