"""Settings, database, logging, telemetry and problem documents."""
