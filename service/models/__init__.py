"""The model registry: admission and serving."""
