"""Portfolios: markets to learn in, costs, backtests, baselines, evidence and reports."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trading_app.backtesting import baselines as baselines
    from trading_app.backtesting.backtest import backtest as backtest
    from trading_app.backtesting.results import BacktestResult as BacktestResult
    from trading_app.backtesting.results import BatchResult as BatchResult
    from trading_app.envs.registration import PortfolioEnv as PortfolioEnv
    from trading_app.envs.registration import make_vec as make_vec
    from trading_app.evaluation import metrics as metrics
    from trading_app.market.config import MarketConfig as MarketConfig
    from trading_app.market.costs import CostModel as CostModel
    from trading_app.market.env import Market as Market

# Name → module that holds it; a name that is a module itself stands for that module.
_HOMES = {
    "BacktestResult": "trading_app.backtesting.results",
    "BatchResult": "trading_app.backtesting.results",
    "CostModel": "trading_app.market.costs",
    "Market": "trading_app.market.env",
    "MarketConfig": "trading_app.market.config",
    "PortfolioEnv": "trading_app.envs.registration",
    "backtest": "trading_app.backtesting.backtest",
    "baselines": "trading_app.backtesting.baselines",
    "make_vec": "trading_app.envs.registration",
    "metrics": "trading_app.evaluation.metrics",
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
    """Keeps `trading_app.backtesting.backtest` the function, where importing the module of that name would bind that."""

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
