"""Backtests by vectorbt and bt, run by the interpreter of the peers' environment; imports nothing of ours.

Arguments: an .npz with ``close`` [T, N], ``filled`` [T, N] (target fractions in force at each close, row 0
NaN), ``exact`` (the same after costs), ``rate`` and ``bt_days``. Questions: ``versions``, ``NAME`` (seconds
of one run), ``nav NAME`` and ``free NAME`` (net asset values with and without costs).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import import_module, metadata
from typing import Any

import numpy as np
import pandas as pd


def vectorbt_nav(close: pd.DataFrame, targets: pd.DataFrame, rate: float) -> np.ndarray:
    vbt = import_module("vectorbt")
    portfolio = vbt.Portfolio.from_orders(
        close,
        size=targets,
        size_type="targetpercent",
        fees=rate,
        init_cash=1e6,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1D",
    )
    return np.asarray(portfolio.value()) / 1e6


def bt_nav(close: pd.DataFrame, targets: pd.DataFrame, rate: float) -> np.ndarray:
    bt = import_module("bt")
    strategy = bt.Strategy("peer", [bt.algos.WeighTarget(targets.iloc[1:]), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy,
        close,
        initial_capital=1e6,
        commissions=lambda quantity, price: abs(quantity) * price * rate,
        integer_positions=False,
        progress_bar=False,
    )
    bt.run(test)
    # bt puts a day with nothing in front.
    return np.asarray(test.strategy.values)[1:] / 1e6


RUNNERS = {"vectorbt": vectorbt_nav, "bt": bt_nav}


def versions() -> dict[str, dict[str, str]]:
    """Versions of the peers that can be imported, and why the others cannot."""
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name in RUNNERS:
        try:
            import_module(name)
            found[name] = metadata.version(name)
        except Exception as error:  # a peer that breaks on import is absent, whatever it raises
            absent[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return {"found": found, "absent": absent}


def main() -> None:
    warnings.simplefilter("ignore")
    given = np.load(sys.argv[1], allow_pickle=False)
    dates = pd.bdate_range("1990-01-01", periods=len(given["close"]))
    columns = [f"S{i}" for i in range(given["close"].shape[1])]
    frames = {
        key: pd.DataFrame(given[key], index=dates, columns=columns) for key in ("close", "filled", "exact")
    }
    rate, days = float(given["rate"]), int(given["bt_days"])

    def answer(question: str) -> Any:
        if question == "versions":
            return versions()
        kind, _, name = question.rpartition(" ")
        size = days if name == "bt" else len(dates)
        close = frames["close"].iloc[:size]
        targets = frames["exact" if kind == "nav" and name == "vectorbt" else "filled"].iloc[:size]
        began = time.perf_counter()
        nav = RUNNERS[name](close, targets, 0.0 if kind == "free" else rate)
        taken = time.perf_counter() - began
        return nav.tolist() if kind else taken

    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line.strip())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
