"""Laws of what is shown: the file that rerun reads back says what the recording says, and both arms stand where joints
put them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import rerun as rr
from matplotlib.patches import Rectangle
from PIL import Image

from argos_sim.deploy.recording import Recording
from argos_sim.mujoco_c import scene
from argos_sim.replay.curves import curves, draw_curves
from argos_sim.replay.happenings import happenings
from argos_sim.replay.replay import Replay, replay, save, show
from argos_sim.replay.shapes import _shape


@pytest.fixture(scope="module")
def replayed(recorded: Recording) -> Replay:
    return replay(recorded.folder)


@pytest.fixture(scope="module")
def columns(replayed: Replay, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Entity → component → (times [s], values), of what was saved and read again."""
    path = tmp_path_factory.mktemp("saved") / "a.rrd"
    save(replayed, path)
    assert [p.name for p in path.parent.iterdir()] == ["a.rrd"]
    return read(path)


def read(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for chunk in rr.experimental.RrdReader(path).stream().to_chunks():
        batch = chunk.to_record_batch()
        times = batch.column("time").cast("int64").to_numpy() / 1e9 if "time" in batch.schema.names else None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if ":" in name:
                entry = found.setdefault(chunk.entity_path, {}).setdefault(name.split(":")[1], ([], []))
                entry[0].extend([] if times is None else times)
                entry[1].extend(column.to_pylist())
    return found


def curve(columns: dict[str, dict[str, Any]], entity: str) -> tuple[np.ndarray, np.ndarray]:
    times, values = columns[entity]["scalars"]
    order = np.argsort(times)
    return np.array(times)[order], np.array(values)[order, 0]


def test_curves_are_those_of_the_recording(columns: dict, recorded: Recording, replayed: Replay) -> None:
    steps, zero = recorded.steps, recorded.steps["time"][0]
    for joint, name in enumerate(recorded.joint_names):
        for entity, column in (("position/{}/recorded", "position"), ("torque/{}/sent", "sent")):
            times, values = curve(columns, "/" + entity.format(name))
            assert np.allclose(times, steps["time"] - zero, atol=1e-6)
            assert np.allclose(values, steps[column][:, joint])
        _, difference = curve(columns, f"/difference/{name}")
        assert np.allclose(difference, np.concatenate([p.difference[:, joint] for p in replayed.played]))
    assert np.allclose(curve(columns, "/loop/took")[1], 1.0, atol=1e-6), "in milliseconds"
    assert np.array_equal(curve(columns, "/plan/number")[1], steps["plan"])
    for entity in ("/mode", "/plan/time_to_go", "/loop/late", "/loop/joints_age", "/loop/camera_age"):
        assert len(curve(columns, entity)[0]) == len(steps)


def test_both_arms_stand_where_their_joints_put_them(columns: dict, recorded: Recording, replayed: Replay) -> None:
    world = replayed.world
    assert world is not None
    model = scene.build(world)
    data, steps = mujoco.MjData(model), recorded.steps  # pyright: ignore[reportAttributeAccessIssue]
    played = replayed.played[1]
    for arm, positions, index in (
        ("recorded", steps["position"], np.arange(len(steps))),
        ("simulated", played.position, played.steps),
    ):
        for row in (0, 31, len(positions) - 1):
            for name, value in zip(recorded.joint_names, positions[row], strict=True):
                data.joint(name).qpos = value
            mujoco.mj_kinematics(model, data)  # pyright: ignore[reportAttributeAccessIssue]
            entry, at = columns[f"/world/{arm}/{world.tip_body}"], steps["time"][index[row]] - steps["time"][0]
            times, places = entry["translation"]
            nearest = int(np.abs(np.array(times) - at).argmin())
            assert abs(times[nearest] - at) < 1e-6
            assert np.allclose(places[nearest][0], data.body(world.tip_body).xpos, atol=1e-6)
            w, *vector = data.body(world.tip_body).xquat
            assert np.allclose(entry["quaternion"][1][nearest][0], [*vector, w], atol=1e-6)
    links = [name for name in columns if name.startswith("/world/recorded/") and name.count("/") == 4]
    assert len(links) >= 20 and all("colors" in columns[name] for name in links)
    assert {name.replace("recorded", "simulated") for name in links} <= set(columns)
    assert {f"/world/simulated/{name}" for name in world.objects} <= set(columns)


def test_pictures_and_happenings_are_there_at_their_times(columns: dict, recorded: Recording) -> None:
    frames = list(recorded.frames())
    times, blobs = columns["/camera/front"]["blob"]
    assert np.allclose(sorted(times), [f.time - recorded.steps["time"][0] for f in frames], atol=1e-6)
    assert len(blobs) == 40
    told = columns["/events"]["text"]
    said = [text for (text,) in np.array(told[1], object).reshape(-1, 1)]
    assert sum("asked: " in str(text) for text in said) == 2 and sum("done" in str(text) for text in said) == 2


def test_what_happened_is_told_in_sentences(recorded: Recording) -> None:
    steps = recorded.steps.copy()
    steps["sent"][50:60, 2] -= 0.3
    steps["sent"][80, 1] += 0.1
    steps["time"][120:] += 0.05
    events = [*recorded.events, {"time": 102.0, "event": "verdict", "kept": False}]
    events += [{"time": 101.0, "event": "mode", "mode": 1, "reason": "no plan for 0.30 s"}]
    found = happenings(dataclasses.replace(recorded, steps=steps, events=events))
    texts = [happening.text for happening in found]
    assert "discarded" in texts
    assert "the guard changed torques for 0.18 s: elbow_flex by 0.30 N·m" in texts
    assert "the guard changed torques for 0.00 s: shoulder_lift by 0.10 N·m" in texts
    assert "no control step for 70 ms" in texts and "mode HOLD: no plan for 0.30 s" in texts
    assert any(text.startswith("episode 3: asked: ") for text in texts)
    assert [h.time for h in found] == sorted(h.time for h in found)


def test_a_still_picture_shows_how_the_arms_come_apart(recorded: Recording, replayed: Replay, tmp_path: Path) -> None:
    axes = np.array(curves(recorded, replayed.played).axes).reshape(7, 3)
    for joint in range(6):
        lines = axes[joint, 2].lines
        assert len(lines) == 2, "one for each segment"
        for line, played in zip(lines, replayed.played, strict=True):
            assert np.array_equal(line.get_ydata(), played.difference[:, joint])
        recorded_line = next(line for line in axes[joint, 0].lines if line.get_label() == "recorded")
        assert np.array_equal(recorded_line.get_ydata(), recorded.steps["position"][:, joint])
    draw_curves(recorded, replayed.played, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert Image.open(tmp_path / "a.png").size == (1350, 1260)


def test_times_in_which_the_policy_does_not_lead_are_shaded(recorded: Recording) -> None:
    steps = recorded.steps.copy()
    steps["mode"][30:40] = 3
    axis = curves(dataclasses.replace(recorded, steps=steps), []).axes[0]
    (patch,) = axis.patches
    assert isinstance(patch, Rectangle)
    assert np.isclose(patch.get_x(), 30 * 0.02) and np.isclose(patch.get_width(), 0.2)


def test_a_recording_without_a_world_has_curves_alone(recorded: Recording, tmp_path: Path) -> None:
    header = json.loads((recorded.folder / "steps.json").read_text()) | {"world": None}
    for path in recorded.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "steps.json").write_text(json.dumps(header))
    replayed = replay(tmp_path)
    assert replayed.played == [] and "tells of no world" in replayed.table()
    save(replayed, tmp_path / "a.rrd")
    entities = read(tmp_path / "a.rrd")
    assert "/position/gripper/recorded" in entities and not any(e.startswith("/world") for e in entities)


def test_without_a_screen_no_viewer_is_begun(replayed: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="There is no screen here for rerun's viewer. Use --web"):
        show(replayed)


def test_the_script_writes_files_or_says_in_a_sentence_what_is_wrong(recorded: Recording, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "scripts/replay.py", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(recorded.folder, "--save", tmp_path / "a.rrd", "--png", tmp_path / "a.png", "--restart", "0.5")
    assert done.returncode == 0 and "whole segments" in done.stdout
    assert (tmp_path / "a.rrd").stat().st_size > 10_000 and (tmp_path / "a.png").stat().st_size > 10_000
    done = run(tmp_path)
    assert (
        done.returncode == 2 and done.stderr == f"error: There is no recording in {tmp_path}: steps.json is missing.\n"
    )


def test_every_kind_of_geom_is_drawn_where_it_is() -> None:
    model = mujoco.MjModel.from_xml_string(EVERY_KIND)  # pyright: ignore[reportAttributeAccessIssue]
    shapes = [_shape(model, geom, (1, 2, 3, 255)) for geom in range(model.ngeom)]
    kinds = [type(shape).__name__ for shape in shapes]
    assert kinds == ["Boxes3D", "Cylinders3D", "Ellipsoids3D", "Ellipsoids3D", "Capsules3D", "Mesh3D", "NoneType"]
    capsule, mesh = shapes[4:6]
    assert isinstance(capsule, rr.Capsules3D) and capsule.translations is not None
    (begin,) = capsule.translations.as_arrow_array().to_pylist()
    assert np.allclose(begin, (0.0, 0.0, 0.5), atol=1e-6), "one of its ends, along y here: 0.2 from (0, 0.2, 0.5)"
    assert isinstance(mesh, rr.Mesh3D) and mesh.vertex_positions is not None
    points = np.array(mesh.vertex_positions.as_arrow_array().to_pylist())
    assert np.allclose(points.min(0), (1.0, 0.0, 0.0), atol=1e-5), "as the file has it, one along x"


EVERY_KIND = """
<mujoco>
  <asset><mesh name="m" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/></asset>
  <worldbody><body>
    <geom type="box" size=".1 .2 .3"/>
    <geom type="cylinder" size=".1 .2"/>
    <geom type="sphere" size=".1"/>
    <geom type="ellipsoid" size=".1 .2 .3"/>
    <geom type="capsule" size=".1 .2" pos="0 .2 .5" euler="-90 0 0"/>
    <geom type="mesh" mesh="m" pos="1 0 0"/>
    <geom type="plane" size="1 1 .1"/>
  </body></worldbody>
</mujoco>
"""
