"""Commands that start Python modules as child processes."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter.

    ``-P`` keeps the working directory off the module path: there, a user's file named ``data.py`` or ``torch.py``
    would otherwise be imported in place of ours.

    Parameters
    ----------
    module
        Dotted name, as after ``python -m``.
    arguments
        Its arguments.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
