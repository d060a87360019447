"""Logging in and out: secure cookies, and a token in each form against forms of other sites."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import FormData
from starlette.responses import Response

from service.api.bodies import read_form
from service.api.dependencies import StateDep
from service.auth.users import Session, same
from service.core.problems import Problem
from service.dashboard.render import page
from service.state import State

router = APIRouter(include_in_schema=False)

FORM_COOKIE = "equitrade_form"
_FORM_SECONDS = 3600
_HOME = "/dashboard"


class LoginRequired(Exception):
    """Nobody is logged in; the handler sends the browser to the login page."""


def cookie_name(request: Request) -> str:
    """Name of the session's cookie; with the prefix that binds it to this host where it is secure."""
    return "__Host-equitrade" if secure(request) else "equitrade"


def secure(request: Request) -> bool:
    """Return whether cookies need TLS: always, except on plain HTTP within this machine."""
    settings = request.app.state.equitrade.settings.service
    if settings.cookie_secure is not None:
        return bool(settings.cookie_secure)
    return request.url.scheme == "https" or not settings.loopback


async def logged_in(request: Request, state: StateDep) -> Session:
    """The session of the request's cookie."""
    token = request.cookies.get(cookie_name(request))
    session = await state.run(state.users.session, token) if token else None
    if session is None:
        raise LoginRequired
    request.state.session = session
    return session


LoggedIn = Annotated[Session, Depends(logged_in)]


async def checked_form(request: Request, session: LoggedIn) -> FormData:
    """A form that carries its session's token; every form that changes something takes it through this.

    Raises `Problem` ``csrf``.
    """
    _same_site(request)
    form = await read_form(request)
    if not same(session.csrf, str(form.get("csrf", ""))):
        raise Problem("csrf", "the form belongs to another session; open the page again")
    return form


CheckedForm = Annotated[FormData, Depends(checked_form)]


@router.get("/login")
async def show_login(request: Request, state: StateDep, next: str = _HOME) -> Response:
    """Show the login form."""
    return _form(request, state, next)


@router.post("/login")
async def log_in(request: Request, state: StateDep) -> Response:
    """Check name and password; begin a session."""
    _same_site(request)
    form = await read_form(request)
    _check_form_token(request, state, str(form.get("token", "")))
    target, name = str(form.get("next", _HOME)), str(form.get("name", ""))[:100]
    address = request.client.host if request.client else "-"
    try:
        state.rate_limits.check("failures", f"login {address}")
    except Problem as problem:
        again = {"name": name, "message": problem.detail, "headers": problem.headers}
        return _form(request, state, target, status=429, **again)
    token = await state.run(state.users.log_in, name, str(form.get("password", "")))
    if token is None:
        state.rate_limits.spend("failures", f"login {address}")
        return _form(request, state, target, status=401, name=name, message="Name or password is wrong.")
    response = RedirectResponse(_local(target), status_code=303)
    seconds = int(state.settings.service.session_hours * 3600)
    _set_cookie(request, response, cookie_name(request), token, seconds, "lax")
    response.delete_cookie(FORM_COOKIE, path="/login")
    return response


@router.post("/logout")
async def log_out(request: Request, state: StateDep, _form: CheckedForm) -> Response:
    """End the session."""
    name = cookie_name(request)
    await state.run(state.users.log_out, request.cookies.get(name, ""))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(name, path="/", secure=secure(request), httponly=True)
    return response


async def redirect_to_login(request: Request, _error: Exception) -> Response:
    """Answer `LoginRequired`."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)


def _form(request: Request, state: State, target: str, *, status: int = 200, **context: Any) -> Response:
    headers = context.pop("headers", {})
    nonce = secrets.token_urlsafe(16)
    values = {"name": "", "token": _signer(state).dumps(nonce), "next": _local(target), **context}
    response = page(request, "login.html", values, status=status, headers=headers)
    _set_cookie(request, response, FORM_COOKIE, nonce, _FORM_SECONDS, "strict", path="/login")
    return response


def _check_form_token(request: Request, state: State, token: str) -> None:
    # Without this, a foreign page could log a browser in to an account of its own making.
    try:
        nonce = str(_signer(state).loads(token, max_age=_FORM_SECONDS))
    except BadSignature:
        nonce = ""
    if not nonce or not same(nonce, request.cookies.get(FORM_COOKIE, "")):
        raise Problem("csrf", "the login form has expired or is not of this service; open /login again")


def _same_site(request: Request) -> None:
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Problem("csrf", "the form was sent by another site")


def _signer(state: State) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(state.settings.secret_bytes(), salt="login form")


def _local(target: str) -> str:
    # Only pages of ours: a link that logs in and then leads elsewhere would be a trap.
    return target if target == _HOME or target.startswith((f"{_HOME}/", f"{_HOME}?")) else _HOME


def _set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int, site: Any, *, path: str = "/"
) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path=path, secure=secure(request), httponly=True, samesite=site
    )
