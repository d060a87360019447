"""Steerable convolutions for subgroups of O(2), on escnn's kernel basis (Cesa, Lang & Weiler 2022).

K(t) = Σ_b c_b Ψ_b(t) with Ψ_b(gt) = ρ_out(g) Ψ_b(t) ρ_in(g)⁻¹. Relaxed, the coefficients c_b(t) depend on
the offset t; the layer is exact whenever they are constant on the group's orbits of offsets. This module is
the only importer of escnn, and only when a layer is made.
"""

from __future__ import annotations

import contextlib
import io
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NoReturn

import numpy as np
import torch
from scipy.sparse import csc_matrix
from torch import Generator, Tensor, nn

from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers.conv import ConvLayer
from rl_core.layers.initial import HE_GAIN, uniform, zeros
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation
from rl_core.symmetry.symmetry import transform_plane

__all__ = ["SteerableConv", "load_escnn"]

Fields = Sequence[tuple[int, str]]

MISSING = (
    "steerable layers need escnn: pip install --no-deps escnn==1.0.11, then pip install 'equitrade[escnn]'"
)
STAND_IN = "lie_learn.representations.SO3.wigner_d"
MAXIMUM_FREQUENCY = 8


class SteerableConv(ConvLayer):
    """A convolution between fields of any representations of a subgroup of O(2).

    Parameters
    ----------
    rotations : int or None
        N of the cyclic rotations; None for all of SO(2).
    flips : bool
        Whether the group has reflections: D_N or O(2).
    source, target : sequence of (int, str)
        Fields of input and output as pairs of number and representation: ``"trivial"``, ``"sign"`` (with
        flips), ``"regular"`` (finite groups) or ``"irrep k"`` (frequency k). Channels lie field by field, as
        in escnn.
    kernel_size, stride, padding : int
        See `ConvLayer`.
    relaxed : bool
        Whether the coefficients depend on the offset; they start constant: exactly equivariant.
    generators : sequence of torch.Generator
        One for each of the K copies.

    Raises
    ------
    ConfigError
        Where escnn is not installed; one line says how to add it.
    SymmetryError
        Where a representation is unknown, no kernel exists, or a relaxed kernel has one offset only.
    """

    def __init__(
        self,
        rotations: int | None,
        flips: bool,
        source: Fields,
        target: Fields,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        if relaxed and kernel_size == 1:
            raise SymmetryError(
                "SteerableConv: a kernel of size 1 has one offset, so that spatial relaxation does nothing; "
                "use a relaxed GroupConv"
            )
        basis = kernel_basis(rotations, flips, tuple(source), tuple(target), kernel_size)
        channels = basis.source.dimension, basis.target.dimension
        super().__init__(
            basis.plane,
            channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            banks=1,
            relaxed=False,
            generators=generators,
        )
        self.source, self.target, self.relaxed = basis.source, basis.target, relaxed
        self.grid = [(i, j) for i in range(len(target)) for j in range(len(source))]
        variance = HE_GAIN / (channels[0] * self.offsets)
        self.coefficients = nn.ParameterList()
        for (i, j), filters in zip(self.grid, basis.filters, strict=True):
            self.register_buffer(f"filters_{i}_{j}", filters.to(generators[0].device), persistent=False)
            power = float(filters.square().mean(dim=(1, 2, 3)).sum())
            shape = [target[i][0], source[j][0], filters.shape[0], 1]
            c = uniform(shape, variance / power if power > 0 else 0.0, generators)
            self.coefficients.append(nn.Parameter(c.repeat(1, 1, 1, 1, self.offsets)) if relaxed else c)
        self.register_buffer("invariants", basis.invariants.to(generators[0].device), persistent=False)
        self.bias = zeros([basis.invariants.shape[1]], generators)
        self.register_buffer("orbits", orbit_means(self.get_buffer("places")), persistent=False)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, out, in, k, k] and the bias [K, out]."""
        blocks = {}
        for (i, j), c in zip(self.grid, self.coefficients, strict=True):
            filters = self.get_buffer(f"filters_{i}_{j}")
            spread = torch.einsum("koibt,bxyt->koxiyt", c.expand(*c.shape[:-1], self.offsets), filters)
            blocks[i, j] = spread.flatten(1, 2).flatten(2, 3)
        rows = {i for i, _ in self.grid}
        weight = torch.cat(
            [torch.cat([blocks[i, j] for k, j in self.grid if k == i], dim=2) for i in sorted(rows)], dim=1
        )
        return self.as_kernel(weight), self.bias @ self.get_buffer("invariants").T

    def penalty(self) -> Tensor:
        """Σ (c_b(t) − mean over the orbit of t)², [K]."""
        total = self.bias.new_zeros(self.copies)
        if self.relaxed:
            means = self.get_buffer("orbits")
            for c in self.coefficients:
                total = total + (c - c @ means).square().flatten(1).sum(dim=1)
        return total

    @torch.no_grad()
    def decay_relaxed_weights(self, share: float) -> None:
        """Move relaxed coefficients this share of the way to their mean over the orbit, in place."""
        if self.relaxed:
            means = self.get_buffer("orbits")
            for c in self.coefficients:
                c.lerp_(c @ means, share)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """The coefficients of a relaxed layer by offset, [K, b, T]."""
        if not self.relaxed:
            return {}
        return {"c": torch.cat([c.detach().flatten(1, 3) for c in self.coefficients], dim=1)}

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """(gx)(t) = ρ_in(g) x(g⁻¹t), for the group's quarter turns and flips."""
        return transform_plane(self.source, self.plane, torch.tensor(g), x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """(gy)(t) = ρ_out(g) y(g⁻¹t), for the group's quarter turns and flips."""
        return transform_plane(self.target, self.plane, torch.tensor(g), y)


@dataclass(frozen=True)
class KernelBasis:
    """What a layer takes from escnn.

    Attributes
    ----------
    plane, source, target : Representation
        Of the quarter turns and flips that the group has, on the plane, the input and the output channels.
    filters : sequence of Tensor [b, d_out, d_in, T]
        A basis for each pair of a target and a source representation, targets first.
    invariants : Tensor [out, m]
        The invariant vectors of the output, for the bias.
    """

    plane: Representation
    source: Representation
    target: Representation
    filters: tuple[Tensor, ...]
    invariants: Tensor


@lru_cache(maxsize=64)
def kernel_basis(
    rotations: int | None,
    flips: bool,
    source: tuple[tuple[int, str], ...],
    target: tuple[tuple[int, str], ...],
    kernel_size: int,
) -> KernelBasis:
    """Sample escnn's steerable kernels on the pixels of a square kernel; see `SteerableConv`."""
    load_escnn()
    # escnn prints and warns while it solves for a basis.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        space = plane_space(rotations, flips)
        ins = [(count, representation(space, name)) for count, name in source]
        outs = [(count, representation(space, name)) for count, name in target]
        elements = grid_elements(space, rotations, flips)
        filters = tuple(pair_filters(space, i, o, kernel_size) for _, o in outs for _, i in ins)
    if all(len(f) == 0 for f in filters):
        raise SymmetryError(f"SteerableConv: no kernel of size {kernel_size} maps {source} to {target}")
    plane = torch.stack([torch.as_tensor(space.basespace_action(e)).double() for e in elements]).round()
    group = group_of(plane, f"quarter turns of {space.fibergroup}")
    fields = [field_representation(group, side, elements) for side in (ins, outs)]
    invariants = block_diagonal([invariant_vectors(rep) for count, rep in outs for _ in range(count)])
    return KernelBasis(Representation(group, plane, "plane"), fields[0], fields[1], filters, invariants)


def load_escnn() -> Any:
    """Import escnn, with a stand-in for the SO(3) helper that it imports and we do not need.

    Returns
    -------
    module
        escnn, with ``escnn.nn`` and ``escnn.gspaces`` loaded.

    Raises
    ------
    ConfigError
        Where escnn or what it needs is not installed.
    """
    try:
        joblib: Any = import_module("joblib")

        memory = joblib.Memory
        # escnn keeps pickles of its results beside its own code; here they stay in memory.
        joblib.Memory = ProcessMemory
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _stand_in()
                import escnn.gspaces
                import escnn.nn
        finally:
            joblib.Memory = memory
    except ImportError as error:
        raise ConfigError(f"{MISSING} ({error})") from error
    # Newer scikit-learn refuses the matrix type that escnn gives it; scipy's SVD is exact and repeatable.
    escnn.group._numerical.randomized_svd = None
    # Thousands of tiny sparse Kronecker sums take most of the time of a basis; dense ones take a tenth.
    escnn.group._numerical.build_sylvester_constraint = sylvester_constraint
    escnn.group._clebsh_gordan.build_sylvester_constraint = sylvester_constraint
    return escnn


def sylvester_constraint(first: list[Any], second: list[Any]) -> Any:
    """The linear system whose solutions intertwine two lists of matrices; as escnn's, made densely."""
    a, b = np.stack(first), np.stack(second)
    system = np.einsum("jk,gil->gjikl", np.eye(b.shape[1]), a) - np.einsum(
        "gkj,il->gjikl", b, np.eye(a.shape[1])
    )
    return csc_matrix(system.reshape(-1, a.shape[1] * b.shape[1]))


class ProcessMemory:
    """Stands in for joblib.Memory: remembers results for as long as the process lives."""

    def __init__(self, *_args: object, **_options: object) -> None:
        """Take joblib's arguments, which say where files would go, and use none."""

    def cache(self, function: Callable[..., Any] | None = None, **options: object) -> Callable[..., Any]:
        """The function, computed once for each set of arguments."""
        if function is None:
            # Used as @cache(ignore=...) by groups of space, which we do not need: leave those as they are.
            return lambda same: same
        return lru_cache(maxsize=None)(function)


def _stand_in() -> None:
    try:
        import_module(STAND_IN)
    except ImportError:
        parts = STAND_IN.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        vars(sys.modules[STAND_IN])["wigner_D_matrix"] = wigner_d_matrix


def wigner_d_matrix(*_args: object, **_options: object) -> NoReturn:
    """Stands in for lie_learn's function of this name, which only SO(3) needs."""
    raise ConfigError("SO(3) needs the package lie_learn, which is not installed; groups of the plane do not")


def plane_space(rotations: int | None, flips: bool) -> Any:
    """The escnn space of a plane under these rotations and flips."""
    from escnn import gspaces

    if rotations is not None and rotations < 1:
        raise SymmetryError(f"rotations: must be at least 1, or None for all, got {rotations}")
    if rotations == 1:
        return gspaces.flip2dOnR2() if flips else gspaces.trivialOnR2()
    make = gspaces.flipRot2dOnR2 if flips else gspaces.rot2dOnR2
    return make(-1, maximum_frequency=MAXIMUM_FREQUENCY) if rotations is None else make(rotations)


def representation(space: Any, name: str) -> Any:
    """The escnn representation of this name; see `SteerableConv`."""
    group = space.fibergroup
    kind, _, number = name.partition(" ")
    flips = len(group.identity.value) == 2 if isinstance(group.identity.value, tuple) else False
    try:
        if name == "trivial":
            return group.trivial_representation
        if name == "regular" and group.order() > 0:
            return group.regular_representation
        if name == "sign" and (flips or group.order() == 2):
            return group.irrep(1, 0) if flips else group.irrep(1)
        if kind == "irrep" and number.isdecimal():
            return group.irrep(1, int(number)) if flips else group.irrep(int(number))
    except (AssertionError, KeyError, ValueError) as error:
        raise SymmetryError(f"SteerableConv: {space.fibergroup} has no representation {name!r}") from error
    raise SymmetryError(f"SteerableConv: {space.fibergroup} has no representation {name!r}")


def grid_elements(space: Any, rotations: int | None, flips: bool) -> list[Any]:
    """The elements that take the pixel grid to itself: quarter turns and flips of the axes."""
    group = space.fibergroup
    elements = group.elements if group.order() > 0 else group.grid(type="regular", N=4)
    chosen = []
    for element in elements:
        action = torch.as_tensor(space.basespace_action(element)).double()
        if float((action - action.round()).abs().max()) < 1e-6:
            chosen.append(element)
    return chosen


def pair_filters(space: Any, source: Any, target: Any, kernel_size: int) -> Tensor:
    """escnn's basis of kernels between two representations, sampled, [b, d_out, d_in, T]."""
    from escnn import nn as escnn_nn

    ends = [escnn_nn.FieldType(space, [r]) for r in (source, target)]
    try:
        layer = escnn_nn.R2Conv(*ends, kernel_size=kernel_size, bias=False, initialize=False)
    except ValueError:
        return torch.zeros(0, target.size, source.size, kernel_size**2)
    expansion = layer.basisexpansion
    with torch.no_grad():
        return torch.stack([expansion(row) for row in torch.eye(expansion.dimension())]).detach().clone()


def group_of(matrices: Tensor, name: str) -> Group:
    """The group that these different matrices form."""
    products = torch.einsum("aij,bjk->abik", matrices, matrices)
    gaps = (products[:, :, None] - matrices[None, None]).abs().amax(dim=(3, 4))
    return Group(gaps.argmin(dim=2), name)


def field_representation(group: Group, fields: list[tuple[int, Any]], elements: list[Any]) -> Representation:
    """How the elements act on all channels of fields."""
    matrices = []
    for element in elements:
        blocks = [torch.as_tensor(rep(element)).double() for count, rep in fields for _ in range(count)]
        matrices.append(block_diagonal(blocks))
    return Representation(group, torch.stack(matrices), "fields")


def invariant_vectors(rep: Any) -> Tensor:
    """The vectors that a whole escnn representation leaves as they are, [d, m]."""
    columns, place = [], 0
    for key in rep.irreps:
        irrep = rep.group.irrep(*key)
        if irrep.is_trivial():
            columns.append(torch.as_tensor(rep.change_of_basis[:, place]).float())
        place += irrep.size
    return torch.stack(columns, dim=1) if columns else torch.zeros(rep.size, 0)


def block_diagonal(blocks: list[Tensor]) -> Tensor:
    """The matrix with these blocks on its diagonal."""
    matrix: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return matrix


def orbit_means(places: Tensor) -> Tensor:
    """The matrix [T, T] that takes values at offsets to their means over orbits, for places g⁻¹t [n, T]."""
    orbit = places.min(dim=0).values
    same = (orbit[:, None] == orbit[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)
