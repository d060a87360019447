"""Alternating contenders, stored results and peers in other processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.harness import Peer, alternate, finish


def test_rounds_begin_with_another_contender_and_warm_ups_do_not_count() -> None:
    calls: list[str] = []

    def contender(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    seconds = alternate({name: lambda name=name: contender(name) for name in "ab"}, repeats=2)
    assert calls == list("abbaab")
    assert seconds == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


@pytest.mark.parametrize("as_json", [True, False])
def test_result_is_stored_and_printed(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    finish("table", {"rate": 2.5}, ["rate 2.5"], as_json=as_json)
    path = tmp_path / "table.json"
    stored = json.loads(path.read_text())
    assert stored["rate"] == 2.5
    assert stored["machine"]["versions"]["torch"]
    printed = capsys.readouterr().out
    assert (json.loads(printed) == {"rate": 2.5}) if as_json else (printed == f"rate 2.5\n{path}\n")
    finish("other", {"rate": 1.0}, ["rate 1"], as_json=False, save=False)
    assert capsys.readouterr().out == "rate 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_peer_answers_until_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text("for _ in range(2): print(len(input()), flush=True)\n")
    with Peer(Path(sys.executable), script) as peer:
        assert [peer.ask("four"), peer.ask("eleven char")] == [4, 11]
        with pytest.raises(RuntimeError, match="ended with code 0 instead of answering more"):
            peer.ask("more")
