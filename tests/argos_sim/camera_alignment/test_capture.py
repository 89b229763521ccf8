"""Laws of pictures that a hand takes: of a limp arm that rests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from argos_sim.camera_alignment.capture import by_hand
from argos_sim.deploy.manifest import PolicyManifest
from tests.argos_sim.camera_alignment.arms import GRAVITY, HeavyArm


@pytest.fixture
def bare(manifest: PolicyManifest) -> PolicyManifest:
    """Without a body: the stand-in's fingertip is nowhere."""
    return replace(manifest, body=None, joint_limits=((-1.0, 1.0),) * len(manifest.joint_names))


def test_a_hand_takes_pictures_and_touches_corners(bare: PolicyManifest) -> None:
    robot, asked = HeavyArm(bare.joint_names), []

    def ask(text: str) -> str:
        asked.append(text)
        robot.position = np.full(6, 0.1 * len(asked))
        robot.velocity[:] = 0.0
        robot.torque[:] = GRAVITY
        return "s" if "corner C" in text else ""

    recording = by_hand(robot, bare, 2, ask, ("A", "B", "C", "D"))
    np.testing.assert_allclose(recording.joints[:, 0], [0.1, 0.2], atol=0.01)
    assert list(recording.touches) == ["A", "B", "D"] and recording.placed == "01.png"
    np.testing.assert_allclose(recording.touches["D"], 0.6, atol=0.01)


def test_a_posture_in_which_a_limp_arm_does_not_rest_is_taken_again(bare: PolicyManifest) -> None:
    robot, asked = HeavyArm(bare.joint_names), []

    def ask(text: str) -> str:
        asked.append(text)
        robot.velocity[:] = 0.0
        robot.torque[:] = GRAVITY
        if len(asked) == 1:
            robot.torque[3] = 0.0  # nothing bears this joint
        return ""

    recording = by_hand(robot, bare, 1, ask)
    assert len(asked) == 2 and asked[1].startswith(f"{bare.joint_names[3]} moved by 0.") and "prop the arm" in asked[1]
    assert len(recording.pictures) == 1
