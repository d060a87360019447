"""Share of the optimum on the planted market against gradient updates, for five agents.

``python -m benchmarks.learning.planted.run --device cuda --seeds 10 --out DIR`` needs torch, NumPy and safetensors
alone. Each cell (agent, market, settings) trains all its seeds at once and becomes one JSON file when it is
done, so that a run killed at any moment goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.learning.planted.cells import AGENTS, GROUPS, Cell, cells, decisive
from rl_core.networks.build import Network
from rl_core.sac import SAC
from rl_core.symmetry.measure import policy_errors, relaxation
from rl_core.training import train
from trading_app.synthetic.planted import PlantedMarket, PlantedScore

RESULTS = Path(__file__).resolve().parents[2] / "results" / "planted"
NOISE_LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
N_ENVS = 8


def run_cell(
    cell: Cell, seeds: Sequence[int], device: str = "cpu", *, cuda_graph: bool = True
) -> dict[str, Any]:
    """Train and score one cell.

    Parameters
    ----------
    cell
        What to train.
    seeds
        The S seeds, trained together.
    device
        Where.
    cuda_graph
        On CUDA, run an update as one graph.

    Returns
    -------
    dict
        The settings and, by ``updates``, the ``share`` of the optimum of each seed [T][S]; at the end the
        share under noise on observations, the relaxed weights' inequality by layer, and the policy's
        equivariance error.
    """
    config = cell.config(device).replace(cuda_graph=cuda_graph)
    env = PlantedMarket(
        cell.market, seeds=tuple(seeds), n_envs=N_ENVS, reward_scale=cell.reward_scale, device=device
    )
    score = PlantedScore(cell.market, episodes=64, periods=60, device=device)
    updates: list[int] = []
    shares: list[list[float]] = []

    def evaluate(agent: SAC, step: int) -> dict[str, Tensor]:
        share = score.share(lambda x: agent.act(x, deterministic=True), len(seeds))
        updates.append(agent.updates)
        shares.append(share.tolist())
        return {"share": share}

    # The first update follows the step that completes the random start.
    before = config.learning_starts // N_ENVS - 1
    every = 100 if cell.updates <= 5000 else 200
    started = time.perf_counter()
    result = train(
        env,
        config,
        seeds=tuple(seeds),
        steps=before + cell.updates,
        evaluate=evaluate,
        evaluate_every=every,
        log_every=1000,
    )
    return {
        "cell": cell.settings(),
        "seeds": list(seeds),
        "optimum": score.best.reward,
        "reward_gaps": cell.market.reward_gaps(),
        "updates": updates,
        "share": shares,
        "stopped": result.stopped,
        "seconds": time.perf_counter() - started,
        **_final(result.agent, score, len(seeds)),
        "machine": _machine(device),
    }


def _final(agent: SAC, score: PlantedScore, seeds: int) -> dict[str, Any]:
    """What is measured once, after training."""

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
        "relaxation": {name: _relaxation(network) for name, network in _networks(agent)},
    }


def _networks(agent: SAC) -> list[tuple[str, Network]]:
    return [("actor", agent.actor), ("critic", agent.critic)]


def _relaxation(network: Network) -> dict[str, dict[str, list[float]]]:
    gains = network.gains()
    found: dict[str, dict[str, list[float]]] = {"all": {}, "rows": {}, "group": {}}
    for over, layers in found.items():
        measured = relaxation(gains, over)  # type: ignore[arg-type]
        layers.update({layer: values.tolist() for layer, values in measured.items()})
    return found


def _machine(device: str) -> dict[str, str]:
    name = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else platform.processor() or platform.machine()
    )
    return {"device": name, "python": platform.python_version(), "torch": torch.__version__}


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
    """Run the cells that are not done yet, and give the files of all that are.

    Parameters
    ----------
    out
        Folder of the results, one JSON file a cell.
    device, seeds
        Where, and how many seeds each cell trains at once.
    groups, agents
        Which cells; see `benchmarks.learning.planted.cells`.
    budget
        Seconds after which no further cell is begun.
    workers, shard
        With several workers, this process takes every ``workers``-th cell from ``shard`` on.
    only
        Run only cells whose name holds one of these, where there are any.
    cuda_graph
        On CUDA, run an update as one graph.
    updates
        Cap on the updates of each cell, for a quick look.
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
        _write(path, record)
        done.append(path)
        last = sorted(record["share"][-1])
        print(f"{cell.name}: {record['seconds']:.0f} s, median share {last[len(last) // 2]:.3f}", flush=True)
    return done


def _is_done(path: Path, cell: Cell, seeds: int) -> bool:
    if not path.exists():
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    same = json.loads(json.dumps(cell.settings()))
    enough = len(record["seeds"]) >= seeds and record["cell"]["updates"] >= cell.updates
    return enough and decisive(record["cell"]) == decisive(same)


def _write(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=None, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def run_workers(workers: int, arguments: Sequence[str]) -> int:
    """Run the shards in processes side by side (a GPU holds several); give the first exit code that is not 0."""
    commands = [
        [sys.executable, "-m", "benchmarks.learning.planted.run", *arguments, "--shard", str(i)]
        for i in range(workers)
    ]
    running = [subprocess.Popen(command) for command in commands]
    return next((code for code in [process.wait() for process in running] if code), 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=list(AGENTS))
    parser.add_argument("--budget", type=float, help="seconds after which no further cell is begun")
    parser.add_argument("--updates", type=int, help="cap on the updates of each cell")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side")
    parser.add_argument("--shard", type=int, help="run this share of the cells only")
    parser.add_argument("--only", nargs="+", default=[], help="cells whose name holds one of these")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    if options.workers > 1 and options.shard is None:
        return run_workers(options.workers, given)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.workers))
    run(
        options.out,
        device=options.device,
        seeds=options.seeds,
        groups=options.groups,
        agents=options.agents,
        budget=options.budget,
        workers=options.workers,
        shard=options.shard or 0,
        only=options.only,
        cuda_graph=not options.eager,
        updates=options.updates,
    )
    return 0


def __getattr__(name: str) -> object:
    # The command needs Typer, which a GPU machine that only trains need not have.
    if name == "app":
        from benchmarks.learning.planted.cli import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    raise SystemExit(main())
