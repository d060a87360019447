"""Parameters in one buffer, and Adam over it."""

from __future__ import annotations

import pytest
import torch

from rl_core.optimizer import FlatParameters


def test_flat_parameters_join_equal_rates_and_stay_what_they_were() -> None:
    a, b, c = (torch.nn.Parameter(torch.randn(size)) for size in (3, 20, 5))
    before = [p.detach().clone() for p in (a, b, c)]
    flat = FlatParameters([(0.1, [a]), (0.1, [b]), (0.2, [c])])
    assert [rate for rate, _ in flat.leaves] == [0.1, 0.2]
    for parameter, old in zip((a, b, c), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.data_ptr() % 64 == flat.values.data_ptr() % 64
    optimizer = flat.adam()
    (a.sum() + b.sum() - c.sum()).backward()
    optimizer.step()
    for parameter, old, change in zip((a, b, c), before, (-0.1, -0.1, 0.2), strict=True):
        torch.testing.assert_close(parameter.detach(), old + change)
    with pytest.raises(ValueError, match="side by side"):
        flat.span([a, c])


@pytest.mark.parametrize("sizes", [(48, 64), (3, 40)])
def test_adam_takes_the_steps_of_pytorch(sizes: tuple[int, int]) -> None:
    start = [torch.randn(size) for size in sizes]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    flat = FlatParameters([(0.1, [ours[0]]), (0.2, [ours[1]])])
    optimizer = flat.adam()
    groups = [{"params": [p], "lr": rate} for p, rate in zip(theirs, (0.1, 0.2), strict=True)]
    reference = torch.optim.Adam(groups, fused=True)
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.grad is not None
            other.grad = torch.randn(other.shape)
            mine.grad.copy_(other.grad)
        optimizer.step()
        reference.step()
    # What is left over after whole vectors of the processor is rounded apart from them.
    whole = all(size % 16 == 0 for size in sizes)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0 if whole else 1e-6, atol=0 if whole else 1e-7)
