"""Atomic writes: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Temporary names start with a dot, so that nothing which lists a folder takes a half-written entry for one.
_PREFIX = ".tmp-"


def _sync_directory(path: Path) -> None:
    # Without this a rename can be lost in a power cut although the file's bytes are on the disk.
    # Windows cannot open a folder; there the rename itself is as much as can be had.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the place of `path`.

    The temporary path ends with the same suffix as `path` and does not exist yet. If the body raises, or
    the process dies, `path` is as it was before.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=target.suffix, dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    # mkstemp makes files of mode 0600; a finished file gets what the process's umask allows.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    try:
        yield temporary
        _sync_file(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` whole or not at all."""
    payload = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(payload)


@contextmanager
def atomic_directory(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on leaving without an error it becomes `path`.

    Parameters
    ----------
    path
        The folder to make.
    replace
        Whether it takes the place of a folder of that name, which is removed just before.

    Raises
    ------
    FileExistsError
        If `path` exists already and is not to be replaced (also if another process made it meanwhile).
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already")
    temporary = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=target.parent))
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o777 & ~umask)
    try:
        yield temporary
        for child in temporary.rglob("*"):
            if child.is_dir():
                _sync_directory(child)
            else:
                _sync_file(child)
        _sync_directory(temporary)
        if replace:
            shutil.rmtree(target, ignore_errors=True)
        # rename onto an existing non-empty folder fails on every system: the loser of a race finds out here.
        try:
            os.rename(temporary, target)
        except OSError as error:
            if target.exists():
                raise FileExistsError(f"{target} exists already") from error
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_directory(target.parent)


def remove_leftovers(directory: str | Path, *, older_than: float) -> list[Path]:
    """Remove what killed processes left in `directory`: temporary entries last changed before `older_than`.

    Parameters
    ----------
    directory
        The folder to tidy; its sub-folders are left alone.
    older_than
        Seconds since the epoch. Newer entries may belong to a process at work and stay.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for entry in sorted(Path(directory).glob(f"{_PREFIX}*")):
        with suppress(OSError):
            if entry.stat().st_mtime >= older_than:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
            removed.append(entry)
    return removed
