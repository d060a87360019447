"""Numbers of a file: one decimal mark for the whole file, decided by all its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute

_NULLS = frozenset(
    {"", "-", "--", ".", "na", "n/a", "#n/a", "#n/a n/a", "nan", "null", "none", "nat", "n.a."}
)
_CURRENCY = re.compile(
    r"^(?P<before>[$€£¥₹]|[A-Z]{3}(?=\s*[-\d.]))?\s*(?P<number>.*?)\s*(?P<after>[$€£¥₹]|[A-Z]{3})?$"
)
_MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
# Ratios such as 4:1, 1/10 and "3 for 2".
_RATIO = r"^\s*(\d+(?:\.\d+)?)\s*(?::|/|[ -]?for[ -]?)\s*(\d+(?:\.\d+)?)\s*$"
_GROUPS = "[\u00a0\u202f '\u2019]"


@dataclass(frozen=True)
class NumberFormat:
    """Format of the numbers of a file: the decimal mark, ``.`` or ``,``; the other one separates thousands.

    `example` is a text that may be read in two ways, if nothing in the file decides between them.
    """

    decimal: str = "."
    example: str | None = None

    @property
    def thousands(self) -> str:
        """Mark that separates thousands."""
        return "," if self.decimal == "." else "."


@dataclass(frozen=True)
class ParsedNumbers:
    """Numbers of a column: float64, NaN where empty or unreadable [rows], and row → currency sign or code, if any.

    `unreadable` is True where a text is neither a number nor a usual sign for an empty cell [rows].
    """

    values: np.ndarray
    unreadable: np.ndarray
    currencies: dict[int, str]


def find_format(columns: Sequence[pd.Series], delimiter: str) -> NumberFormat:
    """Return the number format that all cells of a file agree with.

    A mark decides where it is followed by other than three digits, occurs twice in a number, stands beside the other
    mark, or follows a zero. Where only texts such as ``1,005`` are left, the reading decides whose numbers move less
    from row to row. The separator of the file's columns counts, too.
    """
    texts = [_arrow(column) for column in columns if not pd.api.types.is_numeric_dtype(column.dtype)]
    commas = [text for text in texts if _any(text, ",", regex=False)]
    if not commas and delimiter in (",", ""):
        return NumberFormat()
    votes = {mark: sum(_count(text, _evidence(mark)) for text in texts) for mark in (".", ",")}
    if votes["."] != votes[","]:
        return NumberFormat(max(votes, key=lambda mark: votes[mark]))
    if votes["."]:
        return NumberFormat()
    marked = {mark: [text for text in texts if _any(text, mark, regex=False)] for mark in (".", ",")}
    if not marked["."] and not marked[","]:
        return NumberFormat()
    if not (marked["."] and marked[","]):
        mark = "." if marked["."] else ","
        smooth = _smoother(marked[mark], mark)
        if smooth is not None:
            return NumberFormat(smooth)
        if delimiter != ";":
            # All numbers have the mark and three digits after it; English files are the usual ones.
            return NumberFormat(".")
    example = next(_example(marked[mark][0], mark) for mark in (".", ",") if marked[mark])
    return NumberFormat(".", example)


def parse_numbers(column: pd.Series, form: NumberFormat | None = None) -> ParsedNumbers:
    """Return the numbers of a column of text or numbers [rows]; the format has a decimal point by default.

    Thousands separators, currency signs and codes, ``1.2M`` and the usual signs for an empty cell are understood.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return ParsedNumbers(values, np.zeros(len(values), dtype=bool), {})
    form = form or NumberFormat()
    values = _plain_numbers(column, form)
    unreadable = np.zeros(len(values), dtype=bool)
    currencies: dict[int, str] = {}
    rest = np.flatnonzero(np.isnan(values))
    for row, raw in zip(rest.tolist(), column.iloc[rest].tolist(), strict=True):
        text = raw.strip() if isinstance(raw, str) else ""
        if text.lower() in _NULLS:
            continue
        number, currency = _parse_number(text, form)
        if number is None:
            unreadable[row] = True
            continue
        values[row] = number
        if currency:
            currencies[row] = currency
    return ParsedNumbers(values, unreadable, currencies)


def parse_splits(column: pd.Series, form: NumberFormat | None = None) -> ParsedNumbers:
    """Return new shares per old share, 1 without a split, of a column with numbers or texts such as ``4:1``.

    A column without any number stays empty: it does not say that there was no split.
    """
    numbers = parse_numbers(column, form)
    values = numbers.values.copy()
    texts = np.flatnonzero(numbers.unreadable)
    ratios = column.iloc[texts].astype("str").str.extract(_RATIO, flags=re.IGNORECASE).astype(float)
    values[texts] = (ratios[0] / ratios[1]).to_numpy()
    unreadable = numbers.unreadable & np.isnan(values)
    if np.isfinite(values).any():
        # Some sources write 0, others nothing, on days without a split.
        values = np.where((values == 0) | np.isnan(values), 1.0, values)
    return ParsedNumbers(values, unreadable, numbers.currencies)


def _plain_numbers(column: pd.Series, form: NumberFormat) -> np.ndarray:
    """Return the cells that are digits and the decimal mark alone; NaN for the others, which are rare."""
    mark = re.escape(form.decimal)
    text = pyarrow.compute.utf8_trim_whitespace(_arrow(column))
    if form.decimal == ".":
        # Most columns have nothing else.
        with suppress(pyarrow.ArrowInvalid):
            return _values(text.cast(pyarrow.float64()))
    plain = pyarrow.compute.match_substring_regex(text, rf"^[-+]?(\d+({mark}\d*)?|{mark}\d+)([eE][-+]?\d+)?$")
    if form.decimal == ",":
        text = pyarrow.compute.replace_substring(text, ",", ".")
    return _values(pyarrow.compute.if_else(plain, text, None).cast(pyarrow.float64()))


def _values(numbers: Any) -> np.ndarray:
    values: np.ndarray = np.array(numbers.to_numpy(), dtype=np.float64)
    return values


def _parse_number(text: str, form: NumberFormat) -> tuple[float | None, str | None]:
    match = _CURRENCY.match(text)
    currency = None
    if match is not None:
        currency = match["before"] or match["after"]
        text = match["number"]
    factor = _MULTIPLES.get(text[-1:].upper())
    if factor is not None:
        text = text[:-1].rstrip()
    thousands, decimal = re.escape(form.thousands), re.escape(form.decimal)
    grouped = rf"\d{{1,3}}(?:(?:{thousands}|{_GROUPS})\d{{3}})+"
    if re.fullmatch(rf"[-+]?(?:{grouped}|\d+)?(?:{decimal}\d*)?", text):
        text = re.sub(rf"{thousands}|{_GROUPS}", "", text).replace(form.decimal, ".")
    elif form.decimal == "," and "." in text:
        return None, None
    try:
        return float(text) * (factor or 1.0), currency
    except ValueError:
        return None, None


def _evidence(mark: str) -> str:
    """Return the pattern of a text that shows `mark` to be the decimal mark."""
    m, other = re.escape(mark), re.escape("," if mark == "." else ".")
    return "|".join(
        (
            rf"\d{m}(\d{{1,2}}|\d{{4,}})(\D|$)",  # other than three digits follow it
            rf"(^|[^\d.,])0*{m}\d",  # it follows nothing but zeros
            rf"\d{{4}}{m}\d",  # four digits stand before it
            rf"\d{other}\d{{3}}{m}\d",  # the other mark stands before it
            rf"\d{other}\d{{3}}{other}\d{{3}}",  # the other mark occurs twice
        )
    )


def _smoother(texts: Sequence[Any], mark: str) -> str | None:
    """Return the decimal mark that makes the numbers move less, or None if the two are alike."""
    roughness = {}
    for decimal in (".", ","):
        form = NumberFormat(decimal)
        moves = [_moves(parse_numbers(text.to_pandas(), form).values) for text in texts]
        roughness[decimal] = float(np.mean(np.concatenate(moves))) if moves else 0.0
    low, high = sorted(roughness, key=lambda decimal: roughness[decimal])
    return low if roughness[low] < 0.5 * roughness[high] else None


def _moves(values: np.ndarray) -> np.ndarray:
    positive = values[values > 0]
    moves: np.ndarray = np.abs(np.diff(np.log(positive)))
    return moves


def _example(text: Any, mark: str) -> str:
    found = text.filter(pyarrow.compute.match_substring(text, mark))
    return str(found[0].as_py())


def _arrow(column: pd.Series) -> Any:
    array = pyarrow.array(column.astype("str"), pyarrow.string())
    return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])


def _count(text: Any, pattern: str) -> int:
    return int(pyarrow.compute.sum(pyarrow.compute.match_substring_regex(text, pattern)).as_py() or 0)


def _any(text: Any, pattern: str, *, regex: bool = True) -> bool:
    match = pyarrow.compute.match_substring_regex if regex else pyarrow.compute.match_substring
    return bool(pyarrow.compute.any(match(text, pattern)).as_py())
