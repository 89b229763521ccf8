"""Every range changes what it should, and nothing else: the same torques and seeds, one range away from nominal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import tasks  # noqa: F401
from argos_sim.configs import ExpertCfg
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp.events import write_joints, write_object
from argos_sim.perception import CLASSES
from argos_sim.pipeline.environment import environment_cfg, make_environment, make_expert
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.dynamics import GRAVITY
from argos_sim.randomization.lights import DIRECTION, lamp
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges, range_names
from tests.argos_sim.randomization.parameters import not_as_drawn, parameters

N, STEPS = 4, 40
TASK = "Argos-Push-SO100-v0"
PICTURE = (
    "brightness", "contrast", "saturation", "hue", "noise_std", "exposure", "white_balance", "blur_sigma",
    "motion_blur", "compression", "focal_length", "distortion", "occlusion", "frame_loss", "frame_delay",
    "camera_position", "camera_rotation",
)  # fmt: skip
RENDERED = ("light_direction", "shade")
FREE = {"background", "row", "column", "aspect", "motion_angle"}
"""What no range is about is drawn anew where those two were drawn before it, by the same generator."""
LAID = ("distractors",)
ELSEWHERE = ("object_size",)
"""Tested in ``envs/test_sizes.py``: no scene that stands can change it."""
SENSED = ("observation_delay", "encoder_bias", "encoder_noise", "encoder_step")
ENGINE = (
    "mass_scale", "inertia_scale", "joint_friction", "joint_armature", "contact_friction", "restitution",
    "table_height", "tilt", "push_force", "object_mass_scale", "object_friction",
)  # fmt: skip
LASTING = ("com_offset",)
"""Comes last: once centres of mass were moved and are back, arms on OvPhysX move by up to 0.2 mrad otherwise, for good,
and the block that they push by 31 mm, though every parameter reads as before, to the bit."""
MOTOR = (
    "joint_damping", "back_emf_scale", "motor_strength", "voltage_sag", "dead_band", "backlash", "action_delay",
    "action_jitter", "action_loss",
)  # fmt: skip
STRONGER = {
    "inertia_scale": 3.0,
    "dead_band": 0.5,
    "encoder_step": 0.01,
    "frame_loss": 0.5,
    "occlusion": 0.7,
    "push_force": 5.0,
    "action_loss": 0.3,
    "shade": 0.55,
}
"""Values where that of ``complete`` would barely show in so few steps."""


ENGINES = ("ovphysx", "newton_mjwarp")


@dataclass
class Played:
    """What happened, what the environment was drawn to be, and from which ranges."""

    seen: dict[str, Tensor]
    parameters: dict[str, Tensor]
    ranges: RandomizationRanges


@dataclass
class Trial:
    """An environment, its engine, what happens with one range changed, and what happens with none."""

    env: LatentTrackingEnv
    engine: str
    run: Callable[[str | None], Played]
    nominal: Played

    def change(self, played: Played) -> dict[str, Tensor]:
        """How far what happened is from what happens with no range changed."""
        return {key: (played.seen[key] - value).abs() for key, value in self.nominal.seen.items()}


@pytest.fixture(scope="module", params=ENGINES)
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """A block pushed about by open-loop torques."""
    settings = Settings(task=TASK, randomization="nominal")
    cfg = environment_cfg(settings, N, physics=request.param)
    cfg.distractors = request.param == ENGINES[0]  # where they are tested; on the other they would only cost time
    cfg.apply()
    with make_environment(cfg) as env:
        expert = make_expert(env, TASK, ExpertCfg(), 0)
        expert.ALIGNED = True  # jaws put there at once would cut into a block's corners, and throw it
        env.generator.manual_seed(0)
        env.reset()
        expert.begin(torch.arange(N))
        around = expert.motion.knots[:, 3].clone()  # the jaws around the block, which lies there at each reset

        def run(name: str | None) -> Played:
            ranges = get_ranges("nominal")
            if name is not None:
                value = STRONGER.get(name, getattr(get_ranges("complete"), name)[1])
                ranges = replace(ranges, **{name: (value, value)})
            env.set_ranges(ranges)
            return play(env, expert, around)

        run(None)  # PhysX's very first steps are its own
        nominal = run(None)
        yield Trial(env, request.param, run, nominal)


def play(env: LatentTrackingEnv, expert, around: Tensor) -> Played:
    """Torques [N·m], joints [rad], blocks [m], sensed joints [rad], pictures and pushes [N] of ``STEPS`` control steps
    of an episode."""
    env.generator.manual_seed(0)
    env.perception.generator.manual_seed(1)
    torch.manual_seed(0)  # Isaac Lab's own events
    env.reset()
    drawn = parameters(env)
    env.generator.manual_seed(1)  # with which pushes fall on links that they can move
    every = torch.arange(N)
    write_joints(env, every, around, torch.zeros_like(around))
    env.sim.forward()
    env.perception.reset(every)
    hold, _ = expert.arm.chain.gravity_and_inertia(around)
    seen: dict[str, list[Tensor]] = {name: [] for name in ("torque", "joints", "blocks", "sensed", "picture", "push")}
    for step in range(STEPS):
        env.perception.sense(env.common_step_counter)
        env.perception.look(env.common_step_counter, env.episode_length_buf)
        command = hold / expert.motion.torque_limit
        command[:, 0] += (0.25 if step // 10 % 2 == 0 else -0.15) * (1.0 if step % 3 else 0.5)
        seen["joints"].append(env.perception.true_proprio()[:, :6].clone())
        seen["blocks"].append(env.instruction.object_poses()[0].clone())
        seen["sensed"].append(env.perception.raw_proprio[:, :6].clone())
        seen["picture"].append(env.perception.images.float())
        env.step(command)
        seen["torque"].append(env.motors.applied_effort.clone())
        seen["push"].append(env.disturbances.pushes.clone())
    return Played({name: torch.stack(values) for name, values in seen.items()}, drawn, env.cfg.ranges)


def test_every_range_is_tested() -> None:
    assert sorted(PICTURE + RENDERED + LAID + SENSED + ENGINE + MOTOR + LASTING + ELSEWHERE) == sorted(range_names())


# The trial's parameter stands by itself in each of these: in one with the name's, each name would have its own scene.
@pytest.mark.parametrize("trial", ENGINES[:1], indirect=True)
@pytest.mark.parametrize("name", PICTURE + LAID + SENSED + MOTOR)
def test_a_range_that_no_engine_has_a_part_in_changes_what_it_should_and_nothing_else(trial: Trial, name: str) -> None:
    changes_what_it_should(trial, name)


@pytest.mark.parametrize("name", (*RENDERED, *ENGINE, None, *LASTING))
def test_a_range_changes_what_it_should_and_nothing_else_on_every_engine(trial: Trial, name: str | None) -> None:
    """None is no range, after all that leave no trace: what is said to change is more than what changes by itself."""
    changes_what_it_should(trial, name)


def changes_what_it_should(trial: Trial, name: str | None) -> None:
    got = trial.run(name)
    others = FREE if name in RENDERED else set()
    assert not_as_drawn(got.parameters, trial.nominal.parameters, got.ranges) <= others
    change, pushed = trial.change(got), got.seen["push"].norm(dim=-1).max()
    assert pushed == pytest.approx(trial.env.cfg.push_scale * got.ranges.push_force[0])
    moved, sensed = change["joints"].max() > 1e-3, change["sensed"].max() > 1e-3
    if name is None:
        assert not moved and not sensed and change["torque"].max() < 1e-3
        assert change["blocks"].max() < 5e-4 and change["picture"].flatten(1).mean(1).max() < 0.5
    elif name in PICTURE + RENDERED:
        assert change["picture"].flatten(1).mean(1).max() > 0.5
        assert not moved and not sensed
    elif name in LAID:
        assert change["picture"].flatten(1).mean(1).max() > 0.5, "what lies in the way may be pushed, too"
    elif name in SENSED:
        assert sensed and not moved
        assert change["picture"].mean() < 0.5
    elif name == "restitution" and trial.engine != "ovphysx":
        assert not moved, "MuJoCo's contacts have none; if they get one, say so in ranges.py"
    else:
        assert moved and change["torque"].max() > 1e-3
        assert sensed
        assert change["blocks"].max() > 5e-4 or name == "push_force", "the arm pushes the block otherwise"


def drawn(env: LatentTrackingEnv, seed: int, ids: Tensor | None = None) -> dict[str, Tensor]:
    """Pictures, classes and where the lamp shines, with light and shades of environments ``ids`` drawn from ``seed``
    and nothing else changed."""
    env.perception.generator.manual_seed(seed)
    for name in ("light", "shades"):
        term = env.event_manager.get_term_cfg(name)
        term.func(env, ids, **term.params)
    rgb, classes = env.perception.render()
    seen = env.perception.appear(rgb, classes, torch.arange(N))
    return {"picture": seen.int(), "classes": classes.clone(), "shines": lamp(env.scene["camera"]).clone()}


@pytest.mark.parametrize("name", RENDERED)
def test_light_and_shades_change_what_they_fall_on_and_leave_no_trace(trial: Trial, name: str) -> None:
    env, value = trial.env, getattr(get_ranges("complete"), name)
    env.set_ranges(get_ranges("nominal"))
    env.reset()
    plain = drawn(env, 0)
    assert torch.equal(plain["shines"], torch.tensor([DIRECTION]))
    env.set_ranges(replace(get_ranges("nominal"), **{name: value}))
    first, again, other = drawn(env, 1), drawn(env, 1), drawn(env, 2)
    there = plain["classes"] > 0
    for seen in (first, other):
        assert torch.equal(seen["classes"], plain["classes"])
        change = (seen["picture"] - plain["picture"]).abs().amax(1)
        assert change[~there].max() == 0, "what is behind stays"
        assert ((change > 0) & there).flatten(1).sum(1).min() > 0.1 * there.sum() / N
    assert torch.equal(first["picture"], again["picture"])
    assert not torch.equal(first["picture"], other["picture"])
    env.set_ranges(get_ranges("nominal"))
    assert torch.equal(drawn(env, 3)["picture"], plain["picture"])


def test_a_shade_is_one_environments_and_keeps_the_hue(trial: Trial) -> None:
    env, half = trial.env, 0.5
    env.set_ranges(get_ranges("nominal"))
    env.reset()
    plain = drawn(env, 0)
    env.set_ranges(replace(get_ranges("nominal"), shade=(half, half)))
    shaded = drawn(env, 0, torch.tensor([2]))
    same = (shaded["picture"] == plain["picture"]).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]
    for colour in ("red", "green", "blue"):
        there = plain["classes"][2] == CLASSES.index(colour)
        before, after = (seen["picture"][2][:, there].float() for seen in (plain, shaded))
        bright = before > 60  # sRGB is no power law in the dark
        assert bright.sum() > 5
        assert (after / before)[bright].tolist() == pytest.approx([half] * int(bright.sum()), abs=0.06)


@pytest.mark.parametrize("trial", ENGINES[:1], indirect=True)
@pytest.mark.parametrize("count", [0, 3])
def test_distractors_are_seen_where_they_lie_and_not_where_they_wait(trial: Trial, count: int) -> None:
    """By the classes of the rendered picture, the camera moved as far as ``complete`` moves it."""
    env, complete = trial.env, get_ranges("complete")
    moved = {name: getattr(complete, name) for name in ("camera_position", "camera_rotation")}
    env.set_ranges(replace(get_ranges("nominal"), **moved, distractors=(count, count)))
    seen = []
    for _ in range(8):
        env.reset()
        seen.append((env.perception.render()[1] == len(CLASSES)).any())
    assert any(seen) == (count > 0)


def test_the_same_episodes_are_pushed_alike_whenever_they_are_played(trial: Trial) -> None:
    env = trial.env
    trial.run("push_force")
    pushes = env.disturbances.pushes.clone()
    for _ in range(3):  # so that no turn falls where it fell before
        env.step(torch.zeros(N, 6))
    trial.run("push_force")
    assert pushes.abs().max() > 0 and torch.equal(env.disturbances.pushes, pushes)


def test_a_push_acts_at_the_centre_of_mass_on_every_engine(trial: Trial) -> None:
    """The first link's frame lies on its axis, where a push would turn nothing; its mass lies ahead of it."""
    env, every = trial.env, torch.arange(N)
    env.set_ranges(replace(get_ranges("nominal"), tilt=(1e-6, 1e-6)))  # so that disturbances are reckoned with
    env.reset()
    before = env.perception.true_proprio()[:, 0].clone()
    env.disturbances.pushes[:, 1] = torch.tensor([20.0, 0.0, 0.0])
    env.disturbances._apply(every)
    for _ in range(4):
        env.step(torch.zeros(N, 6))
    turned = env.perception.true_proprio()[:, 0] - before
    assert turned.tolist() == pytest.approx([0.038] * N, rel=0.25)


def test_a_leaning_table_accelerates_everything_sideways_and_a_level_one_does_not(trial: Trial) -> None:
    env = trial.env
    angle, seconds = 0.1, 0.1
    for limits, expected in (((angle, angle), 0.5 * GRAVITY * math.sin(angle) * seconds**2), ((0.0, 0.0), 0.0)):
        env.set_ranges(replace(get_ranges("nominal"), tilt=limits))
        env.reset()
        start = torch.tensor([[0.0, -0.3, 0.5]]).expand(N, 3)
        write_object(env, "red", torch.arange(N), start, torch.tensor([[0.0, 0, 0, 1]]).expand(N, 4))
        for _ in range(round(seconds / env.cfg.rates.control_dt)):
            env.step(torch.zeros(N, 6))
        offset = env.instruction.object_poses()[0][:, 0] - env.scene.env_origins - start
        assert offset[:, :2].norm(dim=1).tolist() == pytest.approx([expected] * N, rel=0.1, abs=1e-5)


@pytest.mark.parametrize("place", [(0.0, 0.0, 1e8), (0.0, -0.9, 0.05)], ids=["thrown", "fallen"])
def test_an_object_that_is_gone_ends_its_own_episode(trial: Trial, place: tuple[float, float, float]) -> None:
    env, gone = trial.env, torch.tensor([1])
    env.set_ranges(get_ranges("nominal"))
    env.reset()
    write_object(env, "red", gone, torch.tensor([place]), torch.tensor([[0.0, 0, 0, 1]]))
    ended = []
    for _ in range(45):  # it falls two metres in 32 steps
        terminated = env.step(torch.zeros(N, 6))[2]
        if terminated.any():
            ended.append(terminated.nonzero().flatten().tolist())
    assert ended == [[1]]
    assert env.instruction.object_positions()[..., 2].max() < 0.1, "and the next one begins on the table"
