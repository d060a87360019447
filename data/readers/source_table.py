"""Columns of a file as they are written there, each row with its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.quality.findings import Finding


@dataclass(frozen=True)
class SourceTable:
    """The rows of a file: strings of a CSV file, cells of a workbook, values of a Parquet file.

    Attributes
    ----------
    frame
        Columns as named in the file [rows].
    lines
        Line or row of the file on which each row stands, from 1 on [rows].
    word
        Unit of these places: ``line`` or ``row``.
    findings
        Rows with too few or too many columns; they are not in the frame.
    delimiter
        Separator of the columns of a CSV file.
    skipped
        Lines above the header.
    """

    frame: pd.DataFrame
    lines: np.ndarray
    word: str
    findings: tuple[Finding, ...] = ()
    delimiter: str = ""
    skipped: int = 0
