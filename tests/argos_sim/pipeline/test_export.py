"""Laws of the stage ``export`` beside the whole of it (``test_smoke.py``): what leaves with a policy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.controller.network import load_controller
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.export import adapted_weights, eyes_of, text_of
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stage import RECORD
from argos_sim.precision import ExportConfig
from argos_sim.traced_text import TextError
from argos_wm.checkpoint import CheckpointError, save_json, save_tensors, weights_hash
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder, TextEncoder, TextFeatures
from argos_wm.world_model import WorldModel
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


def test_an_adapted_controller_is_exported_with_what_it_looks_through(tmp_path: Path) -> None:
    def settings(adapted: str) -> Settings:
        return Settings(run_dir=str(tmp_path), export=ExportConfig(adapted=adapted))

    shift, weights = tmp_path / "adapt" / "camera", Weights.of(PRETRAINED)
    numbers = torch.tensor([0.5, 0, 0.25, 0, 0, -0.125, 0, 0])
    for name, eyes in (("protected.0", numbers), ("protected.1", torch.zeros(8))):
        save_tensors(shift / name / "eyes.safetensors", {"numbers": eyes})
    with pytest.raises(CheckpointError, match=r"'adapt.camera' has not finished .* scripts/adapt.py camera"):
        adapted_weights(settings("camera/protected.0"), weights)
    save_json(shift / RECORD, {"name": "adapt.camera", "fingerprint": "f", "figures": {}})
    spec = StateEncoder.load(weights.encoder).spec
    hashes = {
        "controller": weights_hash(load_controller(weights.controller, spec, "the encoder")),
        "planner": weights_hash(WorldModel.load(weights.planner)),
    }
    before = {"name": "adapt.before", "fingerprint": "b", "figures": {}}
    save_json(tmp_path / "adapt" / "before" / RECORD, before | {"made_from": hashes | {"planner": "of before"}})
    with pytest.raises(SettingsError, match="adapted other weights than there are now"):
        adapted_weights(settings("camera/protected.0"), weights)
    save_json(tmp_path / "adapt" / "before" / RECORD, before | {"made_from": hashes})
    found, made_from = adapted_weights(settings("camera/protected.0"), weights)
    assert (found.controller, found.planner, made_from) == (shift / "protected.0", weights.planner, "f")
    assert eyes_of(found.controller) == tuple(numbers.tolist())
    assert eyes_of(shift / "protected.1") == eyes_of(weights.controller) == ()
    with pytest.raises(SettingsError, match="'payload/protected.0', and .* has camera/protected.0, camera/protected.1"):
        adapted_weights(settings("payload/protected.0"), weights)
