"""The product behind layers on rows, which never repeats an input and passes over memory as seldom as it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def low_rank_product(left: Tensor, right: Tensor) -> Tensor:
    """left · right for [K, N, m] and [K, m, M] with small m; its gradients are quick where M is large."""
    result: Tensor = LowRankProduct.apply(left, right)  # type: ignore[no-untyped-call]
    return result


class LowRankProduct(torch.autograd.Function):
    """See `low_rank_product`."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        """The product."""
        ctx.save_for_backward(left, right)
        return torch.bmm(left, right)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of both factors."""
        left, right = ctx.saved_tensors
        return (
            _to_left(gradient, right) if ctx.needs_input_grad[0] else None,
            torch.bmm(left.transpose(1, 2), gradient) if ctx.needs_input_grad[1] else None,
        )


def _to_left(gradient: Tensor, right: Tensor) -> Tensor:
    """gradient · rightᵀ, computed as its transpose: several times quicker for few and long rows."""
    return torch.bmm(right, gradient.transpose(1, 2)).transpose(1, 2)


def row_product(
    left: Tensor,
    right: Tensor,
    x: Tensor,
    weight: Tensor,
    a: Tensor | None = None,
    weight_a: Tensor | None = None,
) -> Tensor:
    """left · right + x W + a V for each copy and row.

    Parameters
    ----------
    left, right : Tensor [K, N, m], [K, m, B·out]
        The part from the rows' mean and the bias, as a product of low rank.
    x : Tensor [K, N, B, in] or [S, N, B, in]
        With S a divisor of K, neighbouring copies share an input; it may be a strided view.
    weight : Tensor [K, N, in, out] or [K, 1, in, out]
        W of each row, or the same for all rows.
    a, weight_a : Tensor [K, N, B, 1] or [S, N, B, 1], and [K, N, 1, out] or [K, 1, 1, out], optional
        A last input, separate so that its gradient costs little.

    Returns
    -------
    Tensor [K, N, B, out]
    """
    copies = len(weight)
    if x.device.type != "cpu" and len(x) != copies:
        # Elsewhere launching an operation for each copy costs more than repeating the input.
        x = x.repeat_interleave(copies // len(x), dim=0)
        a = a if a is None else a.repeat_interleave(copies // len(a), dim=0)
    result: Tensor = RowProduct.apply(left, right, x, weight, a, weight_a)  # type: ignore[no-untyped-call]
    return result


class RowProduct(torch.autograd.Function):
    """See `row_product`."""

    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor,
        right: Tensor,
        x: Tensor,
        weight: Tensor,
        a: Tensor | None,
        weight_a: Tensor | None,
    ) -> Tensor:
        """The sum of the three products."""
        y = x.new_empty(*left.shape[:2], x.shape[2], weight.shape[3])
        torch.bmm(left, right, out=y.flatten(2))
        accumulate(y, x, weight)
        if a is not None and weight_a is not None:
            accumulate(y, a, weight_a)
        ctx.save_for_backward(left, right, x, weight, a, weight_a)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of each input that needs one."""
        left, right, x, weight, a, weight_a = ctx.saved_tensors
        needed = ctx.needs_input_grad
        g = gradient.contiguous()
        flat = g.flatten(2)
        return (
            _to_left(flat, right) if needed[0] else None,
            torch.bmm(left.transpose(1, 2), flat) if needed[1] else None,
            _to_input(g, weight, len(x)) if needed[2] else None,
            to_weight(g, x, torch.empty_like(weight)) if needed[3] else None,
            _to_input(g, weight_a, len(a)) if needed[4] else None,
            to_weight(g, a, torch.empty_like(weight_a)) if needed[5] else None,
        )


def _plain(x: Tensor, copies: int) -> bool:
    """Return whether x is contiguous and no copies share it."""
    return len(x) == copies and x.is_contiguous()


def at_once(function: Callable[..., object], *arguments: Any, **options: Any) -> None:
    """Call a function for its effect; a tape's `do` notes it, too."""
    function(*arguments, **options)


def accumulate(y: Tensor, x: Tensor, weight: Tensor, do: Callable[..., None] = at_once) -> Tensor:
    """Add x W to y [K, N, B, out] in place."""
    copies, rows = y.shape[:2]
    if not _plain(x, copies):
        for k, w in enumerate(weight.expand(-1, rows, -1, -1)):
            do(y[k].baddbmm_, x[k * len(x) // copies], w)
    elif weight.shape[1] == 1:
        do(y.flatten(1, 2).baddbmm_, x.flatten(1, 2), weight[:, 0])
    else:
        do(y.flatten(0, 1).baddbmm_, x.flatten(0, 1), weight.flatten(0, 1))
    return y


def product(x: Tensor, weight: Tensor, out: Tensor, do: Callable[..., None] = at_once) -> Tensor:
    """x W for contiguous x [S, N, B, in], into ``out`` [K, N, B, out]."""
    copies = len(out)
    for k, w in enumerate(weight):
        one = x[k * len(x) // copies]
        if len(w) == 1:
            do(torch.mm, one.flatten(0, 1), w[0], out=out[k].flatten(0, 1))
        else:
            do(torch.bmm, one, w, out=out[k])
    return out


def _to_input(g: Tensor, weight: Tensor, seeds: int) -> Tensor:
    """The gradient [S, N, B, in] of an input."""
    copies, rows, batch, _ = g.shape
    transposed = weight.transpose(2, 3)
    if weight.shape[1] == 1:
        d_x = torch.bmm(g.flatten(1, 2), transposed[:, 0])
    else:
        d_x = torch.bmm(g.flatten(0, 1), transposed.flatten(0, 1))
    d_x = d_x.view(seeds, copies // seeds, rows, batch, -1)
    return d_x[:, 0] if seeds == copies else d_x.sum(dim=1)


def to_weight(g: Tensor, x: Tensor, out: Tensor, do: Callable[..., None] = at_once) -> Tensor:
    """The gradient of a weight, into ``out`` of its shape."""
    copies, shared = len(g), out.shape[1] == 1
    if _plain(x, copies):
        a, b = (1, 2) if shared else (0, 1)
        do(torch.bmm, x.flatten(a, b).transpose(1, 2), g.flatten(a, b), out=out.flatten(0, 1))
        return out
    for k, part in enumerate(g):
        one = x[k * len(x) // copies]
        if not shared:
            do(torch.bmm, one.transpose(1, 2), part, out=out[k])
        elif one.is_contiguous():
            do(torch.mm, one.flatten(0, 1).T, part.flatten(0, 1), out=out[k, 0])
        else:
            # Observations come batch by batch: flattened in that order they are one matrix without a copy.
            columns = one.transpose(0, 1).flatten(0, 1)
            by_batch = part.new_empty(*one.shape[1::-1], part.shape[2])
            do(by_batch.copy_, part.transpose(0, 1))
            do(torch.mm, columns.T, by_batch.flatten(0, 1), out=out[k, 0])
    return out
