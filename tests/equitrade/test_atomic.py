"""Atomic writes: the old or the new, never something between."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from equitrade.atomic import atomic_directory, atomic_path, atomic_write, remove_leftovers


def test_content_is_written_with_folders_and_usual_rights(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"
    atomic_write(target, "größer")
    assert target.read_bytes() == "größer".encode()
    atomic_write(target, b"\x00\x01")
    assert target.read_bytes() == b"\x00\x01"
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert [path.name for path in target.parent.iterdir()] == ["b.txt"]


def test_an_error_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "file.parquet"
    atomic_write(target, "old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".parquet"
            temporary.write_text("new, half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_appears_whole_and_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "one"
    with atomic_directory(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("content")
        assert not target.exists()
    assert (target / "deep" / "file").read_text() == "content"

    def again() -> None:
        with atomic_directory(target):
            pass

    with pytest.raises(FileExistsError):
        again()
    assert [path.name for path in target.parent.iterdir()] == ["one"]


def test_a_directory_that_another_made_meanwhile_wins(tmp_path: Path) -> None:
    target = tmp_path / "one"

    def race() -> None:
        with atomic_directory(target) as temporary:
            (temporary / "mine").write_text("")
            target.mkdir()
            (target / "theirs").write_text("")

    with pytest.raises(FileExistsError):
        race()
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_only_old_leftovers_are_removed(tmp_path: Path) -> None:
    old, new, other = tmp_path / ".tmp-old", tmp_path / ".tmp-new", tmp_path / "kept"
    for path in (old, new, other):
        path.mkdir()
    ancient = time.time() - 1000
    os.utime(old, (ancient, ancient))
    os.utime(other, (ancient, ancient))
    assert remove_leftovers(tmp_path, older_than=time.time() - 500) == [old]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-new", "kept"]


def test_a_directory_takes_the_place_of_another_when_asked_to(tmp_path: Path) -> None:
    target = tmp_path / "step"
    for content in ("old", "new"):
        with atomic_directory(target, replace=True) as temporary:
            (temporary / content).write_text(content)
            assert (target / "old").exists() == (content == "new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["step"]
