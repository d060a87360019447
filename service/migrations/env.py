"""Alembic's environment: migrations run on the connection that `service.core.database` hands over."""

from __future__ import annotations

from alembic import context

from service.core.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
# The caller's transaction holds the lock against a second process that migrates, so none is begun here.
context.run_migrations()
