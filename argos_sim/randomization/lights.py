"""The room's light, where the renderer can change it while it runs: Isaac Sim's RTX, which reads it from the stage.

One dome light is over all environments, so that it is drawn for all of them at once, every few seconds. Exposure and
white balance change a picture as a whole; this changes shades and reflections, too.
"""

# Isaac Lab's configurations take classes as functions.
# pyright: reportArgumentType=false

from __future__ import annotations

import torch
from isaaclab.managers import EventTermCfg
from isaaclab.renderers.renderer_cfg import RendererCfg
from isaaclab_physx.renderers import IsaacRtxRendererCfg

from argos_sim.randomization.draws import NOMINAL

INTENSITY = (0.5, 1.6)
"""In units of the scene's own."""
TINT = (0.8, 1.1)
"""Of each channel, in units of the scene's own: from a lamp's yellow to a window's blue."""
EVERY_S = (4.0, 8.0)
"""One or two episodes."""


def event(renderer: RendererCfg) -> EventTermCfg | None:
    """The event that draws the light, or None where the renderer cannot change it."""
    if not isinstance(renderer, IsaacRtxRendererCfg):
        return None
    return EventTermCfg(func=randomize_light, mode="interval", is_global_time=True, interval_range_s=EVERY_S)


def randomize_light(env, env_ids: object) -> None:
    """Draw the dome light's intensity and colour from uniform ranges; under ``nominal`` they are the scene's."""
    cfg = env.scene.cfg.light
    factor = torch.ones(4, dtype=torch.float64)
    if env.draws.ranges != NOMINAL:
        low, high = torch.tensor([INTENSITY, TINT, TINT, TINT], dtype=torch.float64).unbind(-1)
        draw = torch.rand(4, generator=env.generator, device=env.generator.device)
        factor = low + (high - low) * draw.double().cpu()
    light = env.sim.stage.GetPrimAtPath(cfg.prim_path)
    light.GetAttribute("inputs:intensity").Set(cfg.spawn.intensity * float(factor[0]))
    tinted = [min(channel * float(f), 1.0) for channel, f in zip(cfg.spawn.color, factor[1:], strict=True)]
    light.GetAttribute("inputs:color").Set(tuple(tinted))
