"""Laws of DAgger: whose states are visited, whose actions are learned, and that rounds go on where they were."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import torch

from argos_sim.configs import DaggerConfig
from argos_sim.controller.dagger import dagger, visit
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig

N, STEPS = 6, 8
SIZES = ControllerConfig(patches=2, channels=3, proprio_dim=4, joints=2, history=1, attention_width=8, hidden=(32, 32))
CFG = DaggerConfig(
    rounds=2,
    episodes=N,
    expert_share=0.0,
    stride=1,
    demonstrations=0.25,
    loop=LoopConfig(steps=150, batch_size=64, learning_rate=3e-3, checkpoint_every=50),
)


class LineEnv:
    """A point on a line that actions push; what is sensed is where it is."""

    def __init__(self) -> None:
        self.num_envs, self.device, self.max_episode_length = N, "cpu", STEPS + 1
        self.generator = torch.Generator()
        self.perception = SimpleNamespace(generator=torch.Generator())
        self.target = SimpleNamespace(source=SimpleNamespace(reseed=lambda seed: None))
        self.breaks_at: int | None = None

    reset_from = LatentTrackingEnv.reset_from

    def reset(self):
        self.position, self.time = torch.randn(N, 1, generator=self.generator), 0
        self.actions: list[torch.Tensor] = []
        self.reset_buf = torch.zeros(N, dtype=torch.bool)
        return self.sensed(), {}

    def sensed(self) -> dict[str, torch.Tensor]:
        proprio = torch.zeros(N, 2 * 4 + 4 + 2 + 1)
        proprio[:, 4:5] = self.position
        return {"proprio": proprio, "vision": torch.zeros(N, 6), "target_vision": torch.zeros(N, 6)}

    def step(self, action: torch.Tensor):
        self.actions.append(action)
        self.position = self.position + 0.3 * action[:, :1]
        self.time += 1
        self.reset_buf = torch.zeros(N, dtype=torch.bool)
        self.reset_buf[0] = self.time == self.breaks_at
        return self.sensed(), None, None, None, {}


class HomeExpert:
    """Pushes toward the origin; the second joint is always pushed by a tenth."""

    def __init__(self, env: LineEnv) -> None:
        self.env, self.seeds = env, []
        self.motion = SimpleNamespace(torque_limit=torch.full((2,), 2.0), reseed=self.seeds.append)

    def begin(self, ids: torch.Tensor) -> None:
        """Nothing is planned."""

    def torque(self) -> torch.Tensor:
        return 2.0 * torch.cat([-0.5 * self.env.position, torch.full((N, 1), 0.1)], 1)


class NoDemonstrations:
    """Demonstrations at the origin, where nothing but the second joint's push was done."""

    def batch(self, size: int):
        zeros = torch.zeros(size, 2, 3)
        inputs = (
            zeros,
            zeros,
            torch.zeros(size, 2, 4),
            torch.zeros(size, 4),
            torch.zeros(size, 2),
            torch.zeros(size, 1),
        )
        return inputs, torch.tensor([[0.0, 0.1]]).expand(size, 2)


def fresh() -> Controller:
    torch.manual_seed(1)
    return Controller(SIZES, torch.full((2,), 2.0))


def test_the_controller_acts_the_expert_labels_and_shares_are_kept() -> None:
    env, controller = LineEnv(), fresh()
    expert = HomeExpert(env)
    visited = visit(env, controller, expert, CFG, 0)  # pyright: ignore[reportArgumentType]
    assert expert.seeds == [0], "paces depend on the round, not on the rounds before it"
    assert visited["label"].shape == (N * STEPS, 2) and visited["proprio"].dtype == torch.float16
    position = visited["proprio"][:, 4].float()
    assert torch.allclose(visited["label"][:, 0].float(), (-0.5 * position).clamp(-1, 1), atol=2e-3)
    assert not torch.allclose(env.actions[0], expert.torque() / 2.0, atol=0.01)
    every = DaggerConfig(expert_share=1.0, stride=2)
    taught = visit(env, controller, expert, every, 0)  # pyright: ignore[reportArgumentType]
    assert len(taught["label"]) == N * STEPS // 2
    assert torch.allclose(taught["label"][:N].float(), env.actions[0], atol=1e-3)


def test_an_episode_that_broke_is_left_at_once() -> None:
    env = LineEnv()
    env.breaks_at = 3
    visited = visit(env, fresh(), HomeExpert(env), CFG, 0)  # pyright: ignore[reportArgumentType]
    assert len(visited["label"]) == N * STEPS - (STEPS - 3)


def train(folder: Path, seen: list[int]) -> Controller:
    env = LineEnv()

    def visit_round(controller: Controller, number: int) -> dict[str, torch.Tensor]:
        seen.append(number)
        return visit(env, controller, HomeExpert(env), CFG, number)  # pyright: ignore[reportArgumentType]

    return dagger(
        fresh(),
        visit_round,
        cast(ImitationData, NoDemonstrations()),
        CFG,
        folder,
        lambda number: RunLogger(folder, "none"),  # pyright: ignore
    )


def test_the_expert_is_learned_where_the_controller_goes_and_rounds_are_not_done_twice(tmp_path: Path) -> None:
    seen: list[int] = []
    trained = train(tmp_path, seen)
    env = LineEnv()
    left = visit(env, trained, HomeExpert(env), CFG, 5)  # pyright: ignore[reportArgumentType]
    start = LineEnv()
    before = visit(start, fresh(), HomeExpert(start), CFG, 5)  # pyright: ignore[reportArgumentType]
    assert env.position.abs().mean() < 0.5 * start.position.abs().mean()
    assert abs(float(env.actions[-1][:, 1].mean()) - 0.1) < 0.05
    assert len(left["label"]) == len(before["label"])
    again = train(tmp_path, seen)
    assert seen == [0, 1]
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in again.state_dict().items())
