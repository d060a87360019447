"""Speed and learning tables, side by side with peers where they are installed."""

from __future__ import annotations

import importlib
import subprocess

import typer
from typer.core import TyperGroup
from typer.main import get_command

from benchmarks.harness import PeersOption
from equitrade.processes import module_command

TABLES = {
    "agent": "updates of agents on sets of assets, against our dense agent and autograd",
    "backtest": "backtest of a daily target-weight matrix, against vectorbt and bt",
    "dashboards": "seconds until a dashboard page is visible and drawn, in a browser with an empty cache",
    "growth": "time and memory of trainings and backtests of four times the size",
    "hard-planted": "share of the optimum where data are as few and noisy as daily prices",
    "layers": "relaxed group convolution, against plain and escnn convolutions",
    "lookahead": "false alarms and finds of the test of signals for look-ahead",
    "market": "portfolio environment steps per second",
    "panel": "net Sharpe ratio on simulated prices with a planted signal of realistic size",
    "placebo": "net Sharpe ratios of agents trained where there is nothing to learn",
    "planted": "share of the optimum on the planted market, five agents",
    "precision": "learning curves with products in bfloat16, against float32",
    "relaxation-rules": "share of the optimum by the rule that decides how far relaxed weights leave their symmetry",
    "sac": "SAC gradient updates per second, against Stable-Baselines3, SBX and autograd",
    "service": "allocations per second and their latency, one worker",
    "startup": "seconds of help, of imports, of loading a large snapshot and of reading a wide file",
}
MODULES = {
    "hard-planted": "benchmarks.learning.hard_planted",
    "lookahead": "benchmarks.lookahead",
    "planted": "benchmarks.learning.planted.cli",
    "precision": "benchmarks.learning.precision",
    "panel": "benchmarks.learning.panel",
    "placebo": "benchmarks.learning.placebo",
    "relaxation-rules": "benchmarks.learning.rules.comparison",
}
SPEED = ("sac", "agent", "layers", "market", "backtest", "service", "startup", "growth")


class Tables(TyperGroup):
    """One command a table, each imported only when called."""

    def list_commands(self, ctx: object) -> list[str]:
        return ["all", *TABLES]

    def get_command(self, ctx: object, cmd_name: str) -> object:  # type: ignore[override]
        if cmd_name not in TABLES:
            return super().get_command(ctx, cmd_name)  # type: ignore[arg-type]

        command = get_command(
            importlib.import_module(MODULES.get(cmd_name, f"benchmarks.speed.{cmd_name}")).app
        )
        command.name = cmd_name
        return command


app = typer.Typer(cls=Tables, no_args_is_help=True, help=__doc__)


@app.callback()
def root() -> None:
    """Speed and learning tables, side by side with peers where they are installed."""


@app.command("all")
def run_all(
    peers_python: PeersOption = None,
) -> None:
    """Every speed table, one after the other, each in a process of its own."""
    for name in SPEED:
        command = module_command("trading_app.cli.main", "bench", name)
        if peers_python is not None and name in {"sac", "backtest", "market"}:
            command += ["--peers-python", str(peers_python)]
        subprocess.run(command, check=True)
