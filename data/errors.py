"""The error that this package raises for bad input."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from equitrade.errors import EquitradeError


class DataError(EquitradeError):
    """Prices, a file, a snapshot or a request that cannot be used.

    The message is one line: the reason, the place (file, row, symbol, date or field) and, where there is one, the
    remedy. The command line prints it without a traceback and exits with code 2.
    """


def check_choices(chosen: Iterable[str], known: Collection[str], option: str) -> tuple[str, ...]:
    """Return `chosen` as a tuple. Raises `DataError` if one of them is not in `known`."""
    choices = tuple(chosen)
    unknown = [choice for choice in choices if choice not in known]
    if unknown:
        raise DataError(f"{option}: '{unknown[0]}' is not one of {', '.join(known)}")
    return choices
