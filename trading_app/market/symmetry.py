"""Symmetry of a portfolio market, declared from the parities of the parts of an observation."""

from __future__ import annotations

from collections.abc import Sequence

from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from rl_core.symmetry.representations import signed_permutation


def market_symmetry(parity: Sequence[int], assets: int, *, mirror: bool) -> Symmetry:
    """S_N on the N assets (rows) and, with `mirror`, Z2: returns and positions change sign together.

    `parity` is −1 or +1 for each input of an asset's row: its sign under the mirror. An asset's action, its
    position, is
    odd.
    """
    group = cyclic(2 if mirror else 1)
    size = len(parity)
    if not mirror:
        return Symmetry(group, trivial(group, size), trivial(group, 1), rows=assets)
    signs = [int(value) for value in parity]
    observation = signed_permutation(group, {1: (list(range(size)), signs)}, name="parity of the inputs")
    return Symmetry(group, observation, sign(group), rows=assets)
