"""Figures of symmetry: tests of markets, relaxed weights of layers, equivariance errors of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from trading_app.evaluation.labels import format_number
from trading_app.experiments.equivariance import RELAXATION, RelaxedWeights
from trading_app.report.figures.common import category_axis
from trading_app.report.theme import LIGHT, PERCENT, Theme, figure, numbers, translucent

# A permutation test has this level because its p-value counts the data itself.
LEVEL = 0.05
LAYERS = {"lifting": "First layer", "head": "Output", "pool": "Pool", "pooled": "After the pool"}
SYMMETRIES = {"mirror": "Mirror", "exchange": "Exchange of assets"}
SHARED = "all assets"
DEVIATION = "Largest difference of a relaxed weight from its bank's mean, in percent of the mean weight"
Array = NDArray[np.float64]


def market_distance(tests: Sequence[Mapping[str, Any]], symmetry: str, *, theme: Theme = LIGHT) -> go.Figure:
    """Distance of a market's return distribution from its transform by a symmetry, by year, beside that of chance.

    The tests are those of `trading_app.evaluation.market_tests`; the symmetry is ``mirror`` or ``exchange``.
    """
    own = [test for test in tests if test["symmetry"] == symmetry]
    rejected = [test["p_value"] <= LEVEL for test in own]
    expected = LEVEL * len(own)
    result = figure(
        f"{SYMMETRIES[symmetry]}: rejected in {sum(rejected)} of {len(own)} years",
        "Energy distance between the distribution of next-day returns and its transform. Dotted: expected by chance. "
        f"Filled: p ≤ {LEVEL:g}; chance alone fills about {format_number(expected, 'ratio', 1)}.",
        theme,
        height=300,
        xaxis={"tickformat": "d", "separatethousands": False},
        yaxis={"rangemode": "tozero", "tickformat": ".3~f"},
        bargap=0.35,
    )
    years = [test["period"] for test in own]
    colour = theme.agent
    result.add_bar(
        x=years,
        y=numbers([max(test["statistic"], 0.0) for test in own]),
        customdata=[[test["statistic"], test["p_value"]] for test in own],
        name="Measured",
        marker={
            "color": [translucent(colour, 0.6 if low else 0.12) for low in rejected],
            "line": {"color": colour, "width": 1.2},
        },
        hovertemplate="%{customdata[0]:.4f}, p = %{customdata[1]:.3f}",
        showlegend=False,
    )
    result.add_scatter(
        x=years,
        y=numbers([max(test["expected"], 0.0) for test in own]),
        name="By chance",
        mode="lines",
        line={"color": theme.ink, "width": 2, "dash": "dot"},
        hovertemplate="%{y:.4f}",
        showlegend=False,
    )
    return result


def market_table(tests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tests, a row each."""
    columns = ["period", "symmetry", "statistic", "expected", "p_value", "blocks"]
    return pd.DataFrame([{name: test[name] for name in columns} for test in tests], columns=columns)


def relaxed_heatmap(
    weights: RelaxedWeights,
    network: str,
    *,
    relative: bool = True,
    seed: int | None = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Relaxed weights of ``actor`` or ``critic``: layers and filter banks down, assets across, a row a group element.

    Relative ones are shown against the mean of their bank, so that 1 everywhere means equivariant. Without a seed the
    mean over seeds is shown.
    """
    rows, columns, z = _grid(weights, network, relative, seed)
    bound = max(0.05, float(np.nanmax(np.abs(z - 1)))) if z.size else 0.05
    which = "the mean over seeds" if seed is None else f"seed {seed}"
    what = "1 everywhere: the layer is equivariant" if relative else "all began at 1"
    result = figure(
        f"Relaxed weights of the {network}",
        f"{which[0].upper()}{which[1:]}; {what}. Orange is less, blue more. Rows: layer, "
        + ("filter bank, group element." if len(weights.elements) > 1 else "filter bank.")
        + (" Blank: there is no such weight." if np.isnan(z).any() else ""),
        theme,
        height=28 * len(rows) + 130,
        hovermode="closest",
        meta={
            "narrow": {
                "data.0.showscale": False,
                "layout.yaxis.tickvals": rows,
                "layout.yaxis.ticktext": [_short(row) for row in rows],
                "layout.yaxis.tickfont.size": 10,
                "layout.xaxis.tickfont.size": 9,
                "layout.xaxis.tickangle": -90,
            }
        },
    )
    result.add_heatmap(
        x=columns,
        y=rows,
        z=numbers(z),
        colorscale=[[0, theme.cell_loss], [0.5, theme.paper], [1, theme.cell_gain]],
        zmid=1,
        zmin=1 - bound,
        zmax=1 + bound,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".2~f", "nticks": 5},
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    )
    category_axis(result, dtick=1)
    slanted = -60 if len(columns) > 8 else 0
    result.update_xaxes(type="category", showline=False, ticks="", tickangle=slanted)
    return result


def weights_table(weights: RelaxedWeights, only: str | None = None) -> pd.DataFrame:
    """Return every relaxed weight (of one network, if given), one row each: as it is, and relative to its bank."""
    parts = []
    for layer in weights.layers:
        network, _, name = layer.partition(" ")
        if only not in (None, network):
            continue
        raw, tied = weights.raw(layer), weights.tied(layer)
        assets = weights.symbols if raw.shape[2] > 1 else (SHARED,)
        index = pd.MultiIndex.from_product(
            [weights.seeds, range(1, raw.shape[1] + 1), assets, weights.elements],
            names=["seed", "bank", "asset", "element"],
        )
        part = pd.DataFrame({"weight": raw.ravel(), "relative": tied.ravel()}, index=index).reset_index()
        part.insert(0, "layer", name)
        part.insert(0, "network", network)
        parts.append(part)
    columns = ["network", "layer", "seed", "bank", "asset", "element", "weight", "relative"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def layer_deviations(weights: RelaxedWeights, *, theme: Theme = LIGHT) -> go.Figure:
    """Deviation of each layer from equivariance: the mean over seeds as a bar, each seed as a dot."""
    found = {layer: 100 * weights.deviation(layer) for layer in weights.layers}
    result = figure(
        "Deviation of each layer from equivariance",
        f"{DEVIATION}; 0 is equivariant." + (" Dots are seeds." if len(weights.seeds) > 1 else ""),
        theme,
        height=34 * len(found) + 120,
        showlegend=False,
        hovermode="closest",
        xaxis={"ticksuffix": PERCENT, "showgrid": True, "rangemode": "tozero"},
        bargap=0.45,
    )
    for network, colour in (("actor", theme.agent), ("critic", theme.palette[0])):
        own = {layer_label(layer): values for layer, values in found.items() if layer.startswith(network)}
        _bars_with_dots(result, own, colour, theme)
    category_axis(result)
    return result


def layers_table(weights: RelaxedWeights) -> pd.DataFrame:
    """Deviation of each layer and seed, a row each."""
    rows = [
        (*layer.split(" ", 1), seed, value)
        for layer in weights.layers
        for seed, value in zip(weights.seeds, weights.deviation(layer), strict=True)
    ]
    return pd.DataFrame(rows, columns=["network", "layer", "seed", "deviation"])


def deviations_over_training(progress: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Deviation of each layer from equivariance while training (rows of ``progress.jsonl``): means over seeds."""
    table = deviations_table(progress)
    result = figure(
        "Deviation of the layers from equivariance while training",
        f"{DEVIATION}; means over seeds. Dashed: critic.",
        theme,
        xaxis={"title": {"text": "Environment steps"}},
        yaxis={"ticksuffix": PERCENT, "rangemode": "tozero"},
    )
    colours = (theme.agent, *theme.palette)
    for number, column in enumerate(_recorded(progress)):
        layer = column.removeprefix(f"eval_{RELAXATION}")
        means = table[table["layer"] == layer].groupby("step")["deviation"].mean()
        result.add_scatter(
            x=means.index.to_numpy(),
            y=numbers(100 * means),
            mode="lines",
            name=layer_label(layer),
            line={
                "width": 2,
                "color": colours[number % len(colours)],
                "dash": "dash" if layer.startswith("critic") else "solid",
            },
            hovertemplate="%{y:.1f}" + PERCENT,
        )
    return result


def deviations_table(progress: pd.DataFrame) -> pd.DataFrame:
    """Step, seed, layer and deviation, a row each; empty where training recorded none."""
    found = _recorded(progress)
    if not found:
        return pd.DataFrame(columns=["step", "seed", "layer", "deviation"])
    long = progress[["step", "seed", *found]].melt(["step", "seed"], var_name="layer", value_name="deviation")
    long["layer"] = long["layer"].str.removeprefix(f"eval_{RELAXATION}")
    return long.dropna(subset=["deviation"]).reset_index(drop=True)


def equivariance_errors(errors: Mapping[str, Any], *, theme: Theme = LIGHT) -> go.Figure:
    """Equivariance errors of policy and critic: mean error over its scale, one dot for each seed.

    The errors are those of `trading_app.experiments.equivariance`: element → part → ``mean`` and ``scale``.
    """
    table = errors_table(errors)
    result = figure(
        "Equivariance errors of policy and critic",
        "Mean difference between output of transformed state and transformed output, in percent of the policy's "
        "mean size and of the critic's spread. Dots are seeds.",
        theme,
        height=44 * 2 * len(errors) + 120,
        showlegend=False,
        hovermode="closest",
        xaxis={"ticksuffix": PERCENT, "showgrid": True, "rangemode": "tozero"},
        bargap=0.45,
    )
    for part, colour in (("policy", theme.agent), ("critic", theme.palette[0])):
        rows = {
            f"{part.capitalize()}, {SYMMETRIES.get(str(element), str(element)).lower()}": 100
            * own["relative"].to_numpy()
            for element, own in table[table["part"] == part].groupby("element", sort=False)
        }
        _bars_with_dots(result, rows, colour, theme)
    category_axis(result)
    return result


def errors_table(errors: Mapping[str, Any], seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Element, part, seed, mean error, largest error, scale and mean over scale, a row each."""
    rows = []
    for element, parts in errors.items():
        for part, found in parts.items():
            for number, (mean, top, scale) in enumerate(
                zip(found["mean"], found["maximum"], found["scale"], strict=True)
            ):
                seed = number if seeds is None else seeds[number]
                relative = np.nan if mean is None or not scale else mean / scale
                rows.append((element, part, seed, mean, top, scale, relative))
    columns = ["element", "part", "seed", "mean", "maximum", "scale", "relative"]
    return pd.DataFrame(rows, columns=columns)


def layer_label(layer: str) -> str:
    """``actor hidden1`` as people read it: ``Actor, hidden layer 1``."""
    network, _, name = layer.partition(" ")
    known = LAYERS.get(name)
    if known is None:
        stem = name.rstrip("0123456789")
        number = name[len(stem) :]
        known = f"{ {'hidden': 'hidden layer'}.get(stem, stem) } {number}".strip()
    return f"{network.capitalize()}, {known[:1].lower()}{known[1:]}"


def _recorded(progress: pd.DataFrame) -> list[str]:
    return [name for name in progress.columns if str(name).startswith(f"eval_{RELAXATION}")]


def _grid(
    weights: RelaxedWeights, network: str, relative: bool, seed: int | None
) -> tuple[list[str], list[str], Array]:
    """Rows, columns and values of a heat map; layers without rows have their values in a column of their own."""
    layers = [layer for layer in weights.layers if layer.startswith(f"{network} ")]
    alone = any(weights.layers[layer].shape[3] == 1 for layer in layers)
    columns = [*weights.symbols, *([SHARED] if alone else [])]
    rows, lines = [], []
    for layer in layers:
        values = weights.tied(layer) if relative else weights.raw(layer)
        chosen = values.mean(axis=0) if seed is None else values[weights.seeds.index(seed)]
        for bank, row in enumerate(chosen, start=1):
            for element, cells in zip(weights.elements, row.T, strict=True):
                line = np.full(len(columns), np.nan)
                line[slice(-1, None) if len(cells) == 1 else slice(len(cells))] = cells
                rows.append(_row_label(layer, bank, element, len(chosen), len(weights.elements)))
                lines.append(line)
    return rows, columns, np.array(lines).reshape(len(rows), len(columns))


def _row_label(layer: str, bank: int, element: str, banks: int, elements: int) -> str:
    text = layer_label(layer).partition(", ")[2]
    text = text[:1].upper() + text[1:]
    if banks > 1:
        text += f" · {bank}"
    return f"{text} · {element}" if elements > 1 else text


def _short(row: str) -> str:
    """Return a row's label for a narrow screen, without the identity."""
    text = row.replace(" · identity", "").replace(" · mirror", " −").replace("Hidden layer ", "Hidden ")
    return text.replace("First layer", "First").replace("After the pool", "Pooled").replace(" · ", "·")


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _bars_with_dots(result: go.Figure, rows: Mapping[str, Array], colour: str, theme: Theme) -> None:
    """A bar a row for the mean over seeds, and a dot a seed on it."""
    names = list(rows)
    result.add_bar(
        x=numbers([_mean(values) for values in rows.values()]),
        y=names,
        orientation="h",
        marker={"color": translucent(colour, 0.45)},
        hovertemplate="%{y}: %{x:.1f}" + PERCENT + "<extra>mean</extra>",
    )
    dots = [(name, value) for name, values in rows.items() for value in values]
    if len(dots) > len(names):
        result.add_scatter(
            x=numbers([value for _, value in dots]),
            y=[name for name, _ in dots],
            mode="markers",
            marker={"size": 6, "color": colour, "line": {"width": 1, "color": theme.paper}},
            hovertemplate="%{y}: %{x:.1f}" + PERCENT + "<extra>seed</extra>",
        )
