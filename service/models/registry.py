"""Model registry: the served models and their versions.

A version is a folder ``models/ID/VERSION``, named by the hash of its content, created by one rename and never changed.
A row in the database points to the served version. So a promotion killed at any moment leaves the old version served,
two processes never serve a mixture, and an old answer can be recomputed with its version.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachetools import LRUCache
from sqlalchemy import bindparam, delete, select

from data.errors import DataError
from equitrade.atomic import atomic_directory, remove_leftovers
from equitrade.errors import EquitradeError
from service.core.cache import RevisionCache
from service.core.database import ACTOR, Database, bump_revision, record_event, upsert
from service.core.problems import Problem
from service.core.tables import allocations, model_versions, models
from service.models.admission import Evidence, read_evidence
from service.models.serving import Loader, Policy, load_trained
from service.schemas.common import NAME_PATTERN

logger = logging.getLogger("equitrade.registry")

LISTING = "files.json"
_LEFTOVER_SECONDS = 3600.0
_POLICIES = 8
_CURRENT = (
    select(
        models.c.id,
        models.c.version,
        model_versions.c.run,
        model_versions.c.details,
        model_versions.c.promoted_at,
    )
    .outerjoin(
        model_versions,
        (model_versions.c.model_id == models.c.id) & (model_versions.c.version == models.c.version),
    )
    .where(models.c.id == bindparam("model_id"))
)


@dataclass(frozen=True)
class Promoted:
    """A version of a model with the evidence of its run."""

    id: str
    version: str
    run: str
    promoted_at: datetime
    evidence: Evidence

    def summary(self) -> dict[str, Any]:
        """Return the members that a list of models shows."""
        evidence = self.evidence
        return {
            "id": self.id,
            "version": self.version,
            "run": self.run,
            "promoted_at": self.promoted_at,
            "agent": evidence.agent,
            "symmetry": evidence.symmetry,
            "seeds": len(evidence.seeds),
            "data": evidence.data,
            "symbols": list(evidence.symbols),
            "trained_until": evidence.trained_until,
        }


class Registry:
    """The models in a database and a folder.

    Parameters
    ----------
    database : Database
        Database of the pointers.
    folder : Path
        Folder of the versions.
    load : callable
        Loads a policy from a folder.
    inspect : callable
        Returns a run's evidence, with the files that inference needs.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        load: Loader = load_trained,
        inspect: Callable[[Path], Evidence] = read_evidence,
    ) -> None:
        self._database = database
        self._folder = folder
        self._load = load
        self._inspect = inspect
        self._known: RevisionCache[str, Promoted] = RevisionCache(1000)
        self._policies: LRUCache[tuple[str, str], Policy] = LRUCache(_POLICIES)
        self._moved: LRUCache[tuple[str, str, tuple[str, ...]], Policy] = LRUCache(_POLICIES)
        self._lock = threading.Lock()

    def promote(self, run: Path, model_id: str | None = None) -> Promoted:
        """Check a run, copy the files that inference needs, and serve it from the next request on.

        Raises
        ------
        DataError
            If the run is incomplete, cannot be loaded, was not evaluated out of sample, or does not record its
            training data; nothing is changed then.
        """
        name = model_id or run.name
        if not re.fullmatch(NAME_PATTERN, name):
            raise DataError(f"model id {name!r}: use letters, digits, dot, dash and underscore, at most 100")
        evidence = self._checked(run, self._inspect(run))
        version = self._copy(run, name, evidence)
        now = datetime.now(UTC)
        with self._database.write() as connection:
            upsert(connection, models, {"id": name}, {"version": version, "changed_at": now})
            details = {
                "run": run.name,
                "details": evidence.to_json(),
                "promoted_at": now,
                "promoted_by": ACTOR,
            }
            upsert(connection, model_versions, {"model_id": name, "version": version}, details)
            bump_revision(connection)
            record_event(connection, "model promoted", name, f"run {run.name}, version {version}")
        return self.current(name)

    def retire(self, model_id: str) -> None:
        """Stop serving a model; its files remain as long as the audit refers to them.

        Raises
        ------
        Problem
            If there is no such model.
        """
        self.current(model_id)
        with self._database.write() as connection:
            now = datetime.now(UTC)
            upsert(connection, models, {"id": model_id}, {"version": None, "changed_at": now})
            bump_revision(connection)
            record_event(connection, "model retired", model_id)

    def served(self) -> list[Promoted]:
        """Return the served models, by id."""
        query = (
            select(models.c.id, models.c.version, model_versions)
            .join(
                model_versions,
                (model_versions.c.model_id == models.c.id) & (model_versions.c.version == models.c.version),
            )
            .order_by(models.c.id)
        )
        with self._database.read() as connection:
            return [_promoted(row) for row in connection.execute(query)]

    def current(self, model_id: str) -> Promoted:
        """Return the served version of a model.

        Raises
        ------
        Problem
            ``unknown-model`` or ``retired-model``.
        """
        revision = self._database.revision()
        promoted = self._known.get(model_id, revision)
        if promoted is None:
            with self._database.read() as connection:
                row = connection.execute(_CURRENT, {"model_id": model_id}).first()
            if row is None:
                raise Problem(
                    "unknown-model", f"no model {model_id!r}", advice="GET /api/v1/models lists them"
                )
            if row.version is None:
                raise Problem("retired-model", f"model {model_id!r} was retired")
            promoted = _promoted(row)
            self._known.put(model_id, promoted, revision)
        return promoted

    def current_from_memory(self, model_id: str) -> Promoted | None:
        """Return the served version of a model if that takes no waiting, else None; for the event loop."""
        revision = self._database.instant_revision()
        return None if revision is None else self._known.get(model_id, revision)

    def version(self, model_id: str, version: str) -> Promoted:
        """Return any version that was ever promoted.

        Raises
        ------
        Problem
            ``unknown-model`` if there is no record of it.
        """
        query = select(model_versions, model_versions.c.model_id.label("id")).where(
            model_versions.c.model_id == model_id, model_versions.c.version == version
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise Problem("unknown-model", f"no version {version} of model {model_id!r}")
        return _promoted(row)

    def versions(self, model_id: str) -> list[str]:
        """Return all promoted versions, newest first."""
        query = select(model_versions.c.version).where(model_versions.c.model_id == model_id)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(model_versions.c.promoted_at.desc())).scalars())

    def path(self, model_id: str, version: str) -> Path:
        """Return the folder of a version."""
        return self._folder / model_id / version

    def policy(self, model_id: str, version: str, symbols: tuple[str, ...] | None = None) -> Policy:
        """Return the policy of a version, loaded once in a process after its files were checked.

        Parameters
        ----------
        model_id, version
            The version.
        symbols
            Symbols to decide on; those of the training by default.

        Raises
        ------
        Problem
            ``model-unavailable`` if files are missing or damaged, ``unsupported-symbols`` if the policy is tied to
            other symbols.
        """
        key = (model_id, version)
        with self._lock:
            policy = self._policies.get(key)
            if policy is None:
                policy = self._policies[key] = self._open(self.path(model_id, version), version)
            if symbols is None or tuple(policy.symbols) == symbols:
                return policy
            moved = self._moved.get((*key, symbols))
            if moved is None:
                moved = self._moved[(*key, symbols)] = _on_symbols(policy, symbols)
            return moved

    def prune(self) -> list[str]:
        """Delete versions that are neither served nor in the audit; return their names."""
        used = select(allocations.c.model_id, allocations.c.version).distinct()
        every = select(model_versions.c.model_id, model_versions.c.version)
        served = select(models.c.id, models.c.version)
        removed = []
        with self._database.write() as connection:
            kept = {tuple(row) for query in (used, served) for row in connection.execute(query)}
            for model_id, version in sorted({tuple(row) for row in connection.execute(every)} - kept):
                connection.execute(
                    delete(model_versions).where(
                        model_versions.c.model_id == model_id, model_versions.c.version == version
                    )
                )
                removed.append((model_id, version))
        # After the commit: files without a row only waste space, but a row without files makes answers fail.
        for model_id, version in removed:
            shutil.rmtree(self.path(model_id, version), ignore_errors=True)
        return [f"{model_id} {version}" for model_id, version in removed]

    def _checked(self, run: Path, evidence: Evidence) -> Evidence:
        try:
            policy = self._load(run)
        except (DataError, OSError, KeyError, ValueError) as error:
            raise DataError(f"{run}: its policy cannot be loaded: {error}") from None
        if tuple(policy.symbols) != evidence.symbols:
            raise DataError(f"{run}: its policy and its manifest have different symbols")
        return replace(evidence, history=policy.history)

    def _copy(self, run: Path, model_id: str, evidence: Evidence) -> str:
        listing = {name: _hash(run / name) for name in sorted(evidence.files)}
        text = json.dumps(listing, indent=1)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        target = self.path(model_id, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, older_than=time.time() - _LEFTOVER_SECONDS)
        if target.exists():
            try:
                _verify(target, version)
                return version
            except DataError:
                shutil.rmtree(target)
        try:
            with atomic_directory(target) as temporary:
                for name in listing:
                    (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(run / name, temporary / name)
                (temporary / LISTING).write_text(text, encoding="utf-8")
                # Checked after copying, to notice a run that is being written at the same time.
                _verify(temporary, version)
                self._load(temporary)
        except FileExistsError:
            _verify(target, version)
        return version

    def _open(self, folder: Path, version: str) -> Policy:
        try:
            _verify(folder, version)
            return self._load(folder)
        except Exception as error:
            # Any error of a loader: the other models must still be served.
            logger.exception("model %s %s cannot be loaded", folder.parent.name, version)
            reason = (
                f"version {version} of model {folder.parent.name!r} cannot be loaded; the log has the cause"
            )
            raise Problem("model-unavailable", reason) from error


def _on_symbols(policy: Policy, symbols: tuple[str, ...]) -> Policy:
    try:
        return policy.on_symbols(symbols)
    except EquitradeError as error:
        raise Problem("unsupported-symbols", str(error)) from None


def _promoted(row: Any) -> Promoted:
    return Promoted(row.id, row.version, row.run, row.promoted_at, Evidence.from_json(row.details))


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _verify(folder: Path, version: str) -> None:
    try:
        text = (folder / LISTING).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder / LISTING}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(text.encode()).hexdigest()[:16] != version:
        raise DataError(f"{folder / LISTING}: is not the listing of version {version}")
    for name, content in json.loads(text).items():
        if _hash(folder / name) != content:
            raise DataError(f"{folder / name}: is damaged; promote the run again")
