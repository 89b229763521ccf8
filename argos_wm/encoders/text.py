"""Instructions as frozen token features: hashed character n-grams without downloads, or any transformers text model."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from argos_wm.checkpoint import CheckpointError
from argos_wm.latents import sent


@dataclass
class TextFeatures:
    """Token features of B instructions.

    Attributes:
        tokens: (B, L, Dt) float; padding is zero.
        mask: (B, L) bool, True where there is a token. An instruction without tokens is the null condition.
    """

    tokens: Tensor
    mask: Tensor

    def map(self, f: Callable[[Tensor], Tensor]) -> TextFeatures:
        """Apply ``f`` to both tensors."""
        return TextFeatures(f(self.tokens), f(self.mask))

    def to(self, device: torch.device | str) -> TextFeatures:
        return self.map(lambda x: sent(x, device))

    def pin_memory(self) -> TextFeatures:
        """In memory that a GPU copies from while it computes."""
        return self.map(lambda x: x.pin_memory())

    def __getitem__(self, index: Any) -> TextFeatures:
        """Index the batch."""
        return self.map(lambda x: x[index])


class TextEncoder(ABC):
    """A frozen map from instructions to token features of width ``dim``."""

    name: str
    """What ``load_text_encoder`` makes it from again."""
    dim: int

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> TextFeatures:
        """Features of B instructions, (B, L, dim); of an empty one no token is visible."""


def something_said(texts: Sequence[str]) -> Tensor:
    """(B, 1) bool, False for an empty text, of which tokenizers show where it begins and ends."""
    return torch.tensor([[bool(text.strip())] for text in texts], dtype=torch.bool).view(-1, 1)


class HashedNGramEncoder(TextEncoder):
    """One token a word: the sum of signed hashes of the word and of its character 3-grams.

    Different words are nearly orthogonal, inflections of one word are near each other, and every coordinate of a
    token has unit variance over words. SHAKE-256 makes it the same on every machine.
    """

    name = "hashed-ngram"

    def __init__(self, dim: int = 64, max_words: int = 16) -> None:
        self.dim = dim
        self.max_words = max_words
        self._words: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> TextFeatures:
        tokens = torch.zeros(len(texts), self.max_words, self.dim)
        mask = torch.zeros(len(texts), self.max_words, dtype=torch.bool)
        for i, text in enumerate(texts):
            for j, word in enumerate(re.findall(r"\w+", text.lower())[: self.max_words]):
                tokens[i, j] = self._word(word)
                mask[i, j] = True
        return TextFeatures(tokens, mask)

    def _word(self, word: str) -> Tensor:
        """(dim,) of norm √dim."""
        if word not in self._words:
            framed = f"<{word}>"
            pieces = [word, *(framed[i : i + 3] for i in range(len(framed) - 2))]
            total = torch.stack([_signs(piece, self.dim) for piece in pieces]).sum(0)
            self._words[word] = total * (self.dim**0.5 / total.norm().clamp_min(1e-6))
        return self._words[word]


def _signs(piece: str, dim: int) -> Tensor:
    """(dim,) of ±1, a stable hash of ``piece``."""
    digest = hashlib.shake_256(piece.encode()).digest((dim + 7) // 8)
    bits = torch.tensor([byte >> k & 1 for byte in digest for k in range(8)][:dim])
    return bits.float() * 2 - 1


class TransformersTextEncoder(TextEncoder):
    """Any text model of transformers (CLIP, SigLIP 2, BERT, T5, …), frozen; its last hidden states are the tokens."""

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        """
        Args:
            name: hub id or local folder.
            device: where the model runs; features come back on it.
        """
        from transformers import AutoModel, AutoTokenizer

        self.name = name
        self.device = device
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
            model: Any = AutoModel.from_pretrained(name)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"The text encoder {name!r} cannot be loaded ({reason}); get it with `hf download {name}`, give a "
                "local folder, or use hashed-ngram, which needs no download."
            ) from None
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        # Two-tower models such as CLIP keep their text half under this name.
        self.model = getattr(model, "text_model", model).to(device).eval().requires_grad_(False)
        self.dim = int(self.model.config.hidden_size)
        # SigLIP was trained on texts padded to one length and without a mask.
        self.fixed_length = "siglip" in str(model.config.model_type)
        limit = int(getattr(self.model.config, "max_position_embeddings", 64))
        self.max_tokens = min(limit, int(self.tokenizer.model_max_length), 77)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> TextFeatures:
        inputs = self.tokenizer(
            list(texts),
            padding="max_length" if self.fixed_length else "longest",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.device)
        tokens = self.model(**inputs).last_hidden_state.float()
        mask = inputs.get("attention_mask")
        if mask is None:
            mask = inputs["input_ids"] != self.tokenizer.pad_token_id
        mask = mask.bool() & something_said(texts).to(mask.device)
        return TextFeatures(tokens * mask[..., None], mask)


def load_text_encoder(name: str) -> TextEncoder:
    """By name: ``hashed-ngram``, ``dinotxt:file.json`` (``dino_txt.py``), or a transformers model's id or folder."""
    if name == HashedNGramEncoder.name:
        return HashedNGramEncoder()
    if name.startswith("dinotxt:"):
        from argos_wm.encoders.dino_txt import DinoTxtEncoder

        return DinoTxtEncoder(name)
    return TransformersTextEncoder(name)
