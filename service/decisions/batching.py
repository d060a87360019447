"""Answers together the requests that came at the same moment: eight take little longer than one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from service.core.problems import time_limit
from service.decisions.audit import AuditWriter
from service.decisions.context import Scene
from service.decisions.service import Answers, Given, Question, decide
from service.models.serving import WIDTH

# Longest wait for the next of those that asked last time, and for all of them; a decision takes about as long.
_PATIENCE = 0.002
_LONGEST = 0.010
Done = Callable[[Given | Exception], None]


@dataclass(slots=True)
class _Asked:
    """A question, who asks, and who is told the answer."""

    question: Question
    key_id: str
    request_id: str
    client: object
    done: Done


@dataclass
class _Waiting:
    """Questions in one scene."""

    scene: Scene
    until: float
    last: float = 0.0
    asked: list[_Asked] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Batcher:
    """Collects the questions of one turn of the event loop, by scene; belongs to one loop.

    Everything that they need is in memory, so that deciding takes a millisecond or two, and writing down
    less: it would cost more to hand that to threads, which compete for the interpreter and have to be waited
    for.

    Parameters
    ----------
    answers : Answers
        Puts decisions into words.
    writer : AuditWriter
        Writes them down.
    seconds : float
        Longest wait for that, where others write to the database.
    """

    def __init__(self, answers: Answers, writer: AuditWriter, seconds: float) -> None:
        self._answers = answers
        self._writer = writer
        self._seconds = seconds
        self._waiting: dict[int, _Waiting] = {}
        self._expected = 1
        self._last: set[object] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def give(self, question: Question, *, key_id: str, request_id: str, client: object = None) -> Given:
        """Give an answer whose row is committed; `client` tells connections apart."""
        future: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self.ask(question, partial(_settle, future), key_id=key_id, request_id=request_id, client=client)
        return await future

    def ask(
        self, question: Question, done: Done, *, key_id: str, request_id: str, client: object = None
    ) -> None:
        """Call `done` later, on this thread, with an answer whose row is committed, or with what went wrong."""
        loop = asyncio.get_running_loop()
        key = id(question.scene)
        waiting = self._waiting.get(key)
        now = loop.time()
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(question.scene, now + _LONGEST)
            waiting.timer = loop.call_at(now + _PATIENCE, self._look, key)
        waiting.last = now
        waiting.asked.append(_Asked(question, key_id, request_id, client, done))
        if len(waiting.asked) == min(self._expected, WIDTH):
            # Requests whose bytes have arrived already are read in this turn, before this is called.
            loop.call_soon(self._flush, key)

    def _look(self, key: int) -> None:
        waiting = self._waiting[key]
        # Reading eight requests takes longer than the patience for one: what counts is the last that came.
        until = min(waiting.last + _PATIENCE, waiting.until)
        loop = asyncio.get_running_loop()
        if loop.time() < until:
            waiting.timer = loop.call_at(until, self._look, key)
        else:
            self._flush(key)

    def _flush(self, key: int) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        if waiting.timer is not None:
            waiting.timer.cancel()
        # Who asked now or just before will ask again, if the same clients go on asking: two groups that take turns
        # become one. One alone never waits, and who waited for nothing waits no more.
        clients = {item.client for item in waiting.asked}
        if len(waiting.asked) < min(self._expected, WIDTH):
            self._expected = len(waiting.asked)
        else:
            self._expected = max(len(waiting.asked), len(clients | self._last))
        self._last = clients
        for first in range(0, len(waiting.asked), WIDTH):
            self._answer(waiting.scene, waiting.asked[first : first + WIDTH])

    def _answer(self, scene: Scene, asked: list[_Asked]) -> None:
        try:
            held = np.stack([item.question.held for item in asked])
            decided = decide(scene, held)
        except Exception as error:
            for item in asked:
                item.done(error)
            return
        found: list[tuple[_Asked, Given]] = []
        for item, decision in zip(asked, decided, strict=True):
            try:
                given = self._answers.end(
                    item.question, decision, key_id=item.key_id, request_id=item.request_id
                )
            except Exception as error:
                item.done(error)
            else:
                found.append((item, given))
        self._write_down(found)

    def _write_down(self, found: list[tuple[_Asked, Given]]) -> None:
        if not found:
            return
        try:
            written = self._writer.write_now([given.entry for _, given in found])
        except Exception as error:
            for item, _ in found:
                item.done(error)
            return
        for item, given in found:
            if written:
                item.done(given)
            else:
                task = asyncio.ensure_future(self._wait(item, given))
                self._tasks.add(task)  # the loop itself holds tasks weakly
                task.add_done_callback(self._tasks.discard)

    async def _wait(self, item: _Asked, given: Given) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.wrap_future(self._writer.submit(given.entry))
        except TimeoutError:
            item.done(time_limit(self._seconds))
        except Exception as error:
            item.done(error)
        else:
            item.done(given)


def _settle(future: asyncio.Future[Given], found: Given | Exception) -> None:
    if future.done():  # its request has timed out
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)
