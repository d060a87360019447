"""Actors and critics, generated from a symmetry; K = S (actors) or S·E (critics) copies in one module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator

from rl_core.errors import ConfigError
from rl_core.layers.initial import HE_GAIN
from rl_core.networks.base import Network, Shape
from rl_core.networks.images import EncoderShape, ImageNetwork
from rl_core.networks.sets import SetNetwork
from rl_core.networks.vectors import vector_network
from rl_core.symmetry.symmetry import Symmetry

__all__ = ["KINDS", "build_actor", "build_critic", "matching_width"]

KINDS = ("dense", "exact", "relaxed", "rpp", "augmented")


def build_actor(
    kind: str,
    symmetry: Symmetry,
    *,
    generators: Sequence[Generator],
    width: int = 256,
    depth: int = 2,
    banks: int = 2,
    layer_norm: bool = False,
    interaction: str = "mean",
    heads: int = 1,
    activation: str = "relu",
    gain: float = HE_GAIN,
    relax_layers: str = "all",
    encoder: EncoderShape | None = None,
) -> Network:
    """An actor for each seed: observation [S, B, …] to mean and log-std [S, B, 2A] of a tanh-Gaussian.

    Parameters
    ----------
    kind : {"dense", "exact", "relaxed", "rpp", "augmented"}
        An augmented agent's networks are dense: its batches are transformed.
    symmetry : Symmetry
        How the group acts on observations and actions.
    generators : sequence of torch.Generator
        One for each seed; copy k is initialised from ``generators[k]`` alone.
    width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers
        See `Shape`.
    encoder : EncoderShape, optional
        Of images and time windows; its defaults fit images of 85 × 85.

    Returns
    -------
    Network
        The mean carries ρ_a and the log-std |ρ_a|; with rows they are [S, B, N] each.
    """
    shape = Shape(width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers)
    return _build(kind, symmetry, shape, encoder, None, generators)


def build_critic(
    kind: str,
    symmetry: Symmetry,
    *,
    generators: Sequence[Generator],
    ensemble: int = 2,
    width: int = 256,
    depth: int = 2,
    banks: int = 2,
    layer_norm: bool = False,
    interaction: str = "mean",
    heads: int = 1,
    activation: str = "relu",
    gain: float = HE_GAIN,
    relax_layers: str = "all",
    encoder: EncoderShape | None = None,
) -> Network:
    """E critics for each seed: ``pack(observation, action)`` to values [S, E, B], invariant under the group.

    Parameters
    ----------
    ensemble : int
        E; copies are ordered seed by seed, and a seed's critics are drawn from its one generator.
    kind, symmetry, generators, width, depth, banks, layer_norm, interaction, heads, activation, gain
        As for `build_actor`.
    relax_layers, encoder
        As for `build_actor`.
    """
    if ensemble < 1:
        raise ConfigError(f"ensemble: must be at least 1, got {ensemble}")
    shape = Shape(width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers)
    return _build(kind, symmetry, shape, encoder, ensemble, [g for g in generators for _ in range(ensemble)])


def matching_width(
    kind: str, symmetry: Symmetry, width: int, *, critic: bool = True, depth: int = 2, banks: int = 2
) -> int:
    """The width at which a network of this kind has as many parameters as a dense one of the given width.

    For wide networks that is F = H/√(nL) fields, or the width H √(n/L); this counts, so that first and last
    layers are right too.
    """

    def count(which: str, h: int) -> int:
        generators = [torch.Generator().manual_seed(0)]
        sizes = {"generators": generators, "width": h, "depth": depth, "banks": banks}
        if critic:
            return build_critic(which, symmetry, ensemble=1, **sizes).parameter_count()  # type: ignore[arg-type]
        return build_actor(which, symmetry, **sizes).parameter_count()  # type: ignore[arg-type]

    target = count("dense", width)
    step = symmetry.group.order if kind in ("exact", "relaxed", "rpp") else 1
    low, high = 1, 2
    while count(kind, high * step) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(kind, middle * step) < target else (low, middle)
    return min((low, high), key=lambda m: abs(count(kind, m * step) - target)) * step


def _build(
    kind: str,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    if kind not in KINDS:
        raise ConfigError(f"agent: must be one of {', '.join(KINDS)}, got {kind!r}")
    if not generators:
        raise ConfigError("generators: give one for each seed")
    kind = "dense" if kind == "augmented" else kind
    if symmetry.plane is not None:
        return ImageNetwork(kind, symmetry, encoder or EncoderShape(), shape, ensemble, generators)
    if symmetry.rows is not None and kind != "dense":
        return SetNetwork(kind, symmetry, shape, ensemble, generators)
    return vector_network(kind, symmetry, shape, ensemble, generators)
