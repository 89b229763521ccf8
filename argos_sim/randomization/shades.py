"""How light or dark each link and object is, where the renderer keeps a colour for each shape: Newton's.

What the robot is printed in, and the wood or cloth of an object, are lighter or darker than modelled; their hue stays,
because colours name the blocks. Shapes belong to one environment, so that every episode has shades of its own.
"""

# Isaac Lab's configurations take classes as functions, and type a term's environment more loosely than it is.
# pyright: reportArgumentType=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

from functools import cached_property

import torch
import warp as wp
from isaaclab.managers import EventTermCfg, ManagerTermBase
from isaaclab.renderers.renderer_cfg import RendererCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from torch import Tensor

from argos_sim.randomization.dynamics import ids_of


def event(renderer: RendererCfg) -> EventTermCfg | None:
    """The event that draws shades, or None where the renderer cannot change them."""
    if not isinstance(renderer, NewtonWarpRendererCfg):
        return None
    return EventTermCfg(func=RandomShades, mode="reset")


class RandomShades(ManagerTermBase):
    """Event at resets: draws the shade of every link and object of the environments that begin."""

    @cached_property
    def paint(self) -> Paint:
        """Made at the first reset, since terms may be made before the renderer is."""
        return Paint(self._env.scene["camera"])

    def __call__(self, env, env_ids) -> None:
        """Give the links and objects of ``env_ids`` their shades."""
        ids, paint = ids_of(env, env_ids), self.paint
        shade = torch.ones(len(ids), paint.parts, device=env.device)
        if env.draws.may("shade"):  # else all is drawn as before there was this range
            # By the senses' generator: what is asked and where things lie is the same in all shades.
            shade = env.draws.uniform("shade", ids, (paint.parts,), env.perception.generator)
        paint.apply(shade, ids)


class Paint:
    """The colours of all that moves in N environments, S shapes on B links and objects in each.

    Attributes:
        colours: (shapes of all environments and beside them, 3) what the renderer reads, in [0, 1] and sRGB.
        shapes: (N, S) rows of ``colours`` of every environment.
        part: (S,) which link or object each of them is of.
        own: (N, S, 3) colours as modelled.
    """

    def __init__(self, camera) -> None:
        """Take the colours as modelled from this camera's Newton renderer."""
        model = camera._renderer.backend.model
        world, body = (wp.to_torch(x).long() for x in (model.shape_world, model.shape_body))
        moving = ((world >= 0) & (body >= 0)).nonzero().squeeze(-1)  # the table, which does not, is background
        self.shapes = moving[world[moving].argsort(stable=True)].view(model.world_count, -1)
        bodies, self.part = body[self.shapes[0]].unique(return_inverse=True)  # environments are copies of one
        self.parts = len(bodies)
        self.colours = wp.to_torch(model.shape_color)
        self.own = self.colours[self.shapes]

    def apply(self, shade: Tensor, ids: Tensor) -> None:
        """Multiply the modelled colours of environments ``ids`` by ``shade (n, B)``, as far as the brightest channel
        goes: beyond it the hue would change."""
        own = self.own[ids]
        most = 1.0 / own.amax(-1, keepdim=True).clamp_min(1e-3)
        self.colours[self.shapes[ids]] = own * shade[:, self.part, None].minimum(most)
