from __future__ import annotations

import torch

from rl_core.random import Noise, generators, stream_seed


def test_seed_alone_draws_what_it_draws_in_a_batch() -> None:
    batch = Noise((3, 7, 11))
    alone = Noise((7,))
    for step in (0, 1, 5000, 70_000):
        assert torch.equal(batch.normal("a", step, (4, 2))[1], alone.normal("a", step, (4, 2))[0])
        assert torch.equal(batch.uniform("a", step, (3,))[1], alone.uniform("a", step, (3,))[0])
        assert torch.equal(batch.integers("a", step, (3,), 10)[1], alone.integers("a", step, (3,), 10)[0])


def test_steps_can_be_asked_in_any_order() -> None:
    shape = (100, 20)  # 32 steps a block
    forward = Noise((1, 2))
    expected = {step: forward.normal("x", step, shape).clone() for step in range(100)}
    backward = Noise((1, 2))
    for step in reversed(range(100)):
        assert torch.equal(backward.normal("x", step, shape), expected[step])


def test_streams_steps_and_seeds_differ() -> None:
    noise = Noise((1, 2))
    first = noise.normal("x", 0, (50,))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, noise.normal("y", 0, (50,)))
    assert not torch.equal(first, noise.normal("x", 1, (50,)))


def test_numbers_follow_their_laws() -> None:
    noise = Noise((5,))
    normal = noise.normal("n", 0, (100_000,))
    uniform = noise.uniform("u", 0, (100_000,))
    integers = noise.integers("i", 0, (100_000,), 7)
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.std()) - 1) < 0.02
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.01
    counts = torch.bincount(integers.flatten(), minlength=7)
    assert counts.shape == (7,)
    assert int(counts.min()) > 13_500


def test_a_step_larger_than_a_block_is_drawn_whole() -> None:
    assert Noise((0,)).normal("big", 3, (300, 300)).shape == (1, 300, 300)


def test_generators_are_seeded_by_seed_and_stream() -> None:
    one, two = generators((4, 5), "actor")
    assert torch.equal(torch.randn(5, generator=two), torch.randn(5, generator=generators((5,), "actor")[0]))
    assert not torch.equal(
        torch.randn(5, generator=one), torch.randn(5, generator=generators((4,), "critic")[0])
    )
    assert 0 <= stream_seed(1, "a") < 1 << 63
