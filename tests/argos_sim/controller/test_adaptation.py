"""Laws of adaptation: who practises what, what protects what was known, and that stopping changes nothing."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tasks  # noqa: F401
from argos_sim.configs import AdaptationConfig
from argos_sim.controller.adaptation import (
    FleetPolicy,
    Replay,
    States,
    cut_to_region,
    frames,
    learn,
    practise,
    share_of,
    views_of,
)
from argos_sim.controller.alignment import Posture, Views
from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.controller.translation import Experience, Translation, fit_inverse, terms
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.pipeline.adapt import Fleet, adaptation_figures, make_learners
from argos_sim.pipeline.deployment import Learner
from argos_sim.pipeline.settings import AdaptationSettings, Settings
from argos_sim.randomization.shifts import Shift
from argos_wm.checkpoint import save_tensors

N, STEPS, EVERY = 12, 30, 4
SIZES = ControllerConfig(patches=2, channels=3, proprio_dim=4, joints=2, history=1, attention_width=8, hidden=(32, 32))
CFG = AdaptationConfig(rounds=3, robots=2, noise=0.1, updates=30, batch_size=64, learning_rate=3e-3, inverse_steps=50)


class LineEnv:
    """Points on two lines that actions push, with a strength; the latent is the state itself."""

    def __init__(self, strength: float = 1.0) -> None:
        self.num_envs, self.device, self.max_episode_length, self.strength = N, "cpu", STEPS + 1, strength
        self.generator = torch.Generator()
        self.perception = SimpleNamespace(generator=torch.Generator(), exposed=torch.zeros(N, 3, 4, 4))
        self.target = SimpleNamespace(source=SimpleNamespace(reseed=lambda seed: None))
        self.cfg = SimpleNamespace(rates=SimpleNamespace(control_dt=0.02, control_per_frame=EVERY))
        self.breaks_at: int | None = None

    reset_from = LatentTrackingEnv.reset_from

    def reset(self):
        self.state = torch.zeros(N, 4)
        self.state[:, :2] = torch.randn(N, 2, generator=self.generator)
        self.action, self.time, self.actions = torch.zeros(N, 2), 0, []
        self.perception.exposed = self.state[:, :1, None, None].mul(20).clamp(0, 255).byte().expand(N, 3, 4, 4)
        self.reset_buf = torch.zeros(N, dtype=torch.bool)
        return self.sensed(), {}

    def sensed(self) -> dict[str, torch.Tensor]:
        history = torch.cat([self.state, self.state], 1)
        proprio = torch.cat([history, torch.zeros(N, 4), self.action, torch.zeros(N, 1)], 1)
        return {"proprio": proprio, "vision": torch.zeros(N, 6), "target_vision": torch.zeros(N, 6)}

    def step(self, action: torch.Tensor):
        self.actions.append(action)
        self.action, self.time, self.state = action, self.time + 1, self.state.clone()
        self.state[:, 2:] = 0.9 * self.state[:, 2:] + self.strength * action
        self.state[:, :2] += 0.1 * self.state[:, 2:]
        if self.time % EVERY == 0:
            self.perception.exposed = self.state[:, :1, None, None].mul(20).clamp(0, 255).byte().expand(N, 3, 4, 4)
        self.reset_buf = torch.zeros(N, dtype=torch.bool)
        self.reset_buf[0] = self.time == self.breaks_at
        return self.sensed(), None, None, None, {}


def fresh(seed: int = 1) -> Controller:
    torch.manual_seed(seed)
    return Controller(SIZES, torch.full((2,), 2.0))


def experience(strength: float = 1.0, seed: int = 0) -> Experience:
    return practise(LineEnv(strength), FleetPolicy([fresh()]), CFG, seed, "")  # pyright: ignore[reportArgumentType]


def old_replay() -> Replay:
    return Replay(States([experience()], fresh()))


def doubling() -> Translation:
    """Every command twice."""
    rows = terms(torch.zeros(1, 4), torch.zeros(1, 2), torch.zeros(2)).shape[1]
    weights = torch.zeros(rows, 2)
    weights[-4:-2] = torch.eye(2)
    return Translation(torch.zeros(2), weights)


def taught(cfg: AdaptationConfig, controller: Controller) -> dict[str, float]:
    states = States([experience(0.5, 3)], fresh())
    return learn(controller, states, doubling(), lambda latent: latent, old_replay(), cfg, 0)


def same(a: Controller, b: Controller) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.mark.parametrize(("updates", "name"), [(2, "loss"), (1, "controller")])
def test_what_is_not_finite_ends_a_round_and_leaves_the_weights_of_before(
    monkeypatch: pytest.MonkeyPatch, updates: int, name: str
) -> None:
    step = torch.optim.Adam.step

    def spoiling(self: torch.optim.Adam) -> None:
        step(self)
        self.param_groups[0]["params"][0].data.view(-1)[0] = math.inf

    controller = fresh()
    monkeypatch.setattr(torch.optim.Adam, "step", spoiling)
    with pytest.raises(FloatingPointError, match=f"In update {updates} .* the {name} became not finite; the weights"):
        taught(replace(CFG, updates=updates), controller)
    assert same(controller, fresh())


def test_each_learner_moves_and_remembers_its_own_robots() -> None:
    env, controllers = LineEnv(), [fresh(1), fresh(2), fresh(3)]
    made = practise(env, FleetPolicy(controllers), replace(CFG, noise=0.0), 5, "")  # pyright: ignore
    assert made["action"].shape == (STEPS, N, 2) and bool(made["alive"].all())
    for i, controller in enumerate(controllers):
        own = States([share_of(made, i, 3)], controller)
        assert len(own) == STEPS * N // 3
        wanted = share_of(made, i, 3)["action"].flatten(0, 1).float()
        assert torch.allclose(own.action, wanted, atol=3e-3)
    assert torch.allclose(torch.stack(env.actions), made["action"].float(), atol=1e-3)


def test_practice_explores_with_noise_that_lasts() -> None:
    cfg, controller = replace(CFG, noise=0.1, noise_time_s=0.1), fresh()
    made = practise(LineEnv(), FleetPolicy([controller]), cfg, 5, "")  # pyright: ignore[reportArgumentType]
    states = States([made], controller)
    noise = (made["action"].flatten(0, 1).float() - states.action).view(STEPS, N, 2)[10:]
    assert noise.std() == pytest.approx(0.1, rel=0.2)
    alike = (noise[1:] * noise[:-1]).mean() / noise.square().mean()
    assert alike == pytest.approx(0.8, abs=0.1)


def test_what_follows_broken_physics_is_no_experience() -> None:
    env = LineEnv()
    env.breaks_at = 7
    made = practise(env, FleetPolicy([fresh()]), CFG, 5, "")  # pyright: ignore[reportArgumentType]
    assert made["alive"][:7].all() and not made["alive"][7:, 0].any() and made["alive"][:, 1:].all()
    assert len(States([made], fresh())) == N * STEPS - (STEPS - 7)


def test_each_picture_is_kept_with_the_joints_of_its_moment() -> None:
    made = experience()
    pictures, joints = frames(made, SIZES, lambda latent: latent)
    assert joints.shape[:2] == pictures.shape[:2] == (-(-STEPS // EVERY), N)
    wanted = joints[:, :, 0].mul(20).clamp(0, 255)
    assert (pictures[:, :, 0, 0, 0].float() - wanted).abs().max() < 1.1, "rounded, and the joints are of half precision"
    assert wanted.std(0).max() > 1
    views = views_of([made, made], SIZES, lambda latent: latent)
    assert len(views.pictures) == len(views.joints) == 2 * N * len(pictures)
    assert views.episode.bincount().tolist() == [len(pictures)] * 2 * N
    one = views.episode == N + 3
    assert torch.equal(views.joints[one], joints[:, 3]) and torch.equal(views.pictures[one], pictures[:, 3])


def test_without_a_learning_rate_nothing_changes() -> None:
    controller = fresh()
    figures = taught(replace(CFG, learning_rate=0.0), controller)
    assert same(controller, fresh()) and figures["distance"] == 0 and figures["kept"] == 1


def test_learning_brings_the_controller_to_what_is_wanted_and_replay_keeps_the_old() -> None:
    free = replace(CFG, updates=200, replay=0.0, radius=None)
    first, last = fresh(), fresh()
    begun, ended = taught(replace(free, updates=1), first), taught(free, last)
    assert ended["loss"] < 0.5 * begun["loss"]
    kept = taught(replace(free, replay=3.0), fresh())
    assert kept["distance"] < 0.6 * ended["distance"]


def test_the_replay_weighs_more_beyond_the_trust_region_and_less_within() -> None:
    cfg = replace(CFG, updates=200, replay=1.0)
    alone = taught(replace(cfg, radius=None), fresh())
    wide = taught(replace(cfg, radius=2 * alone["distance"]), fresh())
    narrow = taught(replace(cfg, radius=0.5 * alone["distance"]), fresh())
    assert wide["weight"] < alone["weight"] == 1.0 < narrow["weight"]
    assert narrow["distance"] <= 0.5 * alone["distance"] < alone["distance"] < wide["distance"]
    assert narrow["kept"] > 0.5, "it learned along the edge, and was not only cut"


def test_an_update_beyond_the_trust_region_is_cut_at_its_edge_and_one_inside_is_not() -> None:
    free = replace(CFG, replay=0.0, radius=math.inf)
    whole, cut = fresh(), fresh()
    distance = taught(free, whole)["distance"]
    figures = taught(replace(free, radius=0.5 * distance), cut)
    assert 0 < figures["kept"] < 1 and 0.45 * distance < figures["distance"] <= 0.5 * distance
    share = figures["kept"]
    for k, value in cut.state_dict().items():
        between = fresh().state_dict()[k].lerp(whole.state_dict()[k], share)
        assert torch.allclose(value, between, atol=1e-5)
    inside = copy.deepcopy(whole)
    assert cut_to_region(inside, fresh().state_dict(), old_replay(), 1.01 * distance) == 1
    assert same(inside, whole)


class LineDeployment:
    """``Deployment`` on the line; a shift is the motors' strength."""

    def __init__(self) -> None:
        learning = replace(CFG, updates=10, radius=0.3)
        self.settings = Settings(adaptation=AdaptationSettings(learning, seeds=3, judged_after=(), episodes=N))
        self.controller, self.cfg, self.compared = fresh(), learning, None

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pictures), SIZES.patches, SIZES.channels)

    def look_through(self, learners: list[Learner], posture: Posture | None) -> None:
        pass

    def practise(self, controllers: list[Controller], shift: Shift, seed: int, label: str) -> Experience:
        return practise(LineEnv(0.5), FleetPolicy(controllers), self.cfg, seed, label)  # pyright: ignore


def line_fleet(before: Path) -> Fleet:
    deployment: Any = LineDeployment()
    return Fleet(deployment, before)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, whole, stopped = (tmp_path / name for name in ("before", "whole", "stopped"))
    save_tensors(before / "experience.safetensors", experience())
    save_tensors(before / "inverse.safetensors", fit_inverse(experience(), SIZES, 50, 0).state_dict())
    inputs = SIZES.patches * SIZES.channels
    save_tensors(before / "posture.safetensors", Posture(inputs, SIZES.joints).state_dict())

    def moved(views: Views, start: torch.Tensor, posture: Posture, encode: Any, seed: int) -> torch.Tensor:
        return start + 0.001 * seed + 0.01 * len(views.joints)

    monkeypatch.setattr("argos_sim.pipeline.adapt.aligned", moved)
    monkeypatch.setattr(Views, "strange", lambda self, posture, encode: True)
    one, two, three = line_fleet(before), line_fleet(before), line_fleet(before)
    for number in range(3):
        one.round(number, Shift(), whole)
    two.round(0, Shift(), stopped)
    two.round(1, Shift(), stopped)
    (stopped / "round_1.safetensors").unlink()  # killed while it learned
    for number in range(3):
        three.round(number, Shift(), stopped)
    for a, b in zip(one.learners, three.learners, strict=True):
        assert same(a.controller, b.controller) and not same(a.controller, fresh())
        assert torch.equal(a.eyes, b.eyes) and a.eyes.all()
    assert not same(one.learners[0].controller, one.learners[1].controller), "seeds differ"


def test_all_learners_begin_as_the_deployed_controller_and_figures_tell_seeds_apart() -> None:
    settings = LineDeployment().settings
    learners = make_learners(settings, fresh())
    assert [x.name for x in learners[:4]] == ["protected.0", "protected.1", "protected.2", "unprotected.0"]
    assert all(same(x.controller, fresh()) for x in learners)
    assert learners[3].cfg.replay == 0 and learners[3].cfg.radius is None
    success = torch.ones(2 * N)
    seeds = success.clone().view(2, 3, 4)
    seeds[:, 1] = 0.0
    labels = {f"{m}.3.{w}": seeds.flatten() for m in ("protected", "unprotected") for w in ("shift", "old")}
    figures = adaptation_figures(settings, {"old": success, "shifted": 0 * success, **labels})
    assert figures["protected.3.shift.success_by_seed"] == [1.0, 0.0, 1.0]
    assert figures["protected.3.recovered"] == pytest.approx(2 / 3)
    assert figures["unprotected.3.forgotten"] == pytest.approx(1 / 3)
