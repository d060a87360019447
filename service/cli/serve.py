"""Serve the REST interface and the dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equitrade.console import HomeOption
from service.cli.common import ConfigOption, settings_of

app = typer.Typer(help=__doc__)


@app.command()
def serve(
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Address; beyond localhost, a key must exist.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, show_default="8000")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="HTTP processes.", show_default="1")
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option("--ssl-certfile", help="Certificate, for HTTPS.")
    ] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option("--ssl-keyfile", help="Its private key.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in flight are finished, logs go to standard error."""
    from service.core.logging import configure_logging
    from service.server.serve import serve as run

    settings = settings_of(
        config,
        home,
        host=host,
        port=port,
        workers=workers,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
    )
    configure_logging(settings.service.log_level)
    code = run(settings)
    if code:
        raise typer.Exit(code)
