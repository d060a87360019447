"""Batching of concurrent requests: the policy decides for eight accounts in little more time than for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from service.decisions.service import DecisionResult, PreparedDecision

# `AgentPolicy.decide` computes up to eight accounts at once.
MAX_BATCH = 8
# Longest wait for the next request of a batch, and for all of them.
PATIENCE_SECONDS = 0.002
LONGEST_SECONDS = 0.010
Results = list[DecisionResult | Exception]
_Waiting = list[tuple[PreparedDecision, asyncio.Future[DecisionResult]]]


class Batcher:
    """Decides concurrent requests of one context together.

    Requests that arrive while a batch is computed form the next one. Clients that ask again at once would end up in
    small groups that take turns, so a batch waits a moment for as many requests as there were at the end of the last
    one; a request that comes alone never waits. Belongs to one event loop, which `decide_together` (of requests of one
    context) does not block.
    """

    def __init__(self, decide_together: Callable[[Sequence[PreparedDecision]], Awaitable[Results]]) -> None:
        self._decide_together = decide_together
        self._waiting: dict[int, _Waiting] = {}
        self._expected = 1
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def decide(self, prepared: PreparedDecision) -> DecisionResult:
        """Decide on one request, together with others that wait.

        Raises `Problem` if the request cannot be decided.
        """
        key = id(prepared.context)
        future: asyncio.Future[DecisionResult] = asyncio.get_running_loop().create_future()
        if key in self._waiting:
            self._waiting[key].append((prepared, future))
            self._arrived.set()
        else:
            self._waiting[key] = [(prepared, future)]
            task = asyncio.create_task(self._work(key))
            self._tasks.add(task)  # the loop itself holds tasks by weak references
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self, key: int) -> None:
        waiting = self._waiting[key]
        while waiting:
            await self._gather(waiting)
            batch = waiting[:MAX_BATCH]
            del waiting[:MAX_BATCH]
            try:
                results = await self._decide_together([prepared for prepared, _ in batch])
            except Exception as error:
                results = [error] * len(batch)
            self._expected = min(len(batch) + len(waiting), MAX_BATCH)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # its request has timed out
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        del self._waiting[key]

    async def _gather(self, waiting: _Waiting) -> None:
        """Wait for the expected number of requests, until none has arrived for `PATIENCE_SECONDS`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_SECONDS
        while len(waiting) < self._expected:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(min(loop.time() + PATIENCE_SECONDS, until)):
                    await self._arrived.wait()
            except TimeoutError:
                return
