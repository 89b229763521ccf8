"""dino.txt through torch.hub from a local checkout; a stand-in has the same entry, tokenizer and shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.encoders.dino_txt import ENTRY
from argos_wm.encoders.text import load_text_encoder

HUBCONF = f"""
import torch
dependencies = ["torch"]


class Tokenizer:
    def __init__(self, words):
        self.words = words.split()

    def tokenize(self, texts):
        ids = torch.zeros(len(texts), 77, dtype=torch.long)
        for i, text in enumerate(texts):
            said = [50, *(1 + self.words.index(word) for word in text.split()), 51]
            ids[i, : len(said)] = torch.tensor(said)
        return ids


class Model(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.text_model = torch.nn.Module()
        self.text_model.backbone = torch.nn.Embedding.from_pretrained(table)


def {ENTRY}(pretrained=True, weights=None, backbone_weights=None, bpe_path_or_url=None):
    torch.load(backbone_weights)
    return Model(torch.load(weights)["table"]), Tokenizer(open(bpe_path_or_url).read())
"""


def checkout(folder: Path, weights: object) -> str:
    (folder / "dinov3").mkdir(parents=True)
    (folder / "dinov3" / "hubconf.py").write_text(HUBCONF)
    (folder / "bpe.txt").write_text("touch the red block")
    torch.save(weights, folder / "txt.pth")
    torch.save({}, folder / "vit.pth")
    places = {"repository": "dinov3", "weights": "txt.pth", "backbone_weights": "vit.pth", "vocabulary": "bpe.txt"}
    (folder / "dinotxt.json").write_text(json.dumps({k: str(folder / v) for k, v in places.items()}))
    return f"dinotxt:{folder / 'dinotxt.json'}"


def test_tokens_come_with_their_padding_masked(tmp_path: Path) -> None:
    table = torch.randn(52, 20)
    encoder = load_text_encoder(checkout(tmp_path, {"table": table}))
    assert encoder(["block", ""]).mask.any(1).tolist() == [True, False]
    features = encoder(["touch the red block", "block"])
    assert encoder.dim == 20 and features.tokens.shape == (2, 77, 20)
    assert features.mask.sum(1).tolist() == [6, 3]
    assert torch.equal(features.tokens[1, :3], table[[50, 4, 51]]) and not features.tokens[1, 3:].any()
    assert load_text_encoder(encoder.name).name == encoder.name


class Stranger:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


def test_weights_are_read_as_tensors_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_text_encoder(checkout(tmp_path, {"table": Stranger()}))
    assert "unpickled" not in capsys.readouterr().out


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    name = checkout(tmp_path, {"table": torch.zeros(2, 2)})
    (tmp_path / "vit.pth").unlink()
    with pytest.raises(CheckpointError, match="backbone_weights is, and"):
        load_text_encoder(name)
    with pytest.raises(CheckpointError):
        load_text_encoder(f"dinotxt:{tmp_path / 'nowhere.json'}")
