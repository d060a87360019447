"""``equitrade serve``: a socket, HTTP workers that share it, a supervisor of jobs, and an orderly end."""

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
# A process that keeps dying this soon will not be helped by starting it once more.
_SHORT_LIFE = 5.0
_SHORT_LIVES = 5


def check_exposure(settings: Settings, keys: Keyring) -> None:
    """Refuse to be reached from other machines while no key guards the service.

    Raises
    ------
    SettingsError
        If the address is not a loopback one and there is no key that opens anything.
    """
    if not settings.service.loopback and keys.count_active() == 0:
        raise SettingsError(
            f"setting service.host: {settings.service.host} can be reached from other machines, and there "
            "is no key yet; `equitrade keys create --name NAME` makes one"
        )


def prepare(settings: Settings) -> None:
    """Migrate the database and check that the service may start.

    Raises
    ------
    SettingsError, DatabaseError
        If it may not.
    """
    database = Database(settings.database_url)
    try:
        database.migrate()
        check_exposure(settings, Keyring(database, settings.secret_bytes()))
    finally:
        database.close()


def listen(settings: Settings) -> socket.socket:
    """Open the socket that every worker accepts from.

    Raises
    ------
    SettingsError
        If the address cannot be had.
    """
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
            f"service.host, service.port: {host}:{port} cannot be had: {error.strerror}"
        ) from None
    return opened


class Server:
    """The parent of all processes of the service.

    Parameters
    ----------
    settings : Settings
        The settings.
    opened : socket
        From `listen`.
    """

    def __init__(self, settings: Settings, opened: socket.socket) -> None:
        self._settings = settings
        self._socket = opened
        self._metrics = Path(tempfile.mkdtemp(prefix="equitrade-metrics-"))
        self._posts: list[_Post] = []

    @property
    def url(self) -> str:
        """Where the service answers."""
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._settings.service.ssl_certfile else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def run(self, stop: threading.Event) -> int:
        """Serve until told to stop; give the exit code."""
        self._posts = [_Post("http worker", self._http_worker) for _ in range(self._settings.service.workers)]
        self._posts.append(_Post("job supervisor", self._supervisor))
        event(logger, logging.INFO, "serving", url=self.url, workers=self._settings.service.workers)
        code = 0
        while not stop.wait(_POLL_SECONDS):
            kept = [post.keep() for post in self._posts]
            if not all(kept):
                logger.error("a process dies again and again; the lines above say why")
                code = 1
                break
        self._shut_down()
        return code

    def _shut_down(self) -> None:
        event(logger, logging.INFO, "stopping")
        self._socket.close()
        for post in self._posts:
            post.child.terminate()
        until = time.monotonic() + self._settings.service.shutdown_seconds + 2.0
        for post in self._posts:
            post.child.wait(max(0.1, until - time.monotonic()))
            post.child.close()
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


class _Post:
    """A place that is always filled: when its process dies, another takes over."""

    def __init__(self, name: str, start: Callable[[], Child]) -> None:
        self._name = name
        self._start = start
        self._short_lives = 0
        self._begin()

    def keep(self) -> bool:
        """Fill the place again if need be; False once that is hopeless."""
        code = self.child.exit_code
        if code is None:
            return True
        event(logger, logging.WARNING, f"{self._name} ended", pid=self.child.pid, exit_code=code)
        self.child.close()
        short = time.monotonic() - self._started < _SHORT_LIFE
        self._short_lives = self._short_lives + 1 if short else 0
        if self._short_lives >= _SHORT_LIVES:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self.child = self._start()
        self._started = time.monotonic()


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; give the exit code."""
    settings = settings.model_copy(update={"home": settings.home.resolve()})
    prepare(settings)
    server = Server(settings, listen(settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    return server.run(stop)
