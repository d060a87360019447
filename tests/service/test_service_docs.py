"""The service's page: its commands run and its tables are complete; the deployment files are right."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.core.problems import KINDS
from service.core.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "service.md"


def problems_table() -> str:
    rows = [f"| `{name}` | {kind.status} | {kind.title} |" for name, kind in KINDS.items()]
    return "\n".join(["| type | status | meaning |", "|---|---|---|", *rows])


def settings_table() -> str:
    rows = []
    for name, field in ServiceSettings.model_fields.items():
        default = {None: "–", (): "–"}.get(field.default, f"`{field.default}`")
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


@pytest.mark.parametrize(("name", "table"), [("problems", problems_table), ("settings", settings_table)])
def test_tables_of_the_page_are_complete(name: str, table: Any) -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.DOTALL)
    assert found
    assert found.group(1) == table(), f"put this between the marks:\n{table()}"


def test_every_setting_is_described() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name


def test_client_is_a_hundred_lines_at_most() -> None:
    assert len((ROOT / "service" / "client.py").read_text(encoding="utf-8").splitlines()) <= 100


def shims(folder: Path) -> Path:
    """A folder for PATH with an `equitrade` that needs no installation."""
    folder.mkdir()
    tool = folder / "equitrade"
    code = (
        "import sys; from importlib import import_module; "
        "import_module('service.cli.' + sys.argv.pop(1)).app()"
    )
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n', encoding="utf-8")
    tool.chmod(0o755)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
def test_commands_of_the_page_run(trained_home: Path, tmp_path: Path, free_port: int) -> None:
    """Every bash and Python block, in order, on a run that is called as in the page."""
    (trained_home / "runs" / "first").rename(trained_home / "runs" / "demo")
    text = PAGE.read_text(encoding="utf-8")
    parts = re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL)
    assert len(parts) >= 6
    script = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for language, code in parts:
        if language == "python":
            code = f"python - <<'PYTHON'\nimport os\nKEY = os.environ['KEY']\n{code}PYTHON\n"
        script.append(code.replace("8000", str(free_port)).replace("AAPL", "KO").replace("MSFT", "GE"))
    text = (
        "\n".join(script).replace("2022-12-28", "2022-07-15").replace('"data": "sp500-20"', '"data": "small"')
    )
    text = text.replace('"start": "2020-01-01"', '"start": "2022-01-03"').replace(
        "curl --silent", "curl --fail-with-body -sS"
    )
    path = (
        f"{shims(tmp_path / 'bin')}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    environment = {**os.environ, "PATH": path, "EQUITRADE_HOME": str(trained_home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", text],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert '"weights":{"KO":' in done.stdout.replace(" ", "")
    assert '"as_of":"2022-07-15"' in done.stdout.replace(" ", "")


def test_readme_and_page_name_real_commands() -> None:
    """`equitrade models promote` and the like are commands with those options."""
    from typer.main import get_command

    from service.cli import audit, keys, models, serve, users

    apps = {"audit": audit, "keys": keys, "models": models, "serve": serve, "users": users}
    text = PAGE.read_text(encoding="utf-8") + (ROOT / "README.md").read_text(encoding="utf-8")
    for line in set(re.findall(r"equitrade ((?:models|keys|serve|users|audit)[^`\n)#]*)", text)):
        words = line.replace("&", "").split()
        command = get_command(apps[words[0]].app)
        rest = words[1:]
        if rest and not rest[0].startswith("-") and hasattr(command, "commands"):
            assert rest[0] in command.commands, line
            command = command.commands[rest[0]]
        names = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= names, line


def copied(dockerfile: str) -> list[str]:
    lines = [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    return [source for words in lines for source in words[:-1] if not words[0].startswith("--from")]


def test_dockerfile_copies_what_is_there_and_starts_a_real_command() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied(text):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, f".dockerignore leaves out {source}"
    packages = re.search(r"include = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert packages
    for package in set(re.findall(r'"(\w+)\*"', packages.group(1))) - {"benchmarks"}:
        assert package in copied(text), f"the image lacks the package {package}"
    command = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert command
    check_serve(command.group(1))
    assert "'.[postgresql]'" in text
    assert "postgresql = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "/health" in text


def test_compose_starts_real_commands_with_real_settings() -> None:
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    service = content["services"]["equitrade"]
    check_serve(str(service["command"]))
    check_variables(service["environment"])
    assert set(content["volumes"]) == {
        volume.split(":")[0] for each in content["services"].values() for volume in each["volumes"]
    }
    assert service["build"] == "."
    url = service["environment"]["EQUITRADE_SERVICE__DATABASE_URL"]
    ServiceSettings(database_url=url.replace("${EQUITRADE_DATABASE_PASSWORD}", "q8Lw2xZpV4"))
    state = next(v.split(":")[1] for v in service["volumes"])
    assert f"EQUITRADE_HOME={state}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    # Nothing secret, and no placeholder for it, stands in the file.
    assert "changeme" not in (ROOT / "compose.yaml").read_text(encoding="utf-8").lower()


def test_unit_starts_a_real_command_with_real_settings() -> None:
    text = (ROOT / "deploy" / "equitrade.service").read_text(encoding="utf-8")
    start = re.search(r"^ExecStart=/opt/equitrade/bin/equitrade (.*)$", text, re.MULTILINE)
    assert start
    check_serve(str(start.group(1).split()))
    assert "EQUITRADE_HOME=/var/lib/equitrade" in text
    assert "StateDirectory=equitrade" in text
    page = re.search(r"file:/opt/equitrade/(\S+)", text)
    assert page
    assert (ROOT / page.group(1)).is_file()
    check_variables(re.findall(r"EQUITRADE_SERVICE__\w+", text))


def check_serve(command: str) -> None:
    from typer.main import get_command

    from service.cli.serve import app

    words = re.findall(r"[^\s\[\],'\"]+", command)
    assert words[0] == "serve"
    get_command(app).make_context("serve", words[1:], resilient_parsing=False)


def check_variables(names: Any) -> None:
    for name in names:
        key = name.removeprefix("EQUITRADE_SERVICE__").lower()
        assert key in ServiceSettings.model_fields, name


def test_refresh_job_fetches_as_before(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import data.providers.yahoo as yahoo
    from data import SnapshotStore
    from service.jobs.tasks import TASKS, JobContext

    store = SnapshotStore(service.home)
    options = {"symbols": ["AAA", "BBB"], "start": "2020-01-02", "end": "2020-12-31", "pause": 0.1}
    prices = service.state.snapshots.get("toy")
    store.save(prices, "fetched", provider={"name": "yfinance", "options": options})
    asked: list[Any] = []

    def fetch(name: str, options: Any, store: Any, **_: Any) -> Any:
        asked.append((name, options))
        return store.save(prices, name, provider={"name": "yfinance", "options": {}}), None

    monkeypatch.setattr(yahoo, "fetch", fetch)
    place = JobContext(service.state.settings, service.home / "jobs" / "x", lambda *_: None)
    result = TASKS["refresh"]({"snapshot": "fetched"}, place)
    name, given = asked[0]
    assert (name, given.symbols, given.start, given.end, given.pause) == (
        "fetched",
        ("AAA", "BBB"),
        "2020-01-02",
        None,
        0.1,
    )
    assert result["written"] is False
    with pytest.raises(ValueError, match="cannot be downloaded again"):
        TASKS["refresh"]({"snapshot": "toy"}, place)
