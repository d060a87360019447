"""FinRL's published NumPy environment, run by the interpreter of the peers' environment.

It imports nothing of ours. Arguments: an .npz with ``close`` [T, N] and ``features`` [T, K], and the number of steps
of one run. Questions: ``versions`` and ``finrl`` (seconds of one run of random actions).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FILE = "meta/env_stock_trading/env_stocktrading_np.py"


def environment_module() -> ModuleType:
    """The module by its file alone: importing the package around it would import brokers' clients."""
    package = util.find_spec("finrl")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'finrl'")
    spec = util.spec_from_file_location("env_stocktrading_np", Path(package.origin).parent / FILE)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"finrl has no {FILE}")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def versions() -> dict[str, dict[str, str]]:
    """Version of FinRL, or why it cannot be imported."""
    try:
        environment_module()
    except Exception as error:  # a peer that breaks on import is absent, whatever it raises
        return {
            "found": {},
            "absent": {"finrl": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"},
        }
    return {"found": {"finrl": metadata.version("finrl")}, "absent": {}}


def main() -> None:
    warnings.simplefilter("ignore")
    given = np.load(sys.argv[1], allow_pickle=False)
    steps = int(sys.argv[2])
    environment: list[Any] = []

    def run() -> float:
        if not environment:
            config = {
                "price_array": given["close"].astype(np.float32),
                "tech_array": given["features"].astype(np.float32),
                "turbulence_array": np.zeros(len(given["close"]), dtype=np.float32),
                "if_train": True,
            }
            environment.append(environment_module().StockTradingEnv(config))
        env = environment[0]
        rng = np.random.default_rng(0)
        actions = rng.uniform(-1, 1, (steps, given["close"].shape[1])).astype(np.float32)
        env.reset()
        began = time.perf_counter()
        for action in actions:
            if env.step(action)[2]:
                env.reset()
        return time.perf_counter() - began

    for line in sys.stdin:
        question = line.strip()
        sys.stdout.write(json.dumps(versions() if question == "versions" else run()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
