"""Registration with Gymnasium, and `make_vec`.

Gymnasium imports this module whenever it is imported itself, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trading_app.envs.vector import PortfolioVectorEnv

ENV_ID = "equitrade/Portfolio-v0"

__all__ = ["ENV_ID", "make_vec", "register"]


def register() -> None:
    """Register `equitrade/Portfolio-v0`; Gymnasium calls this through the installed entry point."""
    from gymnasium.envs.registration import register as register_env
    from gymnasium.envs.registration import registry

    if ENV_ID not in registry:
        register_env(
            id=ENV_ID,
            entry_point="trading_app.envs.portfolio:PortfolioEnv",
            vector_entry_point="trading_app.envs.vector:PortfolioVectorEnv",
        )


def make_vec(num_envs: int = 1, **options: Any) -> PortfolioVectorEnv:
    """Return the batched environment: many accounts in one step.

    Parameters
    ----------
    num_envs
        Number of accounts.
    options
        As of `trading_app.envs.portfolio.PortfolioEnv`.
    """
    from trading_app.envs.vector import PortfolioVectorEnv

    return PortfolioVectorEnv(num_envs, **options)
