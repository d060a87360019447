"""What command lines show of work that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["working"]


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on standard error, if that is a terminal, for work of unknown length."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
