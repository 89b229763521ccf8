"""Laws of matching the arm: outlines move as is computed, a hidden camera is found, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from argos_sim.camera_alignment.edges import Edges, Field, derivatives
from argos_sim.camera_alignment.foreground import foreground
from argos_sim.camera_alignment.found import KnownLens, apart, trained_camera
from argos_sim.camera_alignment.matching import MatchingSettings, jackknife, match
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.report import doubt
from argos_sim.camera_alignment.silhouette import MOVING, ArmModel, signed_distance
from argos_sim.camera_alignment.trials import WIDE, arm_recording
from argos_sim.camera_alignment.unknowns import DISTORTION, JOINTS, State
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import WANTED
from argos_sim.mujoco_c.world import World
from tests.argos_sim.camera_alignment.conftest import SMALL

QUICK = MatchingSettings(starts=1)


@pytest.fixture(scope="module")
def arm(world: World) -> ArmModel:
    return ArmModel(world)


def test_a_hidden_camera_is_found(seen: tuple[Recording, Pinhole], arm: ArmModel, world: World) -> None:
    recording, hidden = seen
    trained = trained_camera(world, 240, 320)
    found = match(recording, arm, trained)
    far, angle = apart(found.camera, hidden)
    before, _ = apart(trained, hidden)
    assert before > 0.02 and far < 0.012 and np.degrees(angle) < 1.0
    assert abs(found.camera.focal / hidden.focal - 1) < 0.02
    aside = np.linalg.norm(np.subtract(found.camera.offset, hidden.offset))
    assert aside < 0.6 * np.linalg.norm(hidden.offset), "and the principal point, as far as it can be"
    assert (found.middle_interval < 7.5).all() and (found.middle_interval > 0).all()
    assert found.error["overlap"] > 0.8 and found.error["outline_px"] < 0.5
    assert 0 < found.position_interval.max() < 0.03 and not found.bounded


def test_a_wide_lens_that_is_bent_much_is_found(arm: ArmModel, world: World) -> None:
    """k₁ is twice that of any lens of training's. So small a picture tells little of k₂, and that is told."""
    recording, hidden = arm_recording(world, replace(SMALL, **WIDE | {"principal_point": 5.0}), 3)
    found = match(recording, arm, trained_camera(world, 240, 320))
    assert hidden.distortion < -0.12 < found.camera.distortion + 0.015 and not found.camera.folds
    assert abs(found.camera.distortion - hidden.distortion) < 0.015
    assert abs(found.camera.focal / hidden.focal - 1) < 0.01
    assert apart(found.camera, hidden)[0] < 0.008
    assert found.bounded == ("distortion",) and "distortion ended on the bound" in doubt(found)


def test_a_lens_that_is_known_is_kept(seen: tuple[Recording, Pinhole], arm: ArmModel, world: World) -> None:
    recording, hidden = seen
    lens = KnownLens.within(hidden, 1e-3, 0.2, 1e-3)
    found = match(recording, arm, trained_camera(world, 240, 320), lens=lens)
    far, angle = apart(found.camera, hidden)
    assert far < 0.008 and np.degrees(angle) < 0.4
    np.testing.assert_allclose(found.camera.offset, hidden.offset, atol=0.5)
    assert abs(found.camera.focal / hidden.focal - 1) < 2e-3
    np.testing.assert_allclose(found.camera.distortion_2, hidden.distortion_2, atol=1e-3)
    assert found.middle_interval.max() < 0.5
    with pytest.raises(ValueError, match="pictures of 320 × 240 pixels, and these have 160 × 120"):
        lens.of(trained_camera(world, 120, 160))


def test_what_a_board_hardly_told_of_a_lens_counts_hardly(world: World) -> None:
    trained = trained_camera(world, 240, 320)
    wild = replace(trained, distortion=-0.05, distortion_2=0.3)
    lens = KnownLens.within(wild, 1e-3, 0.2, (1e-3, 2.0)).beside(trained, (0.1, 0.02))
    assert lens.camera.distortion == pytest.approx(-0.05, abs=1e-5) and lens.distortion[0] < 1e-3
    assert abs(lens.camera.distortion_2) < 2e-4 and lens.distortion[1] == pytest.approx(0.02, rel=0.01)


def test_an_interval_is_as_wide_as_what_was_found_is_off() -> None:
    """Least squares of 16 unknowns: each of 15 postures tells three of their sums, all its points wrong alike."""
    rng, postures, unknowns, draws = np.random.default_rng(0), 15, 16, 300
    shared = rng.standard_normal((postures, 60, 3))
    slopes = shared @ rng.standard_normal((postures, 3, unknowns))
    matrices, beliefs = np.einsum("pnk,pnl->pkl", slopes, slopes), 1e-6 * np.eye(unknowns)
    inverse, found, told, by_sandwich = np.linalg.inv(matrices.sum(0) + beliefs), [], [], []
    for _ in range(draws):
        noise = np.einsum("pns,ps->pn", shared, rng.standard_normal((postures, 3)))
        found.append(inverse @ np.einsum("pnk,pn->k", slopes, noise))
        residual = noise - slopes @ found[-1]
        vectors = np.einsum("pnk,pn->pk", slopes, residual)
        told.append(np.diag(jackknife(matrices, vectors, beliefs)))
        by_sandwich.append(np.diag(inverse @ vectors.T @ vectors @ inverse))
    ratio = np.sqrt(np.mean(told, 0) / np.var(found, 0)).mean()
    assert 0.95 < ratio < 1.6, "of told and true standard deviation"
    assert np.sqrt(np.mean(by_sandwich, 0) / np.var(found, 0)).mean() < 0.85, "which a sandwich does not tell"


def test_what_is_believed_beforehand_is_the_interval_where_nothing_is_seen() -> None:
    nothing = jackknife(np.zeros((5, 2, 2)), np.zeros((5, 2)), np.diag([4.0, 100.0]))
    np.testing.assert_allclose(nothing, np.diag([0.25, 0.01]))


@pytest.mark.parametrize(
    ("step", "bounded"),
    [((-0.04, 0.0), False), ((-0.2, 0.04), False), ((0.3, 0.0), False), ((-0.07, 0.0), True), ((0.02, -0.1), True)],
)
def test_a_lens_is_bent_but_not_folded_within_the_picture(step: tuple[float, float], bounded: bool) -> None:
    lens, steps = Pinhole(np.zeros(3), np.eye(3), 300.0, 240, 320), np.zeros(JOINTS)
    steps[DISTORTION : DISTORTION + 2] = step
    moved = State(lens, np.zeros(0)).moved(steps)
    k1, k2 = moved.camera.distortion, moved.camera.distortion_2
    assert (k1, moved.bounded, moved.camera.folds) == (step[0], bounded, False)
    assert (k2 > step[1]) == bounded
    assert not bounded or replace(moved.camera, distortion_2=k2 - 1e-6).folds, "and by no more than it must"
    steps[DISTORTION], steps[DISTORTION + 1] = 0.0, -0.2
    for _ in range(3):
        moved = moved.moved(steps)
        assert moved.bounded and not moved.camera.folds, "whatever is asked next"


def test_a_lens_that_is_known_to_fold_in_a_corner_is_kept() -> None:
    lens = Pinhole(np.zeros(3), np.eye(3), 300.0, 240, 320, -0.06)
    assert lens.folds
    steps = np.zeros(JOINTS)
    still = State(lens, np.zeros(0)).moved(steps)
    assert (still.camera.distortion_2, still.bounded) == (0.0, False)
    steps[DISTORTION + 1] = -0.001
    assert State(lens, np.zeros(0)).moved(steps).camera.distortion_2 == -0.001


def test_outlines_move_with_every_unknown_as_is_computed(arm: ArmModel, world: World) -> None:
    camera, q = replace(trained_camera(world, 120, 160), distortion=0.02, distortion_2=-0.01), np.array(world.ready)
    everywhere = np.ones((120, 160), dtype=bool)
    rim = arm.rim(camera, q, everywhere)
    jacobian, state = derivatives(camera, rim), State(camera, np.zeros(6))
    there = camera.project(rim.points)
    np.testing.assert_allclose(there, rim.pixels, atol=0.1)
    for i in range(JOINTS):
        step = np.zeros(JOINTS + 6)
        step[i] = 1e-4
        moved = state.moved(step).camera.project(rim.points)
        np.testing.assert_allclose((moved - there) / 1e-4, jacobian[:, :, i], rtol=0.05, atol=0.5)
    field = Field(arm.look(camera, q + 0.02 * np.eye(6)[0]) == MOVING)
    normals, off = field.offsets(rim.pixels)
    predicted = -0.02 * np.einsum("mi,mi->m", normals, jacobian[:, :, JOINTS])
    assert np.nanmedian(np.abs(off - predicted)) < 0.4 < np.nanmedian(np.abs(off)) * 2


def test_what_moves_stands_out_from_any_background() -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (60, 80, 3))
    pictures, truth = np.repeat(still[None], 5, 0), np.zeros((5, 60, 80), dtype=bool)
    for i in range(5):
        truth[i, 10:40, 12 * i + 5 : 12 * i + 15] = True
        pictures[i][truth[i]] = (250, 240, 20)
    noisy = (pictures + rng.normal(0, 3, pictures.shape)).clip(0, 255).astype(np.uint8)
    found = foreground(noisy)
    assert (found & truth).sum() / (found | truth).sum() > 0.7
    assert not foreground(np.repeat(noisy[:1], 5, 0)).any()


@pytest.mark.parametrize("place", [20.0, 20.3, 20.75])
def test_an_edge_is_measured_to_a_fraction_of_a_pixel(place: float) -> None:
    """Blur and a patterned background move it by no more than a tenth."""
    column = np.arange(40.0)
    cover = np.clip(place + 0.5 - column, 0, 1)  # what lies left of ``place``
    behind = np.tile(np.where(np.arange(40) // 3 % 2, 30.0, 90.0)[:, None, None], (1, 40, 3))
    mixed = cover[None, :, None] * 220 + (1 - cover)[None, :, None] * behind
    pictures = np.stack([mixed, behind, behind])
    edges = Edges(np.stack([ndimage.gaussian_filter(p, (0.7, 0.7, 0)) for p in pictures]))
    pixels = np.stack([np.full(20, 19.0), np.arange(10.0, 30.0)], -1)
    offset = edges.offsets(0, pixels, np.tile([1.0, 0.0], (20, 1)))
    np.testing.assert_allclose(pixels[:, 0] + offset, place, atol=0.1)
    assert np.isnan(edges.offsets(1, pixels, np.tile([1.0, 0.0], (20, 1)))).all(), "there is no edge"


def test_distance_changes_its_sign_at_the_edge() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[:, :4] = True
    np.testing.assert_allclose(signed_distance(mask)[4], [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5])


def test_postures_are_seen_clear_and_unlike(arm: ArmModel, world: World) -> None:
    camera = trained_camera(world, 60, 80)
    postures = chosen_postures(arm, camera, 8)
    low, high = np.array(world.joint_limits).T
    assert ((postures > low) & (postures < high)).all()
    masks = [arm.look(camera, q) == MOVING for q in postures]
    assert min(mask.mean() for mask in masks) > 0.01
    model = RobotModel(world.mjcf, world.joint_names)
    assert min(model.free(q) for q in postures) >= WANTED
    different = [(a ^ b).sum() / (a | b).sum() for i, a in enumerate(masks) for b in masks[:i]]
    assert min(different) > 0.15
    with pytest.raises(ValueError, match="Only .* of 500 postures"):
        chosen_postures(arm, camera, 500)


def test_what_cannot_be_matched_is_a_sentence(seen: tuple[Recording, Pinhole], arm: ArmModel, world: World) -> None:
    recording, trained = seen[0], trained_camera(world, 240, 320)
    names, files, pictures, joints = recording.joint_names, recording.files, recording.pictures, recording.joints
    for broken, message in (
        (Recording(names, files[:4], pictures[:4], joints[:4]), "4 pictures are too few"),
        (Recording(names, files, pictures, np.repeat(joints[:1], 10, 0)), "The arm never moved"),
        (Recording(names, files, np.repeat(pictures[:1], 10, 0), joints), "Nothing moves in the pictures"),
        (Recording(names, files, pictures, np.where(np.arange(10)[:, None] == 3, np.nan, joints)), "joints at 03.png"),
    ):
        with pytest.raises(ValueError, match=message):
            match(broken, arm, trained, QUICK)


def test_a_camera_that_was_moved_in_between_is_named(
    seen: tuple[Recording, Pinhole], arm: ArmModel, world: World
) -> None:
    recording = seen[0]
    pictures = recording.pictures.copy()
    pictures[4] = np.roll(pictures[4], (7, 9), (0, 1))
    with pytest.raises(ValueError, match=r"04\.png .*camera moved"):
        match(replace(recording, pictures=pictures), arm, trained_camera(world, 240, 320), QUICK)


def test_joints_with_a_wrong_sign_match_nothing(seen: tuple[Recording, Pinhole], arm: ArmModel, world: World) -> None:
    recording = seen[0]
    mirrored = replace(recording, joints=recording.joints * np.array([-1, 1, 1, 1, 1, 1]))
    with pytest.raises(ValueError, match="signs and zeros|does not fit the others"):
        match(mirrored, arm, trained_camera(world, 240, 320), QUICK)
