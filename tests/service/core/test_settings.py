"""Settings: order of sources, and secrets that nobody may use."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from data.errors import DataError
from service.core.settings import Settings, load_settings

GOOD = "k3J9x-rT0vQ_m5Zb8nLwPa7cYd2HsUfe"


def test_command_line_wins_over_environment_over_file_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "service.toml"
    file.write_text("[service]\nport = 1001\nworkers = 3\nthreads = 7\n", encoding="utf-8")
    monkeypatch.setenv("EQUITRADE_SERVICE__PORT", "1002")
    monkeypatch.setenv("EQUITRADE_SERVICE__WORKERS", "4")
    service = load_settings(file, port=1003).service
    assert (service.port, service.workers, service.threads, service.max_age_days) == (1003, 4, 7, 7)


def test_home_comes_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUITRADE_HOME", str(tmp_path))
    assert load_settings().home == tmp_path
    assert load_settings(home=tmp_path / "other").home == tmp_path / "other"


@pytest.mark.parametrize(
    "secret", ["changeme", "secret", "<placeholder>", "", "short", "your-secret-" + "x" * 40]
)
def test_placeholder_secret_is_refused(secret: str) -> None:
    with pytest.raises(DataError, match=r"service\.secret"):
        load_settings(secret=secret)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+pg8000://equitrade:changeme@db/equitrade",
        "postgresql+pg8000://equitrade:postgres@db/equitrade",
        "mysql://a:b@c/d",
        "not a url",
    ],
)
def test_placeholder_password_and_unknown_database_are_refused(url: str) -> None:
    with pytest.raises(DataError, match=r"service\.database_url"):
        load_settings(database_url=url)


def test_error_never_shows_the_value() -> None:
    with pytest.raises(DataError) as caught:
        load_settings(database_url="mysql://user:hunter2hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def test_unknown_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text("[service]\nprot = 1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"service\.prot"):
        load_settings(file)


def test_own_secret_is_made_once_and_private(tmp_path: Path) -> None:
    first, second = load_settings(home=tmp_path), load_settings(home=tmp_path)
    assert first.secret_bytes() == second.secret_bytes()
    assert len(first.secret_bytes()) >= 32
    assert stat.S_IMODE((tmp_path / "service.secret").stat().st_mode) == 0o600


def test_line_to_children_carries_secrets_and_prints_do_not(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path, secret=GOOD, database_url="postgresql+pg8000://equitrade:q8Lw2xZp@db/equitrade", port=9
    )
    again = Settings.from_line(settings.to_line())
    assert again.database_url == settings.database_url
    assert again.secret_bytes() == settings.secret_bytes()
    assert again.service.port == 9
    assert GOOD not in repr(settings)
    assert "q8Lw2xZp" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.1.2.3", False)],
)
def test_loopback_addresses(host: str, inside: bool) -> None:
    assert load_settings(host=host).service.loopback is inside
