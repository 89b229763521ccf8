"""Views: rendered states of the world from which a vision encoder learns, and how they are randomized.

The simulator writes them as one safetensors file; backgrounds and light are put in by an ``Augment`` while training,
so that each state is seen before thousands of backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from argos_wm.checkpoint import CheckpointError, load_tensors
from argos_wm.decoder import CLASSES

Augment = Callable[[Tensor, Tensor], Tensor]
"""(images uint8 (B, 3, H, W), foreground bool (B, H, W)) -> randomized images. Draws from torch's default generator
only, so that training resumes exactly."""

VISIBLE_PIXELS = 6
"""A block of which the canonical camera sees fewer pixels counts as hidden."""


@dataclass(frozen=True)
class EncoderViews:
    """Rendered states for the encoder, N of them, of many trajectories.

    Attributes:
        image_a, image_b: uint8 (N, 3, H, W), the same state from two cameras moved at random.
        mask_a, mask_b: (N, H, W), not 0 where robot or blocks are seen.
        canonical: uint8 (N, 3, H, W), canonical camera and background.
        classes: uint8 (N, H, W), classes of the canonical picture, see ``decoder.CLASSES``.
        joints: (N, J) [rad].
        blocks: (N, 3, 3) positions of the red, green and blue block [m].
        pairs: (M, 2) indices of states 0.8 s apart in one trajectory.
        trajectory: (N,) number of the trajectory that a state belongs to.
    """

    image_a: Tensor
    image_b: Tensor
    mask_a: Tensor
    mask_b: Tensor
    canonical: Tensor
    classes: Tensor
    joints: Tensor
    blocks: Tensor
    pairs: Tensor
    trajectory: Tensor

    @staticmethod
    def load(path: Path) -> EncoderViews:
        """Read a safetensors file; name what is missing."""
        tensors = load_tensors(path)
        tensors.setdefault("trajectory", torch.arange(len(tensors.get("joints", ()))))
        missing = [f.name for f in fields(EncoderViews) if f.name not in tensors]
        if missing:
            raise CheckpointError(f"{path} lacks {', '.join(missing)}. Render the encoder's views again.")
        return EncoderViews(**{f.name: tensors[f.name] for f in fields(EncoderViews)})

    def __len__(self) -> int:
        return self.joints.shape[0]

    def take(self, ids: Tensor) -> EncoderViews:
        """The states ``ids (K,)``, and the pairs of which both are among them."""
        place = torch.full((len(self),), -1)
        place[ids] = torch.arange(len(ids))
        pairs = place[self.pairs.long()]
        states = {f.name: getattr(self, f.name)[ids] for f in fields(self) if f.name != "pairs"}
        return EncoderViews(**states, pairs=pairs[(pairs >= 0).all(1)])

    def split(self, held_out: float) -> tuple[EncoderViews, EncoderViews]:
        """Training states, and a share ``held_out`` of the trajectories, evenly spread over them, for measuring."""
        numbers, rank = self.trajectory.unique(return_inverse=True)
        share = (rank + 1) * held_out
        held = share.floor() > (share - held_out).floor()
        if not bool(held.any()) or bool(held.all()):
            raise ValueError(
                f"Of {len(numbers)} trajectories a share of {held_out} can't be held out; render more views."
            )
        return self.take((~held).nonzero().flatten()), self.take(held.nonzero().flatten())

    def visible(self) -> Tensor:
        """Whether each block is seen in the canonical picture, bool (N, 3)."""
        return seen_blocks(self.classes)


def seen_blocks(classes: Tensor) -> Tensor:
    """Whether each block is seen, bool (N, 3), in pictures of ``classes (N, H, W)``."""
    blocks = range(CLASSES.index("red"), len(CLASSES))
    return torch.stack([(classes == c).flatten(1).sum(1) >= VISIBLE_PIXELS for c in blocks], 1)
