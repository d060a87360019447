"""Search over settings with Optuna; all trials are counted.

A study is a directory ``tuning/NAME/`` under the state directory: ``study.json`` (what is searched, and where),
``journal.log`` (Optuna's own, one JSON line an event), a run for each trial, ``trials/0``, ``trials/1``, …,
``trials.json`` (settings and validation Sharpe ratios of each, and the probability that the choice among them is
overfitted) and ``best.toml``, a configuration to train with. That records how many trials it was chosen from, which the
deflated Sharpe ratio of its backtest then allows for. In the folder of each trial, ``validation.parquet`` has the daily
returns of each seed on the validation dates. Test dates are not looked at.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.frequency import periods_per_year
from data.prices import Prices
from data.splits import Split
from equitrade.atomic import atomic_path, atomic_write
from rl_core.sac import SAC
from trading_app.backtesting.policies import AgentPolicy
from trading_app.evaluation.overfitting import overfitting
from trading_app.experiments.config import (
    ConfigurationError,
    RunConfig,
    SearchConfig,
    from_dict,
    stored_config,
    to_dict,
    to_toml,
)
from trading_app.experiments.own_signals import pin_signals
from trading_app.experiments.training import check_device, prices_of, recorded_dates, split_of, train_run
from trading_app.files import RunError, read_parquet
from trading_app.runs.run import Run

if TYPE_CHECKING:
    import optuna

__all__ = [
    "DEFAULT_SPACE",
    "Dimension",
    "parse_dimension",
    "trial_overfitting",
    "trial_returns",
    "tune",
    "validation_sharpes",
]

VALIDATION = "validation.parquet"


@dataclass(frozen=True)
class Dimension:
    """A setting (`key`: ``section.name``) to search: a range from `low` to `high`, or a list of choices.

    A range is searched on a logarithmic scale where its ends are a factor of ten apart.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[float | str, ...] = ()

    def suggest(self, trial: optuna.Trial) -> float | str:
        """Return a value chosen by the sampler."""
        if self.choices:
            chosen: float | str = trial.suggest_categorical(self.key, self.choices)  # type: ignore[assignment]
            return chosen
        wide = self.low > 0 and self.high >= 10 * self.low
        return trial.suggest_float(self.key, self.low, self.high, log=wide)

    def text(self) -> str:
        """The text that `parse_dimension` reads."""
        values = ",".join(map(str, self.choices)) or f"{self.low!r}:{self.high!r}"
        return f"{self.key}={values}"


DEFAULT_SPACE = (
    Dimension("sac.actor_lr", 3e-4, 3e-3),
    Dimension("sac.critic_lr", 3e-4, 3e-3),
    Dimension("sac.relaxed_lr_multiplier", 1.0, 30.0),
    Dimension("sac.initial_alpha", 2e-3, 2e-1),
    Dimension("sac.gamma", choices=(0.5, 0.8, 0.9, 0.97)),
    Dimension("market.temperature", 0.1, 1.0),
)


def parse_dimension(text: str) -> Dimension:
    """Read ``section.key=LOW:HIGH`` or ``section.key=A,B,C``; ConfigurationError for text of another form."""
    key, equals, values = text.partition("=")
    low, colon, high = values.partition(":")
    try:
        if not equals or "." not in key or not values:
            raise ValueError
        if colon:
            bounds = float(low), float(high)
            if not bounds[0] < bounds[1]:
                raise ValueError
            return Dimension(key, *bounds)
    except ValueError:
        raise ConfigurationError(
            f"search {text!r}: write section.key=LOW:HIGH or section.key=A,B,C, as in sac.width=32,64"
        ) from None
    return Dimension(key, choices=tuple(_value(item) for item in values.split(",")))


def tune(
    config: RunConfig,
    *,
    home: Path,
    name: str,
    trials: int,
    space: Sequence[Dimension] = DEFAULT_SPACE,
    on_trial: Callable[[int, float | None], None] | None = None,
) -> dict[str, Any]:
    """Run trials until the study has `trials` finished ones; an existing study is continued.

    Parameters
    ----------
    config
        Everything that is not searched.
    home, name
        State directory and name of the study.
    trials
        How many in all.
    space
        Settings that are searched.
    on_trial
        Called with the number and Sharpe ratio of each trial (None for one that failed).

    Returns
    -------
    dict
        The content of ``trials.json``, with ``best`` (a trial's number) and ``config`` (the path of ``best.toml``).

    Raises
    ------
    DataError, ConfigError, RunError
        For prices, dates, settings or a space that cannot be used, or a study of other settings.
    """
    for dimension in space:
        for end in dimension.choices or (dimension.low, dimension.high):
            changed(config, {dimension.key: end})
    check_device(config)
    config = pin_signals(config, home)
    prices = prices_of(config, home)
    split_of(config, prices)
    directory = home / "tuning" / name
    _begin(directory, config, space)
    study = _study(directory, name)
    while len(_ended(study)) < trials:
        number, value = _one_trial(study, space, config, prices, home, directory)
        _write(directory, study, config)
        if on_trial is not None:
            on_trial(number, value)
    return _write(directory, study, config)


def changed(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration with some keys changed, validated."""
    layers = to_dict(config)
    for key, value in values.items():
        section, _, item = key.partition(".")
        if section not in layers or section in ("data", "split", "search"):
            raise ConfigurationError(f"search {key!r}: no such setting, or not one to search")
        layers[section][item] = value
    return from_dict(layers)


def _begin(directory: Path, config: RunConfig, space: Sequence[Dimension]) -> None:
    wanted = {"config": to_dict(config), "space": [dimension.text() for dimension in space]}
    path = directory / "study.json"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(wanted, indent=2))
    elif json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(wanted)):
        raise RunError(f"study {directory.name!r} already exists with other settings; choose another --name")


def _study(directory: Path, name: str) -> optuna.Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(directory / "journal.log")))
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def _one_trial(
    study: optuna.Study,
    space: Sequence[Dimension],
    config: RunConfig,
    prices: Prices,
    home: Path,
    directory: Path,
) -> tuple[int, float | None]:
    """Train with settings that the sampler proposes; the value is the seeds' mean validation Sharpe ratio."""
    import optuna

    ended = len(_ended(study))
    # Seeded by what has ended, so that a study that was killed proposes what it would have proposed.
    study.sampler = optuna.samplers.TPESampler(seed=ended)
    trial = study.ask()
    proposed = {dimension.key: dimension.suggest(trial) for dimension in space}
    folder = directory / "trials" / str(ended)
    sharpe = validation_sharpes(changed(config, proposed), prices, home=home, folder=folder)
    trial.set_user_attr("run", ended)
    trial.set_user_attr("sharpe", sharpe)
    if not sharpe:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return ended, None
    study.tell(trial, float(np.mean(sharpe)))
    return ended, float(np.mean(sharpe))


def validation_sharpes(
    config: RunConfig, prices: Prices, *, home: Path, folder: Path, split: Split | None = None
) -> list[float]:
    """Train settings in a folder and return the validation Sharpe ratio of each seed; none where a seed diverged.

    A training that was stopped in this folder is continued. Dates are cut as for `train_run`. The daily returns of each
    seed on the validation dates are written to ``validation.parquet``.
    """
    begun = (folder / "manifest.json").is_file()
    if folder.exists() and not begun:  # a kill came before the manifest was there
        shutil.rmtree(folder)
    run, result = train_run(config, home=home, directory=folder, split=split, resume=begun)
    if any(result.diverged) or result.stopped:
        return []
    _save_validation(run, result.agent, prices)
    return _validation(run)


def _validation(run: Run) -> list[float]:
    """Validation Sharpe ratio of each seed at the last evaluation."""
    progress = run.progress()
    rows = progress.dropna(subset=["eval_sharpe"])
    return [float(v) for v in rows.groupby("seed")["eval_sharpe"].last()]


def _save_validation(run: Run, agent: SAC, prices: Prices) -> None:
    """Write the daily returns of each seed on the validation dates, date × seed."""
    config, split = stored_config(run.path), recorded_dates(run.manifest["split"])
    period = split.validation or split.train
    policy = AgentPolicy(agent, config.market, config.costs, prices.symbols)
    path = policy.rollout(prices.between(None, period[1]), *period)
    frame = path.seed_results.returns.set_axis([f"seed-{seed}" for seed in policy.seeds], axis=1)
    with atomic_path(run.path / VALIDATION) as temporary:
        frame.to_parquet(temporary)


def trial_returns(directory: Path) -> pd.DataFrame:
    """Return the daily returns of a study's trials on the validation dates, date × trial, each the mean of its seeds.

    Raises `RunError` for a study with fewer than two trials that have them.
    """
    paths = sorted(directory.glob(f"trials/*/{VALIDATION}"), key=lambda path: int(path.parent.name))
    if len(paths) < 2:
        raise RunError(f"{directory}: {len(paths)} finished trials with daily returns found; 2 are needed")
    return pd.DataFrame({path.parent.name: read_parquet(path).mean(axis=1) for path in paths})


def trial_overfitting(directory: Path) -> dict[str, Any] | None:
    """Return the probability that the choice among the trials is overfitted; None where it cannot be measured."""
    try:
        returns = trial_returns(directory)
        periods = periods_per_year(pd.DatetimeIndex(returns.index))
        return asdict(overfitting(returns.to_numpy(), periods=periods))
    except DataError:
        return None


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the finished and the failed trials: all of them count."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if "run" in trial.user_attrs and trial.state.is_finished()
    ]


def _write(directory: Path, study: optuna.Study, config: RunConfig) -> dict[str, Any]:
    ended = _ended(study)
    rows = [
        {
            "trial": trial.user_attrs["run"],
            "settings": dict(trial.params),
            "sharpe": trial.value,
            "sharpe_by_seed": trial.user_attrs["sharpe"],
        }
        for trial in ended
    ]
    document: dict[str, Any] = {"study": directory.name, "trials": rows, "best": None, "config": None}
    document["overfitting"] = found = trial_overfitting(directory)
    scored = [row for row in rows if row["sharpe"] is not None]
    if scored:
        best = max(scored, key=lambda row: row["sharpe"])
        search = SearchConfig(
            trials=len(rows),
            sharpes=tuple(row["sharpe"] for row in scored),
            overfitting=None if found is None else found["probability"],
        )
        path = directory / "best.toml"
        atomic_write(path, to_toml(replace(changed(config, best["settings"]), search=search)))
        document |= {"best": best["trial"], "config": str(path)}
    atomic_write(directory / "trials.json", json.dumps(document, indent=2))
    return document


def _value(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
