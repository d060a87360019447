"""Trading costs: commission, half-spread, market impact, stock borrow and interest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.frequency import periods_per_year

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

BASIS_POINT = 1e-4

# Bounds beyond which a number is far more likely a mistake of unit than a market.
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "commission_bps": (0.0, 1_000.0, "basis points of the value traded"),
    "half_spread_bps": (0.0, 1_000.0, "basis points of the value traded"),
    "impact_coefficient": (0.0, 10.0, "cost rate at a participation of 1"),
    "borrow_bps": (0.0, 50_000.0, "basis points a year of the value sold short"),
    "financing_spread_bps": (0.0, 10_000.0, "basis points a year over risk_free"),
    "risk_free": (-0.5, 1.0, "a yearly rate as a fraction"),
    "periods": (1, 100_000, "sessions a year"),
    "capital": (1e-6, 1e15, "currency units"),
}


@dataclass(frozen=True)
class CostModel:
    """The cost model of a market and of a backtest.

    A trade of value x costs x · (commission + half-spread + impact), where impact is
    ``impact_coefficient`` · √participation and participation is the traded value in currency over the value
    traded in the whole market that session (close × volume); it is not charged where volume is unknown.
    The account's size in currency is ``capital`` throughout: a profit does not make later trades costlier, so
    that costs depend on weights alone.

    Rates of borrow and cash accrue once a session on the positions held overnight, at rate / sessions a year.

    Attributes
    ----------
    commission_bps
        Commission, basis points of the value traded.
    half_spread_bps
        Half of the bid–ask spread, basis points of the value traded.
    impact_coefficient
        Square-root impact: the cost rate at participation 1 (0.1: trading 1 % of volume costs 1 %).
    borrow_bps
        Fee on short positions, basis points a year.
    financing_spread_bps
        What negative cash pays above ``risk_free``, basis points a year.
    risk_free
        What cash earns, a yearly rate as a fraction (0.02 is 2 %); with dated rates, before the first of them.
    risk_free_rates
        Dated rates instead: a yearly rate by the date (YYYY-MM-DD) at whose close it is known. It holds until the next.
        `equitrade` reads them from `risk_free_file`.
    risk_free_file
        File with the columns date and rate, or ``industries`` for the rates of that dataset (`data.rates`).
    periods
        Sessions a year; None: found from the dates of the prices (252, 365, 52, 12, 4 or 1), see `for_dates`.
    capital
        Size of the account in the currency of the prices; it matters to impact only.

    Raises
    ------
    DataError
        If a value is not finite or out of range; the message names it.
    """

    commission_bps: float = 1.0
    half_spread_bps: float = 2.0
    impact_coefficient: float = 0.0
    borrow_bps: float = 50.0
    financing_spread_bps: float = 100.0
    risk_free: float = 0.0
    risk_free_rates: Mapping[str, float] | None = None
    risk_free_file: str | None = None
    periods: int | None = None
    capital: float = 1e6

    def __post_init__(self) -> None:
        for name, (low, high, unit) in _BOUNDS.items():
            value = getattr(self, name)
            if name == "periods" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise DataError(f"costs.{name} is {value!r}: a finite number is needed ({unit})")
            if not low <= value <= high:
                raise DataError(f"costs.{name} is {value:g}: it must lie from {low:g} to {high:g} ({unit})")
        if not isinstance(self.periods, int | None):
            raise DataError(f"costs.periods is {self.periods!r}: a whole number is needed")
        self._check_dated_rates()
        if self.rate >= 1.0:
            raise DataError(
                "costs.commission_bps plus costs.half_spread_bps must stay below 10,000, the value traded"
            )

    def _check_dated_rates(self) -> None:
        low, high, unit = _BOUNDS["risk_free"]
        for day, rate in (self.risk_free_rates or {}).items():
            if not isinstance(rate, int | float) or not low <= rate <= high:
                raise DataError(
                    f"costs.risk_free_rates: {rate!r} on {day} must lie from {low:g} to {high:g} ({unit})"
                )
        try:
            stamps, _ = self._dated_rates
        except ValueError as error:
            raise DataError(f"costs.risk_free_rates: dates are written YYYY-MM-DD ({error})") from None
        if (stamps[1:] <= stamps[:-1]).any():
            raise DataError("costs.risk_free_rates: the dates must be in order, each once")

    @classmethod
    def free(cls, *, periods: int | None = None) -> CostModel:
        """Return the model without costs and interest."""
        return cls(
            commission_bps=0.0,
            half_spread_bps=0.0,
            borrow_bps=0.0,
            financing_spread_bps=0.0,
            periods=periods,
        )

    def for_dates(self, dates: pd.DatetimeIndex) -> CostModel:
        """Return the same costs with the sessions a year of these dates, unless they are set."""
        return self if self.periods is not None else replace(self, periods=periods_per_year(dates))

    @property
    def sessions_a_year(self) -> int:
        """Sessions a year; 252 where they are neither set nor found from dates."""
        return 252 if self.periods is None else self.periods

    @cached_property
    def _dated_rates(self) -> tuple[NDArray[np.datetime64], Floats]:
        rates = self.risk_free_rates or {}
        stamps = np.array(list(rates), dtype="datetime64[D]").astype("datetime64[ns]")
        return stamps, np.array(list(rates.values()), dtype=np.float64)

    @property
    def has_dated_rates(self) -> bool:
        """Whether there are dated risk-free rates."""
        return bool(self.risk_free_rates)

    def rates_at(self, dates: pd.DatetimeIndex) -> Floats:
        """Return the yearly risk-free rate that is known at the close of each session [T]."""
        stamps, rates = self._dated_rates
        place = np.searchsorted(stamps, dates.to_numpy().astype("datetime64[ns]"), side="right")
        known: Floats = np.concatenate([[self.risk_free], rates])[place]
        return known

    def risk_free_of(self, dates: pd.DatetimeIndex) -> float | Floats:
        """Return the yearly risk-free rate of the returns between sessions: one, or dated ones [T − 1].

        That of a return is the rate known when it begins, which cash earns until the next session.
        """
        return self.rates_at(dates)[:-1] if self.has_dated_rates else self.risk_free

    def lending_rates(self, dates: pd.DatetimeIndex) -> Floats | None:
        """Return the interest on positive cash over the night after each session [T]; None without dated rates."""
        return self.rates_at(dates) / self.sessions_a_year if self.has_dated_rates else None

    def rates_record(self) -> dict[str, Any] | None:
        """Return where dated rates come from, with first and last date and hash, for a manifest; None without any."""
        if not self.risk_free_rates:
            return None
        days, content = list(self.risk_free_rates), json.dumps(dict(self.risk_free_rates))
        return {
            "file": self.risk_free_file,
            "first": days[0],
            "last": days[-1],
            "hash": hashlib.sha256(content.encode()).hexdigest(),
        }

    @property
    def commission(self) -> float:
        """Commission as a fraction of the value traded."""
        return self.commission_bps * BASIS_POINT

    @property
    def half_spread(self) -> float:
        """Half-spread as a fraction of the value traded."""
        return self.half_spread_bps * BASIS_POINT

    @cached_property
    def rate(self) -> float:
        """Commission and half-spread together, a fraction of the value traded."""
        return self.commission + self.half_spread

    @cached_property
    def borrow_rate(self) -> float:
        """Borrow fee of one session, a fraction of the value sold short."""
        return self.borrow_bps * BASIS_POINT / self.sessions_a_year

    @cached_property
    def lending_rate(self) -> float:
        """Interest on positive cash in one session, as a fraction; without dated rates."""
        return self.risk_free / self.sessions_a_year

    @cached_property
    def financing_rate(self) -> float:
        """Interest on negative cash in one session, as a fraction; without dated rates."""
        return (self.risk_free + self.financing_spread_bps * BASIS_POINT) / self.sessions_a_year
