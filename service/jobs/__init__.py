"""Background jobs: queue, tasks, workers and supervisor."""
