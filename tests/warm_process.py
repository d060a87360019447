"""Runs the shell lines of its input; `equitrade` commands run in copies of this process, which has imported everything.

    python tests/warm_process.py < LINES

Each copy is forked, so that a command changes nothing for the next one, as if it had a process of its own, without the
seconds that imports take. The first line that fails ends the run, and is named on standard error.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

SHELL = set("|&;<>$`*?(){}~#\n")


def main() -> None:
    """Run the lines in order."""
    import arch.bootstrap  # noqa: F401

    import trading_app.experiments.out_of_sample
    import trading_app.experiments.training
    import trading_app.report.page  # noqa: F401

    for line in sys.stdin.read().splitlines():
        plain = line.startswith("equitrade ") and not SHELL & set(line)
        code = forked(shlex.split(line)[1:]) if plain else subprocess.run(line, shell=True).returncode
        if code:
            sys.exit(f"`{line}` ended with {code}")


def forked(arguments: list[str]) -> int:
    """Return the exit code of an `equitrade` command in a copy of this process."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        from trading_app.cli.main import run

        code = run(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
