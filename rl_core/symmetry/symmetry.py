"""The symmetry of a decision problem, declared once; networks are generated from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from rl_core.errors import SymmetryError
from rl_core.symmetry.groups import Group, cyclic
from rl_core.symmetry.representations import Representation, trivial

__all__ = ["Element", "Symmetry", "transform_plane", "turn"]


@dataclass(frozen=True)
class Element:
    """Group elements that act on a batch, one for each sample.

    Attributes
    ----------
    index : Tensor of int [...]
        Index in the group.
    permutation : Tensor of int [..., N] or None
        Row i of the result is row ``permutation[..., i]`` of the input; None where the rows stay.
    """

    index: Tensor
    permutation: Tensor | None = None


@dataclass(frozen=True)
class Symmetry:
    """Action of a group on observations and actions.

    Parameters
    ----------
    group : Group
    observation : Representation
        ρ_s, on the last axis of the observation; with ``plane`` on the channels.
    action : Representation
        ρ_a, a signed permutation: tanh, which bounds actions, commutes with no other.
    rows : int, optional
        N exchangeable rows (assets): observations are [..., N, O] and actions [..., N]. The group acts on
        each row, and S_N permutes the rows. An observation may have one more number for each row, its presence: 1, or 0
        for an absent row, which the others do not see.
    plane : Representation, optional
        For images [..., C, H, W] (dimension 2, on the (x, y) plane) or time series [..., C, T] (dimension 1):
        a signed permutation, that is flips and quarter turns.
    sectors : tuple of int, optional
        Number of each row's sector. Only permutations of rows within their sectors then belong to the group, a product
        of S_n over the sectors.

    Raises
    ------
    SymmetryError
        Where the parts do not fit one another; the message names the part.
    """

    group: Group
    observation: Representation
    action: Representation
    rows: int | None = None
    plane: Representation | None = None
    sectors: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        parts = [("observation", self.observation), ("action", self.action)]
        parts += [("plane", self.plane)] if self.plane is not None else []
        for name, part in parts:
            if part.group != self.group:
                raise SymmetryError(
                    f"{name}: {part.name} represents {part.group.name}, not {self.group.name}"
                )
        fault = self.action.signed_permutation_fault()
        if fault is not None:
            raise SymmetryError(f"action: tanh commutes with signed permutations only, but {fault}")
        if self.rows is not None:
            if self.rows < 1:
                raise SymmetryError(f"rows: must be at least 1, got {self.rows}")
            if self.action.dimension != 1:
                raise SymmetryError(
                    f"action: with rows the representation acts on each row's one action, but "
                    f"{self.action.name} has dimension {self.action.dimension}"
                )
            if self.plane is not None:
                raise SymmetryError("rows and plane cannot both be given")
        if self.sectors is not None and (len(self.sectors) != self.rows or min(self.sectors) < 0):
            raise SymmetryError(
                f"sectors: needs a number of at least 0 for each of {self.rows} rows, got {list(self.sectors)}"
            )
        if self.plane is not None:
            if self.plane.dimension not in (1, 2):
                raise SymmetryError(f"plane: needs dimension 1 or 2, got {self.plane.dimension}")
            fault = self.plane.signed_permutation_fault()
            if fault is not None:
                raise SymmetryError(f"plane: pixels allow flips and quarter turns only, but {fault}")

    @classmethod
    def none(cls, observation_size: int, action_size: int, rows: int | None = None) -> Symmetry:
        """No symmetry: the trivial group on vectors of these sizes (on each row, where ``rows`` is given)."""
        group = cyclic(1)
        return cls(group, trivial(group, observation_size), trivial(group, action_size), rows)

    @property
    def observation_ndim(self) -> int:
        """Number of axes of one network input: 1 for vectors, 2 for rows or series, 3 for images."""
        if self.plane is not None:
            return 1 + self.plane.dimension
        return 1 if self.rows is None else 2

    @property
    def action_size(self) -> int:
        """Length A of an action vector; N where there are rows."""
        return self.action.dimension if self.rows is None else self.rows

    @property
    def random_size(self) -> int:
        """Number of uniform numbers that `element` needs for each sample."""
        return 1 + (self.rows or 0)

    def element(self, uniform: Tensor) -> Element:
        """Uniformly random elements from uniform numbers in [0, 1).

        Parameters
        ----------
        uniform : Tensor [..., random_size]
            A group element's number, then one for each row.
        """
        if uniform.shape[-1] != self.random_size:
            raise SymmetryError(
                f"element: needs [..., {self.random_size}] numbers, got {list(uniform.shape)}"
            )
        index = (uniform[..., 0] * self.group.order).long().clamp_(max=self.group.order - 1)
        return Element(index, None if self.rows is None else self.permutation(uniform[..., 1:]))

    def permutation(self, uniform: Tensor) -> Tensor:
        """Uniformly random permutations of the rows, within their sectors where there are any, [..., N].

        Parameters
        ----------
        uniform : Tensor [..., N]
            Uniform numbers in [0, 1).
        """
        if self.sectors is None:
            return uniform.argsort(dim=-1)
        sectors = torch.tensor(self.sectors, device=uniform.device)
        # Rows in the order of their sectors, at random within each, are put in the places of these sectors.
        shuffled = (sectors + uniform.double()).argsort(dim=-1)
        return shuffled[..., sectors.argsort(stable=True).argsort()]

    def random(self, shape: Sequence[int], generator: Generator | None = None) -> Element:
        """Uniformly random elements, one for each sample of a batch of this shape."""
        device = generator.device if generator is not None else torch.device("cpu")
        return self.element(torch.rand([*shape, self.random_size], generator=generator, device=device))

    def split_presence(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split observations on rows into the rows [..., N, O] and, where there is one, their presence [..., N, 1]."""
        size = self.observation.dimension
        if self.rows is None or x.shape[-1] != size + 1:
            return x, None
        return x[..., :size], x[..., size:]

    def fits(self, x: Tensor) -> bool:
        """Return whether the last axis of observations on vectors or rows has the declared numbers, and a presence of
        0 or 1 where there is one."""
        x, presence = self.split_presence(x)
        known = presence is None or bool(((presence == 0) | (presence == 1)).all())
        return known and x.shape[-1] == self.observation.dimension

    def transform_observation(self, g: int | Tensor | Element, x: Tensor) -> Tensor:
        """g acts on observations.

        Parameters
        ----------
        g : int, Tensor of int or `Element`
            One element, or one for each sample: its shape is that of the batch.
        x : Tensor [..., O], [..., N, O] or [..., N, O + 1] (rows), [..., C, H, W] or [..., C, T] (plane)
            The observations; g leaves the presence of a row as it is.
        """
        element = g if isinstance(g, Element) else Element(torch.as_tensor(g, device=x.device))
        index = element.index.to(x.device)
        if self.plane is not None:
            return transform_plane(self.observation, self.plane, index, x)
        if self.rows is None:
            return self.observation.transform(index, x)
        self._check_rows(x.shape[-2])
        x, presence = self.split_presence(x)
        moved = self.observation.transform(index[..., None], x)
        if presence is not None:
            moved = torch.cat([moved, presence.expand(*moved.shape[:-1], 1)], dim=-1)
        if element.permutation is None:
            return moved
        places = element.permutation.to(x.device)[..., None].expand(moved.shape)
        return moved.gather(-2, places)

    def transform_action(self, g: int | Tensor | Element, a: Tensor) -> Tensor:
        """g acts on actions [..., A] (rows: [..., N]); arguments as in `transform_observation`."""
        element = g if isinstance(g, Element) else Element(torch.as_tensor(g, device=a.device))
        index = element.index.to(a.device)
        if self.rows is None:
            return self.action.transform(index, a)
        self._check_rows(a.shape[-1])
        moved = self.action.transform(index[..., None], a[..., None]).squeeze(-1)
        if element.permutation is None:
            return moved
        return moved.gather(-1, element.permutation.to(a.device).expand(moved.shape))

    def _check_rows(self, rows: int) -> None:
        if rows != self.rows:
            raise SymmetryError(f"rows: this symmetry has {self.rows}, got {rows}")


def transform_plane(channels: Representation, plane: Representation, g: Tensor, x: Tensor) -> Tensor:
    """g acts on fields over the plane: channels by ``channels``, places by ``plane``, (gx)(t) = ρ(g) x(g⁻¹t).

    Parameters
    ----------
    channels : Representation
        Of dimension C.
    plane : Representation
        Of dimension 2 (x to the right, y up) or 1.
    g : Tensor of int
        A single element, or one for each sample of ``x``.
    x : Tensor [..., C, H, W] or [..., C, T]
        The fields.
    """
    space = plane.dimension
    if g.ndim == 0:
        turned = turn(plane, int(g), x)
        return channels.transform(g, turned.movedim(-1 - space, -1)).movedim(-1, -1 - space)
    lead = np.broadcast_shapes(g.shape, x.shape[: -1 - space])
    g, x = g.expand(lead), x.expand(*lead, *x.shape[-1 - space :])
    if x.shape[-1] != x.shape[-space] and bool((plane.sources[:, 0] != 0).any()):
        raise SymmetryError(f"plane: quarter turns need square images, got {list(x.shape[-2:])}")
    result = torch.empty_like(x)
    for element in range(channels.group.order):
        chosen = g == element
        result[chosen] = transform_plane(channels, plane, torch.tensor(element), x[chosen])
    return result


def turn(plane: Representation, g: int, x: Tensor) -> Tensor:
    """x(g⁻¹t) for fields [..., H, W] or [..., T], by transposing and flipping axes."""
    sources, signs = plane.sources[g].tolist(), plane.signs[g].tolist()
    if plane.dimension == 1:
        return x.flip(-1) if signs[0] < 0 else x
    # Coordinate x runs along the last axis; y runs against the one before it, which the signs absorb: a
    # transposition about the main diagonal of the array is the reflection (x, y) → (−y, −x) of the plane.
    swapped = sources[0] == 1
    turned = x.transpose(-1, -2) if swapped else x
    flip_x, flip_y = (signs[0] > 0, signs[1] > 0) if swapped else (signs[0] < 0, signs[1] < 0)
    dims = ([-1] if flip_x else []) + ([-2] if flip_y else [])
    return turned.flip(dims) if dims else turned
