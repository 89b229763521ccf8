"""Laws of the lamp that leans; what it does to pictures is in ``test_every_axis``."""

from __future__ import annotations

import math
from types import SimpleNamespace

import newton
import pytest
import torch
from newton.sensors import SensorTiledCamera

from argos_sim.randomization.draws import Draws
from argos_sim.randomization.lights import DIRECTION, lamp, lean_lamp, leaning
from argos_sim.randomization.ranges import RandomizationRanges, Range


@pytest.fixture
def camera() -> SimpleNamespace:
    """Newton's own lamp over one ball."""
    builder = newton.ModelBuilder()
    builder.add_shape_sphere(builder.add_body(), radius=0.1)
    sensor = SensorTiledCamera(builder.finalize(device="cpu"))
    sensor.utils.create_default_light(enable_shadows=False)
    return SimpleNamespace(_renderer=SimpleNamespace(newton_sensor=sensor))


def environment(camera: SimpleNamespace, light_direction: Range) -> SimpleNamespace:
    draws = Draws(RandomizationRanges(light_direction=light_direction), 1)
    senses = SimpleNamespace(generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(scene={"camera": camera}, perception=senses, draws=draws)


def test_the_lamp_is_newtons_own_and_under_nominal_not_touched_by_a_bit(camera: SimpleNamespace) -> None:
    own = lamp(camera).clone()
    assert torch.equal(own, torch.tensor([DIRECTION]))
    nominal = environment(camera, (0.0, 0.0))
    state = nominal.perception.generator.get_state()
    lean_lamp(nominal)
    assert torch.equal(lamp(camera), own)
    assert torch.equal(nominal.perception.generator.get_state(), state), "what is drawn next is as it was"
    lean_lamp(environment(camera, (0.5, 0.5)))
    assert not torch.equal(lamp(camera), own)
    lean_lamp(nominal)
    assert torch.equal(lamp(camera), own), "and back again"


def test_it_leans_by_angles_of_its_range_and_every_way(camera: SimpleNamespace) -> None:
    env, shone = environment(camera, (0.2, 0.6)), []
    for _ in range(400):
        lean_lamp(env)
        shone.append(lamp(camera)[0].clone())
    shone, own = torch.stack(shone), torch.tensor(DIRECTION)
    assert shone.norm(dim=1).tolist() == pytest.approx([1.0] * 400, abs=1e-6)
    angle = (shone @ own).clamp(max=1.0).acos()
    assert 0.2 - 1e-3 < angle.min() < 0.22 and 0.58 < angle.max() < 0.6 + 1e-3
    aside = shone - (shone @ own)[:, None] * own
    assert (aside / aside.norm(dim=1, keepdim=True)).mean(0).norm() < 0.15, "no way is preferred"


def test_up_to_where_the_ranges_say_it_shines_from_above() -> None:
    azimuth = torch.linspace(0.0, math.tau, 100)
    for angle, above in ((0.6, True), (0.63, False)):
        shone = torch.stack([leaning(torch.tensor(angle), a) for a in azimuth])
        assert bool((shone[:, 2] < 0).all()) == above
