"""Agents on other rows (assets) than those that they were trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.networks.base import Network

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["agent_on_rows"]

Places = Sequence[int | None]


@torch.no_grad()
def agent_on_rows(
    agent: SAC,
    rows: Places,
    sectors: tuple[int, ...] | None = None,
    known_sectors: Places = (),
) -> SAC:
    """Return an agent for other rows, with the weights of one that is trained.

    Weights that all rows share stay as they are. A row that was trained has its relaxed weights; one that was not has
    the mean of those of the trained rows, which is what an exact agent has. An exact agent is the same on any rows.

    Parameters
    ----------
    agent
        The trained agent, with group layers on rows.
    rows
        For each new row its place among the trained rows, or None.
    sectors
        The number of each new row's sector, where the agent's symmetry has sectors.
    known_sectors
        For each new sector its number among the trained sectors, or None.

    Raises
    ------
    ConfigError
        If the agent's networks are tied to their rows, or there are too few rows for the filter banks of its layers.
    """
    if agent.symmetry.rows is None or not agent.kind.group_layers:
        raise ConfigError(
            f"the {agent.kind.name} agent has weights of its own for each asset and cannot decide on others; "
            "train an exact or relaxed agent"
        )
    symmetry = replace(agent.symmetry, rows=len(rows), sectors=sectors)
    other = type(agent)(symmetry, agent.config, agent.seeds)
    for name, network in agent.networks.items():
        own = dict(other.networks[name].named_parameters())
        axes = dict(_row_axes(network))
        for key, trained in network.named_parameters():
            value: Tensor = trained
            if key in axes:
                axis, of_sectors = axes[key]
                value = _placed(trained, axis, known_sectors if of_sectors else rows)
            if own[key].shape != value.shape:
                raise ConfigError(
                    f"{len(rows)} assets are too few for the filter banks of this agent, which was trained on "
                    f"{agent.symmetry.rows}; give more assets, or train with fewer banks"
                )
            own[key].copy_(value)
    other.log_alpha.copy_(agent.log_alpha)
    if agent.normalizer is not None and other.normalizer is not None:
        for key, statistic in agent.normalizer.state.items():
            other.normalizer.state[key].copy_(statistic)
    other.updates, other.acts = agent.updates, agent.acts
    other.refresh()
    return other


def _row_axes(network: Network) -> Iterator[tuple[str, tuple[int, bool]]]:
    """Yield each parameter with numbers of rows: its name, the axis, and whether these are numbers of sectors."""
    for prefix, module in network.named_modules():
        for name, axis in getattr(module, "row_axes", {}).items():
            if getattr(module, name) is not None:
                of_sectors = getattr(module, "owner", None) is not None
                yield f"{prefix}.{name}" if prefix else name, (axis, of_sectors)


def _placed(values: Tensor, axis: int, places: Places) -> Tensor:
    """Values of the rows at these places of an axis, their mean for None."""
    extended = torch.cat([values, values.mean(dim=axis, keepdim=True)], dim=axis)
    index = [values.shape[axis] if place is None else place for place in places]
    return extended.index_select(axis, torch.tensor(index, device=values.device))
