"""Layers on vectors and rows: equivariance, generality, forms that must agree, and named faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from rl_core.errors import SymmetryError
from rl_core.layers import (
    FourierLinear,
    Head,
    Layer,
    LayerNorm,
    Lifting,
    RegularLinear,
    ResidualPathway,
    SetAttention,
    SetHead,
    SetLifting,
    SetLinear,
    SetPool,
)
from rl_core.layers.fourier import apply_blocks
from rl_core.layers.products import row_product
from rl_core.symmetry import Group, cyclic, dihedral, product, regular, sign, standard, trivial

GROUPS = [
    cyclic(1),
    cyclic(3),
    dihedral(1),
    dihedral(2),
    dihedral(3),
    dihedral(4),
    product(cyclic(2), cyclic(3)),
]


def generators(copies: int = 2) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


def layers(group: Group, relaxed: bool, banks: int) -> list[Layer]:
    options = {"banks": banks, "relaxed": relaxed, "generators": generators()}
    rows = {**options, "rows": 3}
    source, target = regular(group) + trivial(group, 2), regular(group) + trivial(group)
    return [
        Lifting(source, 4, **options),
        RegularLinear(group, 3, 5, **options),
        Head(target, 4, **options),
        SetLifting(source, 4, **rows),
        SetLifting(source, 4, last_apart=True, **rows),
        SetLinear(group, 3, 4, **rows),
        SetHead(target, 4, **rows),
        SetPool(group, 4, **rows),
        SetAttention(group, 4, heads=2, **rows),
    ]


def randomise(layer: Layer, gains: bool) -> None:
    own = {id(p) for p in layer.relaxed_parameters()}
    for parameter in layer.parameters():
        if gains or id(parameter) not in own:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exact_layers_stay_equivariant(group: Group) -> None:
    for layer in layers(group, relaxed=False, banks=1):
        assert layer.check_equivariance() < 1e-6
        randomise(layer, gains=True)
        assert layer.check_equivariance() < 2e-6
        assert layer.relaxed_weights() == {}
        assert torch.equal(layer.penalty(), torch.zeros(2))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_relaxed_layers_start_equivariant_and_can_break(group: Group) -> None:
    for banks in {1, group.order}:
        for layer in layers(group, relaxed=True, banks=banks):
            assert layer.check_equivariance() < 1e-6
            # Large random weights amplify rounding, so that double precision tells the symmetry better.
            layer.double()
            randomise(layer, gains=False)
            assert layer.check_equivariance() < 1e-12
            assert float(layer.penalty().detach().abs().max()) < 1e-9
            for w in layer.relaxed_parameters():
                # Banks may differ from one another, as long as each is constant.
                w.data *= torch.arange(1.0, banks + 1).view(1, banks, *[1] * (w.ndim - 2))
            assert layer.check_equivariance() < 1e-12
            randomise(layer, gains=True)
            if group.order > 1:
                assert layer.check_equivariance() > 1e-3
                assert float(layer.penalty().detach().min()) > 0


def test_penalty_is_the_squared_deviation() -> None:
    layer = RegularLinear(dihedral(2), 2, 2, banks=2, relaxed=True, generators=generators(1))
    assert layer.w is not None
    layer.w.data = torch.tensor([[[1.0, 3.0, 1.0, 3.0], [5.0, 5.0, 5.0, 5.0]]])
    assert layer.penalty().tolist() == [4.0]


@pytest.mark.parametrize("group", [dihedral(1), dihedral(2)], ids=str)
def test_as_many_banks_as_elements_give_any_matrix(group: Group) -> None:
    n, fields = group.order, 2
    layer = RegularLinear(group, fields, fields, banks=n, relaxed=True, generators=generators(1)).double()
    assert layer.w is not None
    layer.w.data = torch.eye(n, dtype=torch.float64)[None]
    columns = []
    for i in range(layer.psi.numel()):
        layer.psi.data = torch.zeros(layer.psi.numel(), dtype=torch.float64).index_fill(
            0, torch.tensor(i), 1.0
        )
        layer.psi.data = layer.psi.data.view(1, n, n, fields, fields)
        columns.append(layer.expand()[0].detach().flatten())
    span = torch.stack(columns, dim=1)
    assert int(torch.linalg.matrix_rank(span)) == (n * fields) ** 2


@pytest.mark.parametrize("group", [dihedral(1), dihedral(2), product(dihedral(2), cyclic(2))], ids=str)
def test_fourier_form_is_the_plain_form(group: Group) -> None:
    layer = FourierLinear(group, 6, 5, generators=generators(2))
    layer.bias.data.normal_()
    x = layer.example(7, torch.Generator().manual_seed(3))
    n, batch = group.order, 7
    by_element = x.view(2, batch, n, 6).transpose(1, 2).reshape(2, n * batch, 6)
    blocks, bias = layer.expand_blocks()
    y = apply_blocks(layer.transform, blocks, bias, by_element)
    together = y.view(2, n, batch, 5).transpose(1, 2).reshape(2, batch, n * 5)
    torch.testing.assert_close(together, layer(x), atol=1e-6, rtol=1e-6)
    exact = RegularLinear(group, 6, 5, generators=generators(2))
    exact.psi.data, exact.bias.data = layer.filters().detach(), layer.bias.data
    torch.testing.assert_close(exact(x), layer(x), atol=1e-6, rtol=1e-6)


def test_fourier_form_needs_real_characters() -> None:
    with pytest.raises(SymmetryError, match="own inverse, not C4"):
        FourierLinear(cyclic(4), 2, 2, generators=generators())


@pytest.mark.parametrize("relaxed", [False, True])
def test_initial_variance_is_he(relaxed: bool) -> None:
    group, banks = dihedral(2), 2 if relaxed else 1
    options = {"banks": banks, "relaxed": relaxed, "generators": generators(1)}
    hidden = RegularLinear(group, 64, 64, **options).expand()[0]
    assert float(hidden.detach().var()) == pytest.approx(2 / hidden.shape[1], rel=0.1)
    lifting = Lifting(trivial(group, 100), 64, **options).expand()[0]
    assert float(lifting.detach().var()) == pytest.approx(2 / 100, rel=0.1)
    head = Head(trivial(group, 50), 64, **options).expand()[0]
    assert float(head.detach().var()) == pytest.approx(1 / (3 * head.shape[1]), rel=0.1)


def test_one_copy_alone_gets_its_numbers() -> None:
    for relaxed in (False, True):
        group = dihedral(3)
        both = RegularLinear(group, 3, 4, relaxed=relaxed, generators=generators(2))
        alone = RegularLinear(group, 3, 4, relaxed=relaxed, generators=generators(2)[1:])
        assert torch.equal(both.psi[1:], alone.psi)
        residual = ResidualPathway(both, generators=generators(2))
        assert torch.equal(
            residual.free_weight[1:], ResidualPathway(alone, generators=generators(2)[1:]).free_weight
        )


def test_residual_pathway_starts_a_thousandth_from_exact() -> None:
    layer = ResidualPathway(
        RegularLinear(dihedral(2), 8, 8, generators=generators()), generators=generators()
    )
    assert 1e-5 < layer.check_equivariance() < 1e-2
    assert layer.relaxed_weights()["free"].flatten().tolist() == pytest.approx([1e-3, 1e-3], rel=0.3)
    before = layer.penalty()
    layer.free_weight.data += 1.0
    exact_only = before.detach()
    assert bool((layer.penalty() - exact_only > 200).all())


def test_layer_norm_shares_its_affine_part() -> None:
    layer = LayerNorm(dihedral(3), 4, generators=generators())
    randomise(layer, gains=True)
    assert layer.check_equivariance() < 1e-6
    assert layer.scale.shape == (2, 1, 4)


def test_exact_set_layers_take_any_number_of_rows() -> None:
    layer = SetLinear(dihedral(1), 3, 4, generators=generators())
    for rows in (1, 4, 9):
        assert layer(torch.randn(2, rows, 5, 6)).shape == (2, rows, 5, 8)


def reference_set_layer(layer: SetLifting, x: Tensor) -> Tensor:
    """MATH by loops: y_i(g) = Σ_l w_l(i, g) (A_l ρ(g)⁻¹x_i + B_l ρ(g)⁻¹ mean) + b."""
    assert layer.w is not None
    copies, rows, batch, _ = x.shape
    n, fields = layer.group.order, layer.psi.shape[-1]
    y = torch.zeros(copies, rows, batch, n, fields, dtype=x.dtype)
    for k in range(copies):
        for i in range(rows):
            for g in range(n):
                back = int(layer.group.inverse[g])
                own, mean = layer.source.transform(back, x[k, i]), layer.source.transform(back, x[k].mean(0))
                for bank in range(layer.banks):
                    part = own @ layer.psi[k, bank] + mean @ layer.psi_mean[k, bank]
                    y[k, i, :, g] += layer.w[k, bank, i, g] * part
                y[k, i, :, g] += layer.bias[k, 0]
    return y.flatten(3)


def test_relaxed_set_layer_is_its_formula() -> None:
    group = dihedral(2)
    layer = SetLifting(
        standard(group) + sign(group), 3, rows=3, banks=2, relaxed=True, generators=generators()
    ).double()
    randomise(layer, gains=True)
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference_set_layer(layer, x))


def test_row_product_and_its_gradients() -> None:
    def plain(left: Tensor, right: Tensor, x: Tensor, w: Tensor, a: Tensor, v: Tensor) -> Tensor:
        wide = [t.repeat_interleave(2, dim=0) for t in (x, a)]
        return (left @ right).view(4, 3, 5, 2) + wide[0] @ w + wide[1] @ v

    torch.manual_seed(0)
    for rows in (3, 1):
        shapes = [(4, 3, 2), (4, 2, 10), (2, 3, 5, 6), (4, rows, 6, 2), (2, 3, 5, 1), (4, rows, 1, 2)]
        inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        torch.testing.assert_close(row_product(*inputs), plain(*inputs))
        seed = torch.randn(4, 3, 5, 2, dtype=torch.float64)
        ours = torch.autograd.grad(row_product(*inputs), inputs, seed)
        for one, other in zip(ours, torch.autograd.grad(plain(*inputs), inputs, seed), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: RegularLinear(dihedral(2), 2, 2, banks=5, relaxed=True, generators=generators()), "1 … 4"),
        (
            lambda: RegularLinear(dihedral(2), 2, 2, banks=2, generators=generators()),
            "exact layer has one bank",
        ),
        (lambda: SetLinear(dihedral(1), 2, 2, relaxed=True, generators=generators()), "set rows"),
        (lambda: SetLinear(dihedral(1), 2, 2, banks=2, generators=generators()), "one bank"),
        (lambda: SetAttention(dihedral(1), 3, heads=2, generators=generators()), "multiple of heads"),
        (
            lambda: RegularLinear(dihedral(1), 2, 2, generators=generators())(torch.zeros(2, 3, 5)),
            r"needs \[2, B, 4\], got \[2, 3, 5\]",
        ),
        (
            lambda: SetLinear(dihedral(1), 2, 2, rows=3, relaxed=True, generators=generators())(
                torch.zeros(2, 4, 3, 4)
            ),
            "3 rows",
        ),
    ],
)
def test_faults_are_named(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(SymmetryError, match=reason):
        make()
