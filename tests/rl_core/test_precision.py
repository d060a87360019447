from __future__ import annotations

import pytest
import torch

from benchmarks.learning.precision import Regulator, compare, cost, curves
from rl_core.config import MatmulDtype
from rl_core.precision import cast_to, product_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("matmul_dtype", "device", "within", "cast"),
    [
        ("float32", CPU, "highest", torch.float32),
        ("tf32", CPU, "highest", torch.float32),
        ("bfloat16", CPU, "medium", torch.float32),
        ("tf32", CUDA, "high", torch.float32),
        ("bfloat16", CUDA, "highest", torch.bfloat16),
    ],
)
def test_precision_holds_within_the_block_alone(
    matmul_dtype: MatmulDtype, device: torch.device, within: str, cast: torch.dtype
) -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    with product_precision(matmul_dtype, device):
        assert torch.get_float32_matmul_precision() == within
    with pytest.raises(RuntimeError, match="inside"), product_precision(matmul_dtype, device):
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "highest"
    assert cast_to(matmul_dtype, device) == cast


def test_curves_compare_equal_precisions_as_equal() -> None:
    run = curves("float32", (0, 1), 60, 20)
    assert run["stopped"] is None
    assert run["updates"] == sorted(set(run["updates"]))
    assert min(run["share"][-1]) > max(run["share"][0])
    result = compare({"float32": run, "bfloat16": run})
    assert result["inside"] == result["evaluations"] == len(run["updates"])
    assert result["differences"] == {"at the end": [0, 0, 0], "mean of the curve": [0, 0, 0]}
    worse = {**run, "share": [[-100.0, -100.0] for _ in run["share"]]}
    result = compare({"float32": run, "bfloat16": worse})
    assert result["inside"] == 0
    assert all(high < 0 for _, _, high in result["differences"].values())


def test_regulator_is_symmetric_but_for_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    env, mirrored = Regulator((3, 4), 5), Regulator((3, 4), 5)
    x, _ = env.reset(), mirrored.reset()
    sign = env.symmetry.transform_observation(torch.tensor(1), torch.ones(1, 1, x.shape[-1]))[0, 0]
    assert set(sign.tolist()) == {-1.0, 1.0}
    mirrored.x = x * sign
    monkeypatch.setattr(Regulator, "_normal", lambda env: torch.zeros(2, 5, 17))
    action = env.noise.uniform("action", 0, (5, env.action_size)) * 2 - 1
    moved, reward = env.step(action)[:2]
    other, same = mirrored.step(-action)[:2]
    torch.testing.assert_close(other, moved * sign)
    torch.testing.assert_close(same, reward)


def test_every_seed_is_scored_on_the_same_episodes() -> None:
    costs = cost(None, (3, 4, 5))
    assert torch.equal(costs, costs[:1].expand(3))
    assert float(costs[0]) > 0.1
