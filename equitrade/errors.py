"""The root of all errors that a user can mend."""

from __future__ import annotations


class EquitradeError(ValueError):
    """An input, file or setting that cannot be used as it is.

    The message is one line: what is wrong, where (file, row, symbol, date or setting) and what to do. The command
    line prints it without a traceback and exits with code 2.
    """
