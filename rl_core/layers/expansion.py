"""Effective weight matrices of group layers: bilinear in relaxed weights w and filters ψ.

Rows are inputs and columns outputs, as ``x @ W`` needs them; regular fields lie as (G, F). With w None the
layer is exact (one bank, w = 1). How the group acts comes as a constant tensor, which layers keep in a buffer,
so that an expansion is a few operations on tensors of one device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation


def action_constant(rho: Representation) -> Tensor:
    """ρ for expansions: the matrices [G, d, d], or of a diagonal representation the signs [G, d, 1]."""
    diagonal = rho.matrices.diagonal(dim1=1, dim2=2)
    plain = torch.equal(torch.diag_embed(diagonal), rho.matrices)
    return (diagonal[:, :, None] if plain else rho.matrices).to(torch.get_default_dtype())


def regular_constant(group: Group, *, relaxed: bool = False) -> Tensor:
    """Constant that builds the blocks (h, g) of a regular → regular matrix from filters ψ(u), u = g⁻¹h.

    Parameters
    ----------
    group : Group
        The group.
    relaxed : bool
        For a relaxed layer, not an exact one.

    Returns
    -------
    Tensor [G·G, G] or Tensor of int [G·G]
        Exact: ones where block (h, g) is filter u. Relaxed: at (h, g) the place of (g, u) among the mixed filters
        Σ_l w_l(g) ψ_l(u).
    """
    n = group.order
    if relaxed:
        return (torch.arange(n)[:, None] * n + group.difference).transpose(0, 1).flatten()
    chosen = nn.functional.one_hot(group.difference, n).to(torch.get_default_dtype())
    return chosen.transpose(0, 1).reshape(n * n, n)


def repeat_fields(bias: Tensor, order: int) -> Tensor:
    """A bias [K, 1, F] shared over g, as [K, 1, G·F]."""
    return bias.expand(-1, order, -1).reshape(bias.shape[0], 1, -1)


def mix_banks(psi: Tensor, w: Tensor | None) -> Tensor:
    """Σ_l w_l(g) ψ_l: from [K, L, …] and [K, L, G] to [K, G, …]; exact layers keep G = 1 and broadcast.

    With relaxed weights over rows too, [K, L, N, G], the result is [K·N, G, …].
    """
    if w is None:
        return psi
    k, banks, n = w.shape[0], w.shape[1], w.shape[-1]
    mixed = torch.bmm(w.flatten(2).transpose(1, 2), psi.reshape(k, banks, -1))
    return mixed.view(-1, n, *psi.shape[2:])


def lifting_weight(action: Tensor, psi: Tensor, w: Tensor | None) -> Tensor:
    """The matrix of y(g) = Σ_l w_l(g) ψ_l ρ(g)⁻¹x.

    Parameters
    ----------
    action : Tensor [G, d, d] or [G, d, 1]
        ρ, from `action_constant`.
    psi : Tensor [K, L, d, F]
        Filters ψ_l.
    w : Tensor [K, L, G] or [K, L, N, G], or None
        Relaxed weights.

    Returns
    -------
    Tensor [K, d, G·F] or [K·N, d, G·F]
    """
    n, d, diagonal = *action.shape[:2], action.shape[2] == 1
    mixed = mix_banks(psi, w)
    columns = mixed * action if diagonal else torch.matmul(action, mixed)
    return columns.transpose(1, 2).reshape(-1, d, n * psi.shape[-1])


def regular_weight(places: Tensor, psi: Tensor, w: Tensor | None) -> Tensor:
    """The matrix of y(g) = Σ_h Σ_l w_l(g) ψ_l(g⁻¹h) x(h).

    Parameters
    ----------
    places : Tensor [G·G, G] or Tensor of int [G·G]
        From `regular_constant`, for exact or relaxed.
    psi : Tensor [K, L, G, F, F']
        Filters ψ_l(u).
    w : Tensor [K, L, G] or [K, L, N, G], or None
        Relaxed weights.

    Returns
    -------
    Tensor [K, G·F, G·F'] or [K·N, G·F, G·F']
    """
    k, banks, n, fields, out = psi.shape
    if w is None:
        blocks = torch.bmm(places.expand(k, -1, -1), psi.reshape(k, banks * n, fields * out))
    else:
        blocks = mix_banks(psi, w).flatten(1, 2).index_select(1, places)
    return blocks.view(-1, n, n, fields, out).transpose(2, 3).reshape(-1, n * fields, n * out)


def head_weight(action: Tensor, phi: Tensor, v: Tensor | None) -> Tensor:
    """The matrix of μ = n⁻¹ Σ_g Σ_l v_l(g) ρ(g) φ_l y(g).

    Parameters
    ----------
    action : Tensor [G, O, O] or [G, 1, O]
        ρ(g)ᵀ/n: the transpose of `action_constant`, divided by n.
    phi : Tensor [K, L, F, O]
        Filters φ_l.
    v : Tensor [K, L, G] or [K, L, N, G], or None
        Relaxed weights.

    Returns
    -------
    Tensor [K, G·F, O] or [K·N, G·F, O]
    """
    mixed = mix_banks(phi, v)
    blocks = mixed * action if action.shape[1] == 1 else torch.matmul(mixed, action)
    return blocks.reshape(-1, action.shape[0] * phi.shape[2], phi.shape[3])
