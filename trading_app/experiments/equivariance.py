"""Equivariance of a run: errors measured with its backtest, relaxed weights of its checkpoint.

``symmetry.json`` in the run's directory is the document of `measure_equivariance`: ``schema``, ``created_at``,
``seeds``, ``data`` (name and hash), ``start``, ``end``, ``states`` and ``errors``: element → ``policy`` and ``critic``
→ ``mean``, ``maximum`` and ``scale``, one list over seeds each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from equitrade.atomic import atomic_write
from trading_app.files import RunError, now, read_json, to_json

if TYPE_CHECKING:
    from torch import Tensor

    from rl_core.sac import SAC
    from rl_core.symmetry.measure import FunctionError
    from trading_app.backtesting.policies import AgentPolicy, Rollout
    from trading_app.runs.run import Run

SCHEMA = 1
FILE = "symmetry.json"
# Enough for a mean with two digits, in a fraction of a second on a CPU.
STATES = 256
RELAXATION = "relaxation_"


@dataclass(frozen=True)
class RelaxedWeights:
    """Relaxed weights of a run's newest checkpoint, after so many steps, for S seeds and N assets.

    `layers` are by network and layer (``"actor lifting"``), [S, E, L, N, G]: seeds, critics of an ensemble, banks,
    assets (1 where a layer has no rows), elements of the group: ``identity`` and, in markets with a mirror,
    ``mirror``.
    """

    layers: Mapping[str, NDArray[np.float64]]
    seeds: tuple[int, ...]
    symbols: tuple[str, ...]
    elements: tuple[str, ...]
    step: int

    def raw(self, layer: str) -> NDArray[np.float64]:
        """Return a layer's weights [S, L, N, G]: the mean over an ensemble. All start at 1."""
        return np.asarray(self.layers[layer].mean(axis=1))

    def tied(self, layer: str) -> NDArray[np.float64]:
        """Return 1 plus each weight's difference from its bank's mean, over the layer's mean size [S, L, N, G].

        It is 1 everywhere where the layer is equivariant.
        """
        return np.asarray(1 + self._apart(layer).mean(axis=1))

    def deviation(self, layer: str) -> NDArray[np.float64]:
        """Return a layer's deviation from equivariance [S], see `rl_core.symmetry.measure.relaxation`; mean over an
        ensemble."""
        return np.asarray(np.abs(self._apart(layer)).max(axis=(2, 3, 4)).mean(axis=1))

    def _apart(self, layer: str) -> NDArray[np.float64]:
        w = self.layers[layer]
        size = np.abs(w).mean(axis=(2, 3, 4), keepdims=True)
        return np.asarray((w - w.mean(axis=(3, 4), keepdims=True)) / np.maximum(size, 1e-12))


def relaxed_weights(run: Run) -> RelaxedWeights:
    """Read the relaxed weights of a run's newest checkpoint; empty for an agent that is not relaxed.

    The newest checkpoint of a walk-forward run is that of its last fold with one. RunError without a checkpoint,
    ConfigError if it is damaged.
    """
    from rl_core.checkpoint_reader import latest_checkpoint, load_relaxed_weights

    path = _trained_path(run)
    if latest_checkpoint(path) is None:
        raise RunError(f"run {run.name!r} has no checkpoint yet")
    document, found = load_relaxed_weights(path)
    seeds = tuple(int(seed) for seed in document["seeds"])
    layers, sectors = {}, document["symmetry"].get("sectors")
    for name, w in sorted(found.items(), key=lambda item: _place(item[0])):
        rows = w if w.ndim == 4 else w[:, :, None]
        if w.ndim == 4 and rows.shape[2] < len(run.symbols) and sectors is not None:
            rows = rows[:, :, sectors]
        if rows.shape[2] * rows.shape[3] > 1:  # one weight alone cannot differ
            layers[name] = rows.reshape(len(seeds), -1, *rows.shape[1:])
    elements = tuple(map(_element, document["symmetry"]["elements"]))
    return RelaxedWeights(layers, seeds, tuple(run.symbols), elements, int(document["step"]))


def recorded_deviations(run: Run) -> pd.DataFrame:
    """Return the rows of ``progress.jsonl`` with `deviations`; empty if there are none."""
    # Few lines have them, and reading all as JSON would take seconds.
    return replace(run, path=_trained_path(run)).progress(f'"eval_{RELAXATION}')


def deviations(agent: SAC) -> dict[str, Tensor]:
    """Return the deviation of each layer from equivariance [S], under ``relaxation_NETWORK LAYER``."""
    from rl_core.symmetry.measure import relaxation

    if not agent.kind.relaxes:
        return {}
    found = {}
    for network, weights in (
        ("actor", agent.actor.relaxed_weights()),
        ("critic", agent.critic.relaxed_weights()),
    ):
        apart = {name: w for name, w in weights.items() if w[0, 0].numel() > 1}
        for name, values in relaxation(apart).items():
            key = f"{RELAXATION}{network} {name.removesuffix('.w')}"
            found[key] = values.view(len(agent.seeds), -1).mean(dim=1)
    return found


def measure_equivariance(policy: AgentPolicy, path: Rollout, *, states: int = STATES) -> dict[str, Any]:
    """Measure the equivariance errors of a run's policy and critic on days of a backtest.

    A state is a day of its decisions (`path`), at most so many and evenly spread, with the weights that each seed had
    decided on the day before; a critic's action is the policy's own. Returns the content of ``symmetry.json``.
    """
    import torch

    from rl_core.symmetry.measure import critic_errors, policy_errors

    first = int(path.prices.dates.searchsorted(path.ensemble.index[0]))
    agent, market = policy.agent, policy.market(path.prices, first)
    days = len(path.ensemble)
    rows = np.unique(np.linspace(min(1, days - 1), days - 1, min(states, days)).astype(int))
    decided = np.stack([pd.DataFrame(seed).ffill().fillna(0.0).to_numpy() for seed in path.per_seed])
    held = torch.as_tensor(decided[:, np.maximum(rows - 1, 0)]).float()
    stamp = torch.as_tensor(first + rows).float().expand(len(held), -1)[..., None]
    x = market.encode(torch.cat([stamp, held], dim=-1))

    def act(observation: Tensor) -> Tensor:
        return agent.act(observation, deterministic=True)

    def evaluate(observation: Tensor, action: Tensor) -> Tensor:
        return agent.values(observation, action)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    found = {
        "policy": policy_errors(act, agent.symmetry, x, generator()),
        "critic": critic_errors(evaluate, agent.symmetry, x, act(x), generator()),
    }
    return {
        "schema": SCHEMA,
        "created_at": now(),
        "seeds": list(agent.seeds),
        "data": {"name": path.prices.name, "hash": path.prices.hash},
        "start": str(path.ensemble.index[0].date()),
        "end": str(path.ensemble.index[-1].date()),
        "states": len(rows),
        "errors": {
            _element(name): {part: _lists(errors[name]) for part, errors in found.items()}
            for name in found["policy"]
        },
    }


def save_equivariance(run: Run, document: Mapping[str, Any]) -> Path:
    """Write ``symmetry.json``, whole or not at all."""
    path = run.path / FILE
    atomic_write(path, to_json(document))
    return path


def load_equivariance(run: Run) -> dict[str, Any] | None:
    """Read ``symmetry.json``; None before a backtest wrote it; RunError if it cannot be read."""
    path = run.path / FILE
    return read_json(path) if path.exists() else None


def _trained_path(run: Run) -> Path:
    """Directory of a run's newest checkpoint: of a walk-forward run, that of its last fold with a checkpoint."""
    from rl_core.checkpoint_reader import latest_checkpoint
    from trading_app.runs.run import fold_path

    folds = [fold_path(run.path, k) for k in range(len(run.manifest.get("folds") or ()), 0, -1)]
    return next((path for path in folds if latest_checkpoint(path) is not None), run.path)


def _place(layer: str) -> tuple[str, int, str]:
    """Sort key: actor before critic, and layers in the order of the computation."""
    network, _, name = layer.partition(" ")
    order = ("lifting", "hidden", "attention", "pool", "pooled", "head")
    stem = name.rstrip("0123456789")
    return network, order.index(stem) if stem in order else len(order), name


def _element(name: str) -> str:
    # The only group of a market has two elements, and the one that is not the identity negates returns and positions.
    return {"e": "identity", "r": "mirror"}.get(name, name)


def _lists(error: FunctionError) -> dict[str, list[float | None]]:
    """Return one number for each seed; of an ensemble the mean, or the maximum of the maxima."""
    parts = {"mean": error.mean, "maximum": error.maximum, "scale": error.scale}
    found: dict[str, list[float | None]] = {}
    for name, value in parts.items():
        values = value.double().cpu()
        if values.ndim > 1:
            values = values.amax(dim=1) if name == "maximum" else values.mean(dim=1)
        found[name] = [float(v) if np.isfinite(v) else None for v in values.tolist()]
    return found
