"""A service with somebody logged in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

NAME, PASSWORD = "ann", "correct horse battery staple"


@pytest.fixture
def log_in() -> Callable[[Any], Any]:
    """Log a service's client in; gives the service."""

    def enter(service: Any) -> Any:
        service.state.users.create(NAME, PASSWORD)
        form = service.client.get("/login").text
        token = re.search(r'name="token" value="([^"]+)"', form)
        assert token
        fields = {"name": NAME, "password": PASSWORD, "token": token.group(1)}
        answer = service.client.post("/login", data=fields, follow_redirects=False)
        assert answer.status_code == 303
        return service

    return enter


@pytest.fixture
def site(make_service: Callable[..., Any], log_in: Callable[[Any], Any]) -> Any:
    """An empty home's service, with somebody logged in."""
    return log_in(make_service())
