"""The page *Symmetry*: what is stored is shown, what is missing is said with the command that makes it."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rl_core.checkpoint import save_agent
from rl_core.config import SACConfig
from rl_core.sac import SAC
from trading_app.evaluation.market_tests import save_tests
from trading_app.experiments.equivariance import save_equivariance
from trading_app.market.encoding import market_symmetry
from trading_app.runs.run import open_run

SYMBOLS = ["KO", "GE", "IBM"]
PATH = "/dashboard/symmetry"


def write_run(home: Path, name: str = "first", kind: str = "relaxed", created: str = "2024-01-01") -> Any:
    """A run as training leaves it, with a checkpoint of untrained networks whose gains are disturbed."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    manifest = {
        "name": name, "created_at": created, "finished_at": created, "agent": kind, "seeds": [4, 7], "config": {},
        "data": {"name": "toy", "hash": "a" * 64, "symbols": SYMBOLS},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    settings = SACConfig(agent=kind, width=8, ensemble=2, relaxed_noise=0.2)
    save_agent(SAC(market_symmetry([1, -1], 3, mirror=True), settings, [4, 7]), folder)
    return open_run(name, home)


def store_tests(home: Path, letter: str = "a", name: str = "toy") -> None:
    tests = [
        {
            "symmetry": symmetry,
            "period": year,
            "statistic": 0.02,
            "expected": 0.01,
            "p_value": p,
            "blocks": 12,
        }
        for year, p in ((2020, 0.01), (2021, 0.3))
        for symmetry in ("mirror", "exchange")
    ]
    document = {
        "schema": 1, "data": name, "hash": letter * 64, "start": "2020-01-02", "end": "2021-12-31", "sessions": 500,
        "symbols": SYMBOLS, "permutations": 99, "seed": 0, "created_at": "2024-03-01T00:00:00+00:00", "tests": tests,
    }  # fmt: skip
    save_tests(home, document)


def errors() -> dict[str, Any]:
    part = {"mean": [0.1, 0.2], "maximum": [1.0, 1.0], "scale": [1.0, 1.0]}
    return {
        "schema": 1, "seeds": [4, 7], "data": {"name": "toy", "hash": "a" * 64}, "start": "2021-01-04",
        "end": "2021-12-31", "states": 20, "errors": {"exchange": {"policy": part, "critic": part}},
    }  # fmt: skip


def table(site: Any, name: str, query: str = "") -> pd.DataFrame:
    answer = site.client.get(f"{PATH}/figures/{name}.csv{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    return pd.read_csv(io.StringIO(answer.text))


def test_empty_home_is_told_what_to_do(site: Any) -> None:
    page = site.client.get(PATH)
    assert page.status_code == 200
    assert "equitrade symmetry --data sp500-20 --save" in page.text
    assert "equitrade demo" in page.text


def test_strangers_are_sent_to_the_login(make_service: Any) -> None:
    client = make_service().client
    for path in (PATH, f"{PATH}/figures/layers.json"):
        assert client.get(path, follow_redirects=False).headers["location"].startswith("/login?next=")


def test_page_shows_market_weights_and_errors(site: Any) -> None:
    run = write_run(site.home)
    store_tests(site.home)
    save_equivariance(run, errors())
    page = site.client.get(PATH).text
    names = re.findall(r'data-figure="([^"]+)"', page)
    assert names == [
        "market-mirror",
        "market-exchange",
        "weights-actor",
        "weights-critic",
        "layers",
        "errors",
    ]
    assert "rejects it in 1 of 2 years" in page
    assert "differs by 15.0\u202f% from the equivariant answer" in page
    for source in re.findall(r'data-source="([^"]+)"', page):
        answer = site.client.get(source.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert answer.json()["data"]


def test_page_sends_nothing_inline(site: Any) -> None:
    write_run(site.home)
    store_tests(site.home)
    text = site.client.get(PATH).text
    assert not re.search(r"<script(?![^>]*src=)[^>]*>|\sstyle=|\son[a-z]+=", text)


def test_weights_of_the_download_are_those_of_the_checkpoint(site: Any) -> None:
    from rl_core.sac import load_agent

    run = write_run(site.home)
    own = load_agent(run.path).actor.relaxed_weights()["lifting.w"].numpy()
    found = table(site, "weights-actor")
    found = found[found["layer"] == "lifting"]
    np.testing.assert_allclose(found["weight"].to_numpy(), own.ravel(), rtol=1e-6)
    assert found["asset"].unique().tolist() == SYMBOLS
    assert found["element"].unique().tolist() == ["identity", "mirror"]


def test_address_names_run_seed_and_weights(site: Any) -> None:
    write_run(site.home, "first", created="2024-01-01")
    write_run(site.home, "second", created="2024-02-01")
    assert "Relaxed weights of second" in site.client.get(PATH).text
    page = site.client.get(f"{PATH}?run=first&seed=7&weights=raw").text
    assert "Relaxed weights of first" in page
    assert '<option value="7" selected>' in page
    assert "weights-actor.json?run=first&amp;weights=raw&amp;seed=7" in page


def test_tests_of_the_runs_own_prices_come_first(site: Any) -> None:
    write_run(site.home)
    store_tests(site.home, "a", "toy")
    store_tests(site.home, "b", "other")
    assert "toy, 3 assets" in site.client.get(PATH).text
    assert "other, 3 assets" in site.client.get(f"{PATH}?market={'b' * 64}").text


def test_tests_of_other_prices_are_not_taken_for_the_runs_own(site: Any) -> None:
    write_run(site.home)
    store_tests(site.home, "b", "other")
    page = site.client.get(PATH).text
    assert "The run was trained on toy, which has not been tested" in page
    assert "equitrade symmetry --data toy --save" in page


def test_exact_agent_is_told_that_relaxed_ones_have_weights(site: Any) -> None:
    write_run(site.home, kind="exact")
    page = site.client.get(PATH).text
    assert "only relaxed agents have them" in page
    assert "equitrade backtest first" in page


def test_training_is_shown_where_it_was_recorded(site: Any) -> None:
    run = write_run(site.home)
    lines = [
        {"step": step, "seed": seed, "eval_relaxation_actor lifting": step / 10}
        for step in (1, 2)
        for seed in (4, 7)
    ]
    (run.path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut')
    assert "layers-training" in site.client.get(PATH).text
    assert table(site, "layers-training")["deviation"].tolist() == [0.1, 0.1, 0.2, 0.2]


def test_damaged_files_are_named_and_the_rest_is_shown(site: Any) -> None:
    run = write_run(site.home)
    store_tests(site.home)
    next(run.path.rglob("agent.safetensors")).write_bytes(b"nothing")
    (run.path / "symmetry.json").write_text("{")
    page = site.client.get(PATH)
    assert page.status_code == 200
    assert "agent.safetensors: the checkpoint is damaged" in page.text
    assert "symmetry.json: not valid JSON" in page.text
    assert "market-mirror" in page.text


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("run=nobody", 404, "no run"),
        ("run=../first", 422, "run"),
        ("run=first&seed=9", 422, "has no seed 9; it has 4, 7"),
        ("seed=x", 422, "seed"),
        ("weights=odd", 422, "weights"),
        (f"market={'c' * 64}", 422, "equitrade symmetry --data NAME --save"),
    ],
)
def test_bad_addresses_get_a_page_that_says_why(site: Any, query: str, status: int, words: str) -> None:
    write_run(site.home)
    answer = site.client.get(f"{PATH}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
    assert "/api/" not in answer.text.partition("<main")[2]


def test_unknown_figure_is_not_found(site: Any) -> None:
    write_run(site.home)
    assert site.client.get(f"{PATH}/figures/nothing.json").status_code == 404


def test_walk_forward_run_shows_the_weights_of_its_last_trained_fold(site: Any) -> None:
    folder = write_run(site.home, "walk").path
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"folds": [{}, {}, {}]}))
    for fold in (1, 2):
        shutil.copytree(folder / "checkpoints", folder / "folds" / f"fold-{fold}" / "checkpoints")
    shutil.rmtree(folder / "checkpoints")
    text = site.client.get(f"{PATH}?run=walk").text
    assert "steps of its last fold" in text
    assert 'data-figure="weights-actor"' in text
    for part in folder.glob("folds/*/checkpoints/*/checkpoint.json"):
        part.write_text("{")
    text = site.client.get(f"{PATH}?run=walk").text
    assert "the checkpoint is damaged" in text
    assert str(site.home) not in text
    shutil.rmtree(folder / "folds")
    text = site.client.get(f"{PATH}?run=walk").text
    assert "has no checkpoint yet" in text
    assert str(site.home) not in text
