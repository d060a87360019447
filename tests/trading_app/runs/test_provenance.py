"""Provenance of results."""

from __future__ import annotations

from pathlib import Path

from trading_app.runs.provenance import code_revision


def test_revision_is_not_taken_from_a_foreign_repository(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("")
    assert code_revision(tmp_path / "module.py") == {"revision": None, "changed": None}
