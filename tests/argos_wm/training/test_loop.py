"""Laws of the training loop: resuming equals not having stopped, and bad runs say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from argos_wm.checkpoint import CheckpointError
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import CHECKPOINT, Forward, LoopConfig, fit, learning_rate

CFG = LoopConfig(steps=12, learning_rate=1e-2, warmup_steps=3, ema_decay=0.9, checkpoint_every=5, log_every=2)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def train(out: Path, stop_at: int | None = None, cfg: LoopConfig = CFG, nan_at: int | None = None) -> nn.Module:
    module = network()

    def loss_fn(forward: Forward, step: int) -> dict[str, Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 3)
        loss = (forward(x).squeeze(-1) - x.sum(-1)).square().mean()
        return {"loss": loss * float("nan") if step == nan_at else loss, "extra": loss.detach()}

    return fit(module, loss_fn, cfg, out, RunLogger(out), "toy")


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_resuming_equals_not_having_stopped(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_at=8)
    assert same(train(tmp_path / "cut"), whole)
    rows = [json.loads(row) for row in (tmp_path / "cut" / "curves.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert {"toy/loss", "toy/extra", "toy/steps_per_s"} <= set(rows[0])


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    assert same(train(tmp_path), train(tmp_path, stop_at=0))


def test_the_seed_matters(tmp_path: Path) -> None:
    other = train(tmp_path / "b", cfg=LoopConfig(**{**CFG.__dict__, "seed": 1}))
    assert not same(train(tmp_path / "a"), other)


def test_the_averaged_weights_come_back(tmp_path: Path) -> None:
    plain = LoopConfig(**{**CFG.__dict__, "ema_decay": 0.0})
    averaged, last = train(tmp_path / "a"), train(tmp_path / "b", cfg=plain)
    assert not same(averaged, last)
    assert not averaged.training and not last.training


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(CheckpointError, match="steps=12.*steps=13"):
        train(tmp_path, cfg=LoopConfig(**{**CFG.__dict__, "steps": 13}))


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cut off"):
        train(tmp_path)


def test_a_loss_that_is_not_finite_names_its_step(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="toy, step 4"):
        train(tmp_path, nan_at=4)


def test_two_micro_batches_are_one_batch_of_both(tmp_path: Path) -> None:
    plain = LoopConfig(**{**CFG.__dict__, "ema_decay": 0.0, "steps": 4, "batch_size": 8, "grad_clip": 1e9})
    rows = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))

    def train_on(parts: int) -> nn.Module:
        torch.manual_seed(1)
        module = nn.Linear(3, 1)

        def loss_fn(forward: Forward, number: int) -> dict[str, Tensor]:
            step, part = divmod(number, parts)
            x = rows[step].chunk(parts)[part]
            return {"loss": (forward(x).squeeze(-1) - x.sum(-1)).square().mean()}

        cfg = LoopConfig(**{**plain.__dict__, "micro_batches": parts})
        trained = fit(module, loss_fn, cfg, tmp_path / str(parts), RunLogger(tmp_path / str(parts)), "toy")
        # Adam's steps do not tell how large gradients are; what it keeps of them does.
        kept.append(load_file(tmp_path / str(parts) / CHECKPOINT))
        return trained

    kept: list[dict[str, Tensor]] = []
    one, two = train_on(1), train_on(2)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    moments = [name for name in kept[0] if "exp_avg" in name]
    assert moments and all(torch.allclose(kept[0][name], kept[1][name], rtol=1e-4, atol=1e-7) for name in moments)
    with pytest.raises(ValueError, match="micro-batches of equal size"):
        LoopConfig(batch_size=8, micro_batches=3)


def test_gradients_are_clipped_and_only_matrices_decay(tmp_path: Path) -> None:
    def moved(**settings: float) -> tuple[nn.Linear, dict[str, Tensor]]:
        torch.manual_seed(0)
        module, out = nn.Linear(3, 1), tmp_path / str(len(list(tmp_path.iterdir())))
        nn.init.ones_(module.bias)
        cfg = LoopConfig(steps=1, warmup_steps=0, learning_rate=1e-2, ema_decay=0.0, **settings)  # pyright: ignore
        factor = settings.pop("factor", 1.0)

        def loss_fn(forward: Forward, step: int) -> dict[str, Tensor]:
            return {"loss": 1e3 * factor * forward(torch.ones(4, 3)).mean()}

        fit(module, loss_fn, cfg, out, RunLogger(out), "toy")
        return module, load_file(out / CHECKPOINT)

    (_, clipped), (_, whole) = moved(grad_clip=0.5), moved(grad_clip=1e9)
    norms = [
        sum(float(v.square().sum()) for name, v in kept.items() if name.endswith("exp_avg")) ** 0.5
        for kept in (clipped, whole)
    ]
    # The first moment after one step is a tenth of the gradient.
    assert norms[0] == pytest.approx(0.05, rel=1e-3) and norms[1] == pytest.approx(0.1 * 2e3, rel=1e-3)
    (light, _), (heavy, _) = moved(weight_decay=0.0), moved(weight_decay=0.5)
    assert torch.equal(light.bias, heavy.bias) and not torch.equal(light.weight, heavy.weight)


def test_a_loss_without_bounds_is_found_though_its_gradient_has_them(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()

    def loss(forward: Forward, number: int) -> dict[str, Tensor]:
        return {"loss": forward(torch.ones(4, 2)).mean() + torch.inf}

    with pytest.raises(FloatingPointError, match="step 0: the loss is inf"):
        fit(module, loss, LoopConfig(steps=2, batch_size=4), tmp_path, RunLogger(tmp_path), "toy")
    assert torch.equal(module.weight, before)


def test_a_nan_in_the_first_part_of_a_batch_is_found(tmp_path: Path) -> None:
    cfg = LoopConfig(steps=3, batch_size=4, micro_batches=2)
    module = nn.Linear(3, 1)

    def loss_fn(forward: Forward, number: int) -> dict[str, Tensor]:
        loss = forward(torch.ones(2, 3)).mean()
        return {"loss": loss * float("nan") if number == 2 else loss}

    with pytest.raises(FloatingPointError, match="step 1"):
        fit(module, loss_fn, cfg, tmp_path, RunLogger(tmp_path), "toy")
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, CFG) for step in range(CFG.steps)]
    assert rates[2] == CFG.learning_rate and rates == sorted(rates[:3]) + sorted(rates[3:], reverse=True)


def test_dropping_rows_leaves_other_stages_alone(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    logger.log({"encoder/loss": 1.0}, 9)
    logger.log({"planner/loss": 1.0}, 3)
    logger.log({"planner/loss": 1.0}, 9)
    logger.drop_after(3, "planner/")
    assert len(logger.path.read_text().splitlines()) == 2


def test_an_unknown_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="paper"):
        RunLogger(tmp_path, "paper")  # pyright: ignore[reportArgumentType]
