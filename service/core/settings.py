"""Settings of the service: environment over TOML file over defaults; placeholder secrets are refused.

The environment is read with the prefix ``EQUITRADE_`` and nested with ``__``: ``EQUITRADE_HOME``,
``EQUITRADE_SERVICE__PORT``. A file given to ``load_settings`` holds the same keys in a ``[service]`` table.
"""

from __future__ import annotations

import json
import os
import secrets
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from data.errors import DataError

PLACEHOLDERS = frozenset(
    {"password", "passwd", "secret", "placeholder", "example", "postgres", "default", "admin", "todo", "test"}
)
PLACEHOLDER_STARTS = ("change", "your-", "your_", "xxx", "...")
SECRET_LENGTH = 32
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingsError(DataError):
    """A setting that cannot be used; the message names the key."""


def is_placeholder(value: str) -> bool:
    """Return whether a secret is a placeholder, as in examples."""
    word = value.strip().strip("<>\"'").lower()
    return not word or word in PLACEHOLDERS or word.startswith(PLACEHOLDER_STARTS)


class ServiceSettings(BaseModel):
    """Settings of the service; the defaults suit one person on one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="Address to bind; anything beyond localhost needs a key first."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="HTTP worker processes.")
    threads: int = Field(default=4, ge=1, le=64, description="Threads of one worker that compute answers.")
    database_url: SecretStr | None = Field(
        default=None,
        description="sqlite:///FILE or postgresql+pg8000://USER:PASSWORD@HOST/NAME; default: in HOME.",
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Keys the hashes of API keys and the cookies; default: made once in HOME/service.secret.",
    )
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024, description="Largest request body.")
    request_seconds: float = Field(
        default=30.0, gt=0, description="Longest time to read and answer one request."
    )
    rate_limit: str = Field(
        default="1200/minute", description="Requests a key may make, in the notation of `limits`."
    )
    job_rate_limit: str = Field(default="60/hour", description="Jobs a key may start.")
    failure_limit: str = Field(default="30/minute", description="Failed authentications from one address.")
    rate_limit_storage: str = Field(
        default="memory://",
        description="Where counts live; memory counts in each worker, redis://… over all of them.",
    )
    max_age_days: int = Field(
        default=7, ge=0, description="Prices older than this are refused unless asked for."
    )
    calendar: str = Field(
        default="XNYS", description="Exchange calendar that says when an allocation can be traded."
    )
    public_metrics: bool = Field(default=False, description="Whether /metrics answers without a key.")
    cookie_secure: bool | None = Field(
        default=None, description="Secure cookies; default: unless on plain HTTP on localhost."
    )
    session_hours: float = Field(default=12.0, gt=0, description="How long a dashboard login lasts.")
    job_workers: int = Field(default=1, ge=1, le=64, description="Jobs that run at once.")
    job_seconds: float = Field(default=3600.0, gt=0, description="Longest time of one attempt of a job.")
    job_attempts: int = Field(
        default=3, ge=1, le=10, description="Attempts before a job whose process dies is failed."
    )
    audit_days: int | None = Field(
        default=None, ge=1, description="Age after which `audit prune` deletes; default: never."
    )
    refresh_hours: float | None = Field(
        default=None, gt=0, description="How often to fetch fresh prices; default: never."
    )
    refresh_snapshots: tuple[str, ...] = Field(
        default=(), description="Names of the snapshots to fetch again."
    )
    shutdown_seconds: float = Field(
        default=20.0, gt=0, description="How long a stop waits for requests in flight."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level that is logged."
    )
    ssl_certfile: Path | None = Field(default=None, description="Certificate, to speak HTTPS.")
    ssl_keyfile: Path | None = Field(default=None, description="Private key of the certificate.")
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="Proxies whose X-Forwarded-For is believed."
    )

    @field_validator("secret")
    @classmethod
    def _real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            text = value.get_secret_value()
            if is_placeholder(text) or len(text) < SECRET_LENGTH:
                raise ValueError(
                    f"is a placeholder or shorter than {SECRET_LENGTH} characters; use random characters"
                )
        return value

    @field_validator("database_url")
    @classmethod
    def _real_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("is not a database URL") from None
        if url.drivername not in {"sqlite", "postgresql+pg8000"}:
            raise ValueError(f"{url.drivername} is not supported; use sqlite:// or postgresql+pg8000://")
        if url.password is not None and is_placeholder(str(url.password)):
            raise ValueError("its password is a placeholder; use a random one")
        return value

    @field_validator("rate_limit", "job_rate_limit", "failure_limit")
    @classmethod
    def _rate(cls, value: str) -> str:
        from limits import parse

        parse(value)
        return value

    @property
    def loopback(self) -> bool:
        """True if only programs on this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")


class Settings(BaseModel):
    """Home folder and settings of the service."""

    model_config = ConfigDict(frozen=True)

    home: Path = Path("equitrade_home")
    service: ServiceSettings = ServiceSettings()

    @property
    def database_url(self) -> str:
        """URL of the database, with its password."""
        if self.service.database_url is not None:
            return self.service.database_url.get_secret_value()
        return f"sqlite:///{(self.home / 'service.db').resolve()}"

    @property
    def models(self) -> Path:
        """Folder of the promoted models."""
        return self.home / "models"

    @property
    def jobs(self) -> Path:
        """Folder of the jobs' logs and results."""
        return self.home / "jobs"

    def secret_bytes(self) -> bytes:
        """Return the secret of all hashes and cookies; created once, readable by its owner only."""
        if self.service.secret is not None:
            return self.service.secret.get_secret_value().encode()
        return _own_secret(self.home / "service.secret")

    def to_line(self) -> str:
        """Return one line of JSON with the secrets, for the pipe to a child process."""
        service = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in self.service.model_dump(exclude_unset=True).items()
        }
        return json.dumps({"home": str(self.home.resolve()), "service": service}, default=str)

    @classmethod
    def from_line(cls, line: str) -> Settings:
        """Return the settings of such a line, without reading the environment."""
        return cls.model_validate_json(line)


class _Environment(BaseSettings):
    """Environment variables with the prefix; the file's values are passed as arguments."""

    model_config = SettingsConfigDict(env_prefix="EQUITRADE_", env_nested_delimiter="__", extra="ignore")

    home: Path = Path("equitrade_home")
    service: ServiceSettings = ServiceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the file."""
        return env_settings, init_settings


def _own_secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        with open(
            os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii"
        ) as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails if the name exists: of two processes one wins, and both read the same secret.
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    text = path.read_text(encoding="ascii").strip()
    if len(text) < SECRET_LENGTH:
        raise SettingsError(
            f"{path}: the secret is too short; delete the file (this invalidates every key) and start again"
        )
    return text.encode()


def load_settings(file: Path | None = None, *, home: Path | None = None, **service: Any) -> Settings:
    """Return the merged settings of command line (``service`` keywords), environment, file and defaults.

    Raises
    ------
    SettingsError
        For an unknown key, a wrong value or a placeholder secret; the message names the key.
    """
    values = _read(file) if file else {}
    given = {key: value for key, value in service.items() if value is not None}
    try:
        found = _Environment(**{k: v for k, v in values.items() if k in {"home", "service"}})
        merged = ServiceSettings.model_validate({**found.service.model_dump(exclude_unset=True), **given})
    except ValidationError as error:
        raise SettingsError(_reason(error)) from None
    return Settings(home=home if home is not None else found.home, service=merged)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as TOML: {error}") from None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"setting {place if place.startswith('service') else 'service.' + place}: {message}"
