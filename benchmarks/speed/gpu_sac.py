"""SAC on a GPU: graph and hand-derived steps equal autograd's, then agent-updates a second.

Run as ``python benchmarks/speed/gpu_sac.py --output FILE`` where PyTorch sees a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl_core.config import Agent, MatmulDtype, SACConfig
from rl_core.learner import Learner
from rl_core.random import Noise
from rl_core.replay import Batch, Replay
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign, trivial

OBSERVATION, ACTION, ODD = 17, 6, 9
KINDS: tuple[Agent, ...] = ("dense", "exact", "relaxed")
PRECISIONS: tuple[MatmulDtype, ...] = ("float32", "tf32", "bfloat16")
SEEDS = (1, 5, 64)
UPDATES_IN_GRAPH = 8


def symmetry() -> Symmetry:
    """C2, which negates 9 of 17 observed numbers and all 6 of the action."""
    group = cyclic(2)
    observation = trivial(group, OBSERVATION - ODD)
    for _ in range(ODD):
        observation = sign(group) + observation
    action = sign(group)
    for _ in range(ACTION - 1):
        action = action + sign(group)
    return Symmetry(group, observation, action)


def filled_replay(seeds: int, device: str, steps: int = 10_000) -> Replay:
    """A replay of made-up transitions."""
    noise = Noise(range(seeds), device)
    replay = Replay(noise.normal("observation", 0, (1, OBSERVATION)), ACTION, capacity=steps, gamma=0.99)
    false = torch.zeros(seeds, 1, dtype=torch.bool, device=device)
    for step in range(1, 1 + min(steps, 2000)):
        observation = noise.normal("observation", step, (1, OBSERVATION))
        action = noise.normal("action", step, (1, ACTION)).tanh()
        reward = noise.normal("reward", step, (1,))
        replay.add(action, observation, reward, false, false, observation)
    return replay


def check(
    kind: Agent, precision: MatmulDtype, device: str, seeds: int = 3, updates: int = 8
) -> dict[str, float]:
    """The largest difference of parameters from the readable update's after some updates, by way of stepping."""
    config = SACConfig(agent=kind, matmul_dtype=precision, device=device, gain_penalty=0.01)
    noise = Noise(range(seeds), device)
    batches = [_batch(noise, step, config.batch_size) for step in range(updates)]
    joined = Batch(*(torch.cat(parts, 1) for parts in zip(*batches, strict=True)))
    readable = SAC(symmetry(), config, range(seeds))
    for batch in batches:
        readable.update(batch)
    result = {}
    for name, count, graph in (("by_hand", 1, False), ("graph_1", 1, True), ("graph_all", updates, True)):
        agent = SAC(symmetry(), config.replace(cuda_graph=graph), range(seeds))
        learner = Learner(agent)
        for batch in batches if count == 1 else [joined]:
            learner.update(batch, count)
        difference = (agent.flat.values - readable.flat.values).abs().max()
        result[name] = float(difference / readable.flat.values.abs().max())
    return result


def measure(
    kind: Agent, precision: MatmulDtype, seeds: int, device: str, *, repeats: int, graph: bool
) -> dict[str, Any]:
    """Agent-updates a second, sampling from a replay on the device included."""
    config = SACConfig(agent=kind, matmul_dtype=precision, device=device, cuda_graph=graph)
    agent = SAC(symmetry(), config, range(seeds))
    learner, replay = Learner(agent), filled_replay(seeds, device)
    count = UPDATES_IN_GRAPH

    def step() -> None:
        numbers = agent.noise.integers("replay", agent.updates // count, (count * config.batch_size,))
        learner.update(replay.sample(numbers), count)

    for _ in range(3):
        step()
    calls = 20
    rates = []
    for _ in range(repeats):
        _wait(device)
        begun = time.perf_counter()
        for _ in range(calls):
            step()
        _wait(device)
        rates.append(calls * count * seeds / (time.perf_counter() - begun))
    return {
        "agent": kind,
        "precision": precision,
        "seeds": seeds,
        "graph": graph,
        "agent_updates_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
    }


def _batch(noise: Noise, step: int, size: int) -> Batch:
    def normal(name: str, *shape: int) -> Tensor:
        return noise.normal(name, step, (size, *shape))

    reward = normal("reward")
    return Batch(
        normal("observation", OBSERVATION),
        normal("action", ACTION).tanh(),
        reward,
        torch.full_like(reward, 0.99),
        normal("next", OBSERVATION),
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Check, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu_sac.json"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    arguments = parser.parse_args()
    device = arguments.device
    checks = {f"{k}/{p}": check(k, p, device) for k in KINDS for p in PRECISIONS}
    for name, differences in checks.items():
        print(name, {way: f"{value:.1e}" for way, value in differences.items()}, flush=True)
    wrong = [n for n, d in checks.items() if n.endswith("float32") and max(d.values()) > 1e-3]
    rows = []
    for seeds in arguments.seeds:
        for kind in KINDS:
            for precision in PRECISIONS:
                rows.append(measure(kind, precision, seeds, device, repeats=arguments.repeats, graph=True))
                print(rows[-1], flush=True)
        rows.append(measure("dense", "float32", seeds, device, repeats=arguments.repeats, graph=False))
        print(rows[-1], flush=True)
    cuda = device == "cuda"
    machine = {
        "device": torch.cuda.get_device_name() if cuda else platform.processor(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    document = {
        "table": "gpu_sac",
        "machine": machine,
        "updates_in_graph": UPDATES_IN_GRAPH,
        "relative_difference_from_readable_update": checks,
        "rows": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if wrong:
        raise SystemExit(f"these differ from the readable update: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
