"""The room's light, where the renderer can change it while it runs.

Newton's renderer has one lamp, infinitely far away, which leans by ``light_direction``: what it shines on is shaded
otherwise, and nothing else changes. Isaac Sim's RTX has a dome, read from the stage, whose intensity and colour are
drawn; it comes from everywhere, so that it has no direction.

One light is over all environments, so that it is drawn for all of them at once: as often as an environment begins an
episode, and whenever all begin together, so that what is judged in the same episodes is judged in the same light.
Otherwise it changes in the midst of the others' episodes. It is drawn by the senses' generator: what is asked and where
things lie is the same in every light. Exposure and white balance change a picture as a whole; this changes shades, too.
"""

# Isaac Lab's configurations take classes as functions, and type a term's environment more loosely than it is.
# pyright: reportArgumentType=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import warp as wp
from isaaclab.managers import EventTermCfg, ManagerTermBase
from isaaclab.renderers.renderer_cfg import RendererCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from isaaclab_physx.renderers import IsaacRtxRendererCfg
from torch import Tensor

from argos_sim.randomization.draws import NOMINAL
from argos_sim.randomization.dynamics import ids_of

DIRECTION = (-0.57735026, 0.57735026, -0.57735026)
"""Where Newton's lamp shines by itself, to the bit: from behind the camera's right, 35° above the table."""
INTENSITY = (0.5, 1.6)
"""Of the dome, in units of the scene's own."""
TINT = (0.8, 1.1)
"""Of each channel, in units of the scene's own: from a lamp's yellow to a window's blue."""


def event(renderer: RendererCfg) -> EventTermCfg | None:
    """The event that draws the light, or None where the renderer cannot change it."""
    if isinstance(renderer, NewtonWarpRendererCfg):
        return EventTermCfg(func=RandomLight, mode="reset", params={"draw": lean_lamp})
    if isinstance(renderer, IsaacRtxRendererCfg):
        return EventTermCfg(func=RandomLight, mode="reset", params={"draw": draw_dome})
    return None


class RandomLight(ManagerTermBase):
    """Event at resets: draws the light once as many episodes have begun as there are environments."""

    def __init__(self, cfg: EventTermCfg, env) -> None:
        super().__init__(cfg, env)
        self.begun = 0
        """Episodes since the last draw."""

    def __call__(self, env, env_ids, draw: Callable[[Any], None]) -> None:
        """Count the episodes of ``env_ids`` that begin; ``draw`` is the renderer's way to another light."""
        self.begun += len(ids_of(env, env_ids))
        if self.begun >= env.num_envs:
            self.begun = 0
            draw(env)


def lean_lamp(env) -> None:
    """Draw the direction in which the lamp of Newton's renderer shines; under ``nominal`` it is Newton's own."""
    (low, high), generator = env.draws.ranges.light_direction, env.perception.generator
    draw = torch.zeros(2, device=generator.device)
    if env.draws.ranges.light_direction != NOMINAL.light_direction:  # else all is drawn as before there was this range
        draw.uniform_(generator=generator)
    lamp(env.scene["camera"]).copy_(leaning(low + (high - low) * draw[0], math.tau * draw[1]))


def leaning(angle: Tensor, azimuth: Tensor) -> Tensor:
    """``DIRECTION`` (3,) turned by ``angle`` [rad]; ``azimuth`` [rad] about it says whereto."""
    own = torch.tensor(DIRECTION, device=angle.device)
    level = torch.nn.functional.normalize(torch.linalg.cross(own, own.new_tensor([0.0, 0.0, 1.0])), dim=0)
    aside = azimuth.cos() * level + azimuth.sin() * torch.linalg.cross(own, level)
    return angle.cos() * own + angle.sin() * aside


def lamp(camera) -> Tensor:
    """Where the lamp of this camera's Newton renderer shines (1, 3), in the world's frame; writing here moves it.

    Newton's own way to another direction is another lamp, which a recorded CUDA graph would not see.
    """
    return wp.to_torch(camera._renderer.newton_sensor._SensorTiledCamera__render_context.lights_orientation)


def draw_dome(env) -> None:
    """Draw the dome light's intensity and colour from uniform ranges; under ``nominal`` they are the scene's."""
    cfg = env.scene.cfg.light
    factor = torch.ones(4, dtype=torch.float64)
    if env.draws.ranges != NOMINAL:
        low, high = torch.tensor([INTENSITY, TINT, TINT, TINT], dtype=torch.float64).unbind(-1)
        generator = env.perception.generator
        draw = torch.rand(4, generator=generator, device=generator.device)
        factor = low + (high - low) * draw.double().cpu()
    light = env.sim.stage.GetPrimAtPath(cfg.prim_path)
    light.GetAttribute("inputs:intensity").Set(cfg.spawn.intensity * float(factor[0]))
    tinted = [min(channel * float(f), 1.0) for channel, f in zip(cfg.spawn.color, factor[1:], strict=True)]
    light.GetAttribute("inputs:color").Set(tuple(tinted))
