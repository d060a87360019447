"""Advice of a refused import: the options that mend everything at once, found by trying them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from data.errors import DataError

#: An option of the command line and its value.
Option = tuple[str, str]
#: Options of which one is needed. The first one is tried; all of them if the step is a question.
Step = tuple[Option, ...]
_MOST_STEPS = 12


class Refusal(DataError):
    """A refusal that options can mend: by `questions` that only the user can decide, and by `repairs`."""

    def __init__(self, message: str, questions: Sequence[Step] = (), repairs: Sequence[Step] = ()) -> None:
        super().__init__(message)
        self.questions = tuple(questions)
        self.repairs = tuple(repairs)


def advised(
    refusal: Refusal, attempt: Callable[[Sequence[Option]], object], verb: str = "import"
) -> DataError:
    """Return the error of a refused import with every set of options that lets it pass.

    `attempt` tries the import with further options, without writing anything; `verb` is the command to add them to.
    """
    ways = list(dict.fromkeys(_ways(refusal, attempt, ())))
    if not ways:
        return DataError(str(refusal))
    return DataError(f"{refusal}; to continue, {verb} with {', or '.join(map(_way_text, ways))}")


def option_text(option: Option) -> str:
    """Return an option as it is typed."""
    flag, value = option
    if re.fullmatch(r"[\w/-]+", value):
        return f"{flag} {value}"
    return f"{flag} {shlex.quote(value) if chr(39) in value else repr(value)}"


def _ways(
    refusal: Refusal, attempt: Callable[[Sequence[Option]], object], chosen: tuple[Step, ...]
) -> Iterator[tuple[Step, ...]]:
    # The repairs that are needed depend on the answers: dates read otherwise may be sorted.
    answers = product(*((((option,) for option in step)) for step in refusal.questions))
    for added in answers if refusal.questions else [refusal.repairs]:
        way = tuple(dict.fromkeys((*chosen, *added)))
        if len(way) == len(chosen) or len(way) > _MOST_STEPS:
            continue
        try:
            attempt([step[0] for step in way])
        except Refusal as further:
            yield from _ways(further, attempt, way)
        except DataError:
            continue
        else:
            yield way


def _way_text(way: tuple[Step, ...]) -> str:
    texts = []
    for first, *others in way:
        instead = f" (or {' or '.join(map(option_text, others))})" if others else ""
        texts.append(option_text(first) + instead)
    return " ".join(texts)
