"""Jumps of prices: unadjusted splits, spikes that revert and other large moves; and closes that do not move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

# New shares per old share in the splits that companies make; reverse splits are the inverses of whole ones.
_SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0)
# A split day moves like any other day on top of the split: the rest of the jump is within these log returns,
# less for 3:2, which is no larger than the moves of a bad day.
_TOLERANCE, _TOLERANCE_SMALL = 0.05, 0.02
# Least sizes of a spike and of another jump, as log returns.
_LEAST_SPIKE, _LEAST_JUMP = np.log(1.3), np.log(1.4)
# A jump is far beyond the usual moves of the symbol.
_STANDARD_DEVIATIONS = 8.0
_LOOKBACK = 63
# Longest spike in sessions, and the share of its size that may be left after it.
_LONGEST_SPIKE, _LEFT_BY_SPIKE = 5, 0.25
# Least distance of the spike of an open, high or low from the closes around it, as a log return.
_FAR_FROM_CLOSES = np.log(1.5)
# A source may date a split some sessions off.
_SPLIT_SESSIONS = 5
STALE_SESSIONS = 10


@dataclass(frozen=True)
class Jump:
    """A jump between two closes, at the row of the second; `ratio` is new shares per old share if it may be a split."""

    row: int
    before: float
    after: float
    ratio: float | None = None


@dataclass(frozen=True)
class Spike:
    """A price that is far off and returns: rows of the table, field, usual and extreme value."""

    rows: tuple[int, ...]
    field: str
    usual: float
    extreme: float


class Jumps:
    """Jumps of the prices of a table.

    A jump is eight times the volatility of the symbol's last 63 days, estimated from the median of their moves.
    Adjusted closes are examined for symbols that have them, closes for the others.
    """

    def __init__(self, table: RawTable) -> None:
        self._table = table
        self._splits: list[Jump] = []
        self._moves: list[Jump] = []
        self._close_spikes: list[Spike] = []
        for field, rows, closes in _adjusted_by_symbol(table):
            self._examine(field, rows, closes)

    @property
    def splits(self) -> list[Jump]:
        """Jumps near a usual split ratio, with which the open, where known, has jumped too."""
        return self._splits

    @property
    def moves(self) -> list[Jump]:
        """Other jumps that do not return: crashes, or errors."""
        return self._moves

    @cached_property
    def spikes(self) -> list[Spike]:
        """Closes that return within five sessions, and opens, highs and lows far from the closes around them."""
        return [*self._close_spikes, *self._spikes_of_other_fields()]

    def _examine(self, field: str, rows: np.ndarray, closes: np.ndarray) -> None:
        logs = np.log(closes)
        returns = np.diff(logs)
        # Only large moves are candidates: everything else costs nothing.
        end = 0
        for index in np.flatnonzero(np.abs(returns) > _LEAST_SPIKE).tolist():
            if index < end or not _far_out(returns, index):
                continue
            length = _spike_length(logs, index)
            if length:
                end = index + length + 1
                at = tuple(rows[index + 1 : end].tolist())
                self._close_spikes.append(Spike(at, field, float(closes[index]), float(closes[index + 1])))
            elif abs(returns[index]) > _LEAST_JUMP:
                jump = Jump(int(rows[index + 1]), float(closes[index]), float(closes[index + 1]))
                around = rows[max(0, index - _SPLIT_SESSIONS) : index + _SPLIT_SESSIONS + 2]
                self._classify(jump, field, float(returns[index]), around)

    def _classify(self, jump: Jump, field: str, log_return: float, around: np.ndarray) -> None:
        ratio = _split_ratio(-log_return)
        if ratio is None or self._is_no_split(jump, ratio, field, around):
            self._moves.append(jump)
        else:
            self._splits.append(Jump(jump.row, jump.before, jump.after, ratio))

    def _is_no_split(self, jump: Jump, ratio: float, field: str, around: np.ndarray) -> bool:
        """Return True if the splits of the source have none about that day, or the open has not jumped."""
        frame = self._table.frame
        if "splits" in frame.columns and (frame["splits"].to_numpy()[around] == 1).all():
            return True
        if "open" not in frame.columns or field != "close":
            return False
        opened = float(frame["open"].to_numpy()[jump.row])
        return opened > 0 and abs(np.log(jump.before / ratio / opened)) > 2 * _TOLERANCE

    def _spikes_of_other_fields(self) -> Iterator[Spike]:
        frame = self._table.frame
        close_rows = {row for spike in self._close_spikes for row in spike.rows}
        jumps = {jump.row for jump in (*self._splits, *self._moves)}
        others = [name for name in ("open", "high", "low") if name in frame.columns]
        for rows, closes in self._table.series("close") if others else ():
            logs = np.log(closes)
            top, bottom = np.maximum(logs[1:], logs[:-1]), np.minimum(logs[1:], logs[:-1])
            for name in others:
                values = frame[name].to_numpy()[rows[1:]]
                distance = np.log(np.where(values > 0, values, np.nan))
                distance = np.maximum(distance - top, bottom - distance)
                far = distance > max(_FAR_FROM_CLOSES, _STANDARD_DEVIATIONS * _median(np.abs(distance)))
                for index in np.flatnonzero(far).tolist():
                    row = int(rows[index + 1])
                    beside_spike = row in close_rows or int(rows[index]) in close_rows
                    if not beside_spike and row not in jumps:
                        yield Spike((row,), name, float(closes[index + 1]), float(values[index]))


def check_jumps(table: RawTable) -> Iterator[Finding]:
    """Yield a finding for every spike, every suspected unadjusted split and every other large move."""
    jumps = Jumps(table)
    for spike in jumps.spikes:
        if spike.field in ("close", "adj_close"):
            sessions = len(spike.rows)
            length = "the next session" if sessions == 1 else f"{sessions} sessions"
            message = (
                f"{spike.field} goes from {spike.usual:g} to {spike.extreme:g} and returns after {length}"
            )
        else:
            message = f"{spike.field} is {spike.extreme:g}, far from the close {spike.usual:g}"
        yield table.finding("spike", spike.rows[0], message)
    for jump in jumps.splits:
        split = ratio_text(jump.ratio)
        message = f"close goes from {jump.before:g} to {jump.after:g}, like an unadjusted {split} split"
        yield table.finding("split-jump", jump.row, message)
    for jump in jumps.moves:
        message = f"close goes from {jump.before:g} to {jump.after:g} and does not return"
        yield table.finding("large-move", jump.row, message)


def ratio_text(ratio: float | None) -> str:
    """Return a ratio of shares in the usual form: ``2:1``, ``3:2``, ``1:10``."""
    if ratio is None:
        return ""
    if ratio == 1.5:
        return "3:2"
    return f"{ratio:g}:1" if ratio > 1 else f"1:{1 / ratio:g}"


def check_stale(table: RawTable, sessions: int = STALE_SESSIONS) -> Iterator[Finding]:
    """Yield a finding for every run of at least `sessions` equal closes of a symbol."""
    for rows, closes in table.series("close"):
        change = np.flatnonzero(np.diff(closes) != 0) + 1
        starts = np.r_[0, change]
        lengths = np.diff(np.r_[starts, len(closes)])
        for start, length in zip(starts[lengths >= sessions], lengths[lengths >= sessions], strict=True):
            message = f"close stays at {closes[start]:g} for {length} sessions"
            yield table.finding("stale-run", int(rows[start]), message)


def _adjusted_by_symbol(table: RawTable) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield field, rows and values of each symbol: its adjusted closes, or its closes if it has none."""
    if "adj_close" not in table.frame.columns:
        yield from (("close", *part) for part in table.series("close"))
        return
    has = table.frame["adj_close"].notna().groupby(table.codes).transform("any").to_numpy(dtype=bool)
    for field, chosen in (("adj_close", has), ("close", ~has)):
        for rows, values in table.series(field):
            if chosen[rows[0]]:
                yield field, rows, values


def _split_ratio(log_drop: float) -> float | None:
    size = np.exp(abs(log_drop))
    candidates = _SPLIT_RATIOS if log_drop > 0 else _SPLIT_RATIOS[1:]
    nearest = min(candidates, key=lambda ratio: abs(np.log(size / ratio)))
    tolerance = _TOLERANCE_SMALL if nearest < 2 else _TOLERANCE
    if abs(np.log(size / nearest)) > tolerance:
        return None
    return nearest if log_drop > 0 else 1 / nearest


def _spike_length(logs: np.ndarray, index: int) -> int:
    """Return the number of sessions after which the close is back where it was at `index`, or 0."""
    size = abs(logs[index + 1] - logs[index])
    for length in range(1, _LONGEST_SPIKE + 1):
        back = index + 1 + length
        if back >= len(logs):
            return 0
        if abs(logs[back] - logs[index]) <= _LEFT_BY_SPIKE * size:
            return length
        if abs(logs[back] - logs[index + 1]) > _LEFT_BY_SPIKE * size:
            return 0
    return 0


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def _far_out(returns: np.ndarray, index: int) -> bool:
    usual = np.r_[returns[max(0, index - _LOOKBACK) : index], returns[index + 1 : index + 6]]
    if len(usual) == 0:
        return True
    # The median of |r| over that of a standard normal: one crash before does not hide the next jump.
    volatility = np.median(np.abs(usual)) / 0.6745
    return bool(abs(returns[index]) > _STANDARD_DEVIATIONS * volatility)
