"""Run directories: configuration, data, code, checkpoints and backtest of a trained agent.

``runs/NAME/`` under the state directory holds

- ``manifest.json``: ``schema``, ``name``, ``created_at``, ``config``, ``data`` (name, hash, dates, symbols),
  ``split``, ``seeds``, ``code`` (revision, whether it was changed), ``versions``, ``machine``; once training has ended
  ``finished_at``, ``wall_time_seconds`` and ``agreement`` and ``sizing`` (lists, an entry a training, see
  `trading_app.evaluation.agreement` and `.sizing`); ``trials`` where a backtest was given more than the configuration;
- ``config.toml``, and the output of training: ``progress.jsonl``, TensorBoard events, ``checkpoints/``;
- after a backtest, all together or none:
  ``metrics.json``: the document of `trading_app.backtesting.summary`;
  ``equity.parquet``: index ``date``, one float64 column a strategy (``agent``, ``seed-0`` …, baselines):
  value of the account at each close, starting at 1;
  ``weights.parquet``: columns ``strategy``, ``date`` and one float64 column a symbol: holdings after the
  session's fill as fractions of the account; rows grouped by strategy, so that a reader can filter on it;
  ``trades.parquet``: columns ``strategy``, ``date``, ``symbol``, ``weight_before``, ``weight_change``,
  ``value``, ``price``, a row a trade;
  ``costs.parquet``: columns ``strategy``, ``date``, ``price_pnl``, ``commission``, ``spread``, ``impact``,
  ``borrow``, ``interest`` (in units of the account's start) and ``turnover`` (½ Σ|Δw| of the session);
- ``symmetry.json``: equivariance errors of policy and critic (`trading_app.experiments.equivariance`);
- ``report.html``;
- ``what-if/LABEL/``: the same files of a backtest with other prices, dates, costs or fills than the run's.

A walk-forward run (`trading_app.experiments.walk_forward`) lists ``folds`` in its manifest and has a run in
``folds/fold-1``, … for each, instead of checkpoints of its own.

Every file is written whole or not at all. A run's name is the name of its directory.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock, Timeout

from equitrade.atomic import atomic_directory, atomic_write
from equitrade.json_values import json_value
from trading_app.files import RunError, now, read_json, read_text, to_json
from trading_app.runs.provenance import provenance

SCHEMA = 1
Status = Literal["training", "complete", "backtested", "incomplete"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Run:
    """A run directory; its files are read on access."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def seeds(self) -> list[int]:
        """Seeds of the run."""
        return [int(seed) for seed in self.manifest.get("seeds", [])]

    def called(self, home: Path) -> str:
        """Return the name for commands: the run's name, or its path if it is outside the runs of `home`."""
        return self.name if self.path.parent == runs_directory(home) else str(self.path)

    @property
    def symbols(self) -> list[str]:
        """Symbols that the policy was trained on."""
        return list(self.manifest.get("data", {}).get("symbols", []))

    @property
    def config_text(self) -> str:
        """The configuration as TOML."""
        return read_text(self.path / "config.toml")

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.path / "report.html"

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The document of the last backtest (`trading_app.backtesting.summary`); None without one."""
        path = self.path / "metrics.json"
        return read_json(path) if path.exists() else None

    @property
    def status(self) -> Status:
        """``training`` while a process trains it; ``incomplete`` when that ended early; ``complete``;
        ``backtested``."""
        if self._is_training():
            return "training"
        try:
            manifest = read_json(self.path / "manifest.json")
        except RunError:
            return "incomplete"
        if "finished_at" not in manifest:
            return "incomplete"
        return "backtested" if (self.path / "metrics.json").exists() else "complete"

    def require_finished(self) -> None:
        """Refuse a run whose training has not ended: RunError with the command that continues it."""
        status = self.status
        if status == "training":
            raise RunError(f"run {self.name!r} is being trained; wait until its training has ended")
        if status == "incomplete":
            command = "walk-forward" if self.manifest.get("folds") else "train"
            raise RunError(
                f"run {self.name!r}: training is not finished; `equitrade {command} --resume --name {self.name}` "
                "continues it"
            )

    @contextmanager
    def training(self) -> Iterator[None]:
        """Lock the run while training it, at most until the process ends. RunError if another process trains it."""
        lock = FileLock(self._lock)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise RunError(f"run {self.name!r} is being trained by another process") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _is_training(self) -> bool:
        if not self._lock.exists():
            return False
        try:
            with FileLock(self._lock, blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # a run that this process may not write to
            return False

    def with_manifest(self, **changes: Any) -> Run:
        """Write changes into the manifest and return the changed run."""
        manifest = dict(json_value({**self.manifest, **changes}))
        atomic_write(self.path / "manifest.json", to_json(manifest))
        return Run(self.path, manifest)

    def finish(self, wall_time: float, **changes: Any) -> Run:
        """Mark training as ended, with further fields of the manifest.

        `wall_time` are the seconds that training took; they add to those of earlier, interrupted calls.
        """
        spent = float(self.manifest.get("wall_time_seconds", 0.0)) + wall_time
        return self.with_manifest(finished_at=now(), wall_time_seconds=round(spent, 3), **changes)

    def progress(self, containing: str = "") -> pd.DataFrame:
        """Return the lines of ``progress.jsonl`` (that contain a text) as rows, without one truncated by a crash."""
        path = self.path / "progress.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            if containing in line:
                with suppress(json.JSONDecodeError):
                    rows.append(json.loads(line))
        return pd.DataFrame(rows)


def runs_directory(home: Path) -> Path:
    """Return the folder of the runs of a state directory."""
    return home / "runs"


def fold_path(run: Path, number: int) -> Path:
    """Return the run directory of a fold of a walk-forward run, counted from 1."""
    return run / "folds" / f"fold-{number}"


def create_run(
    manifest: Mapping[str, Any], config_toml: str, *, home: Path, name: str, path: Path | None = None
) -> Run:
    """Create a run directory with its manifest and configuration, atomically.

    Parameters
    ----------
    manifest
        ``config``, ``data``, ``split``, ``seeds`` and further fields; ``schema``, ``name``,
        ``created_at``, ``code``, ``versions`` and ``machine`` are added.
    config_toml
        The configuration as read back by `trading_app.experiments.config.load_config`.
    home, name
        The run goes to ``home/runs/NAME``. A name has letters, digits, ``.``, ``_`` and ``-``.
    path
        Put the run there instead; its last part is the name then.

    Raises
    ------
    RunError
        If the name is in use or invalid.
    """
    target = runs_directory(home) / name if path is None else path.absolute()
    if not _NAME.fullmatch(target.name) or (path is None and target.name != name):
        raise RunError(
            f"run name {name!r} is invalid: use letters, digits, '.', '_' and '-', at most 100, "
            "beginning with a letter or digit"
        )
    content = {"schema": SCHEMA, "name": target.name, "created_at": now(), **manifest, **provenance()}
    try:
        with atomic_directory(target) as folder:
            (folder / "manifest.json").write_text(to_json(dict(json_value(content))), encoding="utf-8")
            (folder / "config.toml").write_text(config_toml, encoding="utf-8")
    except FileExistsError:
        raise RunError(f"{target} already exists; choose another name, or resume the run") from None
    return Run(target, dict(json_value(content)))


def unused_name(home: Path, stem: str) -> str:
    """Return `stem` as a valid directory name, with a number if that name is in use."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:90] or "run"
    taken = {path.name for path in runs_directory(home).glob("*")}
    candidates = (base, *(f"{base}-{i}" for i in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)


def open_run(name_or_path: str | Path, home: Path) -> Run:
    """Open a run by its name or its path; RunError with the nearest names if it is not found or cannot be read."""
    given = Path(name_or_path)
    directory = runs_directory(home)
    for path in (directory / given, given):
        if (path / "manifest.json").is_file():
            return Run(path, read_json(path / "manifest.json"))
    names = [run.name for run in list_runs(home)]
    near = difflib.get_close_matches(given.name, names, 3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    elif names:
        hint = f"available: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
    else:
        hint = "there are no runs yet; create one with `equitrade train`"
    raise RunError(f"run {str(name_or_path)!r} not found in {directory}; {hint}")


def list_runs(home: Path) -> list[Run]:
    """Return every run of a state directory, newest first; those without a readable manifest are left out."""
    runs = []
    for path in sorted(runs_directory(home).glob("*/manifest.json")):
        if path.parent.name.startswith("."):
            continue
        try:
            runs.append(Run(path.parent, read_json(path)))
        except RunError:
            continue
    return sorted(runs, key=lambda run: str(run.manifest.get("created_at", "")), reverse=True)
