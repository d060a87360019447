"""Requests for allocations and signals, and their answers."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from service.schemas.common import (
    Answer,
    Day,
    Money,
    Name,
    Price,
    Shares,
    SnapshotName,
    Strict,
    Symbol,
    Volume,
    Weight,
)

MAX_DAYS = 20_000
MAX_SYMBOLS = 2_000
# One error a series: a list of wrong values would cost one each.
Series = Annotated[list[Price | None], Field(max_length=MAX_DAYS, fail_fast=True)]
Panel = Annotated[dict[Symbol, Series], Field(min_length=1, max_length=MAX_SYMBOLS)]
Holding = Annotated[dict[Symbol, Weight], Field(max_length=MAX_SYMBOLS)]


class PricePanel(Strict):
    """Daily prices, a list a symbol, each as long as `dates`; null where a price is missing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dates": ["2024-01-02", "2024-01-03"],
                    "close": {"AAPL": [185.6, 184.3], "MSFT": [370.9, 370.6]},
                }
            ]
        }
    )

    dates: list[Day] = Field(
        min_length=1, max_length=MAX_DAYS, fail_fast=True, description="Sessions, oldest first."
    )
    close: Panel
    open: Panel | None = None
    high: Panel | None = None
    low: Panel | None = None
    adj_close: Panel | None = Field(None, description="Closes adjusted for splits and dividends.")
    volume: (
        Annotated[
            dict[Symbol, Annotated[list[Volume | None], Field(max_length=MAX_DAYS, fail_fast=True)]],
            Field(min_length=1, max_length=MAX_SYMBOLS),
        ]
        | None
    ) = None


class Holdings(Strict):
    """Current holdings: either weights of the net asset value, or shares and cash."""

    weights: Holding | None = Field(None, description="Share of net asset value a symbol; the rest is cash.")
    shares: Annotated[dict[Symbol, Shares], Field(max_length=MAX_SYMBOLS)] | None = None
    cash: Money | None = Field(None, description="Cash beside `shares`; 0 if absent.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and given and not given.keys() & cls.model_fields.keys():
            raise ValueError(
                'put symbols under weights or shares: {"weights": {"AAPL": 0.3}} or '
                '{"shares": {"AAPL": 3}, "cash": 1000}'
            )
        return given

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.weights is None) == (self.shares is None):
            raise ValueError("give either weights or shares")
        if self.weights is not None and self.cash is not None:
            raise ValueError("cash is allowed beside shares only; with weights it is 1 minus their sum")
        return self


class Sizing(Strict):
    """Options for orders in whole lots."""

    nav: Annotated[float, Field(strict=True, ge=1e-6, le=1e15, allow_inf_nan=False)] | None = Field(
        None, description="Net asset value; with `holdings.shares` it is computed and must be absent."
    )
    lot_size: Annotated[float, Field(strict=True, ge=1e-9, le=1e9, allow_inf_nan=False)] = Field(
        1.0, description="Shares in a lot; 0.001 for fractional shares."
    )
    lot_sizes: dict[Symbol, Annotated[float, Field(strict=True, ge=1e-9, le=1e9, allow_inf_nan=False)]] = (
        Field({}, description="Lots of single symbols.", max_length=MAX_SYMBOLS)
    )


class DecisionRequest(Strict):
    """Model, day, prices and holdings of a decision."""

    model: Name = Field(description="Id of a promoted model.")
    as_of: Day | None = Field(
        None, description="Decide at this session's close, or the last one before; default: last."
    )
    data: SnapshotName | None = Field(
        None, description="Snapshot to read; default: the one the model was trained on."
    )
    prices: PricePanel | None = Field(None, description="Prices to use instead of a snapshot.")
    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=MAX_SYMBOLS)] | None = Field(
        None,
        description="Symbols to decide on, each once; default: those the model was trained on.",
        json_schema_extra={"uniqueItems": True},
    )
    holdings: Holdings | None = Field(None, description="Holdings at that close; default: cash only.")
    allow_stale: bool = Field(False, strict=True, description="Accept prices that are older than allowed.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.data is not None and self.prices is not None:
            raise ValueError("give either data or prices")
        return self

    @model_validator(mode="after")
    def _each_symbol_once(self) -> Self:
        twice = next((name for name, count in Counter(self.symbols or ()).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"symbols: {twice} is named more than once")
        return self


class AllocationRequest(DecisionRequest):
    """Request for target weights and the orders that lead to them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "demo", "as_of": "2022-12-28"},
                {
                    "model": "demo",
                    "as_of": "2022-12-28",
                    "holdings": {"shares": {"AAPL": 100, "MSFT": 40}, "cash": 50000.0},
                    "sizing": {"lot_size": 1},
                },
                {"model": "demo", "data": "factors-5", "symbols": ["MTUM", "QUAL", "VLUE"]},
            ]
        }
    )

    sizing: Sizing | None = Field(None, description="Request orders in shares.")


class SignalRequest(DecisionRequest):
    """Request for the scores behind the target weights."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "demo", "as_of": "2022-12-28"}]})


class TradeAt(Answer):
    """Session and price at which the decision can be traded."""

    session: date
    price: Literal["open", "close"]


class Order(Answer):
    """One order: target minus held; the target of a symbol that does not trade is the weight held."""

    symbol: str
    target_weight: float
    held_weight: float
    weight_change: float
    shares: float | None = Field(None, description="Shares to buy, or to sell where negative; whole lots.")
    price: float | None = Field(None, description="Close used to compute the shares.")
    value: float | None = Field(None, description="shares × price.")


class OwnSignals(Answer):
    """A version of signals of one's own that a decision used."""

    name: str
    version: int
    hash: str = Field(description="Hash of their content.")


class Decision(Answer):
    """Members of every decision."""

    id: str = Field(description="Id in the audit: the answer can be shown and recomputed later.")
    model: str
    version: str = Field(description="Content hash of the model's files.")
    as_of: date = Field(description="Session whose close was used.")
    trade_at: TradeAt
    data: str = Field(description="Snapshot used, or `request`.")
    data_hash: str
    own_signals: list[OwnSignals] = Field(
        [], description="Imported signals that the model needs; absent if it needs none."
    )
    staleness_days: int = Field(
        ge=0, description="Days from `as_of` to the day asked for (today if none was)."
    )
    max_age_days: int = Field(ge=0, description="Staleness that is accepted without `allow_stale`.")
    warnings: list[str]
    untrained: list[str] = Field(
        [], description="Symbols that the model was not trained on; absent if there are none."
    )
    untraded: list[str] = Field([], description="Symbols that did not trade in `as_of`; absent if all did.")


class Allocation(Decision):
    """Target weights; weights and cash sum to one.

    A symbol in `untraded` is valued at its last price and has no order until it trades, so that its order's target is
    the weight held; the other targets are scaled down where the account could not pay for them. The position in a
    symbol that has ended is closed at its last price.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0193b0c8f7a87c5e9d1b2a3c4d5e6f70",
                    "model": "demo",
                    "version": "5f0c3a9e1b7d2468",
                    "as_of": "2022-12-28",
                    "trade_at": {"session": "2022-12-29", "price": "close"},
                    "data": "sp500-20",
                    "data_hash": "9b2f",
                    "staleness_days": 0,
                    "max_age_days": 7,
                    "warnings": [],
                    "weights": {"AAPL": 0.6, "MSFT": 0.3},
                    "cash": 0.1,
                    "per_seed_spread": {"AAPL": 0.02, "MSFT": 0.01},
                    "orders": [
                        {"symbol": "AAPL", "target_weight": 0.6, "held_weight": 0.0, "weight_change": 0.6},
                        {"symbol": "MSFT", "target_weight": 0.3, "held_weight": 0.0, "weight_change": 0.3},
                    ],
                    "cash_after": None,
                }
            ]
        }
    )

    weights: dict[str, float]
    cash: float
    per_seed_spread: dict[str, float] = Field(description="Standard deviation over the model's seeds.")
    orders: list[Order]
    cash_after: float | None = Field(None, description="Cash after the orders and their costs are paid.")


class Signal(Answer):
    """One asset's signal."""

    symbol: str
    score: float = Field(description="Target weight over the largest target weight in size.", ge=-1, le=1)
    side: Literal["long", "short", "flat"]
    rank: int = Field(ge=1, description="1 is the highest score.")
    weight: float
    agreement: float = Field(ge=0, le=1, description="Share of seeds on this side.")


class Signals(Decision):
    """Scores, highest first."""

    signals: list[Signal]
