"""Columns of a file as they are written there, each row with its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.quality.findings import Finding


@dataclass(frozen=True)
class SourceTable:
    """The rows of a file: strings of a CSV file (with its delimiter), cells of a workbook, values of a Parquet file.

    `lines` are the lines (or rows, see `word`) of the file on which each row stands, from 1 on [rows]; `skipped` counts
    those above the header. `findings` are of rows with too few or too many columns, which are not in the frame.
    """

    frame: pd.DataFrame
    lines: np.ndarray
    word: str
    findings: tuple[Finding, ...] = ()
    delimiter: str = ""
    skipped: int = 0
