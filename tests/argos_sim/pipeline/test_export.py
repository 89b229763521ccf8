"""Laws of the stage ``export`` beside the whole of it (``test_smoke.py``): which text encoders leave with a policy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.pipeline.export import text_of
from argos_sim.pipeline.settings import Settings
from argos_sim.traced_text import TextError
from argos_wm.encoders.text import HashedNGramEncoder, TextEncoder, TextFeatures
from tests.argos_sim.deploy.test_text import bert, loaded


def planner(encoder: TextEncoder) -> Any:
    return SimpleNamespace(text_encoder=encoder)


def test_hashed_words_need_no_network() -> None:
    said, text = text_of(Settings(), planner(HashedNGramEncoder()))
    assert said == {"kind": "hashed-ngram", "dim": 64, "max_words": 16} and text is None


def test_a_model_of_transformers_is_compared_on_all_phrasings_of_the_task(tmp_path: Path) -> None:
    said, text = text_of(Settings(), planner(loaded(bert, tmp_path)))
    assert text is not None and said == text.settings and said["kind"] == "tokenized" and said["pad_id"] is None
    assert {"touch the red block", "put your finger on the blue one"} < set(text.texts)
    assert len(text.traced.inputs["input_ids"]) == len(text.texts)


def test_another_is_refused_with_its_reason() -> None:
    class Other(TextEncoder):
        name, dim = "other", 4

        def __call__(self, texts: Any) -> TextFeatures:
            raise NotImplementedError

    with pytest.raises(TextError, match="other is no text model of transformers"):
        text_of(Settings(), planner(Other()))
