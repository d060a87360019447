"""Options, state and printing of the service's commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.core.settings import Settings
    from service.state import State

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file with a table named service.")]
ScopesOption = Annotated[
    str, typer.Option("--scopes", help="read, run, admin; comma-separated. Each includes those before it.")
]


def settings_of(config: Path | None, home: Path | None, **service: Any) -> Settings:
    """Return the settings of a command."""
    from service.core.settings import load_settings

    return load_settings(config, home=home, **service)


@contextmanager
def opened(config: Path | None, home: Path | None) -> Iterator[State]:
    """Open the service's state on a migrated database."""
    from service.state import State

    state = State(settings_of(config, home))
    try:
        state.database.migrate()
        yield state
    finally:
        state.close()
