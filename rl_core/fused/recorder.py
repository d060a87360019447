"""Calls on tensors that stay where they are, noted once and run again and again."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["Tape"]


class Tape:
    """A list of calls, each of which writes where it wrote the first time.

    A gradient step does the same arithmetic on the same shapes again and again. Noting it with every view and
    buffer made leaves a step nothing but its kernels, and on a GPU nothing but what a graph can capture.
    """

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._free: dict[tuple[torch.dtype, int], list[Tensor]] = {}

    def __call__(
        self, function: Callable[..., Tensor], *arguments: Any, out: Tensor | None = None, **options: Any
    ) -> Tensor:
        """Call a function that takes ``out`` now and in every run; give where its result lies.

        Parameters
        ----------
        function
            Its result without ``out`` must be memory of its own, no view of an argument.
        arguments, options
            The same at every run; tensors among them are read anew.
        out
            Where the result goes; without it, new memory.
        """
        result = function(*arguments, **options) if out is None else out
        self.do(function, *arguments, out=result, **options)
        return result

    def do(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Call anything now and in every run, for its effect."""
        call = partial(function, *arguments, **options)
        call()
        self._calls.append(call)

    @torch.inference_mode()
    def run(self) -> None:
        """Make all calls, in the order in which they were noted; autograd sees none of them."""
        for call in self._calls:
            call()

    def room(self, like: Tensor, *shape: int) -> Tensor:
        """Memory with arbitrary contents, if possible some that was freed, as that may still be in a cache."""
        free = self._free.get((like.dtype, math.prod(shape)))
        # Zeros at first, since products that ignore what they overwrite may yet fall over what is no number.
        return free.pop().view(shape) if free else like.new_zeros(shape)

    def free(self, room: Tensor) -> None:
        """Let later calls have the memory of a room whose last reader has been noted."""
        self._free.setdefault((room.dtype, room.numel()), []).append(room.view(-1))

    def cast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The same numbers in another precision; x itself where it has that already."""
        if x.dtype == dtype:
            return x
        room = torch.empty_like(x, dtype=dtype)
        self.do(room.copy_, x)
        return room

    def total(self, x: Tensor, dim: int | tuple[int, ...], out: Tensor | None = None) -> Tensor:
        """The sum over some dimensions."""
        return self(torch.sum, x, dim, out=out)

    def rectified_sum(self, a: Tensor, b: Tensor, sign: float, out: Tensor) -> Tensor:
        """max(a + sign · b, 0), on a CPU in one pass over memory."""
        if out.dtype == torch.float32 and out.device.type == "cpu" and hasattr(torch, "_add_relu"):
            return self(torch._add_relu, a, b, alpha=sign, out=out)
        self(torch.add, a, b, alpha=sign, out=out)
        self.do(out.clamp_min_, 0)
        return out
