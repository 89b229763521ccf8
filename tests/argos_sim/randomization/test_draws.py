"""Laws of the limits that environments draw from, and of the curriculum that moves them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from isaaclab.managers import CurriculumTermCfg

from argos_sim.configs import CurriculumConfig
from argos_sim.randomization.curriculum import AT_START, WidenRanges
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.ranges import get_ranges, range_names
from argos_wm.checkpoint import CheckpointError
from argos_wm.training.parallel import Parallel

N = 2000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_fill_their_range_in_every_environment_apart() -> None:
    draws, every = Draws(get_ranges("train"), N), torch.arange(N)
    values = draws.uniform("mass_scale", every, (6,), seeded())
    assert values.shape == (N, 6) and values.min() >= 0.85 and values.max() <= 1.15
    assert values.min() < 0.86 and values.max() > 1.14
    assert sorted(draws.integers("action_delay", every, seeded()).unique().tolist()) == [0, 1, 2, 3, 4]
    assert draws.may("action_delay") and not draws.may("tilt")


def test_one_environment_may_draw_otherwise() -> None:
    draws, axis = Draws(get_ranges("train"), N), torch.tensor([range_names().index("tilt")])
    draws.limit(torch.tensor([7]), axis, torch.tensor([0.3]), torch.tensor([0.3]))
    values = draws.uniform("tilt", torch.arange(N), (), seeded())
    assert values.nonzero().flatten().tolist() == [7] and values[7] == pytest.approx(0.3)


def curriculum(**changed) -> tuple[SimpleNamespace, WidenRanges]:
    env = SimpleNamespace(num_envs=N, device="cpu", generator=seeded(), cfg=SimpleNamespace(ranges=get_ranges("train")))
    env.draws, env.perception = Draws(env.cfg.ranges, N), SimpleNamespace()
    env.require_timely = lambda ranges: None
    settings = CurriculumConfig(**({"widest": "complete", "window": 10} | changed))
    return env, WidenRanges(CurriculumTermCfg(func=WidenRanges, params={"settings": settings}), env)  # pyright: ignore


def run(term: WidenRanges, episodes: int, reached) -> None:
    """Episodes of three targets in all environments; ``reached`` gives the share of them by the edge tried (N,)."""
    every = torch.arange(N)
    for _ in range(episodes):
        term.choose(every)
        term.judge(every, torch.full((N,), 3.0), reached(term._edge))
        term.decide(Parallel())


def test_edges_move_out_where_targets_are_reached_and_stay_where_not() -> None:
    env, term = curriculum()
    names = range_names()
    hard = term.edges[:, 0] == names.index("tilt")
    assert hard.sum() == 1, "a lean has no lower edge"
    run(term, 60, lambda edge: 1.0 - (hard[edge] & (edge >= 0)).float())
    assert term.level[hard].item() == 0.0
    assert term.level[~hard].min() == pytest.approx(1.0)
    limits = dict(zip(names, env.draws.limits.median(1).values.tolist(), strict=True))
    assert limits["tilt"] == [0.0, 0.0]
    assert limits["motor_strength"] == pytest.approx(list(get_ranges("complete").motor_strength))
    assert limits["mass_scale"] == pytest.approx(list(get_ranges("train").mass_scale)), "drawn at the start"
    run(term, 60, lambda edge: torch.zeros(N))
    assert term.level.max() == 0.0, "and back in"


def test_an_episode_tries_one_edge_one_step_beyond_and_the_rest_try_none() -> None:
    env, term = curriculum(probing=0.5, step=0.25)
    term.choose(torch.arange(N))
    changed = (env.draws.limits != Draws(get_ranges("train"), N).limits).any(-1)
    assert torch.equal(changed.sum(0), (term._edge >= 0).long())
    assert 0.4 < (term._edge >= 0).float().mean() < 0.6
    assert len(term._edge.unique()) == len(term.edges) + 1
    low, high = env.draws.limits[changed].unbind(-1)
    assert torch.equal(low, high)
    names = {range_names()[axis] for axis in term.edges[:, 0].tolist()}
    assert not names & {*AT_START, "light_direction"} and "shade" in names
    assert env.draws.ranges.light_direction == get_ranges("train").light_direction, "which is what the lamp leans by"


def test_a_curriculum_goes_on_from_its_state_and_not_from_episodes_that_were_cut_off() -> None:
    _, whole = curriculum()
    run(whole, 20, lambda edge: torch.ones(N))
    _, resumed = curriculum()
    resumed.load({k: v.clone() for k, v in whole.state().items()})
    assert resumed.summary() == whole.summary() and whole.level.max() > 0
    whole.forget_episodes()
    before = {k: v.clone() for k, v in whole.state().items()}
    whole.judge(torch.arange(N), torch.full((N,), 3.0), torch.ones(N))
    whole.decide(Parallel())
    assert all(torch.equal(v, before[k]) for k, v in whole.state().items())


def test_an_edge_is_judged_by_episodes_that_tried_it_where_it_is() -> None:
    _, term = curriculum(window=1, probing=1.0)
    every = torch.arange(N)
    term.choose(every)
    first, rest = every[: N // 2], every[N // 2 :]
    term.judge(first, torch.full((len(first),), 3.0), torch.ones(len(first)))
    tried = term._edge[first].unique()
    term.decide(Parallel())
    assert (term.level[tried] > 0).all()
    level = term.level.clone()
    term.judge(rest, torch.full((len(rest),), 3.0), torch.ones(len(rest)))  # begun before the edges moved
    term.decide(Parallel())
    assert torch.equal(term.level[tried], level[tried])


def test_an_episode_that_was_given_another_table_says_nothing_of_tables() -> None:
    _, term = curriculum(probing=1.0)
    every = torch.arange(N)
    term.choose(every)
    before = term._edge.clone()
    term.leave_out(every, ("table_height", "distractors"))
    names = range_names()
    given = [
        int(i) for i, (axis, _) in enumerate(term.edges.tolist()) if names[axis] in ("table_height", "distractors")
    ]
    others = torch.tensor([edge not in given for edge in before.tolist()])
    assert len(given) >= 2 and not others.all()
    assert torch.equal(term._edge[others], before[others]) and (term._edge[~others] == -1).all()


def test_a_checkpoint_of_another_curriculum_is_refused() -> None:
    _, term = curriculum()
    for state in ({}, term.state() | {"edges": term.edges[:-1]}):
        with pytest.raises(CheckpointError, match="another curriculum, or without one"):
            term.load(state)


def test_targets_that_broken_physics_kept_from_being_judged_count_as_missed() -> None:
    env, term = curriculum(window=3, probing=1.0)
    every = torch.arange(N)
    term.choose(every)
    term.level.fill_(0.5)
    env.target = SimpleNamespace(source=object(), metrics={"judged": torch.ones(N), "reached": torch.ones(N)})
    env.termination_manager = SimpleNamespace(terminated=torch.ones(N, dtype=torch.bool))
    env.cfg.plans_per_episode = 3
    term(env, every, term.settings)
    term.decide(Parallel())
    assert (term.level < 0.5).all(), "a third is below what narrows, though all that was judged was reached"


def test_a_curriculum_that_goes_nowhere_is_refused_and_an_unknown_one_at_once() -> None:
    with pytest.raises(ValueError, match="goes nowhere"):
        curriculum(widest="train")
    with pytest.raises(ValueError, match="no randomization preset 'wild'"):
        CurriculumConfig(widest="wild")


def test_a_curriculum_to_narrower_ranges_is_refused() -> None:
    with pytest.raises(ValueError, match="widest preset 'nominal' does not contain"):
        curriculum(widest="nominal")


def test_only_what_widest_ranges_may_bring_is_computed() -> None:
    env, _ = curriculum()
    assert env.draws.may("tilt") and env.draws.ranges == get_ranges("train")
    assert not Draws(replace(get_ranges("nominal")), 1).may("tilt")
