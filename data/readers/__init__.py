"""Readers of price files: CSV and Parquet, wide or long."""
