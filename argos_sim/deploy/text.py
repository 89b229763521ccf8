"""Instructions as token features on a robot: the hashed character n-grams of ``argos_wm.encoders.text``, in numpy."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from argos_sim.deploy.manifest import AGAIN, DeployError

HASHED = "hashed-ngram"


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


def load_text(settings: dict[str, Any]) -> HashedText:
    """The text encoder that a manifest's ``planner.text`` describes."""
    if settings.get("kind") != HASHED or not {"dim", "max_words"} <= set(settings):
        raise DeployError(f"The policy's text encoder {settings} is not known here; {HASHED!r} is. {AGAIN}")
    return HashedText(int(settings["dim"]), int(settings["max_words"]))
