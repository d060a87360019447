"""Recorder of calls on tensors with fixed addresses, which are recorded once and run many times."""

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

    A gradient step does the same arithmetic on the same shapes many times. Recorded with its views and buffers, a
    step is only its kernels, which on a GPU a graph can capture.
    """

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._free: dict[tuple[torch.dtype, int], list[Tensor]] = {}

    def __call__(
        self, function: Callable[..., Tensor], *arguments: Any, out: Tensor | None = None, **options: Any
    ) -> Tensor:
        """Call a function that takes ``out`` now and in every run; return the tensor of its result.

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
        """Make all calls, in the order in which they were recorded; autograd records none of them."""
        for call in self._calls:
            call()

    def buffer(self, like: Tensor, *shape: int) -> Tensor:
        """Return memory with arbitrary contents, if possible some that was freed, as that may still be in a cache."""
        free = self._free.get((like.dtype, math.prod(shape)))
        # Zero-initialised: a GEMM with beta = 0 still propagates NaN from uninitialised memory.
        return free.pop().view(shape) if free else like.new_zeros(shape)

    def free(self, buffer: Tensor) -> None:
        """Let later calls use the memory of a buffer whose last reader has been recorded."""
        self._free.setdefault((buffer.dtype, buffer.numel()), []).append(buffer.view(-1))

    def cast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The same numbers in another precision; x itself where it has that already."""
        if x.dtype == dtype:
            return x
        buffer = torch.empty_like(x, dtype=dtype)
        self.do(buffer.copy_, x)
        return buffer

    def total(self, x: Tensor, dim: int | tuple[int, ...], out: Tensor | None = None) -> Tensor:
        """The sum over some dimensions."""
        return self(torch.sum, x, dim, out=out)
