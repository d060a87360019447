"""Functions of tensors, recorded once and then run without Python between their operations."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Function = Callable[[Tensor], Tensor]
# The first runs of a recorded graph are watched and the later ones optimised; each kind must agree.
_RUNS = 4
# Recorders of two threads get into each other's way.
_RECORDER = threading.Lock()


def record(function: Function, examples: list[Tensor]) -> Function | None:
    """Record a function for arguments of one shape.

    A network for a few accounts is a hundred operations of microseconds each; called one by one from Python they
    take two to three times as long. The same operations are run in the same order, so the same bits come out, which
    is proven on the examples before a recording is given.

    Parameters
    ----------
    function
        Of one tensor; it must do the same operations whatever the numbers in it.
    examples
        Arguments as they will come, with other numbers in each.

    Returns
    -------
    callable or None
        None where this version of torch cannot record it, or where the bits differ.
    """
    try:
        with _RECORDER:
            recorded = _recorded(function, examples[0])
        same = all(
            torch.equal(recorded(example), function(example)) for example in examples for _ in range(_RUNS)
        )
    except Exception:
        # Whatever a recorder stumbles over: the function itself is there.
        logger.warning("a policy is run operation by operation: it cannot be recorded", exc_info=True)
        return None
    return recorded if same else None


def _recorded(function: Function, example: Tensor) -> Function:
    from torch.fx.experimental.proxy_tensor import make_fx

    # The first step looks into functions that bring their own gradients, the second leaves Python behind.
    flat = make_fx(function)(example)
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecated in favour of compilers, which need a C++ compiler at run time.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced: Any = torch.jit.trace(flat, (example,), check_trace=False)  # type: ignore[no-untyped-call]
        graph = torch.jit.freeze(traced.eval())

    def run(argument: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = graph(argument)
        return found

    return run
