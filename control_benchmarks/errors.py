"""Errors of the control experiments that the user can correct."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from equitrade.errors import EquitradeError


class ControlError(EquitradeError):
    """A wrong name, option or file: the command line prints it and exits with code 2."""


def unknown(what: str, name: str, known: Iterable[str]) -> ControlError:
    """Build the error for a name that does not exist, with the names that look like it.

    Parameters
    ----------
    what
        Kind of thing that was asked for, such as ``"task"``.
    name
        What was asked for.
    known
        The names that exist.
    """
    names = sorted(known)
    close = get_close_matches(name.replace("-", "_"), names, n=3, cutoff=0.5)
    close = close or get_close_matches(name.replace("_", "-"), names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"
    return ControlError(f"unknown {what} '{name}'; {hint}")
