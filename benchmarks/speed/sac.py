"""SAC gradient updates per second on the CPU, beside Stable-Baselines3, SBX (JAX) and our own code with autograd.

Observation 17, action 6, two hidden layers of 256, batch 256, one update a step, sampling from the replay included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import Peer, PeersOption, RepeatsOption, alternate, finish, gradient_difference, ratio
from benchmarks.linear_quadratic import ACTION, OBSERVATION, filled_replay, symmetry
from equitrade.console import JsonOption, say
from rl_core.config import SACConfig
from rl_core.sac import SAC

app = typer.Typer(help=__doc__)

Take = Callable[[int], float]
"""Takes a number of updates; returns the seconds."""

BATCH = 256

FORMS: dict[str, dict[str, Any]] = {
    "LN+SiLU": {"layer_norm": True, "activation": "silu"},
    "residual": {"residual": True},
}
"""Further forms of the hidden layers, each with fused gradients and with autograd."""

AGENTS = {"dense": "dense", "exact C2": "exact", "relaxed C2": "relaxed"}

OURS: dict[str, tuple[dict[str, Any], int]] = {
    "dense, 1 seed": ({"agent": "dense"}, 1),
    "dense, 1 seed, autograd": ({"agent": "dense", "gradient": "autograd"}, 1),
    "dense, 5 seeds": ({"agent": "dense"}, 5),
    "dense, 1 seed, bfloat16": ({"agent": "dense", "matmul_dtype": "bfloat16"}, 1),
    "exact C2, 1 seed": ({"agent": "exact"}, 1),
    "exact C2, 1 seed, autograd": ({"agent": "exact", "gradient": "autograd"}, 1),
    "relaxed C2, 1 seed": ({"agent": "relaxed"}, 1),
    "relaxed C2, 1 seed, autograd": ({"agent": "relaxed", "gradient": "autograd"}, 1),
    "relaxed C2, 1 seed, evidence": ({"agent": "relaxed", "relaxation": "evidence"}, 1),
    "relaxed C2, 5 seeds": ({"agent": "relaxed"}, 5),
    **{
        f"{label}, {form}{suffix}": ({"agent": agent, **settings, **gradient}, 1)
        for form, settings in FORMS.items()
        for label, agent in AGENTS.items()
        for suffix, gradient in (("", {}), (", autograd", {"gradient": "autograd"}))
    },
}

REACH = [
    ("dense, 1 seed", "sbx", 1.0),
    ("dense, 1 seed", "sb3", 1.6),
    ("dense, 5 seeds", "sbx", 1.3),
    ("dense, 5 seeds", "sb3", 2.2),
    ("dense, 1 seed, bfloat16", "sbx", 1.7),
    ("exact C2, 1 seed", "dense, 1 seed", 1.3),
    ("relaxed C2, 1 seed", "dense, 1 seed", 0.85),
    ("dense, LN+SiLU", "dense, 1 seed", 1 / 1.3),
    *((name, f"{name}, autograd", 1.25) for name in OURS if f"{name}, autograd" in OURS),
]


def start_peers(python: Path, threads: int) -> dict[str, tuple[Peer, int]]:
    """Start the peers that are installed; each with its number of parameters."""
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    script, found = Path(__file__).with_name("sac_peers.py"), {}
    for name in ("sb3", "sbx"):
        peer = Peer(python, script, (name, str(threads)), {**limits, "JAX_PLATFORMS": "cpu"})
        try:
            found[name] = (peer, int(peer.ask("parameters")))
        except RuntimeError as error:
            say(f"{name} is left out: {error}")
    return found


def our_updates(settings: dict[str, Any], seeds: int) -> tuple[Take, SAC]:
    """Return a function that takes updates from a filled replay, and the agent."""
    agent = SAC(
        symmetry(), SACConfig.from_dict({"preset": "paper", "batch_size": BATCH, **settings}), range(seeds)
    )
    replay = filled_replay(seeds, "cpu")

    def take(updates: int) -> float:
        begun = time.perf_counter()
        for _ in range(updates):
            numbers = agent.noise.integers("replay", agent.updates, (BATCH,))
            agent.update(replay.sample(numbers))
        return time.perf_counter() - begun

    take(3)
    difference = gradient_difference(agent, replay.sample(agent.noise.integers("check", 0, (BATCH,))))
    # bfloat16 keeps eight bits, so that its gradients are compared by learning curves (`bench precision`).
    if difference > 1e-4 and agent.config.matmul_dtype == "float32":
        raise RuntimeError(f"the gradients differ by {difference:.2e} of their size: not the same task")
    return take, agent


def action_milliseconds(seeds: int = 5, repeats: int = 500) -> float:
    """Return the median time of one action of a policy with several seeds, batch 1."""
    agent = SAC(symmetry(), SACConfig.preset("paper", "relaxed"), range(seeds))
    x = torch.randn(seeds, 1, OBSERVATION)
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        agent.act(x, deterministic=True)
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


@app.command()
def sac(
    peers_python: PeersOption = None,
    repeats: RepeatsOption = 9,
    updates: Annotated[int, typer.Option(min=1, help="Agent-updates in a timing.")] = 40,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each contender.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """SAC gradient updates per second, against Stable-Baselines3, SBX and autograd."""
    torch.set_num_threads(threads)
    contenders: dict[str, tuple[Take, int]] = {}
    parameters: dict[str, int] = {}
    peers = {} if peers_python is None else start_peers(peers_python, threads)
    for name, (peer, count) in peers.items():
        contenders[name], parameters[name] = (partial(_ask, peer), 1), count
    for name, (settings, seeds) in OURS.items():
        take, agent = our_updates(settings, seeds)
        contenders[name] = (take, seeds)
        parameters[name] = agent.actor.parameter_count() + 2 * agent.critic.parameter_count()
    ours = parameters["dense, 1 seed"]
    for name in peers:
        if parameters[name] != ours:
            raise RuntimeError(
                f"{name} trains {parameters[name]} parameters, equitrade {ours}: not the same task"
            )
    counts = {name: max(1, updates // seeds) for name, (_, seeds) in contenders.items()}
    turns = {name: partial(take, counts[name]) for name, (take, _) in contenders.items()}
    rates = {
        name: [counts[name] * contenders[name][1] / value for value in seconds]
        for name, seconds in alternate(turns, repeats).items()
    }
    for peer, _ in peers.values():
        peer.close()
    document = summary(rates, parameters, threads, updates)
    finish("sac", document, [table(document)], as_json=as_json)


def _ask(peer: Peer, updates: int) -> float:
    return float(peer.ask(str(updates)))


def summary(
    rates: dict[str, list[float]], parameters: dict[str, int], threads: int, updates: int
) -> dict[str, Any]:
    """Return medians, and medians of the ratios within a round, whose contenders ran under the same load."""
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
            "ratio": ratio(rates[ours], rates[other]),
            "reach": reach,
        }
        for ours, other, reach in REACH
        if other in rates
    ]
    return {
        "table": "sac",
        "task": {"observation": OBSERVATION, "action": ACTION, "width": 256, "depth": 2, "batch": BATCH},
        "threads": threads,
        "repeats": len(next(iter(rates.values()))),
        "agent_updates_in_a_turn": updates,
        "rows": rows,
        "ratios": ratios,
        "action_of_5_seeds_p50_ms": action_milliseconds(),
    }


def table(document: dict[str, Any]) -> str:
    """Return the result as a text table."""
    lines = [f"{'contender':28}{'agent-updates/s':>16}{'lowest':>10}{'highest':>10}"]
    for row in document["rows"]:
        numbers = (row["agent_updates_per_second"], row["lowest"], row["highest"])
        lines.append(f"{row['contender']:28}{numbers[0]:16.1f}{numbers[1]:10.1f}{numbers[2]:10.1f}")
    lines.append("")
    for row in document["ratios"]:
        pair = f"{row['contender']} / {row['over']}"
        lines.append(f"{pair:48}{row['ratio']:6.2f}  (reach {row['reach']:.2f})")
    lines.append(f"one action of 5 seeds, p50: {document['action_of_5_seeds_p50_ms']:.2f} ms")
    return "\n".join(lines)
