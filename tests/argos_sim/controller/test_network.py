"""Laws of the controller's network, in torch and as rsl_rl's actor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict

from argos_sim.controller.actor import ControllerModel
from argos_sim.controller.network import (
    Controller,
    ControllerConfig,
    load_controller,
    save_controller,
)
from argos_wm.latents import LatentSpec, SpecMismatch

CFG = ControllerConfig(patches=4, channels=3, proprio_dim=5, joints=2, history=2, attention_width=8, hidden=(16, 16))
LIMIT = torch.tensor([1.0, 3.0])
SPEC = LatentSpec("small-vit", "abc", 2, 2, 3, 5, ("a", "b"), "stats")


def inputs(n: int = 7) -> tuple[torch.Tensor, ...]:
    return (
        torch.randn(n, 4, 3),
        torch.randn(n, 4, 3),
        torch.randn(n, 3, 5),
        torch.randn(n, 5),
        torch.randn(n, 2),
        torch.rand(n, 1),
    )


def observation(x: tuple[torch.Tensor, ...]) -> TensorDict:
    vision, target, history, wanted, action, time = x
    proprio = torch.cat([history.flatten(1), wanted, action, time], -1)
    return TensorDict(
        {"proprio": proprio, "vision": vision.flatten(1), "target_vision": target.flatten(1)}, batch_size=[len(vision)]
    )


def model(controller: Controller) -> ControllerModel:
    groups = {"actor": ["proprio", "vision", "target_vision"]}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "log"}
    actor = ControllerModel(observation(inputs()), groups, "actor", 2, controller.settings(), gaussian)
    actor.load_controller(controller)
    return actor


def test_torques_stay_within_the_limits_whatever_comes_in() -> None:
    controller = Controller(CFG, LIMIT)
    torque = controller(*(1e3 * x for x in inputs()))
    assert (torque.abs() <= LIMIT).all()
    assert torque.abs().max() > 0.5


@pytest.mark.parametrize(
    ("senses", "heeded", "ignored"),
    [("both", (0, 1, 2, 3), ()), ("proprioception", (2, 3), (0, 1)), ("vision", (0, 1), (2, 3))],
)
def test_a_controller_heeds_the_senses_that_it_has(senses, heeded: tuple[int, ...], ignored: tuple[int, ...]) -> None:
    controller = Controller(replace(CFG, senses=senses), LIMIT)
    x = inputs()
    for i in (*heeded, *ignored, 5):
        other = [*x]
        other[i] = other[i] + 1
        changed = not torch.equal(controller.action(*other), controller.action(*x))
        assert changed == (i not in ignored), i


def test_of_a_longer_memory_a_controller_sees_the_newest() -> None:
    x = inputs()
    remembered = observation(x)["proprio"]
    history, wanted, action, time = replace(CFG, history=0).split(remembered)
    assert torch.equal(history, x[2][:, -1:])
    assert all(torch.equal(*pair) for pair in zip((wanted, action, time), x[3:], strict=True))
    with pytest.raises(ValueError, match=r"sees 3 past steps \(controller.history\), more than"):
        replace(CFG, history=3).split(remembered)


def test_a_patch_is_what_is_what_shall_be_and_the_difference() -> None:
    """Of the weights' three parts each reads its own, whichever way the product is taken."""
    features, (now, then, *rest) = Controller(CFG, LIMIT).features, inputs()
    shift = torch.randn_like(now)
    for part, alike in enumerate(((now, then + shift), (now + shift, then), (now + shift, then + shift))):
        own = Controller(CFG, LIMIT).features
        own.load_state_dict(features.state_dict())
        with torch.no_grad():
            for other in {0, 1, 2} - {part}:
                own.patch.weight[:, 3 * other : 3 * (other + 1)] = 0.0
            told = own(now, then, *rest)
            assert torch.allclose(own(*alike, *rest), told, atol=1e-6)
            assert not torch.allclose(own(now + shift, then - shift, *rest), told, atol=1e-3)


def test_where_a_patch_lies_matters() -> None:
    controller = Controller(CFG, LIMIT)
    x = inputs()
    turned = (x[0].flip(1), x[1].flip(1), *x[2:])
    assert not torch.allclose(controller(*x), controller(*turned), atol=1e-5)


def test_last_action_is_ignored_until_it_is_learned() -> None:
    controller = Controller(CFG, LIMIT)
    x = inputs()
    other = (*x[:4], torch.randn_like(x[4]), x[5])
    assert torch.equal(controller(*x), controller(*other))


def test_actor_is_the_controller_it_started_from() -> None:
    controller = Controller(CFG, LIMIT)
    x = inputs()
    actor = model(controller)
    assert torch.allclose(actor(observation(x)), controller.action(*x), atol=1e-6)
    assert torch.allclose(actor.to_controller(LIMIT)(*x), controller(*x), atol=1e-6)
    flat = torch.cat([observation(x)[name] for name in ("proprio", "vision", "target_vision")], -1)
    assert torch.allclose(actor.as_onnx()(flat), controller.action(*x), atol=1e-6)
    # `isaaclab play` scripts the actor for TorchScript before it plays it.
    scripted = torch.jit.script(actor.as_jit())
    assert torch.allclose(scripted(flat), controller.action(*x), atol=1e-6)


def test_saved_controller_comes_back_and_refuses_other_latents(tmp_path) -> None:
    controller = Controller(CFG, LIMIT)
    save_controller(controller, SPEC, tmp_path, {})
    x = inputs()
    assert torch.equal(load_controller(tmp_path, SPEC, "the encoder")(*x), controller(*x))
    other = LatentSpec.from_json(SPEC.to_json() | {"encoder_hash": "xyz"})
    with pytest.raises(SpecMismatch, match="encoder_hash is 'abc' in the first and 'xyz' in the second"):
        load_controller(tmp_path, other, "the encoder")
