"""Errors that a person can act on: one line that holds the reason and the place."""

from __future__ import annotations

__all__ = ["ConfigError", "SymmetryError"]


class ConfigError(ValueError):
    """A setting or an input that cannot work; the message names it and what to do.

    Attributes
    ----------
    user_error : bool
        Tells the command line to print the message alone, without a traceback.
    """

    user_error = True


class SymmetryError(ConfigError):
    """A group, representation or symmetry that is not one, or that does not fit the network."""
