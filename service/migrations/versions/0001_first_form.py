"""First form of the tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def required(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        required("at", MOMENT),
        required("actor", sa.String(200)),
        required("action", sa.String(40)),
        required("subject", sa.String(200)),
        required("detail", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_table(
        "jobs",
        required("id", sa.String(32)),
        required("kind", sa.String(20)),
        required("status", sa.String(12)),
        required("parameters", sa.Text()),
        required("created_by", sa.String(120)),
        required("created_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("heartbeat_at", MOMENT),
        sa.Column("owner", sa.String(200)),
        required("attempt", sa.Integer()),
        required("deaths", sa.Integer()),
        required("cancel", sa.Boolean()),
        required("timeout_seconds", sa.Float()),
        required("progress", sa.Float()),
        required("message", sa.Text()),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_status_created_at", "jobs", ["status", "created_at"])
    revision_table = op.create_table(
        "revision",
        required("id", sa.Integer()),
        required("value", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.bulk_insert(revision_table, [{"id": 1, "value": 1}])
    op.create_table(
        "keys",
        required("id", sa.String(16)),
        required("name", sa.String(200)),
        required("digest", sa.LargeBinary(32)),
        required("scopes", sa.String(100)),
        required("created_at", MOMENT),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_table(
        "users",
        required("name", sa.String(100)),
        required("password", sa.String(300)),
        required("scopes", sa.String(100)),
        required("created_at", MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "sessions",
        required("digest", sa.LargeBinary(32)),
        required("user", sa.String(100)),
        required("csrf", sa.String(64)),
        required("expires_at", MOMENT),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name="fk_sessions_user", ondelete="CASCADE"),
    )
    op.create_table(
        "models",
        required("id", sa.String(100)),
        sa.Column("version", sa.String(64)),
        required("changed_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_table(
        "model_versions",
        required("model_id", sa.String(100)),
        required("version", sa.String(64)),
        required("run", sa.String(200)),
        required("details", sa.Text()),
        required("promoted_at", MOMENT),
        required("promoted_by", sa.String(200)),
        sa.PrimaryKeyConstraint("model_id", "version", name="pk_model_versions"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_versions_model_id"),
    )
    op.create_table(
        "panels",
        required("hash", sa.String(64)),
        required("content", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("hash", name="pk_panels"),
    )
    op.create_table(
        "allocations",
        required("id", sa.String(32)),
        required("created_at", MOMENT),
        required("kind", sa.String(20)),
        required("key_id", sa.String(120)),
        required("request_id", sa.String(64)),
        required("request_hash", sa.String(64)),
        required("request", sa.Text()),
        sa.Column("panel_hash", sa.String(64)),
        required("model_id", sa.String(100)),
        required("version", sa.String(64)),
        required("data_hash", sa.String(64)),
        required("as_of", sa.Date()),
        required("answer", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_allocations"),
        sa.ForeignKeyConstraint(["panel_hash"], ["panels.hash"], name="fk_allocations_panel_hash"),
    )
    op.create_index("ix_allocations_created_at", "allocations", ["created_at"])
    op.create_index("ix_allocations_model_id_created_at", "allocations", ["model_id", "created_at"])


def downgrade() -> None:
    for table in ("allocations", "panels", "model_versions", "models", "sessions", "users"):
        op.drop_table(table)
    for table in ("keys", "revision", "jobs", "events"):
        op.drop_table(table)
