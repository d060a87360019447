from .backtesting import baselines as baselines
from .backtesting.backtest import backtest as backtest
from .backtesting.results import BacktestResult as BacktestResult
from .backtesting.results import BatchResult as BatchResult
from .envs.portfolio import PortfolioEnv as PortfolioEnv
from .envs.registration import make_vec as make_vec
from .evaluation import metrics as metrics
from .market.config import MarketConfig as MarketConfig
from .market.costs import CostModel as CostModel
from .market.env import Market as Market

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
