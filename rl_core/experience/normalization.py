"""Normalisation of network inputs by running statistics that commute with the group."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.symmetry import Representation, Symmetry

__all__ = ["ObservationNormalizer"]

CONSTANT = 1e-10
"""Share of its mean square below which the variance of an input is rounding: it is shifted, not scaled."""


class ObservationNormalizer:
    """Shift and scale of network inputs, for each of S seeds, from all inputs observed so far.

    The mean is projected onto the vectors that the group leaves in place. Variances around it are averaged over each
    block of entries that the group mixes (with signed permutations, an orbit). An exact agent therefore stays exact,
    and all kinds of agents see the same inputs. Rows share the statistics, since they are exchangeable; absent rows do
    not count and stay zero.

    Moments are updated as in Chan et al. (1979), "Updating formulae and a pairwise algorithm for computing sample
    variances", in float64.

    Parameters
    ----------
    symmetry
        How the group acts on network inputs.
    seeds
        S.
    device
        Device of the inputs.

    Attributes
    ----------
    state : dict of Tensor
        Number ``count`` [S] of observed vectors, their ``mean`` [S, O], summed ``squares`` of deviations from it
        [S, O], and the ``shift`` and ``factor`` [S, O] that follow. Tensors are changed in place.

    Raises
    ------
    ConfigError
        If inputs are images or time windows.
    """

    def __init__(self, symmetry: Symmetry, seeds: int, device: torch.device) -> None:
        if symmetry.plane is not None:
            raise ConfigError(
                "normalize_observations: images and time windows are not normalised; set "
                "normalize_observations = false"
            )
        self._symmetry = symmetry
        size = symmetry.observation.dimension
        self._invariant = symmetry.observation.invariant_projection.to(device)
        self._blocks = _block_mean(symmetry.observation).to(device)
        moments = torch.zeros(2, seeds, size, dtype=torch.float64, device=device)
        self.state = {
            "count": moments.new_zeros(seeds),
            "mean": moments[0],
            "squares": moments[1],
            "shift": torch.zeros(seeds, size, device=device),
            "factor": torch.ones(seeds, size, device=device),
        }

    def __call__(self, x: Tensor) -> Tensor:
        """Return normalised inputs, of the same shape; unchanged where nothing was observed."""
        x, presence = self._symmetry.split_presence(x)
        shape = (len(x), *[1] * (x.ndim - 2), x.shape[-1])
        normal = (x - self.state["shift"].view(shape)) * self.state["factor"].view(shape)
        return normal if presence is None else torch.cat([normal * presence, presence], dim=-1)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take inputs [S, B, O] or [S, B, N, O] into the statistics."""
        x, presence = self._symmetry.split_presence(x)
        x = x.flatten(1, -2).double()
        count, mean, squares, shift, factor = self.state.values()
        if presence is None:
            added, new = torch.full_like(count, x.shape[1]), x.mean(1)
            around_new = (x - new[:, None]).square()
        else:
            there = presence.flatten(1, -2).double()
            added = there.sum((1, 2))
            new = (x * there).sum(1) / added.clamp_min(1)[:, None]
            around_new = (x - new[:, None]).square() * there
        total = count + added
        gap, share = new - mean, (added / total.clamp_min(1))[:, None]
        squares += around_new.sum(1) + gap.square() * share * count[:, None]
        mean += gap * share
        count.copy_(total)
        center = mean @ self._invariant
        around = squares / total.clamp_min(1)[:, None] + (mean - center).square()
        variance, level = around @ self._blocks, center.square() @ self._blocks
        varied = variance > CONSTANT * (variance + level)
        shift.copy_(center)
        factor.copy_(torch.where(varied, variance, 1.0).rsqrt())


def _block_mean(representation: Representation) -> Tensor:
    """Symmetric matrix [O, O] that averages over each block of entries that the group mixes."""
    connected = (representation.matrices.abs() > 1e-9).any(0)
    while True:
        further = (connected.double() @ connected.double()) > 0
        if torch.equal(further, connected):
            break
        connected = further
    return connected / connected.sum(1, keepdim=True, dtype=torch.float64)
