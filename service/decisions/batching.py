"""Batching of concurrent requests: the policy decides for eight accounts in little more time than for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from service.decisions.service import DecisionResult, PreparedDecision

# `AgentPolicy.decide` computes up to eight accounts at once.
MAX_BATCH = 8
Results = list[DecisionResult | Exception]
_Waiting = list[tuple[PreparedDecision, asyncio.Future[DecisionResult]]]


class Batcher:
    """Decides concurrent requests of one context together.

    A request that comes alone is decided at once. Requests that arrive while a batch is computed form the next one.
    Belongs to one event loop.

    Parameters
    ----------
    decide_together : callable
        Decides requests of one context, without blocking the loop.
    """

    def __init__(self, decide_together: Callable[[Sequence[PreparedDecision]], Awaitable[Results]]) -> None:
        self._decide_together = decide_together
        self._waiting: dict[int, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def decide(self, prepared: PreparedDecision) -> DecisionResult:
        """Decide on one request, together with others that wait.

        Raises
        ------
        Problem
            If the request cannot be decided.
        """
        key = id(prepared.context)
        future: asyncio.Future[DecisionResult] = asyncio.get_running_loop().create_future()
        if key in self._waiting:
            self._waiting[key].append((prepared, future))
        else:
            self._waiting[key] = [(prepared, future)]
            task = asyncio.create_task(self._work(key))
            self._tasks.add(task)  # the loop itself holds tasks by weak references
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self, key: int) -> None:
        waiting = self._waiting[key]
        while waiting:
            batch = waiting[:MAX_BATCH]
            del waiting[:MAX_BATCH]
            try:
                results = await self._decide_together([prepared for prepared, _ in batch])
            except Exception as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # its request has timed out
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        del self._waiting[key]
