"""What the speed of environments is told as; the measuring itself runs once, at its smallest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from argos_sim.pipeline.settings import ControllerSettings, Settings, SettingsError, ThroughputSettings
from argos_sim.pipeline.throughput import comparisons, in_turns, memory_growth, numbers_of_environments
from argos_sim.pipeline.throughput_worlds import World

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_compared_takes_turns_and_the_first_turn_does_not_count() -> None:
    calls: list[str] = []
    values = iter([9.0, 8.0, 1.0, 4.0, 3.0, 6.0, 2.0, 5.0])

    def work(name: str) -> float:
        calls.append(name)
        return next(values)

    medians = in_turns(4, a=lambda: work("a"), b=lambda: {"x": work("b")})
    assert "".join(calls) == "abababab"
    assert medians == {"a": 2.0, "b": {"x": 5.0}}


def test_memory_is_told_by_environment_and_a_step_in_it_shows() -> None:
    sizes = [100, 200, 300, 400]
    straight = {f"memory_mib.host.{n}": 1000.0 + 0.5 * n for n in sizes}
    told = memory_growth(straight, sizes)
    assert told["memory_mib_per_env.host"] == pytest.approx(0.5) and told["memory_off_line.host"] < 1e-9
    assert "memory_mib_per_env.device" not in told
    stepped = {name: value + 200.0 * (value > 1120) for name, value in straight.items()}
    assert memory_growth(stepped, sizes)["memory_off_line.host"] > 0.15


def test_pictures_count_once_a_camera_frame_in_the_bound() -> None:
    import tasks  # noqa: F401  registers the gymnasium ids

    parts = {"physics": 0.02, "rendering": 0.1, "encoding": 0.05, "proprioception": 0.001, "appearance": 0.3}
    told = comparisons(Settings(), {"blind": 0.022, "plain": 0.02, "seeing": 0.06}, parts)
    assert told["bound_s"] == pytest.approx(0.02 + 0.001 + (0.1 + 0.05) / 5)
    assert told["share_of_bound"] == pytest.approx(0.051 / 0.06)
    assert told["cost_without_perception"] == pytest.approx(1.1)


@pytest.mark.parametrize("throughput", [ThroughputSettings(sizes=(256,)), ThroughputSettings(turns=1)])
def test_measures_that_show_nothing_are_refused(throughput: ThroughputSettings) -> None:
    with pytest.raises(SettingsError, match="growth needs another number of environments"):
        numbers_of_environments(Settings(device="cpu", throughput=throughput))


def test_sizes_are_ppos_own_and_those_beside_it() -> None:
    settings = Settings(device="cpu", throughput=ThroughputSettings(sizes=(512, 8)))
    assert numbers_of_environments(settings) == [8, 256, 512]
    few = replace(ControllerSettings().ppo, num_envs=16)
    assert 16 in numbers_of_environments(replace(settings, controller=ControllerSettings(ppo=few)))


@pytest.mark.slow
def test_a_world_that_fails_says_so_in_one_sentence() -> None:
    world = World(Settings(task="Argos-Fly-v0", device="cpu"), "seeing", 2)
    with pytest.raises(ValueError, match="stopped in the seeing world of 2 environments: .*no task 'Argos-Fly-v0'"):
        world.ask("step", 1)
    world.close()


@pytest.mark.slow
def test_controller_is_measured_at_its_smallest(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/benchmark.py", "controller", "preset=smoke", f"run_dir={tmp_path}"]
    small = ["controller.ppo.num_envs=16", "controller.ppo.steps=5", "throughput.sizes=[8]"]
    few = ["throughput.turns=2", "throughput.steps=5"]
    done = subprocess.run([*command, *small, *few], cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    figures = json.loads((tmp_path / "throughput.json").read_text())
    for name in ("cost_without_perception", "share_of_bound", "ppo_learning_share"):
        assert figures[name] > 0, name
    # Eight environments more are lost in what an allocator happens to hold: the growth is told, of either sign.
    assert figures["memory_mib.host.8"] > 100 and abs(figures["memory_mib_per_env.host"]) < 100
    assert figures["ppo_learning_share"] < 1
    assert (tmp_path / "throughput.png").stat().st_size > 10_000
    assert "step" in (tmp_path / "throughput_profile.txt").read_text()
    assert "| 16 |" in (tmp_path / "throughput.md").read_text()
