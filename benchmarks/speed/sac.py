"""SAC gradient updates a second on the CPU, side by side with Stable-Baselines3 and SBX (JAX).

Observation 17, action 6, two hidden layers of 256, batch 256, one update a step, sampling from the replay included.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import alternate, machine
from benchmarks.speed.gpu_sac import filled_replay, symmetry
from benchmarks.speed.sac_peers import ACTION, BATCH, OBSERVATION
from rl_core.config import SACConfig
from rl_core.learner import Learner
from rl_core.sac import SAC

app = typer.Typer(help=__doc__)

Take = Callable[[int], float]
"""Takes a number of updates and gives the seconds."""

OURS: dict[str, tuple[dict[str, Any], int]] = {
    "dense, 1 seed": ({"agent": "dense"}, 1),
    "dense, 5 seeds": ({"agent": "dense"}, 5),
    "dense, 1 seed, bfloat16": ({"agent": "dense", "matmul_dtype": "bfloat16"}, 1),
    "exact C2, 1 seed": ({"agent": "exact"}, 1),
    "relaxed C2, 1 seed": ({"agent": "relaxed"}, 1),
    "relaxed C2, 5 seeds": ({"agent": "relaxed"}, 5),
}

REACH = [
    ("dense, 1 seed", "sbx", 1.0),
    ("dense, 1 seed", "sb3", 1.6),
    ("dense, 5 seeds", "sbx", 1.3),
    ("dense, 5 seeds", "sb3", 2.2),
    ("dense, 1 seed, bfloat16", "sbx", 1.7),
    ("exact C2, 1 seed", "dense, 1 seed", 1.4),
    ("relaxed C2, 1 seed", "dense, 1 seed", 0.85),
]


class Peer:
    """A peer in a process of its own, which waits between its turns."""

    def __init__(self, python: Path, which: str, threads: int) -> None:
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("sac_peers.py")), which, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **limits, "JAX_PLATFORMS": "cpu"},
            text=True,
        )
        ready = self._answer()
        self.parameters: int | None = json.loads(ready)["parameters"] if ready.startswith("{") else None

    def take(self, updates: int) -> float:
        """Have it take updates."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{updates}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def our_updates(settings: dict[str, Any], seeds: int) -> tuple[Take, SAC]:
    """Our learner with a filled replay."""
    agent = SAC(symmetry(), SACConfig.from_dict({"batch_size": BATCH, **settings}), range(seeds))
    learner, replay = Learner(agent), filled_replay(seeds, "cpu")

    def take(updates: int) -> float:
        begun = time.perf_counter()
        for _ in range(updates):
            numbers = agent.noise.integers("replay", agent.updates, (BATCH,))
            learner.update(replay.sample(numbers))
        return time.perf_counter() - begun

    take(3)
    return take, agent


def action_milliseconds(seeds: int = 5, repeats: int = 500) -> float:
    """Median time of one action of a policy with some seeds, batch 1."""
    agent = SAC(symmetry(), SACConfig(agent="relaxed"), range(seeds))
    x = torch.randn(seeds, 1, OBSERVATION)
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        agent.act(x, deterministic=True)
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


@app.command()
def sac(
    peers_python: Annotated[
        Path | None, typer.Option(help="Python of the peers' environment (`make peers`).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 9,
    updates: Annotated[int, typer.Option(min=1, help="Agent-updates in a turn.")] = 40,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/sac.json"),
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """SAC gradient updates per second, against Stable-Baselines3 and SBX."""
    torch.set_num_threads(threads)
    contenders: dict[str, tuple[Take, int]] = {}
    peers = {} if peers_python is None else {w: Peer(peers_python, w, threads) for w in ("sb3", "sbx")}
    parameters: dict[str, int | None] = {name: peer.parameters for name, peer in peers.items()}
    for name, peer in list(peers.items()):
        if peer.parameters is None:
            typer.echo(f"{name} does not start in {peers_python}; it is left out", err=True)
        else:
            contenders[name] = (peer.take, 1)
    for name, (settings, seeds) in OURS.items():
        take, agent = our_updates(settings, seeds)
        contenders[name] = (take, seeds)
        parameters[name] = agent.actor.parameter_count() + 2 * agent.critic.parameter_count()
    ours = parameters["dense, 1 seed"]
    odd = [w for w in peers if parameters[w] not in (None, ours)]
    if odd:
        raise typer.BadParameter(
            f"{odd[0]} trains {parameters[odd[0]]} parameters, ours {ours}: not the same task"
        )
    counts = {name: max(1, updates // seeds) for name, (_, seeds) in contenders.items()}
    turns = {name: partial(take, counts[name]) for name, (take, _) in contenders.items()}
    rates = {
        name: [counts[name] * contenders[name][1] / value for value in seconds]
        for name, seconds in alternate(turns, repeats).items()
    }
    for peer in peers.values():
        peer.close()
    document = summary(rates, parameters, threads, updates)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(document) if as_json else table(document))


def summary(
    rates: dict[str, list[float]], parameters: dict[str, int | None], threads: int, updates: int
) -> dict[str, Any]:
    """Medians, and ratios taken turn by turn, since the contenders of a turn ran under the same load."""
    rows = [
        {
            "contender": name,
            "parameters_of_a_seed": parameters[name],
            "agent_updates_per_second": statistics.median(values),
            "lowest": min(values),
            "highest": max(values),
        }
        for name, values in rates.items()
    ]
    ratios = [
        {
            "contender": ours,
            "over": other,
            "ratio": statistics.median(a / b for a, b in zip(rates[ours], rates[other], strict=True)),
            "reach": reach,
        }
        for ours, other, reach in REACH
        if other in rates
    ]
    return {
        "table": "sac",
        "task": {"observation": OBSERVATION, "action": ACTION, "width": 256, "depth": 2, "batch": BATCH},
        "machine": machine(),
        "threads": threads,
        "repeats": len(next(iter(rates.values()))),
        "agent_updates_in_a_turn": updates,
        "rows": rows,
        "ratios": ratios,
        "action_of_5_seeds_p50_ms": action_milliseconds(),
    }


def table(document: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"{'contender':28}{'agent-updates/s':>16}{'lowest':>10}{'highest':>10}"]
    for row in document["rows"]:
        numbers = (row["agent_updates_per_second"], row["lowest"], row["highest"])
        lines.append(f"{row['contender']:28}{numbers[0]:16.1f}{numbers[1]:10.1f}{numbers[2]:10.1f}")
    lines.append("")
    for ratio in document["ratios"]:
        pair = f"{ratio['contender']} / {ratio['over']}"
        lines.append(f"{pair:48}{ratio['ratio']:6.2f}  (reach {ratio['reach']:.2f})")
    lines.append(f"one action of 5 seeds, p50: {document['action_of_5_seeds_p50_ms']:.2f} ms")
    return "\n".join(lines)
