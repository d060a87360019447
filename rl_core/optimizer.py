"""Parameters of many layers in one buffer, so that the optimiser and the target are a few operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["FlatAdam", "FlatParameters"]

# Every tensor starts on a multiple of this many numbers, as matrix products like it.
ALIGNMENT = 16
# Steps between looks for averages that have all but vanished, and what has: from there to numbers that processors
# are slow with (below 1e-38) it takes Adam's averages longer than that, and what it adds to a parameter is nothing.
SWEEP = 100
VANISHED = 1e-30


class FlatParameters:
    """Move parameters into one buffer, and their gradients into another.

    The parameters stay what they were to their modules: each becomes a view. Parameters of one learning rate
    lie side by side, so that Adam updates each learning rate's in one operation.

    Parameters
    ----------
    groups
        Pairs of learning rate and parameters. The order of the buffer is that of the groups; neighbours of
        equal rate are joined.
    """

    def __init__(self, groups: Sequence[tuple[float, Iterable[nn.Parameter]]]) -> None:
        listed = [(rate, list(parameters)) for rate, parameters in groups]
        everything = [p for _, parameters in listed for p in parameters]
        sizes = [_padded(p) for p in everything]
        self.values = torch.zeros(sum(sizes), dtype=everything[0].dtype, device=everything[0].device)
        self.gradients = torch.zeros_like(self.values)
        self.places: dict[int, int] = {}
        bounds: list[tuple[float, int, int]] = []
        start = 0
        for rate, parameters in listed:
            first = start
            for parameter in parameters:
                self._move(parameter, start)
                start += _padded(parameter)
            if bounds and bounds[-1][0] == rate:
                first = bounds.pop()[1]
            if start > first:
                bounds.append((rate, first, start))
        self.leaves: list[tuple[float, nn.Parameter]] = []
        for rate, first, stop in bounds:
            leaf = nn.Parameter(self.values[first:stop])
            leaf.grad = self.gradients[first:stop]
            self.leaves.append((rate, leaf))

    def adam(self) -> FlatAdam:
        """Adam over the whole buffer, one operation for each learning rate."""
        return FlatAdam(self.leaves)

    def span(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return the part of the buffer of exactly these parameters, which must be neighbours."""
        listed = list(parameters)
        start = min(self.places[id(p)] for p in listed)
        stop = max(self.places[id(p)] + _padded(p) for p in listed)
        if stop - start != sum(_padded(p) for p in listed):
            raise ValueError("the parameters do not lie side by side")
        return self.values[start:stop]

    def _move(self, parameter: nn.Parameter, start: int) -> None:
        self.places[id(parameter)] = start
        stop = start + parameter.numel()
        self.values[start:stop] = parameter.detach().flatten()
        parameter.data = self.values[start:stop].view(parameter.shape)
        parameter.grad = self.gradients[start:stop].view(parameter.shape)


class FlatAdam:
    """Adam (Kingma & Ba 2015) with the defaults and the kernel of `torch.optim.Adam`, called without its detours.

    These take as long as the kernel itself where the parameters are few.

    Parameters
    ----------
    leaves
        Pairs of learning rate and parameter. Neither the parameters nor their gradients may move.

    Attributes
    ----------
    state
        Of each parameter the steps and both averages, named as PyTorch names them; their addresses never change.
    """

    def __init__(self, leaves: Sequence[tuple[float, nn.Parameter]]) -> None:
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}
        self._steps: list[Callable[[], object]] = []
        # Tensors, so that a CUDA graph reads the rates anew.
        self._rates: list[tuple[float, Tensor]] = []
        self._swept: list[Tensor] = []
        for rate, leaf in leaves:
            assert leaf.grad is not None
            averages = {
                "step": torch.zeros((), device=leaf.device),
                "exp_avg": torch.zeros_like(leaf),
                "exp_avg_sq": torch.zeros_like(leaf),
            }
            self.state[leaf] = averages
            step, first, second = averages.values()
            # The kernel reads a double on CPUs and a float elsewhere.
            dtype = torch.float64 if leaf.device.type == "cpu" else torch.float32
            lr = torch.tensor(rate, dtype=dtype, device=leaf.device)
            self._rates.append((rate, lr))
            settings = {"lr": lr, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
            kernel = partial(torch._fused_adam_, **settings, amsgrad=False, maximize=False)
            lists = ([x] for x in (leaf.detach(), leaf.grad, first, second))
            self._steps += [partial(step.add_, 1), partial(kernel, *lists, [], [step])]
            if leaf.device.type == "cpu":
                self._swept += [first, second]
                self._count = step  # that of all leaves

    def scale(self, factor: float) -> None:
        """Set the learning rates to this multiple of those given at first."""
        for rate, lr in self._rates:
            lr.fill_(rate * factor)

    @torch.no_grad()
    def step(self) -> None:
        """Step along the gradients."""
        for step in self._steps:
            step()
        if self._swept and int(self._count) % SWEEP == 0:
            for average in self._swept:
                average.mul_(average.abs() > VANISHED)


def _padded(parameter: Tensor) -> int:
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
