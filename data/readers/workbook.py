"""Tables of Excel workbooks (.xlsx)."""

from __future__ import annotations

import datetime
import io
import zipfile
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.quality.advice import Refusal
from data.readers.header import HEAD_ROWS, column_names, find_header
from data.readers.source_table import SourceTable


def is_workbook(content: bytes, name: str) -> bool:
    """Return True if the bytes of a file are an Excel workbook.

    Raises `DataError` if they are another archive, or a workbook of Excel before 2007.
    """
    if content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise DataError(f"{name}: this is a workbook in the format before 2007; save it as .xlsx or CSV")
    if content[:4] != b"PK\x03\x04":
        return False
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"{name}: the archive is cut short or damaged ({error})") from error
    if "xl/workbook.xml" not in members:
        raise DataError(
            f"{name}: this is an archive of {', '.join(members[:3])}; unpack it and give a file of it"
        )
    return True


def read_workbook(
    content: bytes, name: str, sheet: str | None = None, skip_rows: int | None = None
) -> SourceTable:
    """Return a sheet of a workbook: dates and numbers as such, columns of several kinds as text.

    By default the sheet is the only one with a table, and the header is searched for.

    Raises `DataError` if the workbook is damaged, or it is not clear which sheet is meant.
    """
    try:
        cells = pd.read_excel(
            io.BytesIO(content),
            sheet_name=None,
            header=None,
            dtype=object,
            na_filter=False,
            engine="openpyxl",
        )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: the workbook is damaged ({' '.join(str(error).split())})") from error
    chosen = _choose(cells, name, sheet)
    return _table(cells[chosen], f"{name} sheet {chosen}", skip_rows)


def _choose(cells: dict[str, pd.DataFrame], name: str, sheet: str | None) -> str:
    listed = ", ".join(cells)
    if sheet is not None:
        if sheet not in cells:
            raise DataError(f"{name}: there is no sheet '{sheet}' (sheets: {listed})")
        return sheet
    tables = [title for title, frame in cells.items() if find_header(_texts(frame[:HEAD_ROWS])) is not None]
    if len(tables) == 1 or len(cells) == 1:
        return (tables or list(cells))[0]
    choice = tuple(("--sheet", title) for title in tables)
    raise Refusal(f"{name}: {len(tables)} of the sheets {listed} have prices", (choice,) if choice else ())


def _table(cells: pd.DataFrame, place: str, skip_rows: int | None) -> SourceTable:
    head = _texts(cells[:HEAD_ROWS])
    at = skip_rows if skip_rows is not None else find_header(head)
    if at is None:
        at = next((row for row, texts in enumerate(head) if any(texts)), 0)
    if at + 1 >= len(cells):
        raise DataError(f"{place}: there is a header and no row")
    # Columns without a name and without a value are formatting.
    used = (cells.iloc[at:] != "").any().to_numpy()
    cells = cells.loc[:, used]
    names, height = column_names(_texts(cells[at : at + 3]), at + 1, place)
    body = cells.iloc[at + height :]
    filled = (body != "").any(axis=1).to_numpy()
    columns = {title: _typed(body.iloc[filled, number]) for number, title in enumerate(names)}
    lines = np.flatnonzero(filled) + at + height + 1
    return SourceTable(pd.DataFrame(columns).reset_index(drop=True), lines, "row", skipped=at)


def _typed(cells: pd.Series) -> pd.Series:
    values = [value for value in cells if value != ""]
    if values and all(isinstance(value, datetime.datetime) for value in values):
        return pd.to_datetime(cells.where(cells != "", None))
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return cells.where(cells != "", np.nan).astype(float)
    return cells.map(_text)


def _texts(cells: pd.DataFrame) -> list[list[str]]:
    return [[_text(value) for value in row] for row in cells.itertuples(index=False)]


def _text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ") if value.time() != datetime.time() else value.date().isoformat()
    return str(value).strip()
