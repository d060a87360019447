"""Rules of accounts in a market: the transition of the portfolio MDP, in NumPy or in torch.

On a CPU NumPy steps small batches several times faster than torch, and a GPU needs torch, so this uses only
operators that both share; `trading_app.market.env`, `trading_app.market.transitions` and `trading_app.envs.portfolio`
step accounts with it, and `trading_app.backtesting.policies` fills the decisions of a policy.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trading_app.market.accounting import Array, advance, hold, positive, total
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import Decision, day_tables, decide, rows_of, table_rows
from trading_app.market.panel import TradingPanel
from trading_app.market.partial_fills import executed_weights
from trading_app.market.rewards import Rewards

if TYPE_CHECKING:
    from numpy.typing import NDArray

State = dict[str, Array]
"""Arrays of accounts of any leading shape by name.

``day``; ``age``, the steps since the start of the episode; ``weights`` at the close [..., N]; ``held``, the weights
just before the next fill [..., N]; ``value`` there; ``nav`` at the close; the moments of the reward, where it has any.
"""


class Fill(NamedTuple):
    """The fill after a decision.

    Attributes
    ----------
    day
        Day of the decision [...].
    target
        Weights right after the fill [..., N].
    kept
        Share of the account that its costs leave [...].
    held
        Weights just before it [..., N].
    """

    day: Array
    target: Array
    kept: Array
    held: Array


class Outcome(NamedTuple):
    """Outcome of a step: the state after it, and reward, terminated and truncated [...]."""

    state: State
    reward: Array
    terminated: Array
    truncated: Array
    fill: Fill


class AccountRules:
    """Transitions of accounts that trade one panel: functions of a state that leave it as it is.

    ``tables`` are rows for each day by name, as arrays of the backend.

    Parameters
    ----------
    panel, config, costs
        Prices, settings and the cost model.
    base
        Weights of a tilt's base at each close [T, N].
    benchmark
        Returns of the benchmark from fill to fill [T], and of its assets [T, N], where known; for the active reward.
    length
        Steps of an episode.
    backend
        The module ``numpy`` or ``torch``.
    options
        ``dtype`` and, for torch, ``device`` of what is created.
    """

    def __init__(
        self,
        panel: TradingPanel,
        config: MarketConfig,
        costs: CostModel,
        *,
        length: int,
        base: NDArray[np.float64] | None = None,
        benchmark: tuple[NDArray[np.float64], NDArray[np.float64] | None] | None = None,
        backend: ModuleType = np,
        **options: Any,
    ) -> None:
        self.config, self.length = config, length
        self._backend, self._options = backend, options
        self._costs, self._rewards = costs, Rewards(config)
        self._assets, self._at_close = len(panel.symbols), panel.at_close
        double = options.get("dtype") in (np.float64, getattr(backend, "float64", None))
        self._tolerance = 1e-13 if double else 1e-6
        # Where every asset goes to a target, its gross weight is known to be within the limit.
        plain = config.orders_everything and config.trading_speed == 1.0 and not config.limits.names
        self._gross = config.gross_bound if plain else None
        rows = panel.decision_rows(costs) | day_tables(panel, config, base, costs.capital)
        lending = costs.lending_rates(panel.dates)
        if lending is not None:
            rows["lending"] = np.append(lending, lending[-1])
        if benchmark is not None:
            parts = {"benchmark": benchmark[0], "benchmark_parts": benchmark[1]}
            rows |= {name: part for name, part in parts.items() if part is not None}
        self.tables = {name: backend.asarray(table, **options) for name, table in rows.items()}

    def start(self, days: Array) -> State:
        """Return new episodes, in cash, at the close of these days (integers, of the batch's shape)."""
        ones = self._backend.ones(days.shape, **self._options)
        nothing = self._backend.zeros((*days.shape, self._assets), **self._options)
        return {
            "day": days,
            "age": days * 0,
            "weights": nothing,
            "held": nothing,
            "value": ones * (1.0 + self._opening(days)),
            "nav": ones,
            **{name: ones * value for name, value in self._rewards.constants.items()},
        }

    def place(self, days: Array, weights: Array) -> State:
        """Return accounts with these weights at the close of these days, at least 1; for made transitions."""
        overnight = table_rows(self.tables["overnight"], days - 1)
        *_, growth, values = hold(weights, self._costs, None, overnight, self._lending(days))
        return {
            "day": days,
            "age": days * 0,
            "weights": weights,
            "held": values / positive(growth)[..., None],
            "value": growth,
            "nav": self._backend.ones(days.shape, **self._options),
        }

    def step(self, state: State, action: Array) -> Outcome:
        """Decide by actions in [−1, 1] [..., N], fill, hold to the next close."""
        rows = rows_of(self.tables, state["day"])
        return self.trade(state, decide(action, state["weights"], rows, self.config))

    def trade(self, state: State, decision: Decision) -> Outcome:
        """Fill a decision and hold to the next close."""
        tables, day = self.tables, state["day"]
        impact = table_rows(tables["impact"], day) if "impact" in tables else None
        target = self._executed(decision, state["held"], day, impact)
        session = advance(
            target,
            state["held"],
            self._costs,
            None if self._at_close else table_rows(tables["intraday"], day),
            table_rows(tables["overnight"], day),
            impact,
            self._lending(day + 1),
            gross=self._gross,
            tolerance=self._tolerance,
        )
        # Whether the account reaches this close, and whether it reaches the next fill, to which rewards extend.
        closing = session.kept > 0
        if not self._at_close:
            closing = closing & (session.close_growth > 0)
        alive = closing & (session.next_growth > 0)
        benchmark = table_rows(tables["benchmark"], day) if "benchmark" in tables else 0.0
        reward, moments = self._rewards(session.kept * session.next_growth, alive, state, benchmark)
        fill = Fill(day, target, session.kept, state["held"])
        if self.config.turnover_penalty:
            reward = reward - total(self._penalties(fill)) * self.config.reward_scale
        value = state["value"] * session.kept
        age = state["age"] + 1
        after = {
            "day": day + 1,
            "age": age,
            "weights": session.close_weights,
            "held": session.next_held,
            "value": value * session.next_growth,
            "nav": value * session.close_growth * closing,
            **moments,
        }
        return Outcome(after, reward, alive == 0, (age >= self.length) & alive, fill)

    def _lending(self, day: Array) -> Array | None:
        """Interest on positive cash over the night after these sessions [...]; None without dated rates."""
        return table_rows(self.tables["lending"], day) if "lending" in self.tables else None

    def _opening(self, days: Array) -> Array | float:
        """Interest on the cash of accounts that begin at the close of these days."""
        lending = self._lending(days)
        return self._costs.lending_rate if lending is None else lending

    def asset_returns(self, fill: Fill) -> Array:
        """Return each asset's part of the return from a fill to the next one [..., N].

        It is what the asset earned less its trading cost and borrow fee, in shares of the account before the fill. With
        the interest on cash, the parts sum to the return of the account.
        """
        day, target, kept, held = fill
        close = target if self._at_close else target * table_rows(self.tables["intraday"], day)
        change = abs(target * kept[..., None] - held)
        cost = change * self._costs.rate
        if "impact" in self.tables:
            cost = cost + table_rows(self.tables["impact"], day) * change**1.5
        gain = close * table_rows(self.tables["overnight"], day) - target
        borrow = (abs(close) - close) * (0.5 * self._costs.borrow_rate)
        return (gain - borrow) * kept[..., None] - cost

    def asset_rewards(self, fill: Fill) -> Array:
        """Return each asset's part of the reward [..., N].

        It is its part of the return, less that of the benchmark and the penalty of its turnover. Risk aversion,
        logarithm and interest are left out: what they add belongs to no asset.
        """
        parts = self.asset_returns(fill)
        if "benchmark_parts" in self.tables:
            parts = parts - table_rows(self.tables["benchmark_parts"], fill.day)
        if self.config.turnover_penalty:
            parts = parts - self._penalties(fill)
        return parts * self.config.reward_scale

    def _penalties(self, fill: Fill) -> Array:
        """Return the penalty of each asset's turnover [..., N], in units of return."""
        return abs(fill.target * fill.kept[..., None] - fill.held) * (0.5 * self.config.turnover_penalty)

    def _executed(self, decision: Decision, held: Array, day: Array, impact: Array | None) -> Array:
        """Weights that the fill after a decision reaches; the target where every asset has an order and trades."""
        target, trades = decision.target, decision.orders
        if "trades" in self.tables:
            closing = table_rows(self.tables["closing"], day)
            traded = table_rows(self.tables["trades"], day)
            trades = traded if trades is None else traded * (trades + closing > 0)
            whole = ((trades == 1) & (closing == 0)).all(-1)
            wanted = target * (1 - closing)
        elif trades is not None:
            whole, wanted = (trades == 1).all(-1), target
        else:
            return target
        if bool(whole.all()):
            return target
        executed = executed_weights(
            wanted,
            held,
            trades,
            self._costs.rate,
            self.config.gross_bound,
            impact,
            tolerance=self._tolerance,
        )
        return self._backend.where(whole[..., None], target, executed)

    def restart(self, state: State, done: Array, days: Array) -> State:
        """Return the state with new episodes at the close of these days where `done`."""
        fresh: dict[str, Any] = {
            "day": days,
            "value": 1.0 + self._opening(days),
            "nav": 1.0,
            **self._rewards.constants,
        }
        return {
            name: self._backend.where(
                done if value.ndim == done.ndim else done[..., None], fresh.get(name, 0), value
            )
            for name, value in state.items()
        }

    def observation(self, state: State) -> Array:
        """Compact observations: the day, then weights at its close [..., 1 + N]."""
        observation = self._backend.empty((*state["day"].shape, 1 + self._assets), **self._options)
        observation[..., 0] = state["day"]
        observation[..., 1:] = state["weights"]
        return observation
