"""Processes of our own: a pipe gives them their settings, and its end tells that the parent is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from service.core.settings import Settings

# One thread each: workers share the cores already, and sums on one thread have the same bits every time.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Child:
    """A process that runs one of our modules.

    Parameters
    ----------
    module : str
        Run with ``python -m``.
    arguments : sequence of str
        Its arguments; nothing secret, everybody on the machine can see them.
    settings : Settings
        Sent through its standard input, which stays open as long as this process lives.
    log : file, optional
        Where its output goes; by default where ours goes.
    descriptors : sequence of int
        File descriptors that it inherits.
    environment : mapping, optional
        Variables to add.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        settings: Settings,
        *,
        log: IO[bytes] | None = None,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        threads = {name: os.environ.get(name, "1") for name in _THREADS}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=tuple(descriptors),
            env={**os.environ, **threads, **(environment or {})},
            # Ctrl-C reaches the parent alone, which stops its children in order.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; `exit_code` will say so
            self._process.stdin.write(settings.to_line().encode() + b"\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs; negative is the signal that killed it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; kill it when that takes too long. False if it had to be killed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def close(self) -> None:
        """Let go of its pipe, after its end."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def receive_settings() -> Settings:
    """Read the settings that the parent sent, in a child."""
    return Settings.from_line(sys.stdin.readline())


def when_parent_dies(action: Callable[[], None]) -> None:
    """Call a function once the parent is gone, however it went: its end of our standard input closes then."""

    def watch() -> None:
        while sys.stdin.readline():
            pass
        action()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
