"""Panel of daily prices (dates × symbols × fields): validated, immutable, with a content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import FIELDS, PRICE_FIELDS, DateLike, parse_date
from data.panel import melt, pivot

if TYPE_CHECKING:
    from data.membership import Membership
    from data.signals.values import AlignedSignals, Signals

__all__ = ["Prices"]


@dataclass(frozen=True, eq=False, repr=False)
class Prices:
    """A panel of daily prices.

    Every field is a float64 frame [T, N] on the same dates and symbols. ``close`` is required, the other fields exist
    only if the source had them; adjusted closes may be made from its splits and dividends. A missing value is NaN and
    is never filled in: any cell may be missing, opens included (a simulation that fills at the open falls back, cell by
    cell, to the close of that day). Prices are positive and finite, volumes and dividends not negative. ``dividends``
    are per share, 0 on days without one; ``splits`` are new shares per old share, 1 on days without a split. The arrays
    are read-only.

    Attributes
    ----------
    name
        Name of the panel in reports.
    dates
        Sessions, strictly increasing, midnight, without time zone [T].
    symbols
        Column names, unique [N].
    fields
        Field name → frame; the names are those of `FIELDS`.
    notes
        Facts that a reader of results on these prices must know (survivorship, missing dividends, …).
    signals
        Signals of one's own on these sessions and symbols, for features; see `with_signals`.
    members
        Whether each symbol belongs to the universe in each session, bool [T, N]; None where all always do. See
        `with_members`.

    Raises
    ------
    DataError
        If a field is unknown, frames do not align, dates are not sorted and unique, or a value is out of
        range. The message names field, symbol and date.
    """

    name: str
    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    fields: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...] = ()
    signals: tuple[AlignedSignals, ...] = ()
    members: np.ndarray | None = None

    def __post_init__(self) -> None:
        dates = _checked_dates(self.name, self.dates)
        symbols = _checked_symbols(self.name, self.symbols)
        _check_field_names(self.name, self.fields)
        columns = pd.Index(symbols, dtype=object)
        frozen = {
            field: _frozen_frame(self.name, field, self.fields[field], dates, columns)
            for field in FIELDS
            if field in self.fields
        }
        if not np.isfinite(frozen["close"].to_numpy()).any():
            raise DataError(f"{self.name}: every close is missing")
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "symbols", symbols)
        object.__setattr__(self, "fields", MappingProxyType(frozen))
        object.__setattr__(self, "notes", tuple(self.notes))

    @classmethod
    def from_frames(
        cls, name: str, *, notes: Iterable[str] = (), **fields: pd.DataFrame | pd.Series | None
    ) -> Prices:
        """Make a panel from one frame (date × symbol) per field: ``from_frames("x", close=frame, open=…)``.

        A field given as None is absent. A Series is a panel of one symbol.
        """
        frames = {key: _as_frame(value) for key, value in fields.items() if value is not None}
        if "close" not in frames:
            raise DataError(f"{name}: there is no field 'close'")
        close = frames["close"]
        return cls(name, pd.DatetimeIndex(close.index), tuple(close.columns), frames, tuple(notes))

    @classmethod
    def from_long(
        cls,
        frame: pd.DataFrame,
        name: str,
        *,
        symbols: Iterable[str] | None = None,
        notes: Iterable[str] = (),
    ) -> Prices:
        """Make a panel from a long frame with columns date, symbol and fields; rows in any order.

        Parameters
        ----------
        frame
            One row per date and symbol.
        name
            Name of the panel.
        symbols
            The order of the columns; by default the order of first appearance.
        notes
            Carried into reports.

        Raises
        ------
        DataError
            If a column is missing or unknown, or a (date, symbol) occurs twice.
        """
        dates, order, arrays = pivot(frame, name, symbols)
        index = pd.DatetimeIndex(dates)
        frames = {key: pd.DataFrame(array, index, order, copy=False) for key, array in arrays.items()}
        return cls(name, index, tuple(order), frames, tuple(notes))

    def to_long(self) -> pd.DataFrame:
        """Return one row per symbol and date with at least one value, ordered by symbol, then date.

        A date on which no symbol has a value keeps one empty row, so that no date is lost.
        """
        return melt(self.dates, self.symbols, self.fields)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of dates, symbols and the values of every field; independent of the storage format."""
        digest = hashlib.sha256(b"equitrade-prices-1\n")
        digest.update(self.dates.to_numpy().astype("datetime64[D]").astype("<i8").tobytes())
        digest.update("\n".join(("", *self.symbols, "")).encode("utf-8"))
        names = sorted(self.fields)
        # Each field has its own digest, so that large panels are hashed on several threads.
        with ThreadPoolExecutor(max_workers=4) as pool:
            parts = pool.map(_digest_values, (self.fields[field].to_numpy() for field in names))
            for field, part in zip(names, parts, strict=True):
                digest.update(f"{field} {part}\n".encode())
        return digest.hexdigest()

    @cached_property
    def inputs_hash(self) -> str:
        """SHA-256 (hex) of the prices, the signals beside them and the membership; `hash` without both."""
        parts = [self.hash, *(signals.hash for signals in self.signals)]
        if self.members is not None:
            parts.append(hashlib.sha256(np.packbits(self.members).tobytes()).hexdigest())
        return self.hash if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def with_members(self, membership: Membership) -> Prices:
        """Return the panel with a dated membership, instead of any that it had.

        Raises
        ------
        DataError
            If no symbol ever belongs.
        """
        mask = membership.mask(self.dates, self.symbols)
        if not mask.any():
            raise DataError(
                f"{self.name}: no symbol belongs to the universe in any session; the membership names "
                f"{', '.join(sorted(set(membership.symbols.tolist()))[:5])} …"
            )
        mask.flags.writeable = False
        return replace(self, members=mask)

    def with_signals(self, signals: Iterable[Signals]) -> Prices:
        """Return the panel with signals of one's own beside it, instead of any that it had.

        Raises
        ------
        DataError
            If signals are for other symbols, or two have one name.
        """
        aligned = tuple(item.align(self) for item in signals)
        names = [item.name for item in aligned]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self.name}: signals '{twice}' are named twice")
        return replace(self, signals=aligned)

    def check_signals(self, first: int, last: int) -> None:
        """Refuse decisions in sessions first … last (positions, both included) for which signals have ended.

        Raises
        ------
        DataError
            Names signals, column and date.
        """
        for item in self.signals:
            item.check_fresh(self.dates, first, last)

    def facts(self) -> dict[str, Any]:
        """Return range, symbols, fields, number of closes, hash and notes, ready for JSON."""
        return {
            "start": str(self.dates[0].date()),
            "end": str(self.dates[-1].date()),
            "sessions": len(self.dates),
            "symbols": list(self.symbols),
            "fields": list(self.fields),
            "rows": int(self.close.notna().to_numpy().sum()),
            "hash": self.hash,
            "notes": list(self.notes),
        }

    @property
    def has_opens(self) -> bool:
        """True if there is any open price."""
        return "open" in self.fields and bool(np.isfinite(self.fields["open"].to_numpy()).any())

    @property
    def close(self) -> pd.DataFrame:
        """Closes as traded [T, N]."""
        return self.fields["close"]

    def adjusted(self, field: str = "close") -> pd.DataFrame:
        """Return a price field adjusted for splits and dividends: field × adj_close / close [T, N].

        The factor of a session without an adjusted close is the symbol's last one, and 1 before its first one. It never
        comes from a later session: nothing that is decided in a session may depend on what became known after it.

        Raises
        ------
        DataError
            If the field is absent or is not a price.
        """
        if field not in ("open", "high", "low", "close"):
            raise DataError(f"{self.name}: only open, high, low and close can be adjusted, not '{field}'")
        frame = self.field(field)
        if "adj_close" not in self.fields:
            return frame
        adjusted = self.fields["adj_close"]
        factor = (adjusted / self.close).ffill().fillna(1.0)
        if field == "close":
            # Adjusted closes are taken as they are; a missing close stays missing.
            return adjusted.fillna(frame * factor).where(frame.notna())
        return frame * factor

    def field(self, name: str) -> pd.DataFrame:
        """Return one field [T, N], or raise DataError with the names of the existing fields."""
        if name not in self.fields:
            raise DataError(f"{self.name}: no field '{name}' (fields: {', '.join(self.fields)})")
        return self.fields[name]

    def select(self, symbols: Iterable[str]) -> Prices:
        """Return the panel of these symbols, in this order.

        Raises
        ------
        DataError
            If a symbol is unknown or named twice, or none is named.
        """
        wanted = (symbols,) if isinstance(symbols, str) else tuple(symbols)
        unknown = [symbol for symbol in wanted if symbol not in self.symbols]
        if unknown:
            known = ", ".join(self.symbols[:30]) + (" …" if len(self.symbols) > 30 else "")
            raise DataError(f"{self.name}: no symbol {', '.join(map(str, unknown))} (symbols: {known})")
        if not wanted:
            raise DataError(f"{self.name}: no symbol selected")
        if wanted == self.symbols:
            return self
        position = {symbol: index for index, symbol in enumerate(self.symbols)}
        columns = [position[symbol] for symbol in wanted]
        signals = tuple(item.select(columns) for item in self.signals)
        members = None if self.members is None else self.members[:, columns]
        return self._rebuilt(lambda frame: frame.iloc[:, columns], self.dates, wanted, signals, members)

    def between(self, start: DateLike | None = None, end: DateLike | None = None) -> Prices:
        """Return the sessions from `start` to `end`, both included; None leaves that side open.

        Raises
        ------
        DataError
            If a bound is not a date, or no session lies between them.
        """
        first = parse_date(start, "start") if start is not None else self.dates[0]
        last = parse_date(end, "end") if end is not None else self.dates[-1]
        low = int(self.dates.searchsorted(first, side="left"))
        high = int(self.dates.searchsorted(last, side="right"))
        if low >= high:
            raise DataError(
                f"{self.name}: no session from {first.date()} to {last.date()} "
                f"(prices run from {self.dates[0].date()} to {self.dates[-1].date()})"
            )
        if (low, high) == (0, len(self.dates)):
            return self
        signals = tuple(item.between(low, high) for item in self.signals)
        members = None if self.members is None else self.members[low:high]
        return self._rebuilt(
            lambda frame: frame.iloc[low:high], self.dates[low:high], self.symbols, signals, members
        )

    def _rebuilt(
        self,
        cut: Callable[[pd.DataFrame], pd.DataFrame],
        dates: pd.DatetimeIndex,
        symbols: tuple[str, ...],
        signals: tuple[AlignedSignals, ...],
        members: np.ndarray | None,
    ) -> Prices:
        frames = {field: cut(frame) for field, frame in self.fields.items()}
        return Prices(self.name, dates, symbols, frames, self.notes, signals, members)

    def __len__(self) -> int:
        return len(self.dates)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prices):
            return NotImplemented
        return self.inputs_hash == other.inputs_hash

    def __hash__(self) -> int:
        return hash(self.inputs_hash)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be sent to a worker process, a dict can.
        parts = (
            self.name,
            self.dates,
            self.symbols,
            dict(self.fields),
            self.notes,
            self.signals,
            self.members,
        )
        return Prices, parts

    def __repr__(self) -> str:
        return (
            f"Prices({self.name!r}, {len(self.dates)} sessions {self.dates[0].date()} to "
            f"{self.dates[-1].date()}, {len(self.symbols)} symbols, fields {', '.join(self.fields)})"
        )


def _digest_values(values: np.ndarray) -> str:
    # One bit pattern for every NaN, and one for zero.
    canonical = np.where(np.isnan(values), np.nan, values + 0.0)
    return hashlib.sha256(np.ascontiguousarray(canonical, dtype="<f8").data).hexdigest()


def _as_frame(value: pd.DataFrame | pd.Series) -> pd.DataFrame:
    if isinstance(value, pd.Series):
        return value.to_frame(value.name if value.name is not None else "asset")
    return value


def _checked_dates(name: str, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    index = pd.DatetimeIndex(dates)
    if len(index) == 0:
        raise DataError(f"{name}: there is no date")
    if index.tz is not None:
        raise DataError(f"{name}: dates carry a time zone ({index.tz}); give local session dates without one")
    if index.hasnans:
        raise DataError(f"{name}: a date is missing at row {int(np.argmax(np.asarray(index.isna())))}")
    if not index.is_monotonic_increasing or not index.is_unique:
        steps = np.diff(index.to_numpy()).astype("int64")
        row = int(np.argmax(steps <= 0)) + 1
        word = "appears twice" if steps[row - 1] == 0 else f"comes after {index[row - 1].date()}"
        raise DataError(f"{name}: dates are not strictly increasing: {index[row].date()} {word} (row {row})")
    if not index.equals(index.normalize()):
        row = int(np.argmax(np.asarray(index != index.normalize())))
        raise DataError(f"{name}: {index[row]} has a time of day; one row a session, dated at midnight")
    # One resolution and no frequency, so that equal panels compare equal whatever the source of their dates.
    return pd.DatetimeIndex(index.to_numpy().astype("datetime64[ns]"), name="date")


def _checked_symbols(name: str, symbols: Iterable[str]) -> tuple[str, ...]:
    result = tuple(symbols)
    for symbol in result:
        if not isinstance(symbol, str) or not symbol.strip() or symbol != symbol.strip():
            raise DataError(f"{name}: {symbol!r} is not a symbol (a non-empty text without spaces around it)")
    if len(set(result)) < len(result):
        twice = next(symbol for symbol in result if result.count(symbol) > 1)
        raise DataError(f"{name}: symbol {twice} appears twice")
    if not result:
        raise DataError(f"{name}: there is no symbol")
    return result


def _check_field_names(name: str, fields: Mapping[str, pd.DataFrame]) -> None:
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise DataError(f"{name}: unknown field '{unknown[0]}' (fields are {', '.join(FIELDS)})")
    if "close" not in fields:
        raise DataError(f"{name}: there is no field 'close'")


def _frozen_frame(
    name: str, field: str, frame: pd.DataFrame, dates: pd.DatetimeIndex, columns: pd.Index[Any]
) -> pd.DataFrame:
    if frame.shape != (len(dates), len(columns)):
        raise DataError(f"{name}: field '{field}' is {frame.shape}, not {(len(dates), len(columns))}")
    if tuple(frame.columns) != tuple(columns):
        raise DataError(f"{name}: field '{field}' has other symbols than the close, or in another order")
    if not bool((pd.DatetimeIndex(frame.index) == dates).all()):
        raise DataError(f"{name}: field '{field}' has other dates than the close")
    try:
        values = np.array(frame.to_numpy(), dtype=np.float64, order="C")
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: field '{field}' is not numeric ({error})") from error
    _check_values(name, field, values, dates, columns)
    values.flags.writeable = False
    return pd.DataFrame(values, index=dates, columns=columns, copy=False)


def _check_values(
    name: str, field: str, values: np.ndarray, dates: pd.DatetimeIndex, columns: pd.Index[Any]
) -> None:
    positive = field in PRICE_FIELDS or field == "splits"
    # In the usual case two passes without temporaries are enough; fmin and fmax ignore NaN.
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if (low < 0) or (positive and low == 0) or np.isinf(high):
        bad = (values < 0) | np.isinf(values) | (positive & (values == 0))
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{name}: {field} of {columns[column]} on {dates[row].date()} is {values[row, column]:g} "
            f"({int(bad.sum())} such values; prices are positive and finite)"
        )
