"""Steerable kernels from escnn (Cesa, Lang & Weiler 2022): the only importer of escnn, and only when one is made."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NoReturn

import numpy as np
import torch
from scipy.sparse import csc_matrix
from torch import Tensor

from rl_core.errors import ConfigError, SymmetryError
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation

Fields = Sequence[tuple[int, str]]

AXIS = math.pi / 2
"""Angle of the axis of reflection, unless another one is asked for."""
MISSING = (
    "steerable layers need escnn: pip install --no-deps escnn==1.0.11, then pip install 'equitrade[escnn]'"
)
STAND_IN = "lie_learn.representations.SO3.wigner_d"
MAXIMUM_FREQUENCY = 8


@dataclass(frozen=True)
class KernelBasis:
    """Filters of a layer and how the group acts at its ends.

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
    axis: float = AXIS,
) -> KernelBasis:
    """Return escnn's steerable kernels on the pixels of a square kernel; see `rl_core.layers.SteerableConv`."""
    load_escnn()
    with quiet():
        space = plane_space(rotations, flips, axis)
        ins = [(count, representation(space, name)) for count, name in source]
        outs = [(count, representation(space, name)) for count, name in target]
        elements = grid_elements(space, rotations, flips)
        filters = tuple(pair_filters(space, i, o, kernel_size) for _, o in outs for _, i in ins)
    if all(len(f) == 0 for f in filters):
        raise SymmetryError(f"SteerableConv: no kernel of size {kernel_size} maps {source} to {target}")
    plane = plane_matrices(space, elements)
    group = group_of(plane, f"quarter turns of {space.fibergroup}")
    fields = [field_representation(group, side, elements) for side in (ins, outs)]
    invariants = block_diagonal([invariant_vectors(rep) for count, rep in outs for _ in range(count)])
    return KernelBasis(Representation(group, plane, "plane"), fields[0], fields[1], filters, invariants)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence escnn, which prints and warns while it solves for a basis."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def matching_space(plane: Representation) -> tuple[int, bool, float]:
    """Return rotations, flips and axis of the escnn space on whose plane the group acts as on this one.

    Raises
    ------
    SymmetryError
        If there is none: the plane is not two-dimensional, or elements act on it alike.
    ConfigError
        Where escnn is not installed.
    """
    load_escnn()
    n, wanted = plane.group.order, {signed(matrix) for matrix in plane.matrices}
    if plane.dimension == 2 and len(wanted) == n:
        for flips in (False, True):
            rotations = n // 2 if flips else n
            for axis in (AXIS, 0.0, math.pi / 4, -math.pi / 4) if flips else (AXIS,):
                if rotations not in (1, 2, 4):
                    continue
                with quiet():
                    space = plane_space(rotations, flips, axis)
                    found = plane_matrices(space, grid_elements(space, rotations, flips))
                if {signed(matrix) for matrix in found} == wanted:
                    return rotations, flips, axis
    raise SymmetryError(
        f"steerable layers need images on which each element of {plane.group.name} acts differently, by "
        "quarter turns and flips; use layers of kind 'group'"
    )


def signed(matrix: Tensor) -> tuple[int, ...]:
    """Return the entries of a matrix of signs, for comparison."""
    return tuple(int(entry) for entry in matrix.round().flatten().tolist())


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
        """Accept joblib's arguments, the places of its files, and ignore them."""

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


def plane_space(rotations: int | None, flips: bool, axis: float = AXIS) -> Any:
    """The escnn space of a plane under these rotations and flips."""
    from escnn import gspaces

    if rotations is not None and rotations < 1:
        raise SymmetryError(f"rotations: must be at least 1, or None for all, got {rotations}")
    if rotations == 1:
        return gspaces.flip2dOnR2(axis=axis) if flips else gspaces.trivialOnR2()
    options: dict[str, Any] = {"axis": axis} if flips else {}
    make = gspaces.flipRot2dOnR2 if flips else gspaces.rot2dOnR2
    if rotations is None:
        return make(-1, maximum_frequency=MAXIMUM_FREQUENCY, **options)
    return make(rotations, **options)


def representation(space: Any, name: str) -> Any:
    """The escnn representation of this name; see `rl_core.layers.SteerableConv`."""
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


def plane_matrices(space: Any, elements: Sequence[Any]) -> Tensor:
    """Actions of elements on the plane, [n, 2, 2], for elements that take the pixel grid to itself."""
    return torch.stack([torch.as_tensor(space.basespace_action(e)).double() for e in elements]).round()


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
    """Action of the elements on all channels of fields."""
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
