"""The picture of the theorem: what the bound says and what happens, over the strength of the breaking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rl_core.theory.bounds import Bound, TabularAction, TabularMDP, theorem_bound
from rl_core.theory.examples import corridor, line_distance, worst_case

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["bound_curve", "bound_figure"]

Array = npt.NDArray[np.float64]
Problem = tuple[TabularMDP, TabularAction]

GAP, VARIATION, DISTANCE = "#1f77b4", "#d62728", "#ff9f40"


def bound_curve(
    problem: Callable[[float], Problem], strengths: Sequence[float], distance: Array | None = None
) -> list[Bound]:
    """Both sides of the theorem at each strength of breaking.

    Parameters
    ----------
    problem
        Takes a strength to a problem and the group on it.
    strengths
        Where to look.
    distance
        Metric between states for Wasserstein-1; total variation where it is absent.
    """
    return [theorem_bound(*problem(strength), distance) for strength in strengths]


def bound_figure(places: int = 9, discount: float = 0.9, points: int = 21) -> Figure:
    """Gap and bounds over the strength of breaking: of the corridor under wind, and of the worst case.

    Parameters
    ----------
    places
        Length of the corridor.
    discount
        γ of both problems.
    points
        Strengths on each axis.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    winds = np.linspace(0, 0.3, points)
    falls = np.linspace(0, 1 - discount, points)
    windy = bound_curve(lambda wind: corridor(places, wind=wind, discount=discount), list(winds))
    near = bound_curve(
        lambda wind: corridor(places, wind=wind, discount=discount), list(winds), line_distance(places)
    )
    worst = bound_curve(lambda fall: worst_case(0.0, fall, discount), list(falls))

    figure = make_subplots(cols=2, subplot_titles=("A corridor under wind", "The worst case"))

    def draw(x: Array, y: Sequence[float], name: str, colour: str, column: int, dash: str = "solid") -> None:
        line = {"color": colour, "dash": dash, "width": 2.5}
        trace = Scatter(x=x, y=y, name=name, mode="lines", line=line, showlegend=column == 1)
        figure.add_trace(trace, row=1, col=column)

    gap, variation = "gap: max |Q*(gs, ga) − Q*(s, a)|", "bound α, total variation"
    draw(winds, [b.alpha for b in windy], variation, VARIATION, 1, "dash")
    draw(winds, [b.alpha for b in near], "bound α, Wasserstein-1", DISTANCE, 1, "dot")
    draw(winds, [b.gap for b in windy], gap, GAP, 1)
    draw(falls, [b.alpha for b in worst], variation, VARIATION, 2, "dash")
    draw(falls, [b.gap for b in worst], gap, GAP, 2)
    figure.update_xaxes(title_text="probability of wind = ε_P", col=1)
    figure.update_xaxes(title_text="ε_P", col=2)
    figure.update_yaxes(title_text="difference of optimal values", rangemode="tozero", col=1)
    figure.update_yaxes(rangemode="tozero", col=2)
    figure.update_layout(
        template="plotly_white",
        width=900,
        height=380,
        margin={"l": 60, "r": 20, "t": 50, "b": 90},
        legend={"orientation": "h", "y": -0.28, "x": 0.5, "xanchor": "center"},
    )
    return figure
