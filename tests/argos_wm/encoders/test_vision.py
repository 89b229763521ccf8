"""Laws of the vision encoders; DINO's real classes with small random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
)

from argos_wm.checkpoint import CheckpointError
from argos_wm.encoders.vision import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    DINOv3Encoder,
    SmallViT,
    SmallViTConfig,
    _PatchProduct,
    build_vision_encoder,
    linear_gelu,
    load_vision_encoder,
)

SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def pictures(size: int = 64, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def dinov3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dinov3")
    torch.manual_seed(0)
    DINOv3ViTModel(DINOv3ViTConfig(**SIZES, num_register_tokens=4, patch_size=16)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    sizes = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
    config = Dinov2WithRegistersConfig(**sizes, num_register_tokens=4, patch_size=14, image_size=56)
    Dinov2WithRegistersModel(config).save_pretrained(folder)
    return folder


def test_dinov3_keeps_only_patches(dinov3: Path) -> None:
    encoder = load_vision_encoder(dinov3, image_size=64)
    assert isinstance(encoder, DINOv3Encoder)
    latents = encoder(pictures())
    assert (encoder.rows, encoder.cols, encoder.channels) == (4, 4, 32)
    assert latents.shape == (3, 16, 32) and latents.dtype == torch.float32
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = (pictures().float() / 255.0 - mean) / std
    with torch.no_grad():
        hidden = encoder.model(pixel_values=pixels).last_hidden_state
    assert hidden.shape[1] == 1 + 4 + 16
    assert torch.allclose(latents, hidden[:, 5:], atol=1e-5)


def test_cls_can_be_kept_beside_every_patch(dinov3: Path) -> None:
    plain, encoder = load_vision_encoder(dinov3, 64), load_vision_encoder(dinov3, 64, keep_cls=True)
    latents = encoder(pictures())
    assert encoder.channels == 64 and latents.shape == (3, 16, 64)
    assert torch.equal(latents[..., :32], plain(pictures()))
    assert torch.equal(latents[:, 0, 32:], latents[:, 9, 32:]) and not torch.equal(
        latents[0, 0, 32:], latents[1, 0, 32:]
    )
    again = build_vision_encoder(encoder.settings())
    assert torch.equal(again(pictures()), latents)


def test_dinov2_with_registers_goes_through_the_same_class(dinov2: Path) -> None:
    encoder = load_vision_encoder(dinov2, image_size=56)
    assert encoder(pictures(56)).shape == (3, 16, 32)


def test_dinov3_is_frozen(dinov3: Path) -> None:
    encoder = load_vision_encoder(dinov3, image_size=64)
    encoder.train()
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(m.training for m in encoder.modules())
    assert not encoder(pictures()).requires_grad


def test_pictures_of_another_size_are_resized(dinov3: Path) -> None:
    encoder = load_vision_encoder(dinov3, image_size=32)
    assert encoder(pictures(96)).shape == (3, 4, 32)


def test_a_size_that_the_patches_do_not_divide_is_refused(dinov3: Path) -> None:
    with pytest.raises(ValueError, match="patches of 16 pixels.*image_size 72.*use 64"):
        load_vision_encoder(dinov3, image_size=72)


def test_absent_weights_are_answered_with_the_command_that_gets_them() -> None:
    with pytest.raises(CheckpointError, match="hf download facebook/dinov3-vits16-pretrain-lvd1689m"):
        load_vision_encoder("facebook/dinov3-vits16-pretrain-lvd1689m", 64)


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not hold a transformers vision model"):
        load_vision_encoder(tmp_path)
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a vision transformer"):
        load_vision_encoder(tmp_path)


def test_small_vit_is_small_and_standardised_while_trained() -> None:
    encoder = SmallViT()
    assert 3e5 < sum(p.numel() for p in encoder.parameters()) < 8e5
    latents = encoder.train()(pictures(count=32))
    assert latents.shape == (32, encoder.rows * encoder.cols, encoder.channels) == (32, 16, 16)
    assert latents.mean(0).abs().max() < 1e-3
    assert (latents.std(0, unbiased=False) - 1).abs().max() < 0.05


def test_small_vit_tells_where_things_are() -> None:
    encoder = SmallViT().eval()
    images = pictures(count=1)
    assert not torch.allclose(encoder(images), encoder(images.flip(-1)), atol=1e-3)


def test_small_vit_pictures_do_not_mix_in_evaluation() -> None:
    encoder, images = SmallViT().eval(), pictures(count=4)
    assert torch.allclose(encoder(images)[2:3], encoder(images[2:3]), atol=1e-4)


def test_settings_make_the_same_network_again() -> None:
    encoder = SmallViT(SmallViTConfig(image_size=32, stem=(8, 16), width=32, depth=1, channels=4))
    again = build_vision_encoder(encoder.settings())
    again.load_state_dict(encoder.state_dict())
    assert again.rows == 4
    assert torch.equal(again.eval()(pictures(32)), encoder.eval()(pictures(32)))


def test_small_vit_refuses_a_size_that_its_patches_do_not_divide() -> None:
    with pytest.raises(ValueError, match="72 is not a multiple of its patch of 16"):
        SmallViTConfig(image_size=72)


@pytest.mark.parametrize("kind", ["dinov3", "dinov2"])
def test_accelerated_latents_differ_by_rounding(kind: str, request: pytest.FixtureRequest) -> None:
    folder, size = request.getfixturevalue(kind), 64 if kind == "dinov3" else 56
    encoder, images = load_vision_encoder(folder, size), pictures(size)
    before = encoder(images)
    with torch.compiler.set_stance("force_eager"):  # what is compiled is the compiler's affair
        encoder.accelerate()
        assert not any(isinstance(module, torch.nn.Conv2d) for module in encoder.modules())
        after = encoder(images)
    assert after.dtype == torch.float32 and not torch.equal(after, before)
    assert (after - before).square().mean().sqrt() < 0.02 * before.std()


def test_patches_are_embedded_as_by_the_convolution() -> None:
    convolution, images = torch.nn.Conv2d(3, 8, 4, stride=4), torch.randn(2, 3, 12, 8)
    assert torch.allclose(_PatchProduct(convolution)(images), convolution(images), atol=1e-5)


def test_a_linear_layer_and_its_gelu_are_one_product() -> None:
    linear, x = torch.nn.Linear(8, 16), 3 * torch.randn(4, 5, 8)
    found = linear_gelu(x, linear.weight, linear.bias)
    assert torch.allclose(found, torch.nn.functional.gelu(linear(x)), atol=1e-3)
    torch.library.opcheck(linear_gelu, (x, linear.weight.detach(), linear.bias.detach()), test_utils="test_faketensor")
