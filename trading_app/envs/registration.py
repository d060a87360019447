"""The door to Gymnasium: registration, `make_vec` and `PortfolioEnv`.

Gymnasium imports this module whenever it is imported itself, so it loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trading_app.envs.portfolio import PortfolioEnv as PortfolioEnv
    from trading_app.envs.vector import PortfolioVectorEnv as PortfolioVectorEnv

ENV_ID = "equitrade/Portfolio-v0"
_HOMES = {
    "PortfolioEnv": "trading_app.envs.portfolio",
    "PortfolioVectorEnv": "trading_app.envs.vector",
}

__all__ = ["ENV_ID", "PortfolioEnv", "PortfolioVectorEnv", "make_vec", "register"]


def register() -> None:
    """Register `equitrade/Portfolio-v0`; Gymnasium does this by itself through the installed entry point."""
    from gymnasium.envs.registration import register as register_env
    from gymnasium.envs.registration import registry

    if ENV_ID not in registry:
        register_env(
            id=ENV_ID,
            entry_point="trading_app.envs.portfolio:PortfolioEnv",
            vector_entry_point="trading_app.envs.vector:PortfolioVectorEnv",
        )


def make_vec(num_envs: int = 1, **options: Any) -> PortfolioVectorEnv:
    """Make the batched environment: many accounts stepped at once.

    Parameters
    ----------
    num_envs
        Number of accounts.
    options
        As of `PortfolioEnv`.
    """
    from trading_app.envs.vector import PortfolioVectorEnv

    return PortfolioVectorEnv(num_envs, **options)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'trading_app.envs.registration' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
