"""``equitrade serve``: a socket, HTTP workers that share it, the job supervisor, and an orderly stop."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from service.auth.keys import Keyring
from service.core.database import Database
from service.core.logging import event
from service.core.processes import Child
from service.core.settings import Settings, SettingsError

logger = logging.getLogger("equitrade.server")

_POLL_SECONDS = 0.1
_BACKLOG = 2048
# Restarting stops when a process has died this many times in a row, each within so many seconds.
_SHORT_LIFE = 5.0
_SHORT_LIVES = 5


def check_exposure(settings: Settings, keys: Keyring) -> None:
    """Refuse an address that other machines can reach while there is no active key.

    Raises `SettingsError` if the address is not a loopback address and there is no active key.
    """
    if not settings.service.loopback and keys.count_active() == 0:
        raise SettingsError(
            f"setting service.host: {settings.service.host} can be reached from other machines, but there "
            "is no key yet; create one with `equitrade keys create --name NAME`"
        )


def prepare(settings: Settings) -> None:
    """Migrate the database and check that the service may start.

    Raises `SettingsError` or `DatabaseError` if it may not start.
    """
    database = Database(settings.database_url)
    try:
        database.migrate()
        check_exposure(settings, Keyring(database, settings.secret_bytes()))
    finally:
        database.close()


def listen(settings: Settings) -> socket.socket:
    """Open the socket that all workers accept from. Raises `SettingsError` if the address cannot be used."""
    host, port = settings.service.host, settings.service.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        raise SettingsError(
            f"service.host, service.port: cannot listen on {host}:{port}: {error.strerror}"
        ) from None
    return opened


class Server:
    """The parent of all processes of the service, which share the socket of `listen`."""

    def __init__(self, settings: Settings, opened: socket.socket) -> None:
        self._settings = settings
        self._socket = opened
        self._metrics = Path(tempfile.mkdtemp(prefix="equitrade-metrics-"))
        self._children: list[_RestartedProcess] = []

    @property
    def url(self) -> str:
        """Address of the service."""
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._settings.service.ssl_certfile else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def run(self, stop: threading.Event) -> int:
        """Serve until stopped; return the exit code."""
        workers = self._settings.service.workers
        self._children = [_RestartedProcess("http worker", self._http_worker) for _ in range(workers)]
        self._children.append(_RestartedProcess("job supervisor", self._supervisor))
        event(logger, logging.INFO, "serving", url=self.url, workers=workers)
        code = 0
        while not stop.wait(_POLL_SECONDS):
            running = [child.keep() for child in self._children]
            if not all(running):
                logger.error("a process ends again and again; see the lines above for the cause")
                code = 1
                break
        self._shut_down()
        return code

    def _shut_down(self) -> None:
        event(logger, logging.INFO, "stopping")
        self._socket.close()
        for child in self._children:
            child.process.terminate()
        until = time.monotonic() + self._settings.service.shutdown_seconds + 2.0
        for child in self._children:
            child.process.wait(max(0.1, until - time.monotonic()))
            child.process.close()
        shutil.rmtree(self._metrics, ignore_errors=True)
        event(logger, logging.INFO, "stopped")

    def _http_worker(self) -> Child:
        descriptor = self._socket.fileno()
        return Child(
            "service.server.http_worker",
            [str(descriptor)],
            self._settings,
            descriptors=[descriptor],
            environment={"PROMETHEUS_MULTIPROC_DIR": str(self._metrics)},
        )

    def _supervisor(self) -> Child:
        return Child("service.jobs.supervisor", [], self._settings)


class _RestartedProcess:
    """A process that is started again when it ends."""

    def __init__(self, name: str, start: Callable[[], Child]) -> None:
        self._name = name
        self._start = start
        self._short_lives = 0
        self._begin()

    def keep(self) -> bool:
        """Restart the process if it has ended; return False if it ends again and again."""
        code = self.process.exit_code
        if code is None:
            return True
        event(logger, logging.WARNING, f"{self._name} ended", pid=self.process.pid, exit_code=code)
        self.process.close()
        short = time.monotonic() - self._started < _SHORT_LIFE
        self._short_lives = self._short_lives + 1 if short else 0
        if self._short_lives >= _SHORT_LIVES:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self.process = self._start()
        self._started = time.monotonic()


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    settings = settings.model_copy(update={"home": settings.home.resolve()})
    prepare(settings)
    server = Server(settings, listen(settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    return server.run(stop)
