"""The room's light, where the renderer can change it while it runs: Isaac Sim's RTX, which reads it from the stage.

One dome light is over all environments, so that it is drawn for all of them at once: as often as an environment begins
an episode, and whenever all begin together, so that what is judged in the same episodes is judged in the same light.
Exposure and white balance change a picture as a whole; this changes shades and reflections, too.
"""

# Isaac Lab's configurations take classes as functions, and type a term's environment more loosely than it is.
# pyright: reportArgumentType=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

import torch
from isaaclab.managers import EventTermCfg, ManagerTermBase
from isaaclab.renderers.renderer_cfg import RendererCfg
from isaaclab_physx.renderers import IsaacRtxRendererCfg

from argos_sim.randomization.draws import NOMINAL
from argos_sim.randomization.dynamics import ids_of

INTENSITY = (0.5, 1.6)
"""In units of the scene's own."""
TINT = (0.8, 1.1)
"""Of each channel, in units of the scene's own: from a lamp's yellow to a window's blue."""


def event(renderer: RendererCfg) -> EventTermCfg | None:
    """The event that draws the light, or None where the renderer cannot change it."""
    if not isinstance(renderer, IsaacRtxRendererCfg):
        return None
    return EventTermCfg(func=RandomLight, mode="reset")


class RandomLight(ManagerTermBase):
    """Event at resets: draws the light once as many episodes have begun as there are environments."""

    def __init__(self, cfg: EventTermCfg, env) -> None:
        super().__init__(cfg, env)
        self.begun = 0
        """Episodes since the last draw."""

    def __call__(self, env, env_ids) -> None:
        """Count the episodes of ``env_ids`` that begin."""
        self.begun += len(ids_of(env, env_ids))
        if self.begun >= env.num_envs:
            self.begun = 0
            draw_light(env)


def draw_light(env) -> None:
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
