"""Which of two controllers the stage of PPO keeps."""

from __future__ import annotations

import pytest
import torch

from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.pipeline.controller import better_of

SIZES = ControllerConfig(patches=2, channels=3, proprio_dim=4, joints=2, history=1, attention_width=8, hidden=(16, 16))


@pytest.mark.parametrize(
    ("done", "reached", "keeps_ppo", "lead"),
    [
        ([1, 1, 1, 0], [0, 0, 0, 0], True, 0.25),
        ([1, 0, 0, 0], [1, 1, 1, 1], False, -0.25),
        ([1, 1, 0, 0], [1, 1, 1, 0], True, 0.0),
        ([1, 1, 0, 0], [1, 0, 0, 0], False, 0.0),
        ([1, 1, 0, 0], [1, 1, 0, 0], True, 0.0),
    ],
    ids=["does more", "does less", "does as much, reaches more", "does as much, reaches less", "equals"],
)
def test_what_ppo_made_is_kept_unless_what_it_began_with_does_more(
    done: list[int], reached: list[int], keeps_ppo: bool, lead: float
) -> None:
    ppo, prior = Controller(SIZES, torch.ones(2)), Controller(SIZES, torch.ones(2))

    def judged(controller: Controller) -> dict[str, torch.Tensor]:
        """Four episodes of one target each; the prior does and reaches the first two."""
        own = (done, reached) if controller is ppo else ([1, 1, 0, 0], [1, 1, 0, 0])
        success, targets = (torch.tensor(values).float() for values in own)
        return {"env": torch.arange(4).float(), "reached": targets, "success": success}

    kept, figures = better_of(ppo, prior, judged)
    assert kept is (ppo if keeps_ppo else prior)
    assert figures["trial_episodes"] == 4 and figures["trial_gain"] == lead
    low, high = figures["trial_gain_ci"]
    assert low <= lead <= high
