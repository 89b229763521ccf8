"""dino.txt's text half: words in the language that DINOv3's patches were aligned with.

Its code and weights are under Meta's DINOv3 licence and are never part of ARGOS: they are loaded from the user's own
checkout of ``facebookresearch/dinov3`` and the files that come with its licence. A JSON file says where those are:

    {"repository": "/home/me/dinov3", "weights": "….pth", "backbone_weights": "….pth", "vocabulary": "….txt.gz"}

and ``dinotxt:that_file.json`` is the text encoder's name wherever one is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from argos_wm.checkpoint import CheckpointError, load_json
from argos_wm.encoders.text import TextEncoder, TextFeatures, something_said

PREFIX = "dinotxt:"
ENTRY = "dinov3_vitl16_dinotxt_tet1280d20h24l"
PLACES = ("repository", "weights", "backbone_weights", "vocabulary")


class DinoTxtEncoder(TextEncoder):
    """Features of each of 77 byte-pair tokens, width 1,280 in the released model, padding masked."""

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        """
        Args:
            name: ``dinotxt:`` and the path of the JSON file.
            device: where the model runs; features come back on it.
        """
        self.name, self.device = name, device
        where = load_json(Path(name.removeprefix(PREFIX)))
        for place in PLACES:
            if not Path(str(where.get(place, ""))).exists() or place not in where:
                raise CheckpointError(
                    f"{name} must say where dino.txt's {place} is, and {where.get(place)!r} is not there. Clone "
                    "facebookresearch/dinov3, ask for its weights on its page, and write their paths down."
                )
        with _tensors_only():
            model, tokenizer = _load(where)
        self.tokenizer: Any = tokenizer
        self.backbone: Any = model.text_model.backbone.to(device).eval().requires_grad_(False)
        self.dim = self([""]).tokens.shape[-1]

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> TextFeatures:
        ids = self.tokenizer.tokenize(list(texts)).to(self.device)
        tokens = self.backbone(ids).float()
        # CLIP's vocabulary ends in the end-of-text token, whose number is the largest; what follows it is padding.
        length = ids.argmax(1, keepdim=True) + 1
        mask = torch.arange(ids.shape[1], device=ids.device) < length
        mask &= something_said(texts).to(mask.device)
        return TextFeatures(tokens * mask[..., None], mask)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Weights of a stranger are read as tensors, whatever the checkout's own code would allow."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _load(where: dict[str, Any]) -> tuple[Any, Any]:
    try:
        loaded: Any = torch.hub.load(
            where["repository"],
            ENTRY,
            source="local",
            weights=where["weights"],
            backbone_weights=where["backbone_weights"],
            bpe_path_or_url=where["vocabulary"],
        )
        return loaded
    except Exception as error:  # the checkout's code raises whatever it raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"dino.txt cannot be loaded from {where['repository']} ({reason}). Check that it is a checkout of "
            f"facebookresearch/dinov3 with the entry {ENTRY}, and that the weights are its own."
        ) from None
