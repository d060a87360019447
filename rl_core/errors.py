"""Errors that a person can act on: one line that holds the reason and the place."""

from __future__ import annotations

from equitrade.errors import EquitradeError


class ConfigError(EquitradeError):
    """A setting or an input that cannot work; the message names it and what to do."""


class SymmetryError(ConfigError):
    """A group, representation or symmetry that is not one, or that does not fit the network."""
