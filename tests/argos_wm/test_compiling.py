"""Compiled layers, and what may be recorded on a GPU, tested without one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from argos_wm.compiling import Recorded, compile_layers, halve_products, uncompile_layers
from argos_wm.latents import LatentSpec
from argos_wm.training.footprint import random_windows
from argos_wm.world_model import WorldModel, WorldModelConfig

SPEC = LatentSpec("e", "", 2, 2, 8, 4, ("a", "b"), "")


def world_model(precision: Literal["bf16", "fp32"] = "bf16") -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(width=24, depth=2, context_depth=2, heads=2, precision=precision), SPEC, 8, 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.requires_grad_(False).eval()


def given(model: WorldModel, device: str = "cpu") -> tuple[Any, ...]:
    torch.manual_seed(1)
    windows, text = random_windows(model, 3, 4, device=device)
    return windows.history, windows.history_mask, text, windows.horizon, windows.actions


def draw(model: WorldModel) -> Tensor:
    return model.sample(*given(model), noise=model.noise(3, "cpu"), guidance_scale=2.0).vision


def test_weights_in_bfloat16_draw_the_same_states() -> None:
    model = world_model()
    before = draw(model)
    halve_products(model)
    assert model.dit.now_vision.weight.dtype == torch.bfloat16
    assert torch.equal(draw(model), before)


class NothingCrosses(TorchDispatchMode):
    """Raises where an operation meets the host's memory and the GPU's, which cannot be recorded."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = _pytree.tree_leaves((args, kwargs, result))
        kinds = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}
        if len(kinds) > 1 or func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError(f"{func} meets {kinds}")
        return result


def test_a_state_is_drawn_on_the_gpu_alone() -> None:
    with FakeTensorMode():
        model = world_model("fp32")
        for part in model.modules():
            for tensors in (part._parameters, part._buffers):  # ``to`` does not move fake ones
                tensors |= {k: None if v is None else torch.empty_like(v, device="cuda") for k, v in tensors.items()}
        told, noise = given(model, "cuda"), model.noise(3, "cuda")
        with NothingCrosses():
            model.sample(*told, noise=noise, guidance_scale=2.0)
        with pytest.raises(AssertionError, match="meets"), NothingCrosses():
            torch.ones(2, device="cuda").cpu()


def test_shapes_are_recorded_only_once_they_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, asked = Recorded(lambda x: x + 1), []

    def record(values: list[Any], form: Any) -> None:
        asked.append(values[0].shape[0])
        raise StopIteration

    monkeypatch.setattr(recorded, "_record", record)
    with FakeTensorMode():
        for rows in (5, 6, 7, 5, 5):
            assert recorded(torch.ones(rows, device="cuda")).shape == (rows,)
        assert asked == []
        with pytest.raises(StopIteration):
            recorded(torch.ones(5, device="cuda"))
    assert asked == [5]


def test_what_is_not_on_a_gpu_is_not_recorded() -> None:
    calls = []
    recorded = Recorded(lambda x, factor: calls.append(1) or x * factor)
    for factor in (2.0, 3.0):
        assert recorded(torch.ones(2), factor).tolist() == [factor] * 2
    assert len(calls) == 2


@pytest.mark.slow
def test_compiled_layers_draw_the_same_states_and_are_undone() -> None:
    model = world_model("fp32")  # fused kernels round bfloat16 less often, and differ by that
    before = draw(model)
    compile_layers(model)
    assert model.dit.blocks[0]._compiled_call_impl is not None
    assert torch.allclose(draw(model), before, atol=1e-3)
    uncompile_layers(model)
    assert model.dit.blocks[0]._compiled_call_impl is None and "keys_values" not in vars(model.dit.blocks[0])
    assert torch.equal(draw(model), before)
