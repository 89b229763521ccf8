"""Instructions as token features on a robot: what ``argos_wm.encoders.text`` does, without torch.

Hashed character n-grams are numpy alone. A text model of transformers is a network of the policy, ``text.onnx``, behind
a tokenizer that is data, ``tokenizer.json``: the ``tokenizers`` package reads it and runs none of it. That package is
imported only where a policy has such a file.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from argos_sim.deploy.manifest import AGAIN, TEXT, TOKENIZER_FILE, DeployError, PolicyManifest, read_hashed
from argos_sim.deploy.network import Network

HASHED, TOKENIZED = "hashed-ngram", "tokenized"
NEEDED = {HASHED: {"dim", "max_words"}, TOKENIZED: {"dim", "tokenizer_sha256", "pad_id"}}
"""What ``planner.text`` says, beside the kind."""


class Reads(Protocol):
    """A text encoder."""

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (L, dim) float32 and their mask (L,) bool, False where there is none."""
        ...


class HashedText:
    """One token a word; the same numbers as ``argos_wm.encoders.text.HashedNGramEncoder``, which a test holds it to."""

    def __init__(self, dim: int, max_words: int) -> None:
        self.dim, self.max_words = dim, max_words

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (L, dim) float32 and their mask (L,) bool, False where there is no word."""
        words = re.findall(r"\w+", text.lower())[: self.max_words]
        tokens = np.zeros((self.max_words, self.dim), dtype=np.float32)
        for i, word in enumerate(words):
            tokens[i] = self._word(word)
        return tokens, np.arange(self.max_words) < len(words)

    def _word(self, word: str) -> np.ndarray:
        framed = f"<{word}>"
        pieces = [word, *(framed[i : i + 3] for i in range(len(framed) - 2))]
        total = np.sum([self._signs(piece) for piece in pieces], axis=0)
        return total * (self.dim**0.5 / max(float(np.linalg.norm(total)), 1e-6))

    def _signs(self, piece: str) -> np.ndarray:
        digest = hashlib.shake_256(piece.encode()).digest((self.dim + 7) // 8)
        bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8), bitorder="little")[: self.dim]
        return bits.astype(np.float32) * 2 - 1


class TokenizedText:
    """The same tokens as ``argos_wm.encoders.text.TransformersTextEncoder``, within what the export measured.

    ``tokenizer.json`` says, too, where a text is cut off, and how far one is padded that its model wants of one length.
    """

    def __init__(self, network: Network, tokenizer: Any, dim: int, pad_id: int | None) -> None:
        """
        Args:
            network: ``input_ids`` (N, L) int64, and ``attention_mask`` likewise where the model takes one, to tokens
                (N, L, dim).
            tokenizer: of the ``tokenizers`` package.
            pad_id: of a model without mask, the token that is none; None of one that takes a mask.
        """
        self.dim, self.pad_id = dim, pad_id
        self._network, self._tokenizer = network, tokenizer

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """See ``Reads``."""
        nothing = np.zeros((1, self.dim), dtype=np.float32), np.zeros(1, dtype=bool)
        if not text.strip():  # tokenizers show where a text begins and ends, even of an empty one
            return nothing
        encoding = self._tokenizer.encode(text)
        ids, mask = (np.array([values], dtype=np.int64) for values in (encoding.ids, encoding.attention_mask))
        if not ids.size:
            return nothing
        inputs = {"input_ids": ids} | ({"attention_mask": mask} if self.pad_id is None else {})
        there = (mask if self.pad_id is None else ids != self.pad_id)[0].astype(bool)
        return self._network(inputs)[0][0] * there[:, None], there


def load_text(folder: Path | str, manifest: PolicyManifest) -> Reads:
    """The text encoder of a policy's planner; ``DeployError`` in one sentence if it cannot be had."""
    settings = {} if manifest.planner is None else manifest.planner.text
    kind = settings.get("kind")
    if kind not in NEEDED or not NEEDED[kind] <= set(settings):
        known = " and ".join(map(repr, NEEDED))
        raise DeployError(f"The policy's text encoder {settings} is not known here; {known} are. {AGAIN}")
    if kind == HASHED:
        return HashedText(int(settings["dim"]), int(settings["max_words"]))
    data = read_hashed(Path(folder) / TOKENIZER_FILE, str(settings["tokenizer_sha256"]), "tokenizer")
    network, pad_id = Network(folder, manifest, TEXT), settings["pad_id"]
    return TokenizedText(network, _tokenizer(data), int(settings["dim"]), None if pad_id is None else int(pad_id))


def _tokenizer(data: bytes) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DeployError(
            "The policy's text encoder needs the package tokenizers, which is not installed: pip install tokenizers."
        ) from None
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # tokenizers raises bare exceptions
        raise DeployError(f"{TOKENIZER_FILE} cannot be read by the tokenizers package here ({error}).") from None
