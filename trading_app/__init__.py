"""Portfolios: markets to learn in, costs, backtests, baselines, evidence and reports."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trading_app import baselines as baselines
    from trading_app import metrics as metrics
    from trading_app.backtest import backtest as backtest
    from trading_app.backtest_results import BacktestResult as BacktestResult
    from trading_app.backtest_results import BatchResult as BatchResult
    from trading_app.costs import CostModel as CostModel
    from trading_app.gym_env import PortfolioEnv as PortfolioEnv
    from trading_app.gym_env import make_vec as make_vec
    from trading_app.market import Market as Market
    from trading_app.market_config import MarketConfig as MarketConfig

# Name → module that holds it; a name that is a module itself stands for that module.
_HOMES = {
    "BacktestResult": "trading_app.backtest_results",
    "BatchResult": "trading_app.backtest_results",
    "CostModel": "trading_app.costs",
    "Market": "trading_app.market",
    "MarketConfig": "trading_app.market_config",
    "PortfolioEnv": "trading_app.gym_env",
    "backtest": "trading_app.backtest",
    "baselines": "trading_app.baselines",
    "make_vec": "trading_app.gym_env",
    "metrics": "trading_app.metrics",
}
_MODULES = ("baselines", "metrics")

__all__ = [
    "BacktestResult",
    "BatchResult",
    "CostModel",
    "Market",
    "MarketConfig",
    "PortfolioEnv",
    "backtest",
    "baselines",
    "make_vec",
    "metrics",
]


class _Package(ModuleType):
    """Keeps `trading_app.backtest` the function, where importing the module of that name would bind that."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "backtest" and isinstance(value, ModuleType):
            value = value.backtest
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trading_app' has no attribute '{name}'")
    module = import_module(_HOMES[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
