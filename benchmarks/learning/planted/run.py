"""Training and scoring of the planted benchmark's cells."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import machine
from benchmarks.learning.planted.cells import AGENTS, GROUPS, Cell, cells, decisive
from benchmarks.learning.scoring import EPISODES, PERIODS, train_and_score
from equitrade.atomic import atomic_write
from equitrade.console import say
from rl_core.networks.base import Network
from rl_core.sac import SAC
from rl_core.symmetry.measure import policy_errors, relaxation
from trading_app.synthetic.planted import PlantedMarket
from trading_app.synthetic.planted_score import PlantedScore

RESULTS = Path(__file__).resolve().parents[2] / "results" / "planted"
NOISE_LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
N_ENVS = 8


def run_cell(
    cell: Cell, seeds: Sequence[int], device: str = "cpu", *, cuda_graph: bool = True
) -> dict[str, Any]:
    """Train S seeds of a cell together and score them.

    Returns the settings and, by ``updates``, the ``share`` of the optimum of each seed [T][S]; at the end the share
    under noise on observations, the relaxed weights' inequality by layer, and the policy's equivariance error.
    """
    config = cell.config(device).replace(cuda_graph=cuda_graph)
    env = PlantedMarket(
        cell.market, seeds=tuple(seeds), n_envs=N_ENVS, reward_scale=cell.reward_scale, device=device
    )
    score = PlantedScore(cell.market, episodes=EPISODES, periods=PERIODS, device=device)
    # The first update follows the step that completes the random start.
    before = config.learning_starts // N_ENVS - 1
    every = 100 if cell.updates <= 5000 else 200
    started = time.perf_counter()
    steps = before + cell.updates
    trained = train_and_score(env, score, config, seeds, steps=steps, every=every, log_every=1000)
    return {
        "cell": cell.settings(),
        "seeds": list(seeds),
        "optimum": score.best.reward,
        "reward_gaps": cell.market.reward_gaps(),
        "updates": list(trained.curve),
        "share": list(trained.curve.values()),
        "stopped": trained.result.stopped,
        "seconds": time.perf_counter() - started,
        **_final(trained.result.agent, score, len(seeds)),
        "machine": machine(),
    }


def _final(agent: SAC, score: PlantedScore, seeds: int) -> dict[str, Any]:
    """Return the measurements after training."""

    def policy(x: Tensor) -> Tensor:
        return agent.act(x, deterministic=True)

    wide = PlantedScore(score.config, episodes=128, periods=60, device=score.device)
    noise = {
        str(level): wide.share(policy, seeds, observation_noise=level).tolist() for level in NOISE_LEVELS
    }
    deviation = torch.as_tensor(score.best.moments()[1], dtype=torch.float32, device=score.device)
    states = torch.stack([score.signals[-1], deviation * score.signals[0]], dim=-1)
    errors = policy_errors(
        policy, agent.symmetry, states.expand(seeds, -1, -1, -1), torch.Generator().manual_seed(0)
    )
    return {
        "noise": noise,
        "policy_error": {name: (e.mean / e.scale).tolist() for name, e in errors.items()},
        "relaxation": {"actor": _relaxation(agent.actor), "critic": _relaxation(agent.critic)},
    }


def _relaxation(network: Network) -> dict[str, dict[str, list[float]]]:
    gains = network.relaxed_weights()
    found: dict[str, dict[str, list[float]]] = {"all": {}, "rows": {}, "group": {}}
    for over, layers in found.items():
        measured = relaxation(gains, over)  # type: ignore[arg-type]
        layers.update({layer: values.tolist() for layer, values in measured.items()})
    return found


def run(
    out: Path = RESULTS,
    *,
    device: str = "cpu",
    seeds: int = 10,
    groups: Sequence[str] = GROUPS,
    agents: Sequence[str] = AGENTS,
    budget: float | None = None,
    workers: int = 1,
    shard: int = 0,
    only: Sequence[str] = (),
    cuda_graph: bool = True,
    updates: int | None = None,
) -> list[Path]:
    """Run the cells that are not done yet; return the files of all finished cells.

    The arguments are the options of the command (`benchmarks.learning.planted.cli`). With several workers, this process
    takes every ``workers``-th cell from ``shard`` on.
    """
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    done: list[Path] = []
    todo = cells(tuple(groups), tuple(agents))
    if only:
        todo = [cell for cell in todo if any(part in cell.name for part in only)]
    if updates is not None:
        todo = [Cell(**{**vars(c), "updates": min(updates, c.updates)}) for c in todo]
    for cell in todo[shard::workers]:
        path = out / f"{cell.name}.json"
        if _is_done(path, cell, seeds):
            done.append(path)
            continue
        if budget is not None and time.perf_counter() - started > budget:
            break
        those = range(cell.first_seed, cell.first_seed + seeds)
        record = run_cell(cell, those, device, cuda_graph=cuda_graph)
        atomic_write(path, json.dumps(record, separators=(",", ":")))
        done.append(path)
        last = sorted(record["share"][-1])
        say(f"{cell.name}: {record['seconds']:.0f} s, median share {last[len(last) // 2]:.3f}")
    return done


def _is_done(path: Path, cell: Cell, seeds: int) -> bool:
    if not path.exists():
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    same = json.loads(json.dumps(cell.settings()))
    enough = len(record["seeds"]) >= seeds and record["cell"]["updates"] >= cell.updates
    return enough and decisive(record["cell"]) == decisive(same)
