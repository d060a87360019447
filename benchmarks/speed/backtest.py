"""Backtest of a daily target-weight matrix on real prices, with costs: ours, vectorbt and bt.

First all are shown to compute the same net asset values. vectorbt sizes orders by the account before costs,
ours by the account after them: given the targets that the costs leave, its values must equal ours. bt takes
costs out of the amount it allocates, so it is compared without costs.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.harness import Peer, PeersOption, RepeatsOption, alternate, finish, summary
from equitrade.console import JsonOption

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from data.prices import Prices
    from trading_app.market.costs import CostModel

app = typer.Typer(help=__doc__)
TOLERANCE = 1e-9


def run(
    *, peers_python: Path | None = None, repeats: int = 7, strategies: int = 1000, bt_days: int = 2000
) -> dict[str, Any]:
    """Measure, with vectorbt and bt where the interpreter of an environment with them is given.

    bt needs seconds for as few sessions as `bt_days`.
    """
    from data import load_prices
    from trading_app.market.costs import CostModel

    prices = load_prices("sp500-20")
    costs = CostModel(commission_bps=1, half_spread_bps=2)
    weights = random_weights(prices)
    contenders = ours(prices, weights, costs)
    payload: dict[str, Any] = {
        "sessions": len(prices),
        "assets": len(prices.symbols),
        "costs_bps": 3,
        "repeats": repeats,
    }
    if peers_python is None:
        seconds = alternate(contenders, repeats)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "matrix.npz"
            _hand_over(path, prices, weights, costs, bt_days)
            with Peer(peers_python, Path(__file__).with_name("backtest_peers.py"), [str(path)]) as peer:
                known = peer.ask("versions")
                found = known["found"]
                payload["peers"], payload["absent_peers"] = found, known["absent"]
                payload["proof"] = _proof(peer, found, prices, weights, costs, bt_days)
                for name in found:
                    contenders[name] = lambda name=name: float(peer.ask(name))
                seconds = alternate(contenders, repeats)
    payload["results"] = {name: summary(values) for name, values in seconds.items()}
    if "vectorbt" in seconds:
        slow = statistics.median(seconds["vectorbt"])
        payload["times_faster_than_vectorbt"] = {
            name: slow / statistics.median(seconds[name]) for name in ("net asset values", "backtest()")
        }
    payload["strategies"] = strategies
    payload["results"][f"{strategies} strategies"] = _many(prices, weights, costs, strategies)
    return payload


def random_weights(prices: Prices) -> pd.DataFrame:
    """Daily long-only targets that hold 5 % cash, date × symbol."""
    import numpy as np
    import pandas as pd

    shares = np.random.default_rng(0).dirichlet(np.ones(len(prices.symbols)), size=len(prices))
    return pd.DataFrame(0.95 * shares, index=prices.dates, columns=list(prices.symbols))


def ours(prices: Prices, weights: pd.DataFrame, costs: CostModel) -> dict[str, Any]:
    """Our contenders: the arithmetic on arrays, and the public function with its frame of equity."""
    from trading_app.backtesting.backtest import backtest
    from trading_app.backtesting.engine import net_asset_values
    from trading_app.market.panel import trading_panel

    panel, targets = trading_panel(prices), weights.to_numpy()[None]

    def core() -> None:
        net_asset_values(panel, targets, costs)

    def whole() -> None:
        _ = backtest(prices, weights, costs=costs).equity

    return {"net asset values": core, "backtest()": whole}


def _many(prices: Prices, weights: pd.DataFrame, costs: CostModel, strategies: int) -> dict[str, float]:
    import numpy as np

    from trading_app.backtesting.backtest import backtest

    base = weights.to_numpy()
    batch = np.stack([np.roll(base, shift, axis=0) for shift in range(strategies)])
    seconds = alternate({"batch": lambda: _nothing(backtest(prices, batch, costs=costs))}, 3)
    return summary(seconds["batch"])


def _nothing(_: object) -> None:
    """Drop a result, so that a contender is timed by the clock."""


def _hand_over(path: Path, prices: Prices, weights: pd.DataFrame, costs: CostModel, bt_days: int) -> None:
    import numpy as np

    from trading_app.backtesting.ledger import ledger
    from trading_app.market.panel import trading_panel

    panel, targets = trading_panel(prices), weights.to_numpy()
    book = ledger(panel, targets, costs)
    nothing = np.full((1, targets.shape[1]), np.nan)
    np.savez(
        path,
        close=panel.close,
        filled=np.concatenate([nothing, targets[:-1]]),
        exact=np.concatenate([nothing, book.target * book.kept[:, None]]),
        rate=costs.rate,
        bt_days=bt_days,
    )


def _proof(
    peer: Peer,
    found: dict[str, str],
    prices: Prices,
    weights: pd.DataFrame,
    costs: CostModel,
    bt_days: int,
) -> dict[str, float]:
    """Largest relative difference of net asset values from ours.

    Raises `RuntimeError` if a peer computes something else.
    """
    import numpy as np

    from trading_app.backtesting.backtest import backtest
    from trading_app.market.costs import CostModel

    def difference(theirs: list[float], mine: NDArray[np.float64]) -> float:
        return float(np.abs(np.asarray(theirs) / mine[: len(theirs)] - 1).max())

    proof = {}
    if "vectorbt" in found:
        mine = backtest(prices, weights, costs=costs).nav
        proof["vectorbt, with costs"] = difference(peer.ask("nav vectorbt"), mine)
    if "bt" in found:
        mine = backtest(prices, weights, costs=CostModel.free()).nav
        proof[f"bt, {bt_days} sessions without costs"] = difference(peer.ask("free bt"), mine)
    for name, value in proof.items():
        if not value < TOLERANCE:
            raise RuntimeError(f"{name}: net asset values differ by {value:.2g}; nothing is raced")
    return proof


@app.command()
def main(
    peers_python: PeersOption = None,
    repeats: RepeatsOption = 7,
    strategies: Annotated[int, typer.Option(min=1, help="Strategies of the batch.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Measure, print a table and store it under benchmarks/results/backtest.json."""
    payload = run(peers_python=peers_python, repeats=repeats, strategies=strategies)
    finish("backtest", payload, _lines(payload), as_json=as_json)


def _lines(payload: dict[str, Any]) -> Iterator[str]:
    for name, reason in payload.get("absent_peers", {}).items():
        yield f"{name} is absent: {reason}"
    for name, value in payload.get("proof", {}).items():
        yield f"same net asset values: {name}, largest relative difference {value:.1e}"
    for name, taken in payload["results"].items():
        yield f"{name:>20}  {taken['median_s'] * 1e3:10.2f} ms  (from {taken['min_s'] * 1e3:.2f})"
    for name, ratio in payload.get("times_faster_than_vectorbt", {}).items():
        yield f"{name}: {ratio:.0f} times faster than vectorbt"
