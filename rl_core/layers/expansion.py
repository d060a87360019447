"""Effective weight matrices of group layers: bilinear in relaxed weights w and filters ψ.

Rows are inputs and columns outputs, as ``x @ W`` needs them; regular fields lie as (G, F). With w None the
layer is exact (one bank, w = 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation

__all__ = ["head_bias", "head_weight", "lifting_weight", "regular_weight"]


def mix_banks(psi: Tensor, w: Tensor | None) -> Tensor:
    """Σ_l w_l(g) ψ_l: from [K, L, …] and [K, L, G] to [K, G, …]; exact layers keep G = 1 and broadcast.

    With relaxed weights over rows too, [K, L, N, G], the result is [K·N, G, …].
    """
    if w is None:
        return psi
    k, banks, n = w.shape[0], w.shape[1], w.shape[-1]
    mixed = torch.bmm(w.flatten(2).transpose(1, 2), psi.reshape(k, banks, -1))
    return mixed.view(-1, n, *psi.shape[2:])


def lifting_weight(rho: Representation, psi: Tensor, w: Tensor | None) -> Tensor:
    """The matrix of y(g) = Σ_l w_l(g) ψ_l ρ(g)⁻¹x.

    Parameters
    ----------
    rho : Representation
        ρ, on the d inputs.
    psi : Tensor [K, L, d, F]
        Filters ψ_l.
    w : Tensor [K, L, G] or [K, L, N, G], or None
        Relaxed weights.

    Returns
    -------
    Tensor [K, d, G·F] or [K·N, d, G·F]
    """
    n, d = rho.group.order, rho.dimension
    mixed = mix_banks(psi, w)
    if rho.parities is not None:
        columns = mixed.transpose(1, 2) * rho.signs.T[:, :, None].to(psi)
    else:
        columns = torch.matmul(rho.matrices.to(psi), mixed).transpose(1, 2)
    return columns.reshape(-1, d, n * psi.shape[-1])


def regular_weight(group: Group, psi: Tensor, w: Tensor | None) -> Tensor:
    """The matrix of y(g) = Σ_h Σ_l w_l(g) ψ_l(g⁻¹h) x(h).

    Parameters
    ----------
    group : Group
        The group.
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
        blocks = psi[:, 0].index_select(1, group.difference.T.reshape(-1).to(psi.device))
    else:
        # One small product builds all blocks (h, g): its matrix holds w_l(g) where u = g⁻¹h.
        chosen = nn.functional.one_hot(group.difference.T, n).to(psi)
        by_row = w.view(k, banks, -1, n).permute(0, 2, 3, 1)
        spread = chosen[:, :, None, :] * by_row[:, :, None, :, :, None]
        blocks = torch.bmm(spread.reshape(k, -1, banks * n), psi.reshape(k, banks * n, fields * out))
    return blocks.view(-1, n, n, fields, out).transpose(2, 3).reshape(-1, n * fields, n * out)


def head_weight(rho: Representation, phi: Tensor, v: Tensor | None) -> Tensor:
    """The matrix of μ = n⁻¹ Σ_g Σ_l v_l(g) ρ(g) φ_l y(g).

    Parameters
    ----------
    rho : Representation
        ρ, on the O outputs.
    phi : Tensor [K, L, F, O]
        Filters φ_l.
    v : Tensor [K, L, G] or [K, L, N, G], or None
        Relaxed weights.

    Returns
    -------
    Tensor [K, G·F, O] or [K·N, G·F, O]
    """
    n = rho.group.order
    mixed = mix_banks(phi, v)
    blocks = torch.matmul(mixed, rho.matrices.to(phi).transpose(1, 2) / n)
    return blocks.reshape(-1, n * phi.shape[2], phi.shape[3])


def head_bias(rho: Representation, bias: Tensor) -> Tensor:
    """The part of a bias [K, 1, O] that every ρ(g) leaves as it is."""
    return torch.matmul(bias, rho.invariant_projection.to(bias).T)
