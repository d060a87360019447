"""Checkpoints as safetensors and JSON, each written whole or not at all; never pickle.

``DIRECTORY/checkpoints/step-00000500/`` holds ``agent.safetensors`` (networks, temperature, statistics of inputs),
``symmetry.safetensors``, ``training.safetensors`` (optimiser and environment) and ``checkpoint.json`` (settings, seeds,
counters). ``DIRECTORY/checkpoints/replay/`` holds the replay in pieces, one for each checkpoint: only new rows are
written. Random numbers have no state (`rl_core.random`), so the counters are all that resuming needs besides.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from equitrade.atomic import atomic_directory, atomic_path, remove_leftovers
from rl_core.checkpoint_reader import FORMAT, STEP, read_document
from rl_core.checkpoint_reader import latest_checkpoint as latest_checkpoint
from rl_core.errors import ConfigError
from rl_core.symmetry import Group, Representation, Symmetry

if TYPE_CHECKING:
    from rl_core.env import BatchedEnv
    from rl_core.experience.replay import Replay
    from rl_core.sac import SAC

__all__ = [
    "exclusive",
    "latest_checkpoint",
    "load_parameters",
    "load_symmetry",
    "load_training",
    "open_checkpoint",
    "save_agent",
    "save_training",
]

KEEP = 2
_PIECE = re.compile(r"rows-(\d+)-(\d+)\.safetensors")


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep other processes from training in a directory; remove what killed ones left half-written there.

    Raises
    ------
    ConfigError
        If another process is training there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".training.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"{directory}: another process is training there; wait for it or choose another directory"
        ) from None
    try:
        for folder in (directory / "checkpoints", directory / "checkpoints" / "replay"):
            remove_leftovers(folder, older_than=math.inf)
        yield
    finally:
        lock.release()


def save_agent(agent: SAC, directory: Path) -> Path:
    """Write what inference needs to ``directory/checkpoints/step-…``; return that folder."""
    return _write(agent, directory, agent.updates, {}, {})


def open_checkpoint(directory: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return the newest checkpoint's folder and its JSON document.

    Parameters
    ----------
    directory
        Directory of a training, or the folder of one checkpoint.

    Raises
    ------
    ConfigError
        If there is no checkpoint, or it is damaged or of a later format; the message names the file.
    """
    folder = Path(directory)
    if not (folder / "checkpoint.json").is_file():
        found = latest_checkpoint(folder)
        if found is None:
            raise ConfigError(
                f"{folder}: no checkpoint found; train first, or give the directory of a training"
            )
        folder = found
    return folder, read_document(folder)


def save_training(
    directory: Path, step: int, agent: SAC, env: BatchedEnv, replay: Replay, extra: Mapping[str, Any]
) -> Path:
    """Write everything that the future of a training depends on; keep the newest two checkpoints.

    Parameters
    ----------
    directory
        The run's.
    step
        Steps taken.
    agent, env, replay
        Their states.
    extra
        JSON values to keep beside them.
    """
    _save_rows(directory, replay)
    tensors = {f"env.{name}": value for name, value in env.state_dict().items()}
    tensors |= {f"replay.{name}": value for name, value in replay.state_dict().items()}
    tensors |= {f"relaxation.{name}": value for name, value in agent.relaxation.state_dict().items()}
    for index, (_, leaf) in enumerate(agent.flat.leaves):
        state = agent.optimizer.state.get(leaf, {})
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    folder = _write(agent, directory, step, tensors, {"replay_steps": replay.steps, **extra})
    for old in sorted(path for path in folder.parent.glob("step-*") if STEP.fullmatch(path.name))[:-KEEP]:
        shutil.rmtree(old)
    _drop_rows(directory, replay)
    return folder


def load_training(folder: Path, agent: SAC, env: BatchedEnv, replay: Replay) -> dict[str, Any]:
    """Restore what `save_training` wrote; return its JSON document.

    Raises
    ------
    ConfigError
        If the checkpoint belongs to other settings, seeds or another symmetry, or is damaged.
    """
    document = read_document(folder)
    if document["config"] != agent.config.to_dict():
        changed = [k for k, v in agent.config.to_dict().items() if document["config"].get(k) != v]
        raise ConfigError(
            f"{folder}: the checkpoint was made with other settings ({', '.join(changed)}); "
            "resume with those settings or choose another directory"
        )
    if document["seeds"] != list(agent.seeds):
        raise ConfigError(
            f"{folder}: the checkpoint was made with seeds {document['seeds']}, not {list(agent.seeds)}; "
            "resume with those seeds or choose another directory"
        )
    _check_symmetry(agent.symmetry, folder, document)
    load_parameters(agent, folder, document)
    tensors = _tensors(folder / "training.safetensors")
    env.load_state_dict(_part(tensors, "env."))
    counters = _part(tensors, "replay.")
    replay.load_state_dict(counters)
    for first, stop, path in _pieces(folder.parent.parent):
        if stop <= replay.steps and stop > replay.oldest:
            replay.load_rows(first, stop, _tensors(path))
    # Again: rows older than the ring lie where the latest observation does.
    replay.load_state_dict(counters)
    agent.relaxation.load_state_dict(_part(tensors, "relaxation."))
    for index, (_, leaf) in enumerate(agent.flat.leaves):
        state = agent.optimizer.state[leaf]
        for name, value in _part(tensors, f"adam.{index}.").items():
            # In place: a CUDA graph reads these tensors at their addresses.
            state[name].copy_(value)
    return document


def _write(
    agent: SAC, directory: Path, step: int, tensors: Mapping[str, Tensor], extra: Mapping[str, Any]
) -> Path:
    target = directory / "checkpoints" / f"step-{step:010d}"
    document = {
        "format": FORMAT,
        "step": step,
        "updates": agent.updates,
        "acts": agent.acts,
        "seeds": list(agent.seeds),
        "config": agent.config.to_dict(),
        "symmetry": _symmetry_names(agent.symmetry),
        **extra,
    }
    with atomic_directory(target, replace=True) as folder:
        _save(_parameters(agent), folder / "agent.safetensors")
        _save(_symmetry_tensors(agent.symmetry), folder / "symmetry.safetensors")
        if tensors:
            _save(tensors, folder / "training.safetensors")
        (folder / "checkpoint.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    return target


def _parameters(agent: SAC) -> dict[str, Tensor]:
    named = {
        f"{name}.{key}": parameter.detach()
        for name, network in agent.networks.items()
        for key, parameter in network.named_parameters()
    }
    statistics = {} if agent.normalizer is None else agent.normalizer.state
    named |= {f"normalizer.{key}": value for key, value in statistics.items()}
    return {**named, "log_alpha": agent.log_alpha.detach()}


@torch.no_grad()
def load_parameters(agent: SAC, folder: Path, document: Mapping[str, Any]) -> None:
    """Put a checkpoint's parameters and counters into an agent of the same networks."""
    saved = _tensors(folder / "agent.safetensors")
    own = _parameters(agent)
    if saved.keys() != own.keys():
        odd = sorted(saved.keys() ^ own.keys())[0]
        raise ConfigError(
            f"{folder / 'agent.safetensors'}: parameter {odd!r} does not fit this version's networks"
        )
    for name, parameter in own.items():
        if saved[name].shape != parameter.shape:
            raise ConfigError(
                f"{folder / 'agent.safetensors'}: {name} has shape {list(saved[name].shape)}, "
                f"not {list(parameter.shape)}"
            )
        parameter.copy_(saved[name])
    agent.updates, agent.acts = int(document["updates"]), int(document["acts"])
    agent.refresh()


def _symmetry_tensors(symmetry: Symmetry) -> dict[str, Tensor]:
    parts = {
        "table": symmetry.group.table,
        "observation": symmetry.observation.matrices,
        "action": symmetry.action.matrices,
    }
    if symmetry.plane is not None:
        parts["plane"] = symmetry.plane.matrices
    return parts


def _check_symmetry(symmetry: Symmetry, folder: Path, document: Mapping[str, Any]) -> None:
    """Refuse a checkpoint made with another symmetry, which may have the same sizes."""
    stored, own = _tensors(folder / "symmetry.safetensors"), _symmetry_tensors(symmetry)
    different = [
        name
        for name in ("table", "observation", "action", "plane")
        if (name in stored) != (name in own)
        or (name in own and not _same(stored[name], own[name].detach().cpu()))
    ]
    for name in ("rows", "sectors"):
        if document["symmetry"].get(name) != _symmetry_names(symmetry).get(name):
            different.append(name)
    if different:
        raise ConfigError(
            f"{folder}: it was made with another symmetry: {', '.join(different)} differ; resume with the environment "
            "that it was trained in"
        )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=0.0, atol=1e-9)


def _symmetry_names(symmetry: Symmetry) -> dict[str, Any]:
    return {
        "group": symmetry.group.name,
        "elements": list(symmetry.group.names),
        "observation": symmetry.observation.name,
        "action": symmetry.action.name,
        "rows": symmetry.rows,
        **({} if symmetry.sectors is None else {"sectors": list(symmetry.sectors)}),
    }


def load_symmetry(folder: Path, document: Mapping[str, Any]) -> Symmetry:
    """Return the symmetry that a checkpoint was made with."""
    parts, names = _tensors(folder / "symmetry.safetensors"), document["symmetry"]
    group = Group(parts["table"], names["group"], names=names["elements"])
    plane = Representation(group, parts["plane"], "plane") if "plane" in parts else None
    return Symmetry(
        group,
        Representation(group, parts["observation"], names["observation"]),
        Representation(group, parts["action"], names["action"]),
        names["rows"],
        plane,
        tuple(names["sectors"]) if "sectors" in names else None,
    )


def _save_rows(directory: Path, replay: Replay) -> None:
    """Write the rows that no piece on disk holds yet."""
    folder = directory / "checkpoints" / "replay"
    saved = max((stop for _, stop, _ in _pieces(directory)), default=0)
    first = max(saved, replay.oldest)
    if first == replay.steps:
        return
    with atomic_path(folder / f"rows-{first:012d}-{replay.steps:012d}.safetensors") as path:
        _save(replay.rows_between(first, replay.steps), path)


def _drop_rows(directory: Path, replay: Replay) -> None:
    """Remove pieces that no stored checkpoint needs: the ring of the older one begins a checkpoint earlier."""
    kept = sorted(path for path in (directory / "checkpoints").glob("step-*") if STEP.fullmatch(path.name))
    steps = [int(read_document(path)["replay_steps"]) for path in kept]
    oldest = max(0, min(steps) - replay.capacity)
    for _, stop, path in _pieces(directory):
        if stop <= oldest:
            path.unlink()


def forget_rows(directory: Path, steps: int) -> None:
    """Remove pieces of the replay that reach beyond a checkpoint, left by a training that was killed."""
    for _, stop, path in _pieces(directory):
        if stop > steps:
            path.unlink()


def _pieces(directory: Path) -> list[tuple[int, int, Path]]:
    """Pieces of the replay in order: first row, row after the last, file."""
    found = []
    for path in (directory / "checkpoints" / "replay").glob("rows-*.safetensors"):
        match = _PIECE.fullmatch(path.name)
        if match:
            found.append((int(match[1]), int(match[2]), path))
    return sorted(found)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Views share memory, which safetensors refuses.
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, path)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: the checkpoint is damaged: {' '.join(str(error).split())}") from None


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
