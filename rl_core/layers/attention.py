"""Self-attention over rows (assets) that respects the group on each row's fibre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.expansion import regular_constant, regular_weight
from rl_core.layers.initial import HEAD_GAIN, constant, uniform
from rl_core.layers.rows import RowLayer
from rl_core.symmetry.groups import Group


class SetAttention(RowLayer):
    """y + attention over rows, with regular → regular projections and scores for each group element apart.

    Queries, keys and values q(g), k(g), v(g) are regular fields; a group element permutes their scores as it
    permutes the fields, so that the layer is equivariant (and under S_N, as attention is). Relaxed, the
    projections carry weights w_l(i, g).

    Parameters
    ----------
    group : Group
    fields : int
        F, a multiple of ``heads``; input and output are [K, N, B, G·F].
    heads : int
        Number of heads.
    rows, banks, relaxed, generators, sectors, relax_over
        As for `RowLayer`.
    """

    places: Tensor

    def __init__(
        self,
        group: Group,
        fields: int,
        *,
        heads: int = 1,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__(group, rows, banks, relaxed, generators, sectors, relax_over)
        if heads < 1 or fields % heads:
            raise SymmetryError(f"SetAttention: fields must be a multiple of heads, got {fields} and {heads}")
        self.fields, self.heads = fields, heads
        variance = HEAD_GAIN / (group.order * fields * banks)
        self.psi = uniform([banks, group.order, fields, 3 * fields], variance, generators)
        self.psi_out = uniform([banks, group.order, fields, fields], variance, generators)
        self.register_buffer(
            "places",
            constant(regular_constant(group, relaxed=relaxed), generators),
            persistent=False,
        )

    def expand(self) -> tuple[Tensor, Tensor]:
        """Weights of the three projections [K, G·F, G·3F] and of the result [K, G·F, G·F] (relaxed: K·N)."""
        w = None if self.w is None else self.row_gates()
        return regular_weight(self.places, self.psi, w), regular_weight(self.places, self.psi_out, w)

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor, presence: Tensor | None = None) -> Tensor:
        """The output [K, N, B, G·F]."""
        project, result = expanded
        copies, rows, batch, size = x.shape
        n, heads = self.group.order, self.heads
        mixed = self._per_row(x, project).view(copies, rows, batch, n, 3, heads, self.fields // heads)
        q, k, v = mixed.permute(4, 0, 2, 3, 5, 1, 6).unbind(0)
        seen = None
        if presence is not None:
            # Present rows as keys, [K, B, 1, 1, N, N] beside scores [K, B, G, heads, N, N]. A row sees itself in any
            # case, as a softmax over nothing is not a number.
            keys = presence.bool().permute(0, 2, 3, 1)[:, :, None, None]
            seen = keys | torch.eye(rows, dtype=torch.bool, device=x.device)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        fields = attended.permute(0, 4, 1, 2, 3, 5).reshape(copies, rows, batch, size)
        return x + self._per_row(fields, result)

    def _per_row(self, x: Tensor, weight: Tensor) -> Tensor:
        copies, rows, batch, size = x.shape
        return torch.bmm(x.reshape(weight.shape[0], -1, size), weight).view(copies, rows, batch, -1)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, G·F]."""
        size = self.group.order * self.fields
        return torch.randn(self.copies, self.rows or 5, batch, size, generator=generator)
