"""Learning curves with products in bfloat16 beside those in float32, for the agent whose updates `sac` times.

The dense agent (observation 17, action 6, two hidden layers of 256, batch 256) learns to hold a linear system with
quadratic costs near the origin. The score is the saved share of the cost without control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.harness import SaveOption, finish
from benchmarks.linear_quadratic import ACTION, LENGTH, Regulator
from equitrade.console import JsonOption
from rl_core.config import MatmulDtype, SACConfig
from rl_core.sac import SAC
from rl_core.statistics import bootstrap_band, bootstrap_difference
from rl_core.training import train

app = typer.Typer(help=__doc__)

N_ENVS, EPISODES = 8, 64
SETTINGS: dict[str, Any] = {
    "agent": "dense",
    "gamma": 0.95,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "alpha_lr": 1e-3,
    "initial_alpha": 0.1,
    "learning_starts": 256,
    "capacity": 100_000,
}


def cost(agent: SAC | None, seeds: tuple[int, ...]) -> Tensor:
    """Return the mean cost [S] of a step over the same episodes for every seed; None takes the action 0."""
    env = Regulator((0,), EPISODES)
    x, total = env.reset(), torch.zeros(len(seeds))
    env.x = x = x.expand(len(seeds), -1, -1)
    for _ in range(LENGTH - 1):
        action = torch.zeros(*x.shape[:2], ACTION) if agent is None else agent.act(x, deterministic=True)
        x, reward, *_ = env.step(action)
        total -= reward.mean(1)
    return total / (LENGTH - 1)


def curves(matmul_dtype: MatmulDtype, seeds: tuple[int, ...], updates: int, every: int) -> dict[str, Any]:
    """Train all seeds at once; return the saved share of the cost [T, S] by the number of updates."""
    config = SACConfig.from_dict({**SETTINGS, "matmul_dtype": matmul_dtype})
    nothing = cost(None, seeds)
    taken: list[int] = []
    saved: list[list[float]] = []

    def evaluate(agent: SAC, step: int) -> dict[str, Tensor]:
        share = 1 - cost(agent, seeds) / nothing
        taken.append(agent.updates)
        saved.append(share.tolist())
        return {"share": share}

    steps = config.learning_starts // N_ENVS - 1 + updates
    env = Regulator(seeds, N_ENVS)
    result = train(env, config, seeds=seeds, steps=steps, evaluate=evaluate, evaluate_every=every)
    return {"updates": taken, "share": saved, "stopped": result.stopped}


def compare(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return interquartile means over seeds with 95 % intervals, and paired differences.

    Two equal curves from different random numbers agree in about five of six evaluations, in the sense that the mean of
    one lies in the interval of the other; the paired differences are the test.
    """
    shares = {name: np.array(run["share"]).T for name, run in runs.items()}
    bands = {
        name: bootstrap_band(values, generator=np.random.default_rng(0)) for name, values in shares.items()
    }
    full, rough = bands["float32"], bands["bfloat16"]
    inside = (rough.estimate >= full.low) & (rough.estimate <= full.high)
    differences = {}
    for name, part in (("at the end", slice(-1, None)), ("mean of the curve", slice(None))):
        pair = (shares["bfloat16"][:, part].mean(1), shares["float32"][:, part].mean(1))
        found = bootstrap_difference(*pair, generator=np.random.default_rng(0), paired=True)
        differences[name] = [found.estimate, found.low, found.high]
    return {
        "evaluations": len(inside),
        "inside": int(inside.sum()),
        "differences": differences,
        "curves": {
            name: {"estimate": b.estimate.tolist(), "low": b.low.tolist(), "high": b.high.tolist()}
            for name, b in bands.items()
        },
    }


@app.command()
def precision(
    seeds: Annotated[int, typer.Option(min=2, help="Seeds, from 0 on, trained together.")] = 10,
    updates: Annotated[int, typer.Option(min=1, help="Gradient updates.")] = 1500,
    every: Annotated[int, typer.Option(min=1, help="Updates between evaluations.")] = 100,
    as_json: JsonOption = False,
    save: SaveOption = True,
) -> None:
    """Learning curves with products in bfloat16 beside those in float32."""
    chosen = tuple(range(seeds))
    kinds: tuple[MatmulDtype, ...] = ("float32", "bfloat16")
    runs: dict[str, dict[str, Any]] = {name: curves(name, chosen, updates, every) for name in kinds}
    result = {
        "what": "share of the cost of doing nothing that the dense agent saves on a linear-quadratic regulator",
        "seeds": list(chosen),
        "settings": SETTINGS,
        "bfloat16_in_the_processor": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "runs": runs,
        **compare(runs),
    }
    finish("precision", result, _lines(result, updates), as_json=as_json, save=save)


def _lines(result: Mapping[str, Any], updates: int) -> Iterator[str]:
    for name, curve in result["curves"].items():
        estimate, low, high = (curve[part][-1] for part in ("estimate", "low", "high"))
        yield f"{name:9} {estimate:.4f} ({low:.4f} … {high:.4f}) after {updates} updates"
    yield f"bfloat16 inside float32's interval at {result['inside']} of {result['evaluations']} evaluations"
    for name, (estimate, low, high) in result["differences"].items():
        yield f"bfloat16 minus float32, {name}: {estimate:+.4f} ({low:+.4f} … {high:+.4f})"
