"""Closed-loop load generator on keep-alive sockets, much cheaper than the service that it measures."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Measured:
    """Latencies of all answers in seconds, failures, and the duration."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """A quantile of the latencies, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def requests(path: str, bodies: Sequence[bytes], headers: Sequence[str]) -> list[bytes]:
    """Whole HTTP requests, ready to send."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return [
        (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for body in bodies
    ]


def load(port: int, messages: Sequence[bytes], *, clients: int, seconds: float) -> Measured:
    """Run clients that send the next request after each answer; each begins at another message of `requests`."""
    found = [Measured() for _ in range(clients)]
    start = threading.Barrier(clients)

    def run(number: int) -> None:
        own = found[number]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            start.wait()
            began = time.perf_counter()
            turn = number * len(messages) // clients
            while (now := time.perf_counter()) < began + seconds:
                connection.sendall(messages[turn % len(messages)])
                good = _read_answer(connection)
                own.latencies.append(time.perf_counter() - now)
                own.failures += not good
                turn += 1
            own.seconds = time.perf_counter() - began

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Measured(
        max(own.seconds for own in found),
        [latency for own in found for latency in own.latencies],
        sum(own.failures for own in found),
    )


def _read_answer(connection: socket.socket) -> bool:
    content = connection.recv(65536)
    while (end := content.find(b"\r\n\r\n")) < 0:
        content += _more(connection)
    head = content[:end].lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    missing = end + 4 + length - len(content)
    while missing > 0:
        missing -= len(_more(connection))
    return head.startswith(b"http/1.1 200")


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError("the server closed the connection")
    return part
