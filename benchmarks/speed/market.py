"""Steps per second of the portfolio environment on real prices of 20 assets, with random actions and costs.

``single`` is the Gymnasium environment, which hands out a window of features at each step. The batches step
with compact observations, as training stores them; beside each stands the same with its windows gathered.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from benchmarks.harness import Contender, Peer, PeersOption, RepeatsOption, alternate, finish, ratio, summary
from equitrade.console import JsonOption

if TYPE_CHECKING:
    from data.prices import Prices

app = typer.Typer(help=__doc__)
TARGETS = {"single": 12_000, "64": 250_000, "4096": 1_000_000}
# Steps of one measurement: about a third of a second each.
STEPS = {"single": 5_000, "64": 2_000, "64 with windows": 100, "4096": 100, "4096 with windows": 3}
PEER_STEPS = 3_000


def run(*, peers_python: Path | None = None, repeats: int = 7) -> dict[str, Any]:
    """Measure, with FinRL where the interpreter of an environment with it is given."""
    from data import load_prices

    prices = load_prices("sp500-20")
    contenders: dict[str, Contender] = {"single": _single(prices)}
    for accounts in (64, 4096):
        for windows in (False, True):
            name = f"{accounts} with windows" if windows else str(accounts)
            contenders[name] = _batched(prices, accounts, STEPS[name], windows=windows)
    payload: dict[str, Any] = {"assets": len(prices.symbols), "window": 32, "features": 8, "repeats": repeats}
    counts = {name: steps * _accounts(name) for name, steps in STEPS.items()}
    if peers_python is None:
        seconds = alternate(contenders, repeats)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prices.npz"
            _hand_over(path, prices)
            script = Path(__file__).with_name("market_peers.py")
            with Peer(peers_python, script, [str(path), str(PEER_STEPS)]) as peer:
                known = peer.ask("versions")
                payload["peers"], payload["absent_peers"] = known["found"], known["absent"]
                if known["found"]:
                    contenders["FinRL"], counts["FinRL"] = lambda: float(peer.ask("finrl")), PEER_STEPS
                seconds = alternate(contenders, repeats)
    payload["results"] = {
        name: {"steps_per_second": counts[name] / summary(taken)["median_s"], **summary(taken)}
        for name, taken in seconds.items()
    }
    if "FinRL" in seconds:
        rates = {name: [counts[name] / value for value in seconds[name]] for name in ("single", "FinRL")}
        payload["single_over_finrl"] = ratio(rates["single"], rates["FinRL"])
    payload["reached"] = {
        name: payload["results"][name]["steps_per_second"] >= goal for name, goal in TARGETS.items()
    }
    return payload


def _accounts(name: str) -> int:
    return 1 if name in ("single", "FinRL") else int(name.split(maxsplit=1)[0])


def _single(prices: Prices) -> Callable[[], float]:
    import numpy as np

    from trading_app.envs.portfolio import PortfolioEnv

    env = PortfolioEnv(prices)
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS["single"], len(prices.symbols)))
    actions = actions.astype(np.float32)
    env.reset(seed=0)

    def measure() -> float:
        began = time.perf_counter()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return time.perf_counter() - began

    return measure


def _batched(prices: Prices, accounts: int, steps: int, *, windows: bool) -> Callable[[], float]:
    import torch

    from trading_app.market.env import Market

    market = Market(prices, n_envs=accounts)
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand((16, 1, accounts, len(prices.symbols)), generator=generator) * 2 - 1
    market.encode(market.reset()[:, :1])

    def measure() -> float:
        began = time.perf_counter()
        for step in range(steps):
            observation = market.step(actions[step % len(actions)]).observation
            if windows:
                market.encode(observation)
        return time.perf_counter() - began

    return measure


def _hand_over(path: Path, prices: Prices) -> None:
    import numpy as np

    from data.features import compute_features

    table = compute_features(prices).values
    close = prices.adjusted("close").ffill().to_numpy()
    np.savez(path, close=close, features=table.reshape(len(table), -1))


@app.command()
def main(
    peers_python: PeersOption = None,
    repeats: RepeatsOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Measure, print a table and store it under benchmarks/results/market.json."""
    payload = run(peers_python=peers_python, repeats=repeats)
    finish("market", payload, _lines(payload), as_json=as_json)


def _lines(payload: dict[str, Any]) -> Iterator[str]:
    for name, reason in payload.get("absent_peers", {}).items():
        yield f"{name} is absent: {reason}"
    for name, result in payload["results"].items():
        goal = f"  (to reach: {TARGETS[name]:,})" if name in TARGETS else ""
        yield f"{name:>18}  {result['steps_per_second']:12,.0f} steps/s{goal}"
    if "single_over_finrl" in payload:
        yield f"one account, over FinRL's NumPy environment in the same run: {payload['single_over_finrl']:.2f}"
