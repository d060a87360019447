"""Checkpoints read without torch: their settings, and relaxed weights as arrays.

`rl_core.checkpoint` writes checkpoints and builds agents from them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from rl_core.config import SACConfig
from rl_core.errors import ConfigError

Array = npt.NDArray[np.float64]

FORMAT = 1
STEP = re.compile(r"step-(\d+)")
_RELAXED_WEIGHTS = re.compile(r"(actor|critic)\.(?:(encoder|head)\.)?layers\.(.+)\.w")


def load_relaxed_weights(directory: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read the relaxed weights of the newest checkpoint without building its networks.

    Returns
    -------
    dict
        The checkpoint's settings, seeds, counters and names of the symmetry.
    dict
        Relaxed weights w by network and layer (``"actor lifting"``, of images ``"actor encoder_conv0"``), [K, L, G] or
        with rows [K, L, N, G]; K counts the seeds and, within each, the critics of an ensemble, which share an encoder.
        Empty for an agent that is not relaxed. Steerable convolutions have coefficients instead, which are left out.

    Raises
    ------
    ConfigError
        If there is no checkpoint, or it is damaged.
    """
    folder = latest_checkpoint(Path(directory))
    if folder is None:
        raise ConfigError(
            f"{directory}: no checkpoint found; train first, or give the directory of a training"
        )
    document, path = read_document(folder), folder / "agent.safetensors"
    found: dict[str, Array] = {}
    try:
        with safe_open(path, framework="np") as file:
            for key in file.keys():  # noqa: SIM118  # it is no mapping
                match = _RELAXED_WEIGHTS.fullmatch(key)
                if match:
                    network, part, layer = match.groups()
                    name = f"{network} {layer}" if part is None else f"{network} {part}_{layer}"
                    found[name] = file.get_tensor(key).astype(np.float64)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: the checkpoint is damaged: {' '.join(str(error).split())}") from None
    return document, found


def latest_checkpoint(directory: Path) -> Path | None:
    """Return the newest complete checkpoint under ``directory/checkpoints``, None where there is none."""
    found = [
        path
        for path in (directory / "checkpoints").glob("step-*")
        if STEP.fullmatch(path.name) and (path / "checkpoint.json").is_file()
    ]
    return max(found, key=lambda path: path.name, default=None)


def read_document(folder: Path) -> dict[str, Any]:
    """Read the ``checkpoint.json`` of a checkpoint's folder.

    Raises
    ------
    ConfigError
        If it is damaged or of a later format.
    """
    path = folder / "checkpoint.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise ConfigError(
            f"{path}: the checkpoint is damaged; remove its folder to use an older one"
        ) from None
    if document.get("format") != FORMAT:
        raise ConfigError(
            f"{path}: format {document.get('format')} is not known; this version reads {FORMAT}"
        )
    return {**document, "config": SACConfig.from_stored(document["config"]).to_dict()}
