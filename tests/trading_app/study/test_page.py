"""The page and the command of a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.study_page import page, stored_differences
from tests.trading_app.study.small import SMALL, read
from trading_app.cli.main import run
from trading_app.cli.study import show
from trading_app.files import RunError
from trading_app.study.document import load_study, study_document
from trading_app.study.figures import differences_figure, learning_figure
from trading_app.study.page import study_page, write_page


def options(home: Path, *others: str) -> list[str]:
    """Arguments of the command that made the small study."""
    texts = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in SMALL.items()}
    sets = [part for key, value in texts.items() for part in ("--set", f"{key}={value}")]
    return [
        *("study", "--name", "s", "--home", str(home), "--data", "first,second", "--agents", "exact,relaxed"),
        *("--folds", "2", *sets, *others),
    ]


def test_the_page_has_every_answer_and_unit(study_home: Path, tmp_path: Path) -> None:
    folder = study_home / "studies" / "s"
    write_page(folder, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    document = read(folder / "study.json")
    assert "4 of 4 units are done" in text
    assert "Not done" not in text
    for record in [*document["overall"], *document["comparisons"]]:
        assert f"- {record['sentence']}" in text
    for name in document["done"]:
        assert f"| {name} |" in text
    assert "| first | inverse-volatility |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(re.fullmatch(r"\|.*\|", line) for line in tables)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (tmp_path / link).stat().st_size > 10_000
    write_page(folder, tmp_path / "again.md")
    assert (tmp_path / "again.md").read_text().replace("again-", "page-") == text


def test_the_page_of_a_part_claims_no_more(home: Path) -> None:
    folder = home / "studies" / "s"
    for name in ("relaxed-first", "relaxed-second", "exact-second"):
        (folder / "units" / f"{name}.json").unlink()
    document, (_, units) = study_document(folder), load_study(folder)
    text = study_page(document, units, {})
    assert "1 of 4 units are done" in text
    assert "Not done: relaxed-first, exact-second, relaxed-second." in text
    assert "None yet" in text
    assert differences_figure(document) is None
    (folder / "units" / "exact-first.json").unlink()
    document, (_, units) = study_document(folder), load_study(folder)
    text = study_page(document, units, {})
    assert "0 of 4 units are done" in text
    assert "##" not in text
    assert learning_figure(document) is None


def test_figures_show_the_differences_and_the_curves(study_home: Path) -> None:
    document = study_document(study_home / "studies" / "s")
    shown = differences_figure(document)
    assert shown is not None
    points = [trace for trace in shown.data if trace.mode == "markers"]
    values = [r["sharpe_difference"]["value"] for r in [*document["overall"], *document["comparisons"]]]
    assert [float(trace.x[0]) for trace in points] == pytest.approx(values)
    curves = learning_figure(document)
    assert curves is not None
    assert {trace.name for trace in curves.data if trace.showlegend} == {"exact", "relaxed"}
    assert {annotation.text for annotation in curves.layout.annotations} == {"first", "second"}


def test_the_same_command_shows_what_is_done_and_writes_the_page(
    study_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options(study_home, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == read(study_home / "studies" / "s" / "study.json")
    show(document)
    shown = capsys.readouterr().out
    assert "4 of 4 units" in shown
    assert document["overall"][0]["sentence"] in " ".join(shown.split())
    file = tmp_path / "page.md"
    assert run(["study", "--name", str(study_home / "studies" / "s"), "--page", str(file)]) == 0
    assert file.read_text().startswith("# Study s\n")
    capsys.readouterr()
    assert run(["study", "--name", "s", "--page", str(file), "--seeds", "3"]) == 2
    assert "--page shows what is stored" in capsys.readouterr().err


def test_the_page_of_the_documentation_shows_the_pictures_that_are_drawn(
    study_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "study_learning.svg").touch()
    text = page(study_home / "studies" / "s", tmp_path)
    assert text.startswith("# The study\n")
    assert "![Learning curves](../pictures/study_learning.svg)" in text
    assert "study_differences" not in text
    assert stored_differences(tmp_path) is None


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no study found"):
        write_page(tmp_path, tmp_path / "page.md")
