"""The trading commands: what a person types, sees, and is told when it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.loading import load_prices
from trading_app.backtesting.backtest import backtest
from trading_app.cli.main import command_points, run
from trading_app.evaluation.market_tests import stored_tests
from trading_app.report.verdict import verdict

SMALL = {
    "EQUITRADE_TRAINING__STEPS": "12",
    "EQUITRADE_TRAINING__EVALUATE_EVERY": "12",
    "EQUITRADE_TRAINING__CROSS_FIT": "false",
    "EQUITRADE_MARKET__WINDOW": "4",
    "EQUITRADE_SAC__WIDTH": "8",
    "EQUITRADE_SAC__BATCH_SIZE": "16",
    "EQUITRADE_SAC__LEARNING_STARTS": "16",
}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in a fresh home; gives exit code, standard output and standard error."""
    monkeypatch.setenv("EQUITRADE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_train_backtest_report(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("train", "--data", "factors-5", "--seeds", "2", "--name", "first", "--json")
    assert code == 0
    path = Path(json.loads(out)["path"])
    code, out, _ = command("backtest", "first", "--json")
    assert code == 0
    document = json.loads(out)
    assert {"agent", "seed-0", "seed-1", "equal-weight"} <= set(document["strategies"])
    errors = json.loads((path / "symmetry.json").read_text(encoding="utf-8"))["errors"]
    assert len(errors["exchange"]["policy"]["mean"]) == 2
    code, out, _ = command("report", "first")
    assert code == 0
    assert Path(out.strip()) == (path / "report.html").resolve()
    page = (path / "report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert "first" in page
    code, _, err = command("train", "--data", "factors-5", "--name", "first")
    assert code == 2
    assert "already exists" in err
    code, _, err = command("train", "--resume", "--name", "first", "--steps", "3")
    assert code == 2
    assert "own settings" in err


def test_a_run_on_made_transitions_is_trained_resumed_backtested_and_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made.toml").write_text(
        "[sac]\ntransitions = 'made'\n[training]\ncheckpoint_every = 6\n", encoding="utf-8"
    )
    monkeypatch.setenv("EQUITRADE_SAC__ROW_VALUES", "true")
    code, out, err = command(
        "train", "--config", "made.toml", "--data", "factors-5", "--seeds", "2", "--name", "made", "--json"
    )
    assert code == 0, err
    path = Path(json.loads(out)["path"])
    lines = [json.loads(line) for line in (path / "progress.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["updates"] == 12
    assert command("train", "--resume", "--name", "made")[0] == 0
    for step in ("backtest", "report"):
        code, _, err = command(step, "made")
        assert code == 0, err
    errors = json.loads((path / "symmetry.json").read_text(encoding="utf-8"))["errors"]
    assert len(errors["exchange"]["critic"]["mean"]) == 2


def test_a_run_on_monthly_portfolios_is_trained_and_backtested_beside_baselines(command: Command) -> None:
    code, _, err = command("train", "--data", "industries", "--seeds", "1", "--name", "monthly")
    assert code == 0, err
    code, out, err = command("backtest", "monthly", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["periods"] == 12
    assert {"agent", "equal-weight", "buy-and-hold"} <= set(document["strategies"])


def test_a_baseline_trades_on_own_signals(command: Command) -> None:
    command("data", "planted", "known", "--assets", "4", "--sessions", "500")
    arguments = ("backtest", "--strategy", "plug-in", "--data", "known", "--start", "2006-06-01", "--json")
    code, _, err = command(*arguments)
    assert code == 2
    assert "--signals" in err
    code, out, err = command(*arguments, "--signals", "known")
    assert code == 0, err
    assert json.loads(out)["strategies"]["plug-in"]["kind"] == "baseline"


def test_costs_lower_a_baseline(command: Command) -> None:
    growth = []
    for bps in ("0", "50"):
        arguments = ("--strategy", "momentum", "--data", "factors-5", "--costs-bps", bps, "--json")
        code, out, _ = command("backtest", *arguments)
        assert code == 0
        growth.append(json.loads(out)["strategies"]["momentum"]["metrics"]["cagr"])
    assert growth[1] < growth[0]


def test_baseline_obeys_options_environment_and_file_in_this_order(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def document(*options: str) -> dict[str, Any]:
        start = ("backtest", "--strategy", "equal-weight", "--data", "factors-5", "--start", "2019-01-02")
        code, out, err = command(*start, "--json", *options)
        assert code == 0, err
        return dict(json.loads(out))

    (tmp_path / "own.toml").write_text("[costs]\nperiods = 365\nrisk_free = 0.01\ncommission_bps = 9.0\n")
    assert document()["periods"] == 252
    file = ("--config", "own.toml")
    found = document(*file)
    assert (found["periods"], found["risk_free"], found["costs"]["commission_bps"]) == (365, 0.01, 9.0)
    monkeypatch.setenv("EQUITRADE_COSTS__PERIODS", "52")
    assert document(*file)["periods"] == 52
    found = document(*file, "--periods", "12", "--risk-free", "0.02", "--costs-bps", "0")
    assert (found["periods"], found["risk_free"], found["costs"]["commission_bps"]) == (12, 0.02, 0.0)
    (tmp_path / "rates.csv").write_text("date,rate\n2010-01-04,0.01\n2020-01-02,0.03\n")
    found = document(*file, "--risk-free", "rates.csv")
    assert found["costs"]["risk_free_rates"] == {"2010-01-04": 0.01, "2020-01-02": 0.03}
    assert 0.01 < found["risk_free"] < 0.03
    _, out, _ = command("backtest", "--strategy", "equal-weight", "--data", "factors-5")
    assert "52 sessions a year" in " ".join(out.split())


def test_weights_from_a_file_are_backtested(command: Command, tmp_path: Path) -> None:
    prices = load_prices("factors-5")
    dates = prices.dates[-300:]
    weights = pd.DataFrame(0.5, dates, prices.symbols[:2])
    weights.rename_axis("date").to_csv("mine.csv")
    weights.to_parquet("mine.parquet")
    whole = weights.reindex(columns=prices.symbols).fillna(0.0)
    expected = backtest(prices, {"mine": whole}, start=dates[0]).metrics()["mine"]["cagr"]
    for file in ("mine.csv", "mine.parquet"):
        arguments = ("backtest", "--weights", file, "--data", "factors-5", "--start", str(dates[0].date()))
        code, out, err = command(*arguments, "--json")
        assert code == 0, err
        assert json.loads(out)["strategies"]["mine"]["metrics"]["cagr"] == pytest.approx(expected, abs=1e-15)
    code, out, err = command(*arguments, "--against", "equal-weight", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["reference"] == "equal-weight"
    assert list(document["strategies"]) == ["mine", "equal-weight"]
    assert document["above_reference"]["estimates"]["beta"]["value"] > 0.5
    code, out, err = command(*arguments, "--against", "equal-weight")
    assert "Tracking error, a year" in out
    code, _, err = command("backtest", "--strategy", "momentum", "--against", "momentum")
    assert (code, "name another baseline" in err) == (2, True)
    for spoilt, words in (
        (weights.rename(columns={prices.symbols[0]: "WHAT"}), "'WHAT' is no symbol"),
        (weights.set_axis(range(len(weights))), "YYYY-MM-DD"),
        (weights.assign(**{prices.symbols[0]: "half"}), "are not all numbers"),
    ):
        spoilt.to_csv("bad.csv")
        code, out, err = command("backtest", "--weights", "bad.csv", "--data", "factors-5")
        assert (code, out) == (2, "")
        assert len(err.strip().splitlines()) == 1
        assert words in err


def test_symmetry_answers_year_by_year(command: Command, tmp_path: Path) -> None:
    code, out, _ = command(
        "symmetry", "--data", "factors-5", "--start", "2019-06-01", "--permutations", "19", "--json"
    )
    assert code == 0
    tests = json.loads(out)["tests"]
    assert {t["symmetry"] for t in tests} == {"mirror", "exchange"}
    assert all(0 < t["p_value"] <= 1 for t in tests)
    assert not (tmp_path / "home" / "symmetry").exists()


def test_symmetry_check_names_the_wrong_entry_of_an_environment(command: Command, tmp_path: Path) -> None:
    text = 'group = "C2"\n[observation]\ncos = "cos"\nsin = "-sin"\nspeed = "-speed"\n[action]\ntorque = "-torque"\n'
    (tmp_path / "mirror.toml").write_text(text, encoding="utf-8")
    arguments = ("symmetry", "check", "--env", "Pendulum-v1", "--symmetry", "mirror.toml")
    code, out, _ = command(*arguments)
    assert code == 0
    assert "64 pairs of transitions" in out
    (tmp_path / "mirror.toml").write_text(text.replace('"-speed"', '"speed"'), encoding="utf-8")
    code, out, err = command(*arguments, "--json")
    assert code == 2
    assert json.loads(out)["entries"][0]["wrong"]
    assert 'mirror.toml: observation entry speed = "speed" is wrong, speed = "-speed" fits' in err
    assert len(err.strip().splitlines()) == 1


def test_symmetry_is_kept_where_the_dashboard_finds_it(command: Command, tmp_path: Path) -> None:
    arguments = ("symmetry", "--data", "factors-5", "--start", "2021-06-01", "--permutations", "19", "--save")
    code, out, err = command(*arguments)
    assert code == 0
    assert "mirror" in out
    (kept,) = stored_tests(tmp_path / "home")
    assert kept["hash"] in err
    assert (kept["data"], kept["permutations"]) == ("factors-5", 19)
    assert {test["period"] for test in kept["tests"]} == {2021, 2022}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--data", "nothing-here"), ["nothing-here"]),
        (("train", "--agent", "best"), ["agent", "best"]),
        (("train", "--seeds", "many"), ["seeds"]),
        (("train", "--fill", "next_open"), ["next_open", "open"]),
        (("train", "--data", "factors-5", "--device", "cuda:99"), ["sac.device", "cuda:99", "cpu"]),
        (("train", "--data", "factors-5", "--device", "gpu"), ["sac.device", "gpu", "cpu"]),
        (("train", "--config", "none.toml"), ["none.toml"]),
        (("train", "--resume"), ["--name"]),
        (("backtest", "nothing"), ["nothing"]),
        (("backtest",), ["run", "--strategy"]),
        (("backtest", "--weights", "none.csv"), ["none.csv"]),
        (("backtest", "nothing", "--periods", "52"), ["own settings"]),
        (("backtest", "--strategy", "best"), ["best", "equal-weight"]),
        (("backtest", "--strategy", "momentum", "--start", "2050-01-01"), ["2050"]),
        (("backtest", "--strategy", "momentum", "--costs-bps", "-1"), ["commission_bps"]),
        (("report", "nothing"), ["nothing"]),
        (("walk-forward", "--data", "nothing-here"), ["nothing-here"]),
        (("walk-forward", "--folds", "1"), ["folds"]),
        (("walk-forward", "--data", "factors-5", "--folds", "2000"), ["2000 folds"]),
        (("walk-forward", "--resume"), ["--name"]),
        (("compare", "nothing"), ["nothing"]),
        (("compare",), ["RUN"]),
        (("tune", "--data", "factors-5", "--vary", "sac.width"), ["sac.width", "LOW:HIGH"]),
        (("tune", "--data", "factors-5", "--vary", "sac.wdth=3,4"), ["wdth"]),
        (("tune", "--trials", "0"), ["trials"]),
        (("symmetry", "--data", "nothing-here"), ["nothing-here"]),
        (("trian",), ["trian"]),
    ],
)
def test_bad_input_is_one_line_code_2_and_nothing_written(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    code, out, err = command(*arguments)
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0]
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("*.json"))


def test_a_run_is_backtested_on_other_symbols_unless_it_is_tied_to_its_own(command: Command) -> None:
    assert command("train", "--data", "factors-5", "--seeds", "1", "--name", "five")[0] == 0
    code, out, err = command("backtest", "five", "--data", "sp500-20", "--start", "2012-01-03", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["data"]["name"] == "sp500-20"
    assert any("20 of 20 symbols of sp500-20 are not among those" in note for note in document["notes"])
    assert any("baseline mean-variance is left out: 1" in note for note in document["notes"])
    assert (
        command("train", "--data", "factors-5", "--seeds", "1", "--agent", "dense", "--name", "tied")[0] == 0
    )
    code, _, err = command("backtest", "tied", "--data", "sp500-20")
    assert code == 2
    assert "the dense agent has weights of its own for each asset" in err


def test_what_if_backtests_and_fewer_trials_leave_the_evidence_of_the_run(command: Command) -> None:
    code, out, err = command("train", "--data", "factors-5", "--seeds", "1", "--name", "own", "--json")
    assert code == 0, err
    run = Path(json.loads(out)["path"])
    assert command("backtest", "own", "--trials", "3")[0] == 0
    own = (run / "metrics.json").read_bytes(), (run / "symmetry.json").read_bytes()
    _, out, _ = command("backtest", "own")
    assert verdict(json.loads(own[0])).sentence in out
    own = (run / "metrics.json").read_bytes(), (run / "symmetry.json").read_bytes()
    assert command("report", "own")[0] == 0
    for options, label in (
        (("--costs-bps", "0"), "costs-0"),
        (("--start", "2021-06-01", "--end", "2021-12-30"), "start-2021-06-01_end-2021-12-30"),
    ):
        code, out, err = command("backtest", "own", *options, "--json")
        assert code == 0, err
        assert label in err
        assert json.loads((run / "what-if" / label / "metrics.json").read_text()) == json.loads(out)
        assert json.loads(out)["trials"] == 3
        assert ((run / "metrics.json").read_bytes(), (run / "symmetry.json").read_bytes()) == own
        assert (run / "report.html").is_file()
    (run / "metrics.json").unlink()
    for options, trials in (((), 3), (("--trials", "1"), 3), (("--trials", "4"), 4), ((), 4)):
        code, out, err = command("backtest", "own", *options, "--json")
        assert code == 0, err
        document = json.loads(out)
        assert document["trials"] == trials
        assert any("number 1 is ignored" in note for note in document["notes"]) == (
            options == ("--trials", "1")
        )


def test_run_whose_training_is_not_finished_is_not_backtested(command: Command) -> None:
    code, out, err = command("train", "--data", "factors-5", "--seeds", "1", "--name", "half", "--json")
    assert code == 0, err
    manifest = Path(json.loads(out)["path"]) / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["finished_at"]
    manifest.write_text(json.dumps(content))
    for arguments in (("backtest", "half"), ("report", "half")):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert len(err.strip().splitlines()) == 1
        assert "equitrade train --resume --name half" in err
    assert not (manifest.parent / "metrics.json").exists()
    assert command("train", "--resume", "--name", "half")[0] == 0
    assert command("backtest", "half")[0] == 0


def weekday_file(path: Path, sessions: int, first: float = 0.0) -> str:
    """Write a file of three symbols over weekdays; the same prices for any number of sessions."""
    rng = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (sessions, 3)), axis=0))
    close[0, 0] += first
    dates = pd.bdate_range("2021-01-04", periods=sessions, name="date")
    pd.DataFrame(close, dates, ["KO", "GE", "IBM"]).to_csv(path)
    return str(path)


def test_more_days_under_the_same_name_do_not_bring_back_the_training_dates(
    command: Command, tmp_path: Path
) -> None:
    def imported(sessions: int, first: float = 0.0) -> None:
        file = weekday_file(tmp_path / "prices.csv", sessions, first)
        code, _, err = command("data", "import", file, "--name", "mine")
        assert code == 0, err

    imported(400)
    code, out, err = command("train", "--data", "mine", "--seeds", "1", "--name", "kept", "--json")
    assert code == 0, err
    manifest = json.loads((Path(json.loads(out)["path"]) / "manifest.json").read_text())
    test_start, test_end = manifest["split"]["test"]
    for sessions, first, last, words in (
        (400, 0.0, test_end, None),
        (401, 0.0, "2022-07-18", "1 more session than at training"),
        (401, 1.0, "2022-07-18", "differ from those that the run was trained on"),
    ):
        imported(sessions, first)
        code, out, err = command("backtest", "kept", "--json")
        assert code == 0, err
        document = json.loads(out)
        assert (document["start"], document["end"]) == (test_start, last)
        assert words is None or any(words in note for note in document["notes"])
        code, _, err = command("backtest", "kept", "--start", "2021-02-01")
        assert code == 2
        assert len(err.strip().splitlines()) == 1
        assert "the agent was trained on earlier dates" in err


def test_messy_long_csv_to_next_open_backtest(command: Command, tmp_path: Path) -> None:
    """31 symbols, holes in opens, highs and lows: imported with every hole named, trained and backtested."""
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2006-01-03", "2017-12-29")
    frames = []
    for i in range(31):
        close = np.round(50 * np.exp(np.cumsum(generator.normal(0, 0.012, len(dates)))), 2) + 1
        opens = np.round(close * np.exp(generator.normal(0, 0.003, len(dates))), 2)
        frames.append(
            pd.DataFrame(
                {
                    "Date": dates.strftime("%Y-%m-%d"),
                    "Open": opens,
                    "High": np.maximum(opens, close) + 0.1,
                    "Low": np.minimum(opens, close) - 0.1,
                    "Close": close,
                    "Volume": generator.integers(1e5, 1e7, len(dates)),
                    "Name": f"S{i:02d}",
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    holes = generator.choice(len(frame), 25, replace=False)
    frame.loc[holes, "Open"] = np.nan
    frame.loc[holes[:10], ["High", "Low"]] = np.nan
    frame.to_csv("prices.csv", index=False)
    code, out, err = command("data", "import", "prices.csv", "--name", "messy", "--calendar", "none", "--all")
    assert code == 0, err
    for row in holes:
        # Line 1 is the header.
        assert f"prices.csv line {row + 2}:" in out
    arguments = ("--data", "messy", "--fill", "next_open", "--seeds", "1", "--name", "messy-run")
    assert command("train", *arguments)[0] == 0
    code, out, err = command("backtest", "messy-run", "--json")
    assert code == 0, err
    assert json.loads(out)["fill"] == "next_open"


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from trading_app.cli.main import run; code = run(['--help'])\n"
        "heavy = {'torch', 'pandas', 'numpy', 'fastapi', 'plotly', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in command_points():
        assert name in done.stdout


def test_a_command_whose_package_is_not_installed_says_so(monkeypatch, capsys):
    point = EntryPoint("bench", "no_such_package.cli:app", "equitrade.commands")
    monkeypatch.setattr("trading_app.cli.main.command_points", lambda: {"bench": point})
    assert run(["bench", "sac"]) == 2
    assert "'bench' is not part of the installed package" in capsys.readouterr().err
    assert run(["--help"]) == 0
    assert "needs a checkout" in " ".join(capsys.readouterr().out.split())


def test_cross_validate_baselines_and_returns_of_ones_own(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("cross-validate", "--data", "factors-5", "--start", "2021-01-01", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["splits"] == 45
    assert len(document["paths"]) == 9
    assert {"equal-weight", "momentum"} <= set(document["configurations"])
    assert sum(entry["chosen"] for entry in document["configurations"].values()) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    own = pd.DataFrame(rng.normal(0, 0.01, (400, 3)), pd.bdate_range("2020-01-01", periods=400), list("abc"))
    own["b"] += 0.005
    own.to_csv(tmp_path / "own.csv", index_label="date")
    code, out, _ = command("cross-validate", "--returns", "own.csv")
    assert code == 0
    assert "with probability under 1\u202f%" in " ".join(out.split(" "))
    for arguments, message in (
        (("--returns", "own.csv", "--data", "factors-5"), "are for baselines"),
        (("--study", "none"), "0 finished trials with daily returns found"),
        (("--returns", "own.csv", "--folds", "300"), "400 sessions in 300 folds"),
    ):
        code, _, error = command("cross-validate", *arguments)
        assert code == 2
        assert message in error
