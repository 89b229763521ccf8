"""Laws of a robot's dataset: it says what the robot was told and saw, on one clock, to whoever reads LeRobot's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

import tasks  # noqa: F401
from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.deploy.camera_file import plain
from argos_sim.deploy.encoders import squared
from argos_sim.deploy.pictures import packed
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.recording import Recording, load_recording
from argos_sim.deploy.rectification import recorded_rectification
from argos_sim.lerobot_io import EpisodeWriter, RecordedEpisode
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.collect import collect_demos
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import ControllerSettings, DemosSettings, Settings
from argos_sim.robot_dataset import episode_of, write_dataset
from argos_wm.data.episodes import check_dataset, read_episodes
from argos_wm.data.files import DatasetError
from argos_wm.data.latent_cache import encode_episodes
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.vision import SmallViT, SmallViTConfig
from argos_wm.latents import LatentStats
from tests.argos_sim.replay.made import record

SIZE = 32


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(environment_cfg(Settings(), 1))


@pytest.fixture(scope="module")
def recording(world: World, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Episodes 0 to 2, of which the second was not kept; more torque was wanted than the guard let through."""
    folder = tmp_path_factory.mktemp("recorded")
    made = load_recording(record(folder, world, episodes=(0, 1, 2), steps=62, kept=lambda episode: episode != 1))
    return spoilt(made, wanted=lambda torque: np.add(torque, 0.4, out=torque))


@pytest.fixture(scope="module")
def dataset(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "robot"
    timings, refused = write_dataset([recording], root, SIZE)
    assert len(timings) == 2 and not refused
    assert max(t.step for t in timings) < 1e-6 and max(t.picture for t in timings) < 1e-6
    return root


def test_the_dataset_says_what_the_robot_was_told_and_saw(recording: Recording, dataset: Path) -> None:
    segments = [recording.segments()[0], recording.segments()[2]]
    names = recording.joint_names
    for episode, segment in zip(read_episodes(dataset, "front", names, fps=10), segments, strict=True):
        steps = recording.steps[recording.within(segment)]
        frames = list(recording.frames(segment.begin, segment.end))
        assert len(episode) == 12, "62 steps are twelve whole frames"
        assert episode.task == segment.text and episode.environment_state is None
        assert np.allclose(episode.control_action.reshape(60, 6), steps["sent"][:60], atol=1e-6)
        both = np.concatenate([steps["position"], steps["velocity"]], 1)[:60]
        assert np.allclose(episode.control_state.reshape(60, 12), both, atol=1e-6)
        assert np.allclose(episode.state, both[::5], atol=1e-6) and np.allclose(episode.action, steps["sent"][:60:5])
        for image, frame in zip(episode.images, frames, strict=False):
            wanted = frame.pictures[0][:, 8:40].transpose(2, 0, 1).astype(int)
            assert np.abs(image.astype(int) - wanted).max() <= 4, "its central square, but for the codec"


def test_lerobots_own_class_reads_it_with_regular_times(recording: Recording, dataset: Path) -> None:
    lerobot: Any = LeRobotDataset("argos/robot", root=dataset, delta_timestamps={"action": [0.0, 0.1]})
    assert lerobot.fps == 10 and lerobot.num_episodes == 2 and len(lerobot) == 24
    assert lerobot.meta.robot_type == "so100"
    assert set(lerobot.features) == {
        *("observation.images.front", "observation.state", "action", "control.state", "control.action"),
        *("timestamp", "frame_index", "episode_index", "index", "task_index"),
    }
    assert lerobot.features["action"]["names"] == [f"{name}.torque" for name in recording.joint_names]
    times = np.array([float(lerobot[i]["timestamp"]) for i in range(12)])
    assert np.allclose(np.diff(times), 0.1, atol=1e-6)
    item, sent = lerobot[3], recording.steps["sent"]
    assert item["observation.images.front"].shape == (3, SIZE, SIZE) and item["task"] == recording.segments()[0].text
    assert np.allclose(item["action"], sent[[15, 20]], atol=1e-6)
    assert item["control.state"].shape == (5, 12) and np.allclose(item["control.action"], sent[15:20], atol=1e-6)
    assert check_dataset(dataset, "front", recording.joint_names, 10).environment_dim == 0


def test_latents_and_imitation_take_it_as_they_take_a_simulations(
    recording: Recording, dataset: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    vision = SmallViT(SmallViTConfig(image_size=SIZE, stem=(8, 16), width=32, depth=1, channels=4)).eval()
    proprio, names = ProprioEncoder(6, 16), recording.joint_names
    stats = LatentStats.measure(torch.randn(50, 16, 4), proprio.encode(torch.randn(50, 12)).detach(), per_position=True)
    encoder = StateEncoder(vision, proprio, stats, names, precision="float32")
    cache = encode_episodes(read_episodes(dataset, "front", names), encoder, torch.full((6,), 2.94), tmp_path / "c")
    assert len(cache) == 2 and cache.environment_state is None
    controller = Controller(ControllerConfig(16, 4, 16, 6, history=0, hidden=(8,)), torch.full((6,), 2.94))
    data = ImitationData(cache, controller, encoder.encode_proprio, 8, ImitationConfig())
    _, action = data.batch(64)
    known = torch.from_numpy(recording.steps["sent"] / np.float32(2.94))
    apart = (action[:, None] - known).abs().amax(-1)  # not cdist, which rounds
    assert apart.min(1).values.max() < 1e-5, "what is imitated was sent"


def test_a_run_takes_it_instead_of_recording(dataset: Path, recording: Recording, tmp_path: Path) -> None:
    def settings(path: Path, share: float = 0.0) -> Settings:
        controller = ControllerSettings(demonstration_share=share)
        return Settings(run_dir=str(tmp_path / "run"), demos=DemosSettings(dataset=str(path)), controller=controller)

    with pytest.raises(DatasetError, match="give controller.demonstration_share=0"):
        collect_demos(settings(dataset, share=0.1))
    record = collect_demos(settings(dataset))
    assert record["figures"] == {"recorded": 2}
    mine, copied = (list(read_episodes(root)) for root in (dataset, tmp_path / "run" / "demos" / "dataset"))
    assert all(np.array_equal(a.images, b.images) for a, b in zip(mine, copied, strict=True))
    assert collect_demos(settings(dataset)) == record, "it is not copied twice"
    other = dataclasses.replace(recording, about=recording.about | {"rates": {"control_hz": 50, "camera_hz": 25}})
    write_dataset([other], tmp_path / "fast", SIZE)
    with pytest.raises(DatasetError, match="was recorded at 25 frames/s and 10 are expected"):
        collect_demos(settings(tmp_path / "fast"))


def test_demonstrations_of_what_the_task_does_not_ask_are_refused_before_they_are_copied(
    recording: Recording, tmp_path: Path
) -> None:
    path, shapes = tmp_path / "waving", {"state": (12,), "action": (6,), "environment_state": (21,)}
    numbers = {name: np.zeros((4, *shape), np.float32) for name, shape in shapes.items()}
    numbers |= {f"control_{name}": np.zeros((4, 5, *shapes[name]), np.float32) for name in ("state", "action")}
    with EpisodeWriter(path, recording.joint_names, SIZE) as writer:
        for task in ("touch the red block", "wave"):
            writer.add(RecordedEpisode(images=np.zeros((4, SIZE, SIZE, 3), np.uint8), task=task, **numbers))

    def settings(share: float) -> Settings:
        controller, demos = ControllerSettings(demonstration_share=share), DemosSettings(dataset=str(path))
        return Settings(run_dir=str(tmp_path / "run"), demos=demos, controller=controller)

    with pytest.raises(DatasetError, match="'wave', which Argos-Reach-SO100-v0 does not ask for"):
        collect_demos(settings(0.1))
    assert not (tmp_path / "run").exists()
    assert collect_demos(settings(0.0))["figures"] == {"recorded": 2}


def test_pictures_are_those_of_trainings_camera_where_a_camera_file_was_given(
    recording: Recording, tmp_path: Path
) -> None:
    trained = Pinhole(np.array([0.0, -0.6, 0.5]), np.diag([1.0, -1.0, -1.0]), 40.0, 32, 48)
    header = {"file": "camera.yaml", "sha256": "ab", "trained": plain(trained)}

    def images(found: Pinhole) -> np.ndarray:
        about = recording.about | {"camera_file": header | {"found": plain(found)}}
        return episode_of(dataclasses.replace(recording, about=about), recording.segments()[0], SIZE)[0].images

    raw = episode_of(recording, recording.segments()[0], SIZE)[0].images
    assert np.abs(images(trained).astype(int) - raw).max() <= 1, "the same camera sees the same"
    closer = dataclasses.replace(trained, focal=60.0)  # whose central square is of one colour, and its sides are white
    wide, segment = images(closer), recording.segments()[0]
    whole = recorded_rectification(header | {"found": plain(closer)}, SIZE)
    frame = next(recording.frames(segment.begin, segment.end))
    assert np.array_equal(wide[0], squared(whole(frame.pictures[0]), SIZE))
    assert np.abs(wide[0].astype(int) - raw[0])[:, [0, -1]].min() > 100, "training's camera sees beyond its square"
    assert np.abs(wide[0].astype(int) - raw[0])[:, 8:-8].max() <= 1
    about = recording.about | {"camera_file": header | {"found": plain(trained)}}
    both = [recording, dataclasses.replace(recording, about=about)]
    with pytest.raises(DatasetError, match="was recorded with --camera-file, and others without"):
        write_dataset(both, tmp_path / "d", SIZE)
    broken = dataclasses.replace(recording, about=recording.about | {"camera_file": header})
    with pytest.raises(DatasetError, match="cannot be turned into what training's camera saw"):
        episode_of(broken, recording.segments()[0], SIZE)


def test_sessions_of_different_training_cameras_are_not_mixed(recording: Recording, tmp_path: Path) -> None:
    """Each turned into what another policy's camera saw."""
    trained = Pinhole(np.array([0.0, -0.6, 0.5]), np.diag([1.0, -1.0, -1.0]), 40.0, 32, 48)

    def session(of: Pinhole) -> Recording:
        header = {"file": "camera.yaml", "sha256": "ab", "found": plain(trained), "trained": plain(of)}
        return dataclasses.replace(recording, about=recording.about | {"camera_file": header})

    lower = dataclasses.replace(trained, position=np.array([0.0, -0.6, 0.4]))
    with pytest.raises(DatasetError, match="turned into different training cameras: they cannot be in one dataset"):
        write_dataset([session(trained), session(lower)], tmp_path / "two", SIZE)
    assert not list(tmp_path.iterdir())
    write_dataset([session(trained), session(trained)], tmp_path / "one", SIZE)


def test_frames_lie_where_pictures_were_taken(recording: Recording) -> None:
    """The camera's clock may begin anywhere: 70 ms later, pictures go with the steps of 70 ms later."""
    segment = recording.segments()[0]
    moved = [dataclasses.replace(frame, time=frame.time + 0.07) for frame in recording.frames(0.0, segment.end - 0.2)]

    class Later(Recording):
        def frames(self, begin: float = 0.0, end: float = np.inf):
            return (frame for frame in moved if begin <= frame.time < end)

    later = Later(recording.folder, recording.about, recording.steps, recording.events)
    episode, timing = episode_of(later, segment, SIZE)
    first = int(np.flatnonzero((recording.steps["sent"][:62] == episode.action[0]).all(1))[0])
    assert first in (3, 4) and timing.picture < 0.011, "between two control steps"


def spoilt(recording: Recording, **columns: Any) -> Recording:
    steps = recording.steps.copy()
    for name, change in columns.items():
        change(steps[name])
    return dataclasses.replace(recording, steps=steps)


def test_what_is_not_regular_is_refused_in_a_sentence(recording: Recording, tmp_path: Path) -> None:
    segment = recording.segments()[0]

    def blind(position: np.ndarray) -> None:
        position[30] = np.nan

    def held(mode: np.ndarray) -> None:
        mode[30] = 1

    def late(time: np.ndarray) -> None:
        time[40:62] += 0.015

    for broken, message in (
        (spoilt(recording, position=blind), "lacks joints that were not read"),
        (spoilt(recording, mode=held), "has a time in which the arm was not led \\(mode HOLD\\)"),
        (spoilt(recording, time=late), "control steps up to 15 ms from where they should be, with 20 ms"),
    ):
        with pytest.raises(DatasetError, match=message):
            episode_of(broken, segment, SIZE)
    nothing = dataclasses.replace(recording, folder=tmp_path)
    with pytest.raises(DatasetError, match="has no pictures"):
        episode_of(nothing, segment, SIZE)
    # The camera was silent for half a second.
    data, whole = (recording.folder / "frames.bin").read_bytes(), list(recording.frames())
    assert b"".join(map(packed, whole)) == data
    (tmp_path / "frames.bin").write_bytes(b"".join(packed(f) for i, f in enumerate(whole) if i not in range(3, 8)))
    with pytest.raises(DatasetError, match="lacks pictures: one is 0.2. s from its frame"):
        episode_of(nothing, segment, SIZE)
    with pytest.raises(DatasetError, match="There is no recording"):
        write_dataset([], tmp_path / "d", SIZE)
    others = dataclasses.replace(recording, about=recording.about | {"rates": {}})
    with pytest.raises(DatasetError, match="they cannot be in one dataset"):
        write_dataset([recording, others], tmp_path / "d", SIZE)
    assert not (tmp_path / "d").exists()


def test_an_episode_that_was_torn_off_or_broken_off_is_left_out(recording: Recording, tmp_path: Path) -> None:
    end = recording.segments()[2].end
    torn = dataclasses.replace(recording, steps=recording.steps[recording.steps["time"] < end - 0.2])
    assert len(write_dataset([torn], tmp_path / "a", SIZE)[0]) == 1
    going = dataclasses.replace(recording, events=recording.events[:-1])
    assert len(write_dataset([going], tmp_path / "b", SIZE)[0]) == 1
