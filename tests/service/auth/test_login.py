"""The login: who gets in, and what a foreign page cannot do."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from data.errors import DataError

PASSWORD = "correct horse battery staple"


@pytest.fixture
def site(service: Any) -> Any:
    service.state.users.create("ann", PASSWORD)
    service.client.follow_redirects = False
    return service


def token_of(text: str, name: str = "token") -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', text)
    assert found
    return found.group(1)


def log_in(site: Any, password: str = PASSWORD, name: str = "ann", **fields: str) -> Any:
    form = {"name": name, "password": password, "token": token_of(site.client.get("/login").text), **fields}
    return site.client.post("/login", data=form)


def test_right_password_opens_the_dashboard(site: Any) -> None:
    assert site.client.get("/dashboard").headers["location"] == "/login?next=%2Fdashboard"
    answer = log_in(site)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    page = site.client.get("/dashboard")
    assert page.status_code == 200
    assert "toy" in page.text


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong"), ("bob", PASSWORD), ("", ""), ("ann", "x" * 5000)]
)
def test_wrong_name_or_password_say_the_same(site: Any, name: str, password: str) -> None:
    answer = log_in(site, password, name)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert f'required value="{name}"' in answer.text
    assert site.client.get("/dashboard").status_code == 303


def test_cookie_is_kept_from_scripts_and_other_sites(site: Any) -> None:
    cookie = log_in(site).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


def test_cookie_is_secure_beyond_localhost(make_service: Any, settings: Any) -> None:
    beyond = settings.model_copy(update={"service": settings.service.model_copy(update={"host": "0.0.0.0"})})
    site = make_service(beyond)
    cookie = site.client.get("/login").headers["set-cookie"]
    assert "Secure" in cookie


def test_login_form_of_another_page_is_refused(site: Any, kind_of: Any) -> None:
    answer = log_in(site, token="forged")
    assert (answer.status_code, kind_of(answer)) == (403, "csrf")
    site.client.cookies.clear()
    form = {"name": "ann", "password": PASSWORD, "token": token_of(site.client.get("/login").text)}
    site.client.cookies.clear()
    assert kind_of(site.client.post("/login", data=form)) == "csrf"


def test_form_sent_by_another_site_is_refused(site: Any, kind_of: Any) -> None:
    log_in(site)
    csrf = token_of(site.client.get("/dashboard").text, "csrf")
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert kind_of(site.client.post("/logout", data={"csrf": csrf}, headers=headers)) == "csrf"


def test_form_that_cannot_be_read_is_told_so(site: Any, kind_of: Any) -> None:
    answer = site.client.post("/login", content=b"name=ann", headers={"Content-Type": "multipart/form-data"})
    assert kind_of(answer) == "invalid-request"
    assert "application/x-www-form-urlencoded" in answer.json()["detail"]


def test_logging_out_needs_the_sessions_token_and_ends_it(site: Any, kind_of: Any) -> None:
    log_in(site)
    assert kind_of(site.client.post("/logout", data={"csrf": "guess"})) == "csrf"
    csrf = token_of(site.client.get("/dashboard").text, "csrf")
    cookie = site.client.cookies.get("equitrade")
    assert site.client.post("/logout", data={"csrf": csrf}).headers["location"] == "/login"
    # The old cookie opens nothing, even if somebody kept it.
    site.client.cookies.set("equitrade", cookie)
    assert site.client.get("/dashboard").status_code == 303


def test_session_ends_by_itself(site: Any) -> None:
    log_in(site)
    site.clock.now += timedelta(hours=13)
    assert site.client.get("/dashboard").status_code == 303


def test_new_password_ends_every_session(site: Any) -> None:
    log_in(site)
    site.state.users.create("ann", "another good password")
    assert site.client.get("/dashboard").status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1"]
)
def test_login_leads_to_pages_of_ours_only(site: Any, target: str) -> None:
    assert log_in(site, next=target).headers["location"] == "/dashboard"


def test_deep_link_survives_the_login(site: Any) -> None:
    first = site.client.get("/dashboard?model=toy")
    assert first.headers["location"] == "/login?next=%2Fdashboard%3Fmodel%3Dtoy"
    assert log_in(site, next="/dashboard?model=toy").headers["location"] == "/dashboard?model=toy"


def test_guessing_passwords_is_slowed_down(make_service: Any, settings: Any) -> None:
    strict = settings.model_copy(
        update={"service": settings.service.model_copy(update={"failure_limit": "2/minute"})}
    )
    site = make_service(strict)
    site.state.users.create("ann", PASSWORD)
    site.client.follow_redirects = False
    assert [log_in(site, "wrong").status_code for _ in range(3)] == [401, 401, 429]
    assert log_in(site).status_code == 429


@pytest.mark.parametrize("password", ["short", "changeme", "changeme12345", "password", "x" * 1001])
def test_bad_passwords_are_refused(site: Any, password: str) -> None:
    with pytest.raises(DataError, match="password"):
        site.state.users.create("bob", password)


def test_api_does_not_take_the_cookie(site: Any, kind_of: Any) -> None:
    log_in(site)
    assert kind_of(site.client.get("/api/v1/models")) == "missing-key"


def test_a_user_is_not_created_without_a_terminal_or_a_password(home: Any) -> None:
    from typer.testing import CliRunner

    from data.errors import DataError
    from service.cli.users import app

    command = ["create", "ann", "--home", str(home)]
    answer = CliRunner().invoke(app, command)
    assert isinstance(answer.exception, DataError)
    assert "--password-stdin" in str(answer.exception)
    answer = CliRunner().invoke(app, [*command, "--password-stdin"], input="a good long password\n")
    assert answer.exit_code == 0
