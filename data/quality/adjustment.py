"""Adjusted closes of sources that have none, from their splits and dividends.

Whether closes are adjusted already is found from the closes: on a split day, unadjusted ones move by the ratio, and on
ex-dividend days, unadjusted ones fall by the dividend on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

#: Readings of the closes: found from the data, as traded, or adjusted for splits and dividends already.
CLOSES = ("auto", "raw", "adjusted")
# A smaller split, as a log ratio, is within the moves of a usual day: the larger ones of the symbol decide, or those of
# the others.
_CLEAR_SPLIT = np.log(1.25)
# Log likelihood ratio from which on the closes decide if they are adjusted for dividends.
_CLEAR_EVIDENCE = 2.0
_RAW = "; if the closes are adjusted already, import with --closes adjusted"
_ADJUSTED = "; if the closes are as traded, import with --closes raw"


def add_adjusted_closes(table: RawTable) -> tuple[RawTable, list[str]]:
    """Return the table with adjusted closes where its splits and dividends give them, and notes on its returns.

    The adjusted close of a symbol is its close × the splits so far ÷ (1 − dividend / previous close) of each dividend
    so far. It begins at the close, so that no value depends on later rows. Adjusted closes of the source stay.
    """
    frame = table.frame
    lacking = ~_known(table, "adj_close")
    if not lacking.any():
        return table, []
    if table.closes == "adjusted":
        return table, ["Closes are taken as adjusted for splits and dividends."]
    events = _Events.of(table, lacking)
    notes = []
    splits, dividends = events.unadjusted_splits(), events.unadjusted_dividends()
    factor = np.where(splits, events.splits, 1.0) / np.where(dividends, 1.0 - events.dividends, 1.0)
    doubtful = table.closes == "auto" and abs(events.evidence) < _CLEAR_EVIDENCE
    kinds = (("split", events.splits != 1.0, splits), ("dividend", events.paid, dividends))
    used = [_number(chosen, kind) for kind, _, chosen in kinds if chosen.any()]
    if used:
        advice = _RAW if doubtful and dividends.any() else ""
        notes.append(f"Adjusted closes are made from {' and '.join(used)} of the source{advice}.")
        cumulated = pd.Series(factor).groupby(events.codes).cumprod().to_numpy()
        adjusted = (
            frame["adj_close"].to_numpy().copy() if "adj_close" in frame else np.full(len(frame), np.nan)
        )
        adjusted[events.rows] = events.closes * cumulated
        table = replace(table, frame=frame.assign(adj_close=adjusted))
    for kind, there, chosen in kinds:
        included = there & ~chosen
        if included.any():
            advice = _ADJUSTED if doubtful and kind == "dividend" else ""
            notes.append(f"Closes are taken as adjusted for {_number(included, kind)} of the source{advice}.")
    refused = events.dividends >= 1.0
    if refused.any():
        notes.append(f"Not used, because not below the close before: {_number(refused, 'dividend')}.")
    without = lacking & ~_known(table, "dividends")
    if without.any():
        names = frame.loc[without, "symbol"].unique()
        whose = "" if without.all() else f" of {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        notes.append(
            f"Returns{whose} are price returns: the source has neither adjusted closes nor dividends{_RAW}."
        )
    return table, notes


def check_adjustments(table: RawTable) -> Iterator[Finding]:
    """Yield a finding where adjusted closes begin after the closes of a symbol, at another price."""
    if "adj_close" not in table.fields:
        return
    adjusted = table.frame["adj_close"].to_numpy()
    for rows, closes in table.series("close"):
        known = np.flatnonzero(adjusted[rows] > 0)
        if len(known) == 0 or known[0] == 0:
            continue
        factor = adjusted[rows[known[0]]] / closes[known[0]]
        if abs(factor - 1.0) > 1e-4:
            message = (
                f"adj_close begins here, at {factor:.4g} of the close: the days before are not adjusted, so the "
                f"return of this day is wrong by {factor - 1.0:+.1%}"
            )
            yield table.finding("late-adjustment", int(rows[known[0]]), message)


@dataclass(frozen=True)
class _Events:
    """Splits and dividends at the closes of symbols, ordered by symbol and time; `reading` is one of `CLOSES`.

    `moves` are log returns from the close before, 0 at the first of a symbol; `splits` are new shares per old share and
    `dividends` the dividends since the close before, relative to it.
    """

    rows: np.ndarray
    codes: np.ndarray
    closes: np.ndarray
    moves: np.ndarray
    splits: np.ndarray
    dividends: np.ndarray
    reading: str

    @classmethod
    def of(cls, table: RawTable, chosen: np.ndarray) -> _Events:
        """Return the events of the rows `chosen`."""
        frame = table.frame
        rows = np.flatnonzero(chosen & frame["date"].notna().to_numpy())
        rows = rows[np.lexsort((table.moments[rows], table.codes[rows]))]
        closes = frame["close"].to_numpy()[rows]
        at = np.flatnonzero((closes > 0) & np.isfinite(closes))
        # An event on a day without a close belongs to the next close.
        starts, events = np.r_[0, at[:-1] + 1][: len(at)], rows[: at[-1] + 1 if len(at) else 0]
        splits = np.multiply.reduceat(_event_values(table, "splits", 1.0)[events], starts)
        dividends = np.add.reduceat(_event_values(table, "dividends", 0.0)[events], starts)
        rows, closes = rows[at], closes[at]
        codes = table.codes[rows]
        first = np.r_[True, codes[1:] != codes[:-1]][: len(at)]
        before = np.where(first, np.inf, np.r_[np.nan, closes[:-1]][: len(at)])
        moves = np.where(first, 0.0, np.log(closes) - np.log(before))
        splits = np.where(first, 1.0, splits)
        return cls(rows, codes, closes, moves, splits, dividends / before, table.closes)

    def unadjusted_splits(self) -> np.ndarray:
        """Return True at the splits that the closes are not adjusted for."""
        size = np.log(self.splits)
        if self.reading == "raw":
            split: np.ndarray = size != 0.0
            return split
        fits = np.abs(self.moves) - np.abs(self.moves + size)
        clear = np.abs(size) >= _CLEAR_SPLIT
        weight = pd.Series(np.where(clear, fits, 0.0)).groupby(self.codes).transform("sum").to_numpy()
        weight = np.where(weight == 0.0, fits[clear].sum() or fits.sum(), weight)
        unadjusted: np.ndarray = (size != 0.0) & (np.where(clear, fits, weight) > 0.0)
        return unadjusted

    @property
    def paid(self) -> np.ndarray:
        """True at dividends below the close before."""
        paid: np.ndarray = (self.dividends > 0.0) & (self.dividends < 1.0)
        return paid

    @property
    def evidence(self) -> float:
        """Log likelihood ratio of closes as traded to closes that are adjusted for dividends."""
        moves = self.moves + np.where(self.unadjusted_splits(), np.log(self.splits), 0.0)
        usual = pd.Series(np.abs(moves)).groupby(self.codes).transform("median").to_numpy() / 0.6745
        usual = np.maximum(usual, 1e-4)
        paid = self.paid
        fall = -np.log1p(-self.dividends[paid])
        move, usual = moves[paid], usual[paid]
        # A crash or a surge on an ex-dividend day is no evidence.
        likely = (
            np.minimum(np.abs(move) / usual, 4.0) ** 2 - np.minimum(np.abs(move + fall) / usual, 4.0) ** 2
        )
        return float(likely.sum() / 2.0)

    def unadjusted_dividends(self) -> np.ndarray:
        """Return True at the dividends that the closes are not adjusted for."""
        paid = self.paid
        if self.reading == "raw":
            return paid
        evidence = self.evidence
        if abs(evidence) < _CLEAR_EVIDENCE:
            evidence = 1.0 if _as_traded(self.closes) else -1.0
        return paid if evidence > 0.0 else np.zeros_like(paid)


def _known(table: RawTable, field: str) -> np.ndarray:
    """Return True at the rows of symbols that have a value of the field."""
    if field not in table.frame.columns:
        return np.zeros(len(table.frame), dtype=bool)
    known = table.frame[field].notna().groupby(table.codes).transform("any")
    return known.to_numpy(dtype=bool)


def _event_values(table: RawTable, field: str, default: float) -> np.ndarray:
    if field not in table.frame.columns:
        return np.full(len(table.frame), default)
    values = table.frame[field].to_numpy()
    return np.where((values > 0) & np.isfinite(values), values, default)


def _number(chosen: np.ndarray, kind: str) -> str:
    count = int(chosen.sum())
    return f"{count} {kind}" if count == 1 else f"{count} {kind}s"


def _as_traded(closes: np.ndarray) -> bool:
    """Return True if most closes have few decimals, as traded prices do; dividing by a factor gives many."""
    # Single precision gives many decimals too.
    few = np.abs(closes - np.round(closes, 2)) <= 1.2e-7 * closes
    few |= np.abs(closes - np.round(closes, 4)) <= 1e-9 * closes
    return bool(2 * few.sum() >= len(few))
