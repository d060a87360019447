"""Base of layers on rows (assets) and their pool: S_N permutes the rows and a group acts on each row's fibre.

Activations lie as [K, N, B, fibre]. Where some rows are absent, layers take the presence of the rows [K, N, B, 1], 1 or
0: means, pools and attention are then over present rows. Absent rows have to be zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers.base import Layer, check_banks, equivariance_error
from rl_core.layers.initial import ones
from rl_core.layers.products import low_rank_product
from rl_core.symmetry.groups import Group


class RowLayer(Layer):
    """A layer on rows with relaxed weights w_l(i, g), which start at one, and its checks.

    Parameters
    ----------
    group : Group
        Acts on each row's fibre.
    rows : int or None
        N; an exact layer takes any number of rows and ignores it.
    banks : int
        L, the number of filter banks; an exact layer has one.
    relaxed : bool
        Whether the layer has relaxed weights, [K, L, N, G].
    generators : sequence of torch.Generator
        One for each of the K copies.
    sectors : sequence of int, optional
        Number of each row's sector, 0 … M − 1, where only rows of a sector are exchangeable.
    relax_over : {"assets", "sectors"}
        Whether relaxed weights belong to rows, or to sectors, [K, L, M, G]: rows of a sector then stay exchangeable.
    """

    row_axes: Mapping[str, int] = {"w": 2}
    """Parameters with numbers of rows (or of their sectors), and the axis of these."""

    w: nn.Parameter | None
    anchor: Tensor
    mask: Tensor
    owner: Tensor | None

    def __init__(
        self,
        group: Group,
        rows: int | None,
        banks: int,
        relaxed: bool,
        generators: Sequence[Generator],
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__()
        self.sectors = None if sectors is None else tuple(sectors)
        if relax_over == "sectors" and self.sectors is None:
            raise ConfigError(
                "relax_over is 'sectors', but the symmetry has no sectors; declare them, or use 'assets'"
            )
        rows = rows if self.sectors is None else len(self.sectors)
        owners = relaxed_places(rows, self.sectors, relax_over)
        check_set_banks(group, owners, banks, relaxed, type(self).__name__)
        self.group, self.rows, self.banks = group, rows, banks
        self.copies = len(generators)
        self.w = ones([banks, owners or 1, group.order], generators) if relaxed else None
        device = generators[0].device
        of_sectors = relaxed and relax_over == "sectors"
        owner = torch.tensor(self.sectors, device=device) if of_sectors else None
        self.register_buffer("owner", owner, persistent=False)
        # A layer may have no parameters; this tensor has its device and dtype.
        self.register_buffer("anchor", torch.zeros(1, device=device), persistent=False)
        self.register_buffer("mask", torch.eye(group.order, device=device), persistent=False)

    @property
    def reference(self) -> Tensor:
        """A tensor of the layer's dtype and device."""
        return self.anchor

    def gates(self) -> Tensor:
        """The relaxed weights as [K, N, L·G]."""
        return self.row_gates().transpose(1, 2).flatten(2)

    def row_gates(self) -> Tensor:
        """The relaxed weights of each row, [K, L, N, G]."""
        assert self.w is not None
        return self.w if self.owner is None else self.w.index_select(2, self.owner)

    @torch.no_grad()
    def check_equivariance(self, batch: int = 8, seed: int = 0) -> float:
        """The largest error over the group's elements and over cyclic shifts and swaps of rows (of each sector)."""
        error = super().check_equivariance(batch, seed)
        x = self.example(batch, torch.Generator().manual_seed(seed)).to(self.reference)
        y = self(x)
        for places in row_permutations(x.shape[1], self.sectors):
            moved = y[:, places] if y.ndim == x.ndim else y
            error = max(error, equivariance_error(self(x[:, places]), moved))
        return error


class SetPool(RowLayer):
    """The mean over rows of regular fields; relaxed: L means p_l(g) = N⁻¹ Σ_i w_l(i, g) y_i(g), side by side.

    Parameters
    ----------
    group : Group
        Acts on each row's fibre.
    fields : int
        F; the input is [K, N, B, G·F] and the output [K, B, G·(L·F)].
    rows, banks, relaxed, generators, sectors, relax_over
        As for `RowLayer`.
    """

    def __init__(
        self,
        group: Group,
        fields: int,
        *,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__(group, rows, banks, relaxed, generators, sectors, relax_over)
        self.fields = fields

    def expand(self) -> tuple[Tensor, ...]:
        """The relaxed weights [K, L·G, N] over N, where there are any."""
        if self.w is None:
            return ()
        gates = self.gates()
        return (gates.transpose(1, 2) / gates.shape[1],)

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor, presence: Tensor | None = None) -> Tensor:
        """The pooled fields [K, B, G·(L·F)]."""
        pooled = self._pooled(expanded, x)
        return pooled if presence is None else pooled * (x.shape[1] / row_count(presence))

    def _pooled(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """The pooled fields, the sums being divided by the number of all rows."""
        if self.w is None:
            return x.mean(dim=1)
        copies, rows, batch, _ = x.shape
        n = self.group.order
        # One product pools every field with the weights of every g; only its own are used.
        every = low_rank_product(expanded[0], x.reshape(copies, rows, -1))
        pooled = every.view(copies, self.banks, n, batch, n, -1)
        own = pooled.diagonal(dim1=2, dim2=4)
        return own.permute(0, 2, 4, 1, 3).reshape(copies, batch, -1)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, G·F]."""
        size = self.group.order * self.fields
        return torch.randn(self.copies, self.rows or 5, batch, size, generator=generator)


def row_permutations(rows: int, sectors: Sequence[int] | None = None) -> list[list[int]]:
    """A cyclic shift and a swap of the rows of each sector (of all rows without sectors), which generate the group."""
    found = []
    for sector in sorted(set(sectors or [0])):
        own = [row for row in range(rows) if sectors is None or sectors[row] == sector]
        for moved in ([*own[1:], own[0]], [*own[:2][::-1], *own[2:]]):
            permutation = [*range(rows)]
            for place, row in zip(own, moved, strict=True):
                permutation[place] = row
            found.append(permutation)
    return found


def row_count(presence: Tensor) -> Tensor:
    """The number of present rows, at least 1, [K, B, 1] for a presence [K, N, B, 1]."""
    return presence.sum(dim=1).clamp_min(1)


def relaxed_places(rows: int | None, sectors: Sequence[int] | None, relax_over: str) -> int | None:
    """The number of rows or sectors that have relaxed weights."""
    return max(sectors) + 1 if relax_over == "sectors" and sectors is not None else rows


def check_set_banks(group: Group, rows: int | None, banks: int, relaxed: bool, name: str) -> None:
    """Refuse a relaxed layer without rows (or sectors), and a number of banks that cannot be used."""
    if relaxed and rows is None:
        raise SymmetryError(f"{name}: a relaxed layer needs a fixed number of rows; set rows")
    if not relaxed:
        check_banks(group, banks, relaxed, name)
    elif not 1 <= banks <= group.order * (rows or 1):
        raise SymmetryError(
            f"{name}: banks must be 1 … {group.order * (rows or 1)} (rows × group), got {banks}"
        )
