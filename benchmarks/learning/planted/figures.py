"""Table and figures of the planted benchmark, from its stored cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.planted.cells import STRENGTH_UPDATES
from rl_core.statistics import Band, Interval, bootstrap_band, bootstrap_interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Record = dict[str, Any]
Array = npt.NDArray[np.float64]

RESULTS = Path(__file__).resolve().parents[2] / "results" / "planted"
COLOURS = {
    "relaxed": "#d62728",
    "exact": "#1f77b4",
    "dense": "#7f7f7f",
    "rpp": "#9467bd",
    "augmented": "#2ca02c",
}
MARKETS = {(0.0, 0.0): "Symmetric market", (1.0, 1.0): "Broken market"}
TARGET = {(0.0, 0.0): 0.97, (1.0, 1.0): 0.95}
# A diverged or hopeless run counts as a loss of this many optima, so that it can be averaged.
FLOOR = -10.0


def load(directory: Path = RESULTS) -> dict[str, Record]:
    """Stored cells by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))
    }


def main_cell(records: dict[str, Record], agent: str, market: tuple[float, float]) -> Record | None:
    """The default cell of an agent on a market, from whichever group holds it."""
    exchange, mirror = market
    for group in ("main", "strengths"):
        record = records.get(f"{group}-{agent}-exchange{exchange:g}-mirror{mirror:g}-default")
        if record is not None:
            return record
    return None


def floored(shares: npt.ArrayLike, floor: float = FLOOR) -> Array:
    """Shares, those that are missing or below the floor as the floor."""
    known: Array = np.nan_to_num(np.array(shares, dtype=np.float64), nan=floor, neginf=floor)
    return np.maximum(known, floor)


def share_interval(shares: npt.ArrayLike, floor: float = FLOOR) -> Interval:
    """Interquartile mean over seeds and its 95 % interval."""
    return bootstrap_interval(floored(shares, floor), generator=np.random.default_rng(0))


def band(record: Record) -> Band:
    """Interquartile mean of the share and its 95 % interval at each evaluation."""
    return bootstrap_band(floored(record["share"]).T, generator=np.random.default_rng(0))


def share_at(record: Record, updates: int) -> Interval | None:
    """Share of the optimum after this many updates (the nearest evaluation), None where the run is shorter."""
    at = np.array(record["updates"])
    if updates > at[-1] + 50:
        return None
    return share_interval(record["share"][int(np.abs(at - updates).argmin())])


def under_noise(record: Record) -> dict[str, Interval]:
    """Share of the optimum at the end, by the noise on observations when acting."""
    return {level: share_interval(values) for level, values in record["noise"].items()}


def first_reaching(record: Record, share: float) -> int | None:
    """Updates after which the interquartile mean first is at least this share, None where it never is."""
    reached = np.flatnonzero(band(record).estimate >= share)
    return int(record["updates"][reached[0]]) if len(reached) else None


def table(
    records: dict[str, Record], checkpoints: tuple[int, ...] = (1000, 1500, 2000, 2500, 3000)
) -> list[Record]:
    """A row for each stored cell: shares with intervals at checkpoints and the updates to 95 % and 97 %."""
    rows = []
    for name, record in records.items():
        shares = {str(k): share_at(record, k) for k in checkpoints}
        rows.append(
            {
                "cell": name,
                "seeds": len(record["seeds"]),
                **{k: None if v is None else (v.estimate, v.low, v.high) for k, v in shares.items()},
                "final": band(record).estimate[-1].item(),
                "to 95 %": first_reaching(record, 0.95),
                "to 97 %": first_reaching(record, 0.97),
            }
        )
    return rows


def learning_curves(records: dict[str, Record]) -> Figure:
    """Share of the optimum against updates with 95 % intervals, on the symmetric and the broken market."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=2, subplot_titles=list(MARKETS.values()), shared_yaxes=True)
    for column, market in enumerate(MARKETS, start=1):
        for agent, colour in COLOURS.items():
            record = main_cell(records, agent, market)
            if record is None:
                continue
            curve, x = band(record), record["updates"]
            edge = {"x": x, "mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
            figure.add_trace(Scatter(y=curve.low, **edge), row=1, col=column)
            shade = {"fill": "tonexty", "fillcolor": _faint(colour)}
            figure.add_trace(Scatter(y=curve.high, **edge, **shade), row=1, col=column)
            line = Scatter(
                x=x,
                y=curve.estimate,
                name=agent,
                line={"color": colour, "width": 2.5},
                showlegend=column == 1,
            )
            figure.add_trace(line, row=1, col=column)
        figure.add_hline(y=TARGET[market], line={"color": "#bbbbbb", "dash": "dot"}, row=1, col=column)
    # Agents differ by an order of magnitude in what they need.
    ticks = [250, 500, 1000, 2000, 5000, 10_000]
    figure.update_xaxes(
        title_text="gradient updates", type="log", range=[np.log10(200), np.log10(10_500)], tickvals=ticks
    )
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text="share of the optimum", col=1)
    return _style(figure)


def relaxed_weights_figure(records: dict[str, Record]) -> Figure:
    """Relative spread of the relaxed weights of each layer, on the symmetric and the broken market."""
    from plotly.graph_objects import Box
    from plotly.subplots import make_subplots

    sides = {"rows": "Over assets (exchange)", "group": "Over long and short (mirror)"}
    figure = make_subplots(cols=2, subplot_titles=list(sides.values()), shared_yaxes=True)
    for column, over in enumerate(sides, start=1):
        for market, colour in zip(MARKETS, ("#1f77b4", "#d62728"), strict=True):
            record = main_cell(records, "relaxed", market)
            if record is None:
                continue
            x: list[str] = []
            y: list[float] = []
            for network, layers in record["relaxation"].items():
                for layer, values in layers[over].items():
                    x += [f"{network} {layer.removesuffix('.w')}"] * len(values)
                    y += values
            box = Box(x=x, y=y, name=MARKETS[market], marker_color=colour, showlegend=column == 1)
            figure.add_trace(box, row=1, col=column)
    figure.update_layout(boxmode="group")
    figure.update_yaxes(title_text="max |w − mean w| / mean |w|", rangemode="tozero", col=1)
    return _style(figure)


def strengths_figure(records: dict[str, Record]) -> Figure:
    """Final share of the optimum over the strength of breaking of each symmetry alone."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=2, subplot_titles=["Exchange broken", "Mirror broken"], shared_yaxes=True)
    for column in (1, 2):
        for agent, colour in COLOURS.items():
            points = []
            for strength in (0.0, 0.25, 0.5, 1.0):
                market = (strength, 0.0) if column == 1 else (0.0, strength)
                record = main_cell(records, agent, market)
                found = None if record is None else share_at(record, STRENGTH_UPDATES)
                if found is not None:
                    points.append((strength, found))
            if not points:
                continue
            y = [p.estimate for _, p in points]
            bars = {
                "type": "data",
                "symmetric": False,
                "array": [p.high - p.estimate for _, p in points],
                "arrayminus": [p.estimate - p.low for _, p in points],
            }
            x = [strength for strength, _ in points]
            trace = Scatter(
                x=x, y=y, error_y=bars, name=agent, line={"color": colour}, showlegend=column == 1
            )
            figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(title_text="strength of breaking")
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text=f"share of the optimum after {STRENGTH_UPDATES:,} updates", col=1)
    return _style(figure)


def stored_curves() -> Figure | None:
    """`learning_curves` of the committed results, None where there are none yet."""
    records = load()
    return learning_curves(records) if records else None


def stored_relaxed_weights() -> Figure | None:
    """`relaxed_weights_figure` of the committed results, None where there are none yet."""
    records = load()
    return relaxed_weights_figure(records) if main_cell(records, "relaxed", (1.0, 1.0)) else None


def stored_strengths() -> Figure | None:
    """`strengths_figure` of the committed results, None where there are none yet."""
    records = load()
    return strengths_figure(records) if any(name.startswith("strengths") for name in records) else None


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def _style(figure: Figure) -> Figure:
    figure.update_layout(
        template="plotly_white",
        width=900,
        height=420,
        margin={"l": 60, "r": 20, "t": 50, "b": 90},
        legend={"orientation": "h", "y": -0.25, "x": 0.5, "xanchor": "center"},
    )
    return figure
