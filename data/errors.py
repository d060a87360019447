"""The one error type that this package raises for bad input."""

from __future__ import annotations

from equitrade.errors import EquitradeError


class DataError(EquitradeError):
    """Prices, a file, a snapshot or a request that cannot be used as it stands.

    The message is one line: the reason, the place (file, row, symbol, date or field) and, where there is
    one, the remedy. Command lines print it and end with code 2; they show no traceback.
    """
