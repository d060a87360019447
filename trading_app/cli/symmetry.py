"""Measure the distance of a market from its symmetries, or check a declared symmetry of an environment."""

from __future__ import annotations

from typing import Annotated

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, say, working
from rl_core.gymnasium.cli import check
from trading_app.cli.common import EndOption, StartOption, home_directory

app = typer.Typer(help=__doc__)
app.command("check")(check)


@app.callback(invoke_without_command=True)
def symmetry(
    context: typer.Context,
    data: Annotated[str, typer.Option("--data", help="Bundled dataset, snapshot or file.")] = "sp500-20",
    start: StartOption = None,
    end: EndOption = None,
    permutations: Annotated[
        int, typer.Option("--permutations", min=19, help="Block permutations of each test.")
    ] = 199,
    save: Annotated[
        bool, typer.Option("--save", help="Store the result in the home directory, for the dashboard.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the energy distance between the distribution of next-day returns given features and its transform, by year.

    The p-value is that of a block-permutation test: a small one means that the symmetry did not hold in that year.
    """
    if context.invoked_subcommand is not None:
        return
    from data.loading import load_prices
    from trading_app.evaluation.market_tests import market_document, save_tests

    state = home_directory(home)
    prices = load_prices(data, home=state, start=start, end=end)
    with working(f"testing the symmetries of {prices.name}, year by year"):
        document = market_document(prices, permutations=permutations)
    tests = document["tests"]
    if save:
        say(f"saved: {save_tests(state, document)}")
    if as_json:
        print_json({"data": prices.name, "hash": prices.hash, "tests": tests})
        return
    rows = [
        [
            str(t["period"]),
            t["symmetry"],
            f"{t['statistic']:.4f}",
            f"{t['expected']:.4f}",
            f"{t['p_value']:.3f}",
            "rejected" if t["p_value"] <= 0.05 else "",
        ]
        for t in tests
    ]
    print_table(
        f"Distance of {prices.name} from symmetries",
        ["year", "symmetry", "distance", "by chance", "p", ""],
        rows,
    )
