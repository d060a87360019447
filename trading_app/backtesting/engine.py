"""Fast forms of the ledger: net asset values of many strategies at once.

`trading_app.backtesting.ledger` is the definition of a net asset value; tests compare the forms here with it. The
account between two fills depends on the target of the first one alone (`trading_app.market.accounting`), so all fills
are computed at once and the value of an account is a cumulative product. There are two forms: for strategies that
trade on every session (in blocks that fit the processor's cache) and for those that trade on some. Only cash between
two fills that are several sessions apart can need a recursion.

Shapes: K strategies, T sessions, N assets; D = T − 1 sessions with a fill or the drift after one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from trading_app.backtesting.blocks import Block, Workspace, blocks
from trading_app.backtesting.ledger import cash_path, end_at_ruin, last_fill, ledger
from trading_app.market.accounting import Rates, hold, positive, solve_fill, total
from trading_app.market.costs import CostModel
from trading_app.market.panel import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trading_app.market.panel import TradingPanel

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


def net_asset_values(
    panel: TradingPanel, targets: Floats, costs: CostModel, *, threads: int | None = None
) -> Floats:
    """Return the value of K accounts at each close [K, T].

    Parameters
    ----------
    panel
        Prices to trade on, T sessions.
    targets
        Target weights decided at each close [K, T, N]; a row of NaN is no trade.
    costs
        The cost model.
    threads
        Strategies computed in parallel; by default as many as there are processors.
    """
    strategies, sessions, assets = targets.shape
    rates, cuts = Rates.of(costs), blocks(panel, costs)
    nav = np.empty((strategies, sessions))

    def compute(first: int) -> None:
        work = Workspace(max(block.height for block in cuts), assets)
        for k in range(first, strategies, workers):
            daily = _daily_trading(targets[k], cuts, rates, work)
            nav[k] = _occasional_trading(panel, targets[k], costs) if daily is None else daily

    workers = min(strategies, threads or processors())
    if workers <= 1:
        compute(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(compute, range(workers)))
    return nav


def _daily_trading(target: Floats, cuts: list[Block], rates: Rates, work: Workspace) -> Floats | None:
    """Return the value of an account [T] that trades on every session; None if it does not. target [T, N]."""
    sessions, assets = target.shape
    # For μ, and the growth to the close and to the next fill.
    growth = np.empty((3, cuts[-1].rows.start + cuts[-1].height))
    held = np.zeros(assets)
    for block in cuts:
        wanted, scratch = work.target(target, block), work.scratch(block.height)
        gross = total(np.abs(wanted, out=scratch))
        # A sum is NaN if any of its terms is.
        if not np.isfinite(gross).all():
            return None
        closing, _, next_growth, leaving = hold(
            wanted, rates, block.intraday, block.overnight, gross, out=work.values(block.height)
        )
        account = positive(next_growth)
        pre_trade = work.pre_trade(held, leaving, account)
        held = leaving[-1] / account[-1]
        kept = solve_fill(wanted, pre_trade, rates.trade, block.impact, gross=gross, scratch=scratch)
        growth[:, block.rows.start : block.rows.start + block.height] = kept, closing, next_growth
    kept, close, following = growth[:, : sessions - 1]
    # The first session's cash earns interest over the night before it.
    opening = np.concatenate([[1.0 + rates.lending], following[:-1]])
    nav = np.concatenate([[1.0], np.cumprod(opening * kept) * close])
    return end_at_ruin(nav, (opening <= 0) | (kept <= 0) | (close <= 0))


def _occasional_trading(panel: TradingPanel, target: Floats, costs: CostModel) -> Floats:
    """Return the value of an account [T] that does not trade on every session; target [T, N]."""
    filled = np.isfinite(total(target[:-1]))
    if filled.any():
        return _some_sessions(panel, target, filled, Rates.of(costs), panel.impact(costs))
    return ledger(panel, target, costs).nav


def _some_sessions(
    panel: TradingPanel, target: Floats, filled: Flags, rates: Rates, impact: Floats | None
) -> Floats:
    """Return the value of an account [T] that trades on some sessions (filled [D])."""
    fills = np.flatnonzero(filled)
    wanted = target[fills]
    units = ratio(wanted, panel.price[fills + 1])
    # One leading row of zeros: no positions before the first fill.
    lengths = np.diff(np.concatenate([[0], fills, [len(filled)]]))
    units = np.concatenate([np.zeros_like(units[:1]), units])
    held = np.repeat(units, lengths, axis=0)
    positions = np.einsum("tn,tn->t", held, panel.close[1:])
    shorts = np.zeros(len(filled))
    if rates.borrow and units.min() < 0:
        shorts = np.einsum("tn,tn->t", np.minimum(held, 0.0), panel.close[1:])
    fee = np.concatenate([[0.0], shorts[:-1] * -rates.borrow])
    cash = _cash_between(1.0 - total(wanted), filled, fee, rates)
    before = units[:-1] * panel.price[fills + 1]
    earlier = np.concatenate([[1.0], cash])[fills]
    interest = earlier * np.where(earlier < 0, rates.financing, rates.lending)
    account = total(before) + earlier + interest - fee[fills]
    squeeze = None if impact is None else impact[fills + 1]
    kept = solve_fill(wanted, before / positive(account)[:, None], rates.trade, squeeze)
    base = np.repeat(np.concatenate([[1.0], np.cumprod(account * kept)]), lengths)
    at_close = positions + cash
    lost = at_close <= 0
    lost[fills] |= (account <= 0) | (kept <= 0)
    return end_at_ruin(np.concatenate([[1.0], base * at_close]), lost)


def _cash_between(start: Floats, filled: Flags, fee: Floats, rates: Rates) -> Floats:
    """Return cash at each close [D]: set by each fill (start [F]), then grown at its rate and less the fees [D].

    Between two fills cash_k = (1 + r)^k (cash_0 − Σ_j fee_j (1 + r)^{−j}), as long as the sign of cash, and with it
    the rate r, does not change. If it does, the ledger's recursion is used.
    """
    begin = last_fill(filled)
    first = np.concatenate([[1.0], start])[
        np.searchsorted(np.flatnonzero(filled), np.arange(len(filled)), "right")
    ]
    elapsed = np.arange(len(filled)) - begin
    log_growth = np.where(first < 0, np.log1p(rates.financing), np.log1p(rates.lending))
    growth = np.exp(log_growth * elapsed)
    paid = np.cumsum(np.where(filled, 0.0, fee / growth))
    paid = paid - np.concatenate([[0.0], paid])[begin + 1]
    cash: Floats = growth * (first - paid)
    if ((cash < 0) == (first < 0)).all():
        return cash
    return np.asarray(cash_path(first.tolist(), filled.tolist(), fee.tolist(), rates))


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
