"""Types that several requests and answers share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
SNAPSHOT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?$"


def _only_text(value: Any) -> Any:
    # pydantic would read numbers as seconds since 1970.
    if isinstance(value, str | date):
        return value
    raise ValueError("a date must be a string of the form YYYY-MM-DD")


Day = Annotated[
    date,
    BeforeValidator(_only_text, json_schema_input_type=str),
    Field(json_schema_extra={"type": "string", "format": "date"}),
]
Name = Annotated[str, Field(pattern=NAME_PATTERN, description="Letters, digits, dot, dash, underscore.")]
SnapshotName = Annotated[str, Field(pattern=SNAPSHOT_PATTERN, description="NAME or NAME@VERSION.")]
Symbol = Annotated[str, Field(pattern=r"^[!-~]{1,32}$")]
Weight = Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]
Shares = Annotated[float, Field(strict=True, ge=-1e12, le=1e12, allow_inf_nan=False)]
Money = Annotated[float, Field(strict=True, ge=-1e15, le=1e15, allow_inf_nan=False)]
Price = Annotated[float, Field(strict=True, ge=1e-9, le=1e12, allow_inf_nan=False)]
Volume = Annotated[float, Field(strict=True, ge=0, le=1e18, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of requests; unknown members are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True)
