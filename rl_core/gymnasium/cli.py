"""Train in a Gymnasium environment with a symmetry declared in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equitrade.console import JsonOption, print_json, print_table, progress_bar, say, working
from rl_core.agents import find_kind, kind_names

if TYPE_CHECKING:
    from rl_core.config import SACConfig

app = typer.Typer(help=__doc__, no_args_is_help=True)

EnvOption = Annotated[
    str, typer.Option("--env", help="Name of a Gymnasium environment, such as Pendulum-v1.")
]
SYMMETRY = typer.Option("--symmetry", help="TOML or JSON file of the symmetry.")

EVALUATIONS = 10
EPISODES = 5
LONGEST_EPISODE = 1000
"""Steps after which an evaluation ends, for environments without a time limit."""


@app.callback()
def gym() -> None:
    """Train in a Gymnasium environment with a symmetry declared in a file.

    `equitrade symmetry check` tests the file first.
    """


@app.command()
def train(
    env: EnvOption,
    symmetry: Annotated[Path | None, SYMMETRY] = None,
    agent: Annotated[str, typer.Option(help=f"One of {', '.join(kind_names())}.")] = "relaxed",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each environment.")] = 10_000,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, trained together.")] = 3,
    n_envs: Annotated[int, typer.Option(min=1, help="Environments of each seed.")] = 1,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML file with settings of the agent in [sac].")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="paper or strong: settings of the agent that --config does not name.")
    ] = "strong",
    out: Annotated[
        Path | None, typer.Option(help="Where to store agent and log; nowhere by default.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the newest checkpoint in --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train several seeds and print the mean return of deterministic episodes of each."""
    from functools import partial

    from rl_core import training
    from rl_core.errors import ConfigError
    from rl_core.evaluation import Evaluator
    from rl_core.gymnasium.env import GymnasiumEnv
    from rl_core.gymnasium.spaces import make_env
    from rl_core.symmetry import load_symmetry_file

    if symmetry is None and find_kind(agent).symmetric:
        raise ConfigError(f"the {agent} agent needs --symmetry FILE; take dense to train without one")
    if resume and out is None:
        raise ConfigError("--resume needs --out of the training")
    declared = load_symmetry_file(symmetry).symmetry if symmetry is not None else None
    settings = _settings(config, agent, preset)
    make = partial(GymnasiumEnv, env, declared, seeds=range(seeds), device=settings.device)
    batch = make(n_envs=n_envs)
    spec = make_env(env).spec
    limit = (spec.max_episode_steps if spec is not None else None) or LONGEST_EPISODE
    evaluate = Evaluator(partial(make, n_envs=EPISODES, stream="evaluation"), limit)
    with progress_bar(f"{env}, {agent}, {seeds} seeds", steps) as update:
        result = training.train(
            batch,
            settings,
            seeds=batch.seeds,
            steps=steps,
            directory=out,
            evaluate=evaluate,
            evaluate_every=max(1, steps // EVALUATIONS),
            resume=resume,
            on_progress=update,
        )
    if result.stopped:
        say(f"training stopped early: {result.stopped}")
    returns = evaluate(result.agent, steps)["return"].tolist()
    if as_json:
        path = None if out is None else str(out)
        print_json({"env": env, "agent": agent, "returns": returns, "path": path, "stopped": result.stopped})
        return
    rows = [[str(seed), f"{value:.4g}"] for seed, value in zip(batch.seeds, returns, strict=True)]
    print_table(f"Return of {env} after {steps} steps", ["seed", "mean of 5 episodes"], rows)
    say("not stored; give --out DIR to keep the agent" if out is None else f"load it: SAC.load({str(out)!r})")


def check(
    env: EnvOption,
    symmetry: Annotated[Path, SYMMETRY],
    transitions: Annotated[
        int | None,
        typer.Option(min=1, help="64 pairs, or 8,192 where the state cannot be set.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of environment and actions.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Test a declared symmetry of a Gymnasium environment; exit code 2 and the wrong entry where it does not hold."""
    from dataclasses import asdict

    from rl_core.errors import SymmetryError
    from rl_core.gymnasium.spaces import make_env
    from rl_core.gymnasium.symmetry_check import check_symmetry
    from rl_core.symmetry import load_symmetry_file

    declared = load_symmetry_file(symmetry)
    with working(f"stepping {env}"):
        found = check_symmetry(make_env(env), declared, transitions=transitions, seed=seed)
    if as_json:
        print_json(asdict(found))
    else:
        rows: list[list[Any]] = [
            [
                e.entry,
                e.image,
                e.generator,
                f"{e.deviation:.3g}",
                f"{e.share:.2%}",
                "wrong" if e.wrong else "",
            ]
            for e in found.entries
        ]
        way = "pairs of transitions" if found.method == "pairs" else "transitions, by regression"
        print_table(
            f"{symmetry} in {env}: {found.transitions} {way}",
            ["entry", "image", "under", "deviation", "of its change", ""],
            rows,
        )
    if found.fault is not None:
        raise SymmetryError(f"{symmetry}: {found.fault}")


def _settings(path: Path | None, agent: str, preset: str) -> SACConfig:
    """Return the settings of an agent, from a file's table [sac], a preset and the defaults."""
    import tomllib

    from rl_core.config import SACConfig
    from rl_core.errors import ConfigError

    values: dict[str, Any] = {}
    if path is not None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
        unknown = sorted(set(document) - {"sac"})
        if unknown:
            raise ConfigError(f"{path}: unknown key {unknown[0]!r}; settings of the agent stand in [sac]")
        values = document.get("sac", {})
    return SACConfig.from_dict({"preset": preset, **values, "agent": agent})
