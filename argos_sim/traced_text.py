"""A transformers text encoder as what a robot runs: a network, and a tokenizer that is data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from argos_sim.deploy.manifest import TEXT, DeployError, PolicyManifest
from argos_sim.deploy.text import TOKENIZED, load_text
from argos_sim.traced import Inputs, Traced
from argos_wm.encoders.text import TextEncoder, TransformersTextEncoder

ODD_TEXTS = (
    "",
    "   ",
    "a",
    "RED Block!",
    "  touch\tthe\nred   block ",
    "touch the red block. " * 20,
    "naïve café, Straße",
    "e\u0301 and \u00e9",
    "触摸红色的方块",
    "المس المكعب الأحمر",
    "🤖👍🏽 → 3½ €",
    "\u200b\u00a0\ufeff",
    "<pad> [MASK] </s> [SEP] <|endoftext|>",
    "don't; isn't -- 1,000.5 x_y/z",
)
"""Asked of every tokenizer beside the task's own phrasings: nothing, too much, and what tokenizers disagree about."""
TOLERANCE = 1e-4


class TextError(ValueError):
    """A text encoder cannot be exported; the message is the reason."""


@dataclass(frozen=True)
class ExportedText:
    """What a planner with such an encoder is exported with.

    Attributes:
        encoder: the encoder itself.
        texts: on which its export must agree with it.
        traced: its network.
        tokenizer: the content of ``tokenizer.json``, truncation and padding included.
        pad_id: see ``deploy.text.TokenizedText``.
    """

    encoder: TransformersTextEncoder
    texts: tuple[str, ...]
    traced: Traced
    tokenizer: bytes
    pad_id: int | None

    @property
    def settings(self) -> dict[str, Any]:
        """``planner.text`` of the manifest."""
        digest = hashlib.sha256(self.tokenizer).hexdigest()
        return {"kind": TOKENIZED, "dim": self.encoder.dim, "tokenizer_sha256": digest, "pad_id": self.pad_id}

    def verify(self, folder: Path, manifest: PolicyManifest) -> None:
        """Raise ``DeployError`` if what lies in ``folder`` reads a text otherwise than the encoder, one at a time."""
        reads, network = load_text(folder, manifest), manifest.networks[TEXT]
        tolerance = TOLERANCE if network.precision == "fp32" else network.difference + TOLERANCE
        for text in self.texts:
            tokens, there = reads(text)
            wanted = self.encoder([text])
            seen = wanted.tokens[wanted.mask].numpy()
            if tokens[there].shape != seen.shape or not np.abs(tokens[there] - seen).max(initial=0.0) <= tolerance:
                raise DeployError(f"The exported text encoder reads {text!r} otherwise than {self.encoder.name} does.")


def exported_text(encoder: TextEncoder, texts: Sequence[str]) -> ExportedText:
    """Take a text encoder apart for a robot.

    Args:
        encoder: on the CPU.
        texts: what the planner is asked for.

    Raises:
        TextError: it is not of transformers, or its tokenizer is not data alone.
    """
    if not isinstance(encoder, TransformersTextEncoder):
        raise TextError(f"{encoder.name} is no text model of transformers")
    asked = (*dict.fromkeys(texts), *ODD_TEXTS)
    data = tokenizer_json(encoder)
    _check_tokens(encoder, data, asked)
    given = {name: x for name, x in tokenized(encoder, asked).items() if name in ("input_ids", "attention_mask")}
    pad_id = None if "attention_mask" in given else int(encoder.tokenizer.pad_token_id)
    words = {} if encoder.fixed_length else {name: {1: "tokens"} for name in given}
    inputs: Inputs = dict(given)
    traced = Traced(
        TEXT, _Text(encoder), inputs, ("tokens",), words, TOLERANCE, {"tokens": encoder.max_tokens} if words else {}
    )
    return ExportedText(encoder, asked, traced, data, pad_id)


def tokenizer_json(encoder: TransformersTextEncoder) -> bytes:
    """The tokenizer as data, which cuts off and pads as the encoder has it done."""
    from tokenizers import Tokenizer

    slow: Any = encoder.tokenizer
    fast: Any = getattr(slow, "backend_tokenizer", None)
    if not isinstance(fast, Tokenizer):
        raise TextError(f"{encoder.name} has a {type(slow).__name__}, which is code, and not a tokenizer.json")
    tokenizer = Tokenizer.from_str(fast.to_str())
    tokenizer.enable_truncation(encoder.max_tokens, strategy="longest_first", direction=slow.truncation_side)
    tokenizer.no_padding()
    if encoder.fixed_length:
        pad = {"pad_id": slow.pad_token_id, "pad_token": slow.pad_token, "pad_type_id": slow.pad_token_type_id}
        tokenizer.enable_padding(direction=slow.padding_side, length=encoder.max_tokens, **pad)
    return tokenizer.to_str().encode()


def tokenized(encoder: TransformersTextEncoder, texts: Sequence[str]) -> dict[str, Tensor]:
    """What the encoder's model is given for ``texts``, (N, L) each."""
    padding = "max_length" if encoder.fixed_length else "longest"
    options: dict[str, Any] = {"truncation": True, "max_length": encoder.max_tokens, "return_tensors": "pt"}
    return dict(encoder.tokenizer(list(texts), padding=padding, **options))


def _check_tokens(encoder: TransformersTextEncoder, data: bytes, texts: Sequence[str]) -> None:
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_buffer(data)
    for text in texts:
        found, wanted = tokenizer.encode(text), tokenized(encoder, [text])
        same = found.ids == wanted["input_ids"][0].tolist()
        if "attention_mask" in wanted:
            same = same and found.attention_mask == wanted["attention_mask"][0].tolist()
        if not same:
            raise TextError(f"its tokenizer reads {text!r} otherwise from tokenizer.json than in transformers")


class _Text(nn.Module):
    """The model, tokens that are not there as zeros."""

    def __init__(self, encoder: TransformersTextEncoder) -> None:
        super().__init__()
        self.model = copy.deepcopy(encoder.model)
        self.model.set_attn_implementation("eager")  # the others ask what is masked, which a trace cannot answer

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if attention_mask is None:
            return self.model(input_ids=input_ids).last_hidden_state.float()
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        return hidden * attention_mask[..., None]
