"""SAC agent-updates per second on a GPU, after a check that all contenders compute the same update.

Run as ``python -P -m benchmarks.speed.gpu_sac`` on a machine with a CUDA device.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.harness import RepeatsOption, write
from benchmarks.linear_quadratic import ACTION, OBSERVATION, filled_replay, symmetry
from equitrade.console import say
from rl_core.config import MatmulDtype, SACConfig
from rl_core.experience.replay import Batch
from rl_core.random import Noise
from rl_core.sac import SAC

KINDS = ("dense", "exact", "relaxed")
PRECISIONS: tuple[MatmulDtype, ...] = ("float32", "tf32", "bfloat16")
SEEDS = (1, 5, 64)
UPDATES_IN_GRAPH = 8

app = typer.Typer(help=__doc__)


def check(
    kind: str, precision: MatmulDtype, device: str, seeds: int = 3, updates: int = 8
) -> dict[str, float]:
    """The largest difference of parameters from the readable update's after some updates, by way of stepping."""
    changes = {"matmul_dtype": precision, "device": device, "relaxed_penalty": 0.01}
    config = SACConfig.preset("paper", kind).replace(**changes)
    noise = Noise(range(seeds), device)
    batches = [_batch(noise, step, config.batch_size) for step in range(updates)]
    joined = Batch(*(torch.cat(parts, 1) for parts in zip(*batches, strict=True)))
    readable = SAC(symmetry(), config.replace(gradient="autograd", cuda_graph=False), range(seeds))
    for batch in batches:
        readable.update(batch)
    result = {}
    for name, count, graph in (("fused", 1, False), ("graph_1", 1, True), ("graph_all", updates, True)):
        agent = SAC(symmetry(), config.replace(cuda_graph=graph), range(seeds))
        for batch in batches if count == 1 else [joined]:
            agent.update(batch, count)
        difference = (agent.flat.values - readable.flat.values).abs().max()
        result[name] = float(difference / readable.flat.values.abs().max())
    return result


def measure(
    kind: str, precision: MatmulDtype, seeds: int, device: str, *, repeats: int, graph: bool
) -> dict[str, Any]:
    """Agent-updates a second, sampling from a replay on the device included."""
    config = SACConfig.preset("paper", kind).replace(matmul_dtype=precision, device=device, cuda_graph=graph)
    agent = SAC(symmetry(), config, range(seeds))
    replay = filled_replay(seeds, device)
    count = UPDATES_IN_GRAPH

    def step() -> None:
        numbers = agent.noise.integers("replay", agent.updates // count, (count * config.batch_size,))
        agent.update(replay.sample(numbers), count)

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


@app.command()
def main(
    device: Annotated[str, typer.Option(help="cuda; cpu only to try the command.")] = "cuda",
    repeats: RepeatsOption = 5,
    seeds: Annotated[list[int] | None, typer.Option(help="Number of seeds; repeat.")] = None,
) -> None:
    """Compare the updates, time them, and store the table under benchmarks/results/gpu_sac.json."""
    checks = {f"{k}/{p}": check(k, p, device) for k in KINDS for p in PRECISIONS}
    for name, differences in checks.items():
        say(f"{name}: " + ", ".join(f"{way} {value:.1e}" for way, value in differences.items()))
    wrong = [n for n, d in checks.items() if n.endswith("float32") and max(d.values()) > 1e-3]
    rows = []
    for count in seeds or SEEDS:
        cells = [(kind, precision, True) for kind in KINDS for precision in PRECISIONS]
        for kind, precision, graph in [*cells, ("dense", "float32", False)]:
            rows.append(measure(kind, precision, count, device, repeats=repeats, graph=graph))
            print(rows[-1], flush=True)
    path = write(
        "gpu_sac",
        {
            "table": "gpu_sac",
            "updates_in_graph": UPDATES_IN_GRAPH,
            "relative_difference_from_readable_update": checks,
            "rows": rows,
        },
    )
    print(path)
    if wrong:
        raise RuntimeError(f"these differ from the readable update: {', '.join(wrong)}")


if __name__ == "__main__":
    app()
