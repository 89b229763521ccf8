"""Laws of the views that an encoder learns from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError, save_tensors
from argos_wm.data.views import VISIBLE_PIXELS, EncoderViews, seen_blocks


def views(trajectories: int = 10, frames: int = 4) -> EncoderViews:
    """States written frame by frame over all trajectories, as the simulator does."""
    count = trajectories * frames
    index = torch.arange(count).view(frames, trajectories)
    image, flat = torch.zeros(count, 3, 8, 8, dtype=torch.uint8), torch.zeros(count, 8, 8, dtype=torch.uint8)
    joints = torch.arange(float(count))[:, None].repeat(1, 6)
    pairs = torch.stack([index[:-2], index[2:]], -1).flatten(0, 1)
    trajectory = torch.arange(trajectories).repeat(frames)
    return EncoderViews(image, image, flat, flat, image, flat, joints, torch.zeros(count, 3, 3), pairs, trajectory)


def test_no_trajectory_is_both_trained_on_and_measured_on() -> None:
    train, test = views().split(0.2)
    assert len(train) == 32 and len(test) == 8
    assert not set(train.trajectory.tolist()) & set(test.trajectory.tolist())


def test_pairs_follow_their_states() -> None:
    for part in views().split(0.3):
        first, second = part.pairs.unbind(1)
        assert len(part.pairs) == len(part) // 2
        assert torch.equal(part.trajectory[first], part.trajectory[second])
        # The joint is the state's place in the whole: two frames of ten trajectories lie between.
        assert (part.joints[second] - part.joints[first] == 20).all()


def test_a_block_is_seen_from_a_number_of_pixels() -> None:
    classes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    classes[0, 0, :VISIBLE_PIXELS] = 2
    classes[0, 1, : VISIBLE_PIXELS - 1] = 4
    assert seen_blocks(classes).tolist() == [[True, False, False]]


def test_a_saved_file_is_read_back_and_an_incomplete_one_is_refused(tmp_path: Path) -> None:
    whole = views()
    tensors = {f.name: getattr(whole, f.name) for f in fields(whole)}
    save_tensors(tmp_path / "views.safetensors", tensors)
    assert torch.equal(EncoderViews.load(tmp_path / "views.safetensors").joints, whole.joints)
    save_tensors(tmp_path / "views.safetensors", {k: v for k, v in tensors.items() if k != "classes"})
    with pytest.raises(CheckpointError, match="lacks classes"):
        EncoderViews.load(tmp_path / "views.safetensors")
