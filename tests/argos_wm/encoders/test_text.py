"""Laws of the text encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.encoders.text import HashedNGramEncoder, TransformersTextEncoder, load_text_encoder


def test_hashed_words_are_stable_and_apart() -> None:
    encoder = HashedNGramEncoder()
    features = encoder(["touch the red block", "Touch the RED block!", "", "a " * 40])
    assert features.tokens.shape == (4, 16, 64) and features.mask.sum(1).tolist() == [4, 4, 0, 16]
    assert torch.equal(features.tokens[0], features.tokens[1])
    # Written down once: a change of the hash would silently make every shipped planner deaf.
    assert features.tokens[0, 2, :4].sign().tolist() == [0.0, -1.0, -1.0, 1.0]
    words = encoder(["red green blue block blocks"]).tokens[0, :5]
    cosine = torch.nn.functional.cosine_similarity(words[:, None], words[None], dim=-1)
    assert cosine[:3, :3].triu(1).abs().max() < 0.5 < cosine[3, 4]
    assert torch.allclose(words.square().mean(-1), torch.ones(5))


def test_any_transformers_text_model_serves(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "touch", "the", "red", "block"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    encoder = load_text_encoder(str(tmp_path))
    assert encoder(["touch", "", " "]).mask.any(1).tolist() == [True, False, False], (
        "nothing said is the null condition"
    )
    features = encoder(["touch the red block", "touch"])
    assert encoder.dim == 16 and features.tokens.shape == (2, 6, 16) and features.mask.sum(1).tolist() == [6, 3]
    assert torch.allclose(features.tokens[1, :3], encoder(["touch"]).tokens[0], atol=1e-5)


def test_the_text_half_of_a_two_tower_model_serves(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.CLIPConfig(
        text_config=small | {"vocab_size": 6, "eos_token_id": 3},
        vision_config=small | {"image_size": 8, "patch_size": 4},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    assert TransformersTextEncoder(str(tmp_path))(["red"]).tokens.shape == (1, 3, 16)


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="hf download"):
        load_text_encoder(str(tmp_path / "nothing"))
