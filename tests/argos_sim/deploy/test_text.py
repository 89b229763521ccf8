"""Laws of text models on a robot: what they read is what transformers reads, from data alone.

The real classes of transformers, tokenizers and models, with vocabularies made here and small random weights.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers

from argos_sim.deploy.export import export_policy
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.planning import PlanningProcess
from argos_sim.deploy.text import TokenizedText, load_text
from argos_sim.traced import traced_controller
from argos_sim.traced_text import ODD_TEXTS, ExportedText, TextError, exported_text
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder, TransformersTextEncoder
from argos_wm.world_model import WorldModel
from tests.argos_sim.deploy.test_runtime import MANIFEST, StandIn, tensors
from tests.argos_sim.deploy.tiny import TEXTS, moments

classes: Any = transformers  # whose annotations are narrower than what the classes take
WIDTH = HashedNGramEncoder().dim  # of the words that the tiny planner reads
SMALL: dict[str, Any] = {
    "hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2
}  # fmt: skip
TOWER: dict[str, Any] = {**SMALL, "image_size": 8, "patch_size": 4}
LETTERS = list("abcdefghijklmnopqrstuvwxyz.,'")


def bert(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "touch", "the", "red", "block", "##s", "a", "##b", "."]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=12, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)


def clip(folder: Path) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{x}</w>" for x in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: i for i, token in enumerate(tokens)}
    tokenizer = classes.CLIPTokenizer(vocab=numbers, merges=[("r", "e"), ("re", "d</w>")], model_max_length=20)
    tokenizer.save_pretrained(folder)
    begin, end = numbers["<|startoftext|>"], numbers["<|endoftext|>"]
    text = SMALL | {"vocab_size": len(tokens), "max_position_embeddings": 20, "bos_token_id": begin}
    config = transformers.CLIPConfig(
        text_config=text | {"eos_token_id": end, "pad_token_id": end}, vision_config=TOWER, projection_dim=8
    )
    transformers.CLIPModel(config).save_pretrained(folder)


def t5(folder: Path) -> None:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary = [*special, *((x, -3.0) for x in LETTERS), ("▁red", -1.0), ("▁block", -1.0)]
    transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(folder)
    config = classes.T5Config(
        vocab_size=40, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    transformers.T5Model(config).save_pretrained(folder)


def siglip(folder: Path, **options: Any) -> None:
    """Padded on its left to one length, as SigLIP 2 was trained."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁"]
    tokens = [*special, *LETTERS, *(f"<0x{i:02X}>" for i in range(256)), "re", "red"]
    numbers = {token: i for i, token in enumerate(tokens)}
    classes.Siglip2Tokenizer(
        vocab=numbers, merges=[("r", "e"), ("re", "d")], model_max_length=64, **options
    ).save_pretrained(folder)
    text = SMALL | {"vocab_size": len(tokens), "max_position_embeddings": 16, "pad_token_id": 0}
    config = transformers.SiglipConfig(text_config=text | {"bos_token_id": 2, "eos_token_id": 1}, vision_config=TOWER)
    transformers.SiglipModel(config).save_pretrained(folder)


def maskless(folder: Path) -> None:
    """As the first SigLIP: the model is told of no mask."""
    siglip(folder, model_input_names=["input_ids"])


def loaded(make: Callable[[Path], None], folder: Path) -> TransformersTextEncoder:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    make(folder)
    return TransformersTextEncoder(str(folder))


def add(text: ExportedText, manifest: PolicyManifest, policy: Path, folder: Path) -> Path:
    """The policy with another text encoder."""
    assert manifest.planner is not None
    copy = Path(shutil.copytree(policy, folder / "whole"))
    planner = replace(manifest.planner, text=text.settings)
    made = export_policy(
        [traced_controller(StandIn(), tensors(2, 0)), text.traced],
        replace(MANIFEST, planner=planner), folder / "text", text=text,
    )  # fmt: skip
    for name in ("text.onnx", "tokenizer.json"):
        shutil.copy(folder / "text" / name, copy)
    both = replace(manifest, planner=planner, networks=manifest.networks | {"text": made.networks["text"]})
    (copy / "policy.yaml").write_text(both.to_yaml())
    return copy


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> ExportedText:
    return exported_text(loaded(bert, tmp_path_factory.mktemp("bert")), TEXTS)


@pytest.fixture(scope="module")
def with_text(words: ExportedText, policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add(words, read_manifest(policy), policy, tmp_path_factory.mktemp("with_text"))


class Torch:
    """The network in torch, for tokenizers without an export."""

    def __init__(self, text: ExportedText) -> None:
        self.module = text.traced.module

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert set(inputs) == set(self.names), "what the model takes"
        with torch.no_grad():
            return [self.module(**{name: torch.from_numpy(x) for name, x in inputs.items()}).numpy()]

    names: tuple[str, ...] = ("input_ids", "attention_mask")


@pytest.mark.parametrize("make", [bert, clip, t5, siglip, maskless])
def test_every_kind_of_model_reads_every_text_as_in_transformers(make: Callable[[Path], None], tmp_path: Path) -> None:
    encoder = loaded(make, tmp_path)
    text = exported_text(encoder, TEXTS)
    network: Any = Torch(text)
    network.names = tuple(text.traced.inputs)
    assert (text.pad_id is None) == ("attention_mask" in network.names) == (make is not maskless)
    reads = TokenizedText(network, Tokenizer.from_buffer(text.tokenizer), encoder.dim, text.pad_id)
    for said in (*TEXTS, *ODD_TEXTS, "touch the blue block, " * 5):
        tokens, there = reads(said)
        wanted = encoder([said])
        np.testing.assert_allclose(tokens[there], wanted.tokens[wanted.mask].numpy(), atol=1e-4, err_msg=repr(said))
        assert there.any() == bool(said.strip()) and len(there) <= encoder.max_tokens
        assert not there.any() or np.array_equal(there, wanted.mask[0].numpy())
        assert not tokens[~there].any(), "padding is zero"


def test_the_exported_network_is_the_encoder(with_text: Path, words: ExportedText) -> None:
    manifest = read_manifest(with_text)
    reads, network = load_text(with_text, manifest), manifest.networks["text"]
    assert network.inputs["input_ids"] == ("N", "tokens") and network.difference < 1e-4
    for said in (*words.texts, "red", "red " * 9):
        wanted = words.encoder([said])
        tokens, there = reads(said)
        np.testing.assert_allclose(tokens[there], wanted.tokens[wanted.mask].numpy(), atol=1e-4)


def test_the_planner_plans_as_the_world_model_does_with_it(
    with_text: Path, words: ExportedText, encoder: StateEncoder, model: WorldModel
) -> None:
    manifest = read_manifest(with_text)
    assert manifest.planner is not None
    cfg, runtime, (history, known) = manifest.planner, PlannerRuntime(with_text, manifest), moments(encoder, 1)
    drawn = {}
    for said in TEXTS:
        rng = np.random.default_rng(7)
        shapes = ((1, encoder.spec.patches, 4), (1, 8))
        noise = [torch.from_numpy(cfg.temperature * rng.standard_normal(s, dtype=np.float32)) for s in shapes]
        wanted = model.sample(
            history, known, words.encoder([said]), torch.tensor([0.6]),
            noise=(noise[0] / cfg.temperature, noise[1] / cfg.temperature), steps=cfg.steps, solver="heun",
            temperature=cfg.temperature,
        )  # fmt: skip
        given = (history.vision[0].numpy(), history.proprio[0].numpy(), known[0].numpy())
        drawn[said], _ = runtime.next_state(*given, said, 0.6, np.random.default_rng(7))
        np.testing.assert_allclose(drawn[said], wanted.vision[0].numpy(), atol=1e-3)
    assert np.abs(drawn[TEXTS[0]] - drawn[TEXTS[1]]).max() > 1e-2, "words matter"


def test_the_planners_process_reads_with_it_and_refuses_what_is_too_long(
    with_text: Path, encoder: StateEncoder
) -> None:
    manifest = read_manifest(with_text)
    planning, (history, known) = PlanningProcess(with_text, manifest), moments(encoder, 1)
    try:
        given = (history.vision[0].numpy(), history.proprio[0].numpy(), known[0].numpy())
        with pytest.raises(ValueError, match="at most 512 bytes"):
            planning.ask(*given, "touch " * 100, 0.8, 0.0)
        planning.ask(*given, "touch the red block", 0.8, 0.0)
        target = None
        for _ in range(600):
            if (target := planning.target()) is not None or not planning.alive():
                break
            time.sleep(0.05)
        assert target is not None and np.isfinite(target[1]["vision"]).all()
    finally:
        planning.close()


def test_a_tokenizer_that_is_missing_or_anothers_is_refused(
    with_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(with_text, tmp_path / "policy"))
    manifest, path = read_manifest(copy), copy / "tokenizer.json"
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DeployError, match="needs the package tokenizers, which is not installed"):
        PlannerRuntime(copy, manifest)
    monkeypatch.undo()
    path.write_text(path.read_text().replace("touch", "couch"))
    with pytest.raises(DeployError, match="tokenizer.json is not the tokenizer that policy.yaml describes"):
        PlannerRuntime(copy, manifest)
    path.unlink()
    for starts in (PlannerRuntime, PlanningProcess):
        with pytest.raises(DeployError, match="tokenizer.json is missing"):
            starts(copy, manifest)


def test_what_is_code_or_reads_otherwise_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="hashed-ngram is no text model of transformers"):
        exported_text(HashedNGramEncoder(), TEXTS)
    encoder = loaded(bert, tmp_path)

    class Shouting(transformers.BertTokenizer):
        """Does something in Python that its data does not tell of."""

        def __call__(self, text: Any, *args: Any, **options: Any) -> Any:
            return super().__call__([f"{x} red" for x in text], *args, **options)

    right, encoder.tokenizer = encoder.tokenizer, Shouting(str(tmp_path / "vocab.txt"))
    with pytest.raises(TextError, match="reads 'touch the red block' otherwise from tokenizer.json"):
        exported_text(encoder, TEXTS)

    class Python(classes.PythonBackend):
        """A tokenizer in Python alone."""

        vocab_size = 1

        def get_vocab(self) -> dict[str, int]:
            return {"<unk>": 0}

    encoder.tokenizer = Python()
    with pytest.raises(TextError, match=r"has a Python, which is code, and not a tokenizer\.json"):
        exported_text(encoder, TEXTS)
    encoder.tokenizer = right
    assert exported_text(encoder, TEXTS).tokenizer


def test_an_export_that_reads_otherwise_is_refused(with_text: Path, words: ExportedText, tmp_path: Path) -> None:
    manifest = read_manifest(with_text)
    words.verify(with_text, manifest)
    other = loaded(bert, tmp_path)
    other.model.embeddings.word_embeddings.weight.data += 1e-2 * torch.randn(13, WIDTH)
    with pytest.raises(DeployError, match="exported text encoder reads 'touch the red block' otherwise"):
        replace(words, encoder=other).verify(with_text, manifest)
