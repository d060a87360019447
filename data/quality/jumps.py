"""What may be right but looks wrong: jumps of the size of a split, and closes that do not move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

# New shares for an old one in the splits that companies make; reverse splits are the inverses of whole ones.
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0)
# A split day moves like any other day on top of the split: the rest of the jump is within these log returns.
_TOLERANCE = 0.05
# … closer for 3:2, which is no larger than the moves of a bad day.
_TOLERANCE_SMALL = 0.02
# … and the jump is far beyond the usual moves of the symbol.
_STANDARD_DEVIATIONS = 8.0
_LOOKBACK = 63
STALE_SESSIONS = 10


@dataclass(frozen=True)
class Jump:
    """A suspected split: row of the table on which the new price starts, and new shares for an old one."""

    row: int
    ratio: float
    before: float
    after: float


def split_jumps(table: RawTable) -> list[Jump]:
    """Find jumps between consecutive closes of a symbol that look like an unadjusted split.

    A jump is near a usual split ratio, eight times the median-based volatility of the symbol's last 63 days,
    and the open, where known, has jumped with the close. Adjusted closes are looked at where a symbol has any.
    """
    jumps: list[Jump] = []
    for field, rows, closes in _adjusted_by_symbol(table):
        returns = np.diff(np.log(closes))
        # Only large moves are candidates: everything else costs nothing.
        for index in np.flatnonzero(np.abs(returns) > np.log(1.4)):
            ratio = _split_ratio(-returns[index])
            if ratio is None or not _far_out(returns, int(index)):
                continue
            row = int(rows[index + 1])
            if _open_contradicts(table, row, closes[index], ratio, field):
                continue
            jumps.append(Jump(row, ratio, float(closes[index]), float(closes[index + 1])))
    return jumps


def check_splits(table: RawTable) -> Iterator[Finding]:
    """Yield a finding for every suspected unadjusted split."""
    for jump in split_jumps(table):
        yield table.finding(
            "split-jump",
            jump.row,
            f"close goes from {jump.before:g} to {jump.after:g}, like a {ratio_text(jump.ratio)} split that "
            "prices were not adjusted for",
        )


def ratio_text(ratio: float) -> str:
    """Write a ratio of shares the usual way: ``2:1``, ``3:2``, ``1:10``."""
    if ratio == 1.5:
        return "3:2"
    return f"{ratio:g}:1" if ratio > 1 else f"1:{1 / ratio:g}"


def check_stale(table: RawTable, sessions: int = STALE_SESSIONS) -> Iterator[Finding]:
    """Yield a finding for every run of at least `sessions` equal closes of a symbol."""
    for rows, closes in _by_symbol(table, "close"):
        change = np.flatnonzero(np.diff(closes) != 0) + 1
        starts = np.r_[0, change]
        lengths = np.diff(np.r_[starts, len(closes)])
        for start, length in zip(starts[lengths >= sessions], lengths[lengths >= sessions], strict=True):
            message = f"close stays at {closes[start]:g} for {length} sessions"
            yield table.finding("stale-run", int(rows[start]), message)


def _adjusted_by_symbol(table: RawTable) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Field, rows and values of each symbol: its adjusted closes, or its closes where it has no adjusted one."""
    frame = table.frame
    if "adj_close" not in frame.columns:
        yield from (("close", *part) for part in _by_symbol(table, "close"))
        return
    has = frame["adj_close"].notna().groupby(frame["symbol"]).transform("any").to_numpy(dtype=bool)
    for field, chosen in (("adj_close", has), ("close", ~has)):
        for rows, values in _by_symbol(table, field):
            if chosen[rows[0]]:
                yield field, rows, values


def _by_symbol(table: RawTable, field: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    frame = table.frame
    usable = frame["date"].notna() & (frame[field] > 0) & np.isfinite(frame[field])
    ordered = frame[usable].sort_values("date", kind="stable")
    for _, part in ordered.groupby("symbol", sort=False):
        if len(part) > 1:
            yield part.index.to_numpy(), part[field].to_numpy()


def _split_ratio(log_drop: float) -> float | None:
    size = np.exp(abs(log_drop))
    candidates = SPLIT_RATIOS if log_drop > 0 else SPLIT_RATIOS[1:]
    nearest = min(candidates, key=lambda ratio: abs(np.log(size / ratio)))
    tolerance = _TOLERANCE_SMALL if nearest < 2 else _TOLERANCE
    if abs(np.log(size / nearest)) > tolerance:
        return None
    return nearest if log_drop > 0 else 1 / nearest


def _far_out(returns: np.ndarray, index: int) -> bool:
    usual = np.r_[returns[max(0, index - _LOOKBACK) : index], returns[index + 1 : index + 6]]
    if len(usual) == 0:
        return True
    # The median of |r| over that of a standard normal: one crash before does not hide the next split.
    volatility = np.median(np.abs(usual)) / 0.6745
    return bool(abs(returns[index]) > _STANDARD_DEVIATIONS * volatility)


def _open_contradicts(table: RawTable, row: int, close_before: float, ratio: float, field: str) -> bool:
    if "open" not in table.frame.columns or field != "close":
        return False
    opened = float(table.frame["open"].to_numpy()[row])
    if not opened > 0:
        return False
    return bool(abs(np.log(close_before / ratio / opened)) > 2 * _TOLERANCE)
