"""The written record of a training: progress lines, TensorBoard events and returns of finished episodes."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equitrade.atomic import atomic_write
from rl_core.sac import SAC

logger = logging.getLogger(__name__)


class EpisodeReturns:
    """Sums of rewards of the episodes that finish, by seed.

    Parameters
    ----------
    seeds, n_envs
        S and the environments of each seed.
    device
        Of the rewards; nothing is read from it before `take`.
    """

    def __init__(self, seeds: int, n_envs: int, device: torch.device) -> None:
        self.running = torch.zeros(seeds, n_envs, device=device)
        self.total = torch.zeros(seeds, device=device)
        self.count = torch.zeros(seeds, device=device)

    def add(self, reward: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Count a step [S, n_envs]."""
        self.running = self.running + reward.to(self.running.dtype)
        # An episode whose beginning is not known has no return.
        over = (terminated | truncated) & ~torch.isnan(self.running)
        self.total = self.total + torch.where(over, self.running, 0.0).sum(1)
        self.count = self.count + over.sum(1)
        self.running = torch.where(terminated | truncated, 0.0, self.running)

    def take(self) -> dict[str, list[float]]:
        """Mean return of the episodes finished since the last call, by seed; empty where none finished."""
        if not bool((self.count > 0).any()):
            return {}
        mean = (self.total / self.count).double().tolist()
        self.total, self.count = torch.zeros_like(self.total), torch.zeros_like(self.count)
        return {"episode_return": mean}

    def state(self) -> dict[str, list[Any]]:
        """Values for a checkpoint's JSON document."""
        return {name: getattr(self, name).tolist() for name in ("running", "total", "count")}

    def load(self, state: Mapping[str, Sequence[Any]] | None) -> None:
        """Continue from `state`; None, from an older checkpoint, leaves the running episodes without a return."""
        if state is None:
            self.running.fill_(math.nan)
            return
        for name, values in state.items():
            own = getattr(self, name)
            own.copy_(torch.tensor(values, dtype=own.dtype))


class TrainingLog:
    """``progress.jsonl`` and TensorBoard events of a run; in memory only without a directory."""

    def __init__(self, directory: Path | None, resume: bool) -> None:
        self.lines: list[dict[str, Any]] = []
        self.path = None if directory is None else directory / "progress.jsonl"
        self._file: Any = None
        self._events: Any = None
        self._purge_step: int | None = None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not resume:
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        for open_file in (self._file, self._events):
            if open_file is not None:
                open_file.close()

    def cut(self, step: int) -> None:
        """Forget what was written after a step, a line cut short by a kill included; TensorBoard is told to do so."""
        self._purge_step = step + 1
        if self.path is None or not self.path.exists():
            return
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                break
            if line["step"] <= step:
                self.lines.append(line)
        atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))

    def write(
        self,
        step: int,
        agent: SAC,
        metrics: Mapping[str, list[float]],
        evaluation: Mapping[str, list[float]] | None,
    ) -> None:
        """Add a line a seed; numbers that are not finite become null."""
        numbers = {**metrics, **{f"eval_{name}": values for name, values in (evaluation or {}).items()}}
        for index, seed in enumerate(agent.seeds):
            line: dict[str, Any] = {"step": step, "seed": seed, "updates": agent.updates}
            own = {name: values[index] for name, values in numbers.items()}
            line |= {name: value if math.isfinite(value) else None for name, value in own.items()}
            self.lines.append(line)
            if self.path is not None:
                self._open().write(json.dumps(line) + "\n")
                if self._events is not None:
                    for name, value in own.items():
                        self._events.add_scalar(f"{name}/seed-{seed}", value, step)
        if self._file is not None:
            self._file.flush()

    def flush(self) -> None:
        """Write buffered lines to disk; a checkpoint written next relies on them."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _open(self) -> Any:
        if self._file is None and self.path is not None:
            self._file = self.path.open("a", encoding="utf-8")
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                logger.info("tensorboard is not installed; no events are written")
            else:
                folder = self.path.parent / "events"
                _await_new_second(folder)
                self._events = SummaryWriter(str(folder), purge_step=self._purge_step)
        return self._file


def _await_new_second(folder: Path) -> None:
    """Wait while there is a file of events of this second: TensorBoard orders those by text, number 10 before 9."""
    while list(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(0.05)
