from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.learning.planted import run as planted
from benchmarks.learning.planted.cells import SETTINGS, Cell, cells
from benchmarks.learning.planted.figures import (
    first_reaching,
    learning_curves,
    load,
    relaxed_weights_figure,
    share_at,
    strengths_figure,
    table,
)
from benchmarks.learning.planted.verdicts import optimum_under_noise, verdicts
from trading_app.synthetic.planted_score import PlantedScore

TINY = {"width": 8, "batch_size": 16, "learning_starts": 16}


def tiny(agent="relaxed", exchange=0.0, **changes):
    return Cell("main", agent, exchange, exchange, changes={**TINY, **changes}, updates=6)


@pytest.fixture(autouse=True)
def small_score(monkeypatch):
    def score(config, *, episodes, periods, device):
        return PlantedScore(config, episodes=4, periods=10, device=device)

    monkeypatch.setattr(planted, "PlantedScore", score)


@pytest.fixture
def small_cells(monkeypatch):
    found = [tiny(), tiny(exchange=1.0)]
    monkeypatch.setattr(planted, "cells", lambda groups, agents: found)
    return found


def test_benchmark_goes_on_where_it_was_and_redoes_what_changed(small_cells, tmp_path, monkeypatch):
    runs = []
    run_cell = planted.run_cell
    monkeypatch.setattr(
        planted, "run_cell", lambda cell, *a, **k: runs.append(cell) or run_cell(cell, *a, **k)
    )
    planted.run(tmp_path, seeds=2, budget=0.0)
    assert len(runs) <= 1
    files = planted.run(tmp_path, seeds=2)
    assert len(runs) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files)
    planted.run(tmp_path, seeds=2)
    assert len(runs) == 2
    small_cells[0] = tiny(gamma=0.5)
    planted.run(tmp_path, seeds=2)
    assert len(runs) == 3

    record = load(tmp_path)["main-relaxed-exchange1-mirror1-default"]
    assert record["updates"][-1] == 6
    assert np.shape(record["share"]) == (len(record["updates"]), 2)
    assert set(record["noise"]) == {"0.0", "0.1", "0.2", "0.4", "0.8"}
    assert set(record["relaxation"]) == {"actor", "critic"}
    assert set(record["policy_error"]) == {"r", "exchange"}


@pytest.mark.parametrize(("agent", "again"), [("exact", 1), ("relaxed", 2)])
def test_settings_that_an_agent_has_no_use_of_do_not_make_a_cell_another(agent, again, tmp_path, monkeypatch):
    runs = []
    run_cell = planted.run_cell
    monkeypatch.setattr(
        planted, "run_cell", lambda cell, *a, **k: runs.append(cell) or run_cell(cell, *a, **k)
    )
    monkeypatch.setattr(planted, "cells", lambda groups, agents: [tiny(agent)])
    for multiplier in (5.0, 20.0):
        monkeypatch.setitem(SETTINGS, "relaxed_lr_multiplier", multiplier)
        planted.run(tmp_path, seeds=1)
    assert len(runs) == again


@pytest.mark.parametrize(("updates", "again"), [(4, 1), (8, 2)])
def test_a_longer_run_serves_for_a_shorter_one(updates, again, tmp_path, monkeypatch):
    runs = []
    run_cell = planted.run_cell
    monkeypatch.setattr(
        planted, "run_cell", lambda cell, *a, **k: runs.append(cell) or run_cell(cell, *a, **k)
    )
    for count in (6, updates):
        one = Cell(**{**vars(tiny()), "updates": count})
        monkeypatch.setattr(planted, "cells", lambda groups, agents, one=one: [one])
        planted.run(tmp_path, seeds=1)
    assert len(runs) == again


def test_a_choice_is_confirmed_on_seeds_that_it_was_not_made_on(tmp_path, monkeypatch):
    (cell, _) = cells(("confirm",))
    small = Cell(**{**vars(cell), "changes": TINY, "updates": 2})
    monkeypatch.setattr(planted, "cells", lambda groups, agents: [small])
    planted.run(tmp_path, seeds=2)
    chosen_on = {s for c in cells(("main", "ablation")) for s in range(c.first_seed, c.first_seed + 10)}
    record = load(tmp_path)[cell.name]
    assert record["seeds"] == [10, 11]
    assert not chosen_on & set(record["seeds"])


def test_seeds_of_a_cell_are_those_trained_alone(tmp_path):
    both = planted.run_cell(tiny("exact"), (3, 4))
    alone = planted.run_cell(tiny("exact"), (4,))
    np.testing.assert_allclose(
        [row[1] for row in both["share"]], [row[0] for row in alone["share"]], rtol=1e-3
    )


def test_every_cell_has_settings_that_work_and_a_name_of_its_own():
    found = cells()
    assert len({cell.name for cell in found}) == len(found)
    for cell in found:
        cell.config("cpu")
        json.dumps(cell.settings())
    targets = [cell.name for cell in cells(("main",))]
    for agent in ("dense", "exact", "relaxed", "rpp", "augmented"):
        for market in ("exchange0-mirror0", "exchange1-mirror1"):
            assert f"main-{agent}-{market}-default" in targets


def record(rise, seeds=10, gains=0.1):
    updates = list(range(100, 3001, 100))
    noise = np.random.default_rng(0).normal(0, 0.01, (len(updates), seeds))
    shares = 1 - np.exp(-np.array(updates)[:, None] / rise) + noise
    layer = {"lifting.w": [gains] * seeds}
    return {
        "seeds": list(range(seeds)),
        "updates": updates,
        "share": shares.tolist(),
        "relaxation": {"actor": {"all": layer, "rows": layer, "group": layer}},
    }


def test_table_and_figures_show_who_learns_faster():
    records = {
        f"main-{agent}-exchange{b}-mirror{b}-default": record(rise)
        for agent, rise in (("relaxed", 300), ("dense", 2000))
        for b in (0, 1)
    }
    rows = {row["cell"]: row for row in table(records)}
    fast, slow = (rows[f"main-{a}-exchange0-mirror0-default"] for a in ("relaxed", "dense"))
    assert 900 <= fast["to 95 %"] <= 1000
    assert slow["to 95 %"] is None
    assert slow["2500"][2] < fast["2500"][1]
    relaxed = records["main-relaxed-exchange0-mirror0-default"]
    assert share_at(relaxed, 9000) is None
    assert first_reaching(relaxed, 2.0) is None
    names = {t.name for t in learning_curves(records).data if t.name}
    assert names == {"relaxed", "dense"}
    assert len(relaxed_weights_figure(records).data) == 4
    assert len(strengths_figure(records).data) == 4


def test_a_diverged_run_counts_as_a_loss():
    broken = record(300)
    broken["share"] = [[float("nan") if i == 0 else v for i, v in enumerate(row)] for row in broken["share"]]
    broken["share"][-1] = [float("nan")] * 10
    found = share_at(broken, 3000)
    assert found is not None
    assert found.estimate == -10


def test_marks_are_read_off_the_cells():
    def noisy(rise, seeds, loss):
        noise = {level: [1 - loss * float(level)] * seeds for level in ("0.0", "0.1", "0.8")}
        return {**record(rise, seeds), "noise": noise}

    rises = {"relaxed": (300, 0.5), "exact": (450, 1.0), "dense": (1500, 0.4)}
    records = {
        f"main-{agent}-exchange{b}-mirror{b}-default": noisy(rise, 10, loss)
        for agent, (rise, loss) in rises.items()
        for b in (0, 1)
    }
    found = {what: (shown, reached) for what, shown, _, reached in verdicts(records)}
    assert found["both symmetries intact: relaxed, updates to 97%"][1] is True
    assert found["both symmetries intact: exact, updates to 97%"][1] is False  # about 1,580
    # Dense was not run for long enough to say whether it needs five times as many.
    assert found["both symmetries intact: dense over relaxed, updates to 97%"][1] is None
    assert found["both symmetries broken: relaxed, updates to 95%"][1] is True
    assert found["both symmetries broken: relaxed's interval above dense's, least distance from 1,000 on"][1]
    # By 3,000 updates relaxed and exact have both arrived: their intervals overlap.
    shown, reached = found[
        "both symmetries broken: relaxed's interval above exact's, least distance from 1,000 on"
    ]
    assert shown.startswith("-")
    assert reached is False
    shown, reached = found["both symmetries broken: share lost to noise 0.8"]
    assert shown.startswith("dense 0.320, relaxed 0.400, exact 0.800; the optimum itself ")
    assert reached is False
    assert list(verdicts({})) == []


def test_the_optimum_loses_more_the_more_noise_it_sees():
    lost = list(optimum_under_noise(1.0, 1.0).values())
    assert lost[0] > 0
    assert lost == sorted(lost)
    assert lost[3] == pytest.approx(64 * lost[0], rel=0.02)  # a linear policy's loss grows with the square
