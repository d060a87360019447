"""Promotion: all of a run or nothing, and one version at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from data.errors import DataError
from service.models.registry import LISTING

URL = "/api/v1/allocations"


def versions_on_disk(home: Path, model: str = "toy") -> set[str]:
    return {path.name for path in (home / "models" / model).iterdir()}


def test_promotion_copies_and_serves(service: Any) -> None:
    promoted = service.state.registry.current("toy")
    folder = service.home / "models" / "toy" / promoted.version
    assert {path.name for path in folder.iterdir()} == {"policy.json", LISTING}
    assert (
        service.client.get("/api/v1/models/toy", headers=service.key()).json()["version"] == promoted.version
    )


def test_same_files_same_version_and_other_files_another(service: Any) -> None:
    first = service.state.registry.current("toy").version
    assert service.promote() == first
    second = service.promote("other-run", base=(0.1, 0.1, 0.1))
    assert second != first
    assert service.state.registry.versions("toy") == [second, first]
    assert versions_on_disk(service.home) == {first, second}


def test_promotion_is_seen_at_once_in_every_process(service: Any, make_service: Any) -> None:
    other = make_service()
    header = service.key()
    before = other.client.post(URL, json={"model": "toy"}, headers=header).json()
    version = service.promote("other-run", base=(0.0, 0.0, 0.2))
    after = other.client.post(URL, json={"model": "toy"}, headers=header).json()
    assert before["version"] != after["version"] == version
    assert before["weights"] != after["weights"]


def test_retired_model_answers_no_more_and_comes_back(service: Any, kind_of: Any) -> None:
    header = service.key()
    service.state.registry.retire("toy")
    for method, path in (("POST", URL), ("GET", "/api/v1/models/toy")):
        answer = service.client.request(method, path, json={"model": "toy"}, headers=header)
        assert (answer.status_code, kind_of(answer)) == (410, "retired-model")
    assert service.client.get("/api/v1/models", headers=header).json()["models"] == []
    service.promote()
    assert service.client.post(URL, json={"model": "toy"}, headers=header).status_code == 200


def test_retiring_what_is_not_there_fails(service: Any) -> None:
    with pytest.raises(DataError, match="nope"):
        service.state.registry.retire("nope")


def test_damaged_files_are_noticed_and_promotion_mends_them(
    make_service: Any, service: Any, kind_of: Any
) -> None:
    version = service.state.registry.current("toy").version
    file = service.home / "models" / "toy" / version / "policy.json"
    file.write_text(file.read_text().replace("0.5", "0.6"), encoding="utf-8")
    fresh = make_service()
    header = fresh.key()
    answer = fresh.client.post(URL, json={"model": "toy"}, headers=header)
    assert (answer.status_code, kind_of(answer)) == (503, "model-unavailable")
    assert kind_of(fresh.client.get("/ready")) == "not-ready"
    fresh.promote()
    assert fresh.client.post(URL, json={"model": "toy"}, headers=header).status_code == 200


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden", "x" * 101, "a b"])
def test_ids_that_are_no_names_are_refused(service: Any, name: str) -> None:
    run = service.run()
    with pytest.raises(DataError):
        service.state.registry.promote(run, name or "/")


def test_run_that_cannot_be_loaded_changes_nothing(service: Any) -> None:
    before = service.state.registry.current("toy")
    run = service.run("broken")
    (run / "policy.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="broken"):
        service.state.registry.promote(run, "toy")
    assert service.state.registry.current("toy") == before
    assert versions_on_disk(service.home) == {before.version}


def test_no_model_is_not_ready(make_service: Any, kind_of: Any) -> None:
    empty = make_service()
    assert kind_of(empty.client.get("/ready")) == "not-ready"
    assert empty.client.get("/health").status_code == 200


def test_promotions_at_once_leave_one_of_them(service: Any) -> None:
    runs = [service.run(f"run-{k}", base=(0.1 * k, 0.1, 0.1)) for k in range(4)]
    threads = [threading.Thread(target=service.state.registry.promote, args=(run, "toy")) for run in runs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current = service.state.registry.current("toy")
    assert current.run in {run.name for run in runs}
    service.state.registry.policy("toy", current.version)


def test_answers_during_promotions_are_of_one_version_each(service: Any, make_service: Any) -> None:
    """Each answer's weights are those of the version that it names, whatever is promoted meanwhile."""
    bases = [(0.8, 0.0, 0.0), (0.0, 0.0, 0.8)]
    expected = {}
    header = service.key()
    for k, base in enumerate(bases):
        version = service.promote(f"run-{k}", base=base)
        expected[version] = service.client.post(URL, json={"model": "toy"}, headers=header).json()["weights"]
    workers = [service, make_service()]
    stop = threading.Event()

    def promote() -> None:
        while not stop.is_set():
            for k, base in enumerate(bases):
                service.promote(f"run-{k}", base=base)

    thread = threading.Thread(target=promote)
    thread.start()
    seen = set()
    try:
        for _ in range(40):
            for worker in workers:
                answer = worker.client.post(URL, json={"model": "toy"}, headers=header).json()
                assert answer["weights"] == expected[answer["version"]]
                seen.add(answer["version"])
    finally:
        stop.set()
        thread.join()
    assert seen <= set(expected)


def test_prune_keeps_what_is_served_or_recorded(service: Any) -> None:
    header = service.key()
    service.client.post(URL, json={"model": "toy"}, headers=header)
    recorded = service.state.registry.current("toy").version
    unused = service.promote("run-1", base=(0.2, 0.2, 0.2))
    served = service.promote("run-2", base=(0.3, 0.2, 0.2))
    assert service.state.registry.prune() == [f"toy {unused}"]
    assert versions_on_disk(service.home) == {recorded, served}
