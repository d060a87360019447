"""Random numbers as a function of (seed, stream, step), without a generator state.

A run that is killed and resumed needs only its counters, and seed k draws alone what it draws in a batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Noise", "generators", "stream_seed"]

# Numbers a block holds for one seed: large enough that seeding a generator costs nothing a step.
BLOCK_NUMBERS = 1 << 16
BLOCK_STEPS = 4096

_Fill = Callable[[tuple[int, ...], torch.Generator, torch.device], Tensor]


def stream_seed(seed: int, *names: object) -> int:
    """Return the 63-bit generator seed of a named stream.

    Parameters
    ----------
    seed
        The seed of the run.
    names
        What the stream is for and which part of it; compared by their text.
    """
    text = "|".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generators(
    seeds: Sequence[int], stream: str, device: torch.device | str = "cpu"
) -> tuple[torch.Generator, ...]:
    """Return a freshly seeded generator for each seed, for numbers that are drawn once (initial weights)."""
    return tuple(torch.Generator(device=device).manual_seed(stream_seed(seed, stream)) for seed in seeds)


def _normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=generator, device=device)


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=device)


def _integers(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(0, 1 << 62, shape, generator=generator, device=device)


_FILLS: dict[str, _Fill] = {"normal": _normal, "uniform": _uniform, "integers": _integers}


class Noise:
    """Seeded streams of random numbers, addressed by stream name and step.

    Numbers are drawn in blocks of many steps from a generator seeded by a hash of (seed, stream, block),
    and the latest block of each stream is stored, so that steps in order cost a slice each. Results are
    views of that block: leave them unchanged.

    Parameters
    ----------
    seeds
        The S seeds; row k of every result depends on ``seeds[k]`` alone.
    device
        Device on which the numbers are drawn. Two devices give different numbers.

    Notes
    -----
    PyTorch's CPU generator uses 32 bits of its seed: among 100,000 blocks about one pair agrees.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.seeds = tuple(int(seed) for seed in seeds)
        self.device = torch.device(device)
        self._blocks: dict[tuple[str, str, tuple[int, ...]], tuple[int, Tensor]] = {}

    def normal(self, stream: str, step: int, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of one step, ``[S, *shape]`` float32."""
        return self._step("normal", stream, step, tuple(shape))

    def uniform(self, stream: str, step: int, shape: Sequence[int]) -> Tensor:
        """Numbers uniform on [0, 1) of one step, ``[S, *shape]`` float32."""
        return self._step("uniform", stream, step, tuple(shape))

    def integers(self, stream: str, step: int, shape: Sequence[int], high: int | None = None) -> Tensor:
        """Integers uniform on {0, …, high − 1} of one step, ``[S, *shape]`` int64.

        ``high`` may change from step to step; without it the numbers have 62 bits.
        """
        raw = self._step("integers", stream, step, tuple(shape))
        return raw if high is None else raw.remainder(high)

    def _step(self, kind: str, stream: str, step: int, shape: tuple[int, ...]) -> Tensor:
        steps = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // max(1, math.prod(shape))))
        index, offset = divmod(step, steps)
        key = (kind, stream, shape)
        block = self._blocks.get(key)
        if block is None or block[0] != index:
            block = (index, self._draw(kind, stream, index, (steps, *shape)))
            self._blocks[key] = block
        return block[1][offset]

    def _draw(self, kind: str, stream: str, index: int, shape: tuple[int, ...]) -> Tensor:
        parts = []
        for seed in self.seeds:
            generator = torch.Generator(device=self.device)
            generator.manual_seed(stream_seed(seed, kind, stream, shape, index))
            parts.append(_FILLS[kind](shape, generator, self.device))
        return torch.stack(parts, dim=1)
