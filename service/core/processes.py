"""Child processes: settings come through a pipe, and the end of the pipe means that the parent has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from equitrade.processes import module_command
from service.core.settings import Settings

# One thread each: workers share the cores already, and sums on one thread always have the same bits.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Child:
    """A process that runs a module of this package, with inherited descriptors and additional variables.

    Settings are sent through its standard input, which stays open as long as this process lives; arguments are no place
    for secrets, since every user of the machine can read them. By default its output is that of this process.
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
            module_command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=tuple(descriptors),
            env={**os.environ, **threads, **(environment or {})},
            # Ctrl-C reaches the parent alone, which stops its children in order.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; see `exit_code`
            self._process.stdin.write(settings.to_line().encode() + b"\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, or None while it runs; minus the number of the signal that killed it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; kill it after so many seconds and return False."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def close(self) -> None:
        """Close the pipe, after its end."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def receive_settings() -> Settings:
    """Read the settings that the parent sent; for a child."""
    return Settings.from_line(sys.stdin.readline())


def when_parent_dies(action: Callable[[], None]) -> None:
    """Call a function once the parent has died, which closes the other end of standard input."""

    def watch() -> None:
        while sys.stdin.readline():
            pass
        action()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
