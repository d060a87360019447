"""CSV text into columns of strings: separators, encodings and headers found out, odd rows named by line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from data.errors import DataError
from data.quality.findings import Finding
from data.readers.header import HEAD_ROWS, column_names, find_header, names_date
from data.readers.source_table import SourceTable

_DELIMITERS = (",", ";", "\t", "|")


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacking gzip.

    Raises `DataError` if it cannot be read, is empty, or is cut short or damaged.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is cut short or damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def read_text(content: bytes, name: str, skip_rows: int | None = None) -> SourceTable:
    """Turn the bytes of a CSV file into columns of strings; the header is searched for, unless rows are skipped.

    Raises `DataError` if it is no CSV file with a header.
    """
    text = _decode(content, name)
    head = text[:65_536].splitlines()
    delimiter, at = _find_table(head, skip_rows)
    names, height = column_names(_cells(head[at : at + 3], delimiter), at + 1, name)
    header_lines = at + height
    body = text.split("\n", header_lines)[-1] if text.count("\n") >= header_lines else ""
    if not body.strip():
        raise DataError(f"{name}: there is a header and no row")
    frame, lines, findings = _rows(body, names, delimiter, header_lines, name)
    return SourceTable(frame, lines, "line", findings, delimiter, at)


def _find_table(head: list[str], skip_rows: int | None) -> tuple[str, int]:
    """Return the separator of the columns and the position of the header."""
    if skip_rows is None:
        found = {}
        for delimiter in _DELIMITERS:
            rows = _cells(head[:HEAD_ROWS], delimiter)
            at = find_header(rows)
            if at is not None:
                found[delimiter] = names_date(rows[at]), len(rows[at]), at
        if found:
            best = max(found, key=lambda delimiter: found[delimiter][:2])
            return best, found[best][-1]
    at = next((at for at, line in enumerate(head) if line.strip() and at >= (skip_rows or 0)), 0)
    return max(_DELIMITERS, key=head[at].count), at


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    return list(csv.reader(lines, delimiter=delimiter))


def _decode(content: bytes, name: str) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        # Older spreadsheet exports; every byte has a meaning there.
        text = content.decode("latin-1")
    if "\x00" in text[:1000]:
        raise DataError(f"{name}: this is no text file; give CSV, Excel (.xlsx) or Parquet")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise DataError(f"{name}: this is a web page, not a table; the download was answered by a page")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(
    body: str, names: list[str], delimiter: str, header_lines: int, name: str
) -> tuple[pd.DataFrame, np.ndarray, tuple[Finding, ...]]:
    import pyarrow
    import pyarrow.csv

    odd: list[tuple[int, int, int, str]] = []

    def handle(row: pyarrow.csv.InvalidRow) -> str:
        odd.append((row.number, row.expected_columns, row.actual_columns, row.text))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(body.encode("utf-8")),
            # Rows are numbered only when one thread reads them.
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=handle, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False
            ),
        )
    except (pyarrow.ArrowInvalid, ValueError) as error:
        raise DataError(f"{name}: cannot be read as CSV ({' '.join(str(error).split())})") from error
    frame = table.to_pandas()
    total = len(frame) + len(odd)
    skipped = np.zeros(total, dtype=bool)
    skipped[[number - 1 for number, *_ in odd]] = True
    lines = np.flatnonzero(~skipped) + header_lines + 1
    blank = (frame == "").all(axis=1).to_numpy(dtype=bool)
    findings = tuple(
        Finding(
            "truncated-row",
            f"{actual} columns where the header has {expected} ('{text.strip()[:60]}')",
            place=f"{name} line {number + header_lines}",
        )
        for number, expected, actual, text in odd
        if text.strip()
    )
    return frame[~blank].reset_index(drop=True), lines[~blank], findings
