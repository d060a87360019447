"""Small agents and batches for tests of gradients."""

from __future__ import annotations

from rl_core.config import SACConfig
from rl_core.experience.replay import Batch
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial

B = 16
KINDS = ["dense", "exact", "relaxed", "rpp", "augmented"]


def symmetries() -> dict[str, Symmetry]:
    c2, d2, d4 = cyclic(2), dihedral(2), dihedral(4)
    odd, plane, turned = sign(c2), standard(d2), standard(d4)
    return {
        "C2": Symmetry(c2, odd + odd + trivial(c2, 3), odd + odd),
        "D2": Symmetry(d2, plane + plane + trivial(d2, 2), plane),
        "D4": Symmetry(d4, turned + turned, turned),
        "rows": Symmetry(c2, odd + trivial(c2, 1), odd, rows=3),
    }


def make(kind: str, symmetry: Symmetry, seeds: tuple[int, ...] = (0, 1), **settings: object) -> SAC:
    config = {"agent": kind, "width": 16, "depth": 3, "batch_size": B, **settings}
    return SAC(symmetry, SACConfig.from_dict(config), seeds)


def batch(symmetry: Symmetry, seeds: tuple[int, ...], step: int, size: int = B) -> Batch:
    noise = Noise(seeds)
    rows = () if symmetry.rows is None else (symmetry.rows,)
    shape = (size, *rows, symmetry.observation.dimension)
    return Batch(
        noise.normal("observation", step, shape),
        noise.normal("action", step, (size, symmetry.action_size)).tanh(),
        noise.normal("reward", step, (size,)),
        noise.uniform("discount", step, (size,)),
        noise.normal("next", step, shape),
    )
