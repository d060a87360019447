"""Relaxed group convolution against a plain one and escnn's, forward and backward, side by side in one run.

44 channels on 40 × 40 pixels, 3 × 3 kernels, batch 64. Before timing, the plain convolution and escnn's layer
are shown to compute the same thing as the relaxed one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import typer

from benchmarks.harness import Contender, RepeatsOption, SaveOption, alternate, finish
from equitrade.console import JsonOption

app = typer.Typer(help="Speed of the relaxed group convolution beside plain and escnn convolutions.")

CHANNELS, SIZE, BATCH, KERNEL = 44, 40, 64, 3


def contenders(batch: int = BATCH, size: int = SIZE) -> tuple[dict[str, Callable[[], Any]], float]:
    """A forward and backward pass of each contender by name, escnn's where it is installed.

    The second result is the largest difference between their outputs for equal effective kernels; the standard
    deviation of outputs is about 1.4.
    """
    import torch

    from rl_core.errors import ConfigError
    from rl_core.layers import GroupConv
    from rl_core.symmetry import dihedral, standard

    group = dihedral(1)
    fields = CHANNELS // group.order
    generators = [torch.Generator().manual_seed(0)]
    relaxed = GroupConv(
        standard(group), fields, fields, padding=1, banks=2, relaxed=True, generators=generators
    )
    x = torch.randn(batch, CHANNELS, size, size, generator=torch.Generator().manual_seed(1))
    plain = torch.nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=1)
    passes: dict[str, Callable[[], Any]] = {}
    difference = 0.0
    try:
        oracle, field = escnn_layer(fields)
    except ConfigError:
        pass
    else:
        from rl_core.layers.kernel_basis import load_escnn

        wrap = load_escnn().nn.GeometricTensor
        order = torch.arange(CHANNELS).view(fields, group.order).T.flatten()
        kernel = oracle.expand_parameters()[0].detach()[order][:, order]
        fit_kernel(relaxed, kernel)
        given = torch.empty_like(x)
        given[:, order] = x
        with torch.no_grad():
            theirs = oracle(wrap(given, field)).tensor[:, order]
            difference = float((relaxed(x[None])[0] - theirs).abs().max())
        passes["escnn"] = lambda: backward(oracle(wrap(given, field)).tensor, oracle)
    with torch.no_grad():
        weight, bias = relaxed.expand()
        plain.weight.copy_(weight[0])
        assert plain.bias is not None
        plain.bias.copy_(bias[0])
        difference = max(difference, float((relaxed(x[None])[0] - plain(x)).abs().max()))
    passes["plain"] = lambda: backward(plain(x), plain)
    # Without the axis of copies, so that the loss is taken of as many axes as the others'.
    passes["relaxed"] = lambda: backward(relaxed(x[None]).squeeze(0), relaxed)
    return passes, difference


def escnn_layer(fields: int) -> tuple[Any, Any]:
    """escnn's convolution between regular fields of the flip, and its field type."""
    from rl_core.layers.kernel_basis import load_escnn, plane_space

    escnn = load_escnn()
    space = plane_space(1, True)
    field = escnn.nn.FieldType(space, [space.regular_repr] * fields)
    return escnn.nn.R2Conv(field, field, kernel_size=KERNEL, padding=1), field


def fit_kernel(layer: Any, kernel: Any) -> None:
    """Set the first bank of a relaxed layer to the filters of this equivariant kernel, and the others to zero."""
    import torch

    n, offsets = layer.group.order, layer.offsets
    fields = layer.psi.shape[2]
    # The rows of the identity element are the filters: W(e, h) = ψ(h).
    blocks = kernel.view(n, fields, n, fields, offsets)
    filters = blocks[layer.group.identity].permute(0, 2, 1, 3).reshape(fields, fields, n * offsets)
    with torch.no_grad():
        layer.psi.zero_()
        layer.psi[0, 0] = filters


def backward(y: Any, layer: Any) -> Any:
    """A backward pass to the layer's parameters."""
    layer.zero_grad(set_to_none=True)
    y.square().mean().backward()
    return y


def run(repeats: int = 5, inner: int = 3) -> dict[str, Any]:
    """Time the contenders in turn, several passes at once; return median milliseconds and their ratios."""
    passes, difference = contenders()
    if difference > 1e-4:
        raise RuntimeError(f"the contenders differ by {difference:.2e}: nothing to compare")
    seconds = alternate({name: timed(one, inner) for name, one in passes.items()}, repeats)
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    ratios = {"relaxed_over_plain": medians["relaxed"] / medians["plain"]}
    if "escnn" in medians:
        ratios["escnn_over_relaxed"] = medians["escnn"] / medians["relaxed"]
    return {
        "what": "relaxed group convolution, forward and backward to the parameters",
        "channels": CHANNELS,
        "pixels": SIZE,
        "batch": BATCH,
        "kernel": KERNEL,
        "largest_difference": difference,
        "milliseconds": medians,
        "seconds": seconds,
        "ratios": ratios,
        "reach": {"relaxed_over_plain": "<= 1.15", "escnn_over_relaxed": ">= 1.5"},
    }


def timed(one: Callable[[], Any], inner: int) -> Contender:
    """A contender that answers the mean seconds of ``inner`` passes."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(inner):
            one()
        return (time.perf_counter() - start) / inner

    return measure


@app.command()
def layers(
    repeats: RepeatsOption = 5,
    as_json: JsonOption = False,
    save: SaveOption = True,
) -> None:
    """Time the relaxed group convolution beside a plain one and escnn's."""
    result = run(repeats)
    lines = [f"{name:8} {value:8.1f} ms" for name, value in result["milliseconds"].items()]
    lines += [
        f"{name:20} {value:6.2f}  (reach {result['reach'][name]})" for name, value in result["ratios"].items()
    ]
    finish("layers", result, lines, as_json=as_json, save=save)
