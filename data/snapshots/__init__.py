"""Hashed snapshots of prices: store, Parquet files, differences and export."""
