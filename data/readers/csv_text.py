"""CSV text into columns of strings: separators, encodings and headers found out, odd rows named by line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data.errors import DataError
from data.quality.findings import Finding

_DELIMITERS = (",", ";", "\t", "|")
_DATE_LIKE = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|^\d{8}$")
_PAIR = "|"


@dataclass(frozen=True)
class TextTable:
    """The rows of a CSV file as strings.

    Attributes
    ----------
    frame
        Columns as named in the file, all strings [rows].
    lines
        Line of the file on which each row stands, the header on line 1 [rows].
    findings
        Rows with too few or too many columns; they are not in the frame.
    delimiter
        Separator of the columns.
    """

    frame: pd.DataFrame
    lines: np.ndarray
    findings: tuple[Finding, ...]
    delimiter: str


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacking gzip.

    Raises
    ------
    DataError
        If it cannot be read, is empty, or is cut short or damaged.
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


def read_text(content: bytes, name: str) -> TextTable:
    """Turn the bytes of a CSV file into columns of strings.

    Raises
    ------
    DataError
        If it is no CSV file with a header.
    """
    text = _decode(content, name)
    head = text[:65_536].splitlines()
    skipped = next((index for index, line in enumerate(head) if line.strip()), 0)
    delimiter = max(_DELIMITERS, key=head[skipped].count)
    names, header_lines = _header(head[skipped:], delimiter, name)
    header_lines += skipped
    body = text.split("\n", header_lines)[-1] if text.count("\n") >= header_lines else ""
    if not body.strip():
        raise DataError(f"{name}: there is a header and no row")
    frame, lines, findings = _rows(body, names, delimiter, header_lines, name)
    return TextTable(frame, lines, findings, delimiter)


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
        raise DataError(f"{name}: this is no text file; give CSV, gzipped CSV or Parquet")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise DataError(f"{name}: this is a web page, not a table; the download was answered by a page")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _header(head: list[str], delimiter: str, name: str) -> tuple[list[str], int]:
    rows = list(csv.reader(head[:3], delimiter=delimiter))
    first = [cell.strip() for cell in rows[0]]
    if any(_DATE_LIKE.match(cell) for cell in first):
        raise DataError(
            f"{name}: line 1 holds values ('{head[0][:60]}'); the first line must name the columns"
        )
    if len(rows) == 3 and rows[2] and _is_index_line(rows[2]) and len(rows[1]) == len(first):
        # The two header lines of a table of (field, symbol) columns, and one that only names the index.
        pairs = [f"{symbol.strip()}{_PAIR}{field}" for field, symbol in zip(first, rows[1], strict=True)]
        return _unique([rows[2][0].strip(), *pairs[1:]], name), 3
    return _unique(first, name), 1


def _is_index_line(cells: list[str]) -> bool:
    named = cells[0].strip().lower() in ("date", "datetime")
    return named and len(cells) > 1 and not any(cell.strip() for cell in cells[1:])


def _unique(names: list[str], place: str) -> list[str]:
    seen: set[str] = set()
    for column in names:
        if column and column in seen:
            raise DataError(f"{place}: two columns are called '{column}'")
        seen.add(column)
    if names.count("") > 1:
        raise DataError(f"{place}: {names.count('')} columns have no name")
    return names


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
