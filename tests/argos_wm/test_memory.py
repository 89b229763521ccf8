"""Laws of the memory: it keeps what is new, within its budget, where and when it was."""

import pytest
import torch

from argos_wm.latents import LatentState, patch_cells
from argos_wm.memory import ChangeComponents, MemoryBank, remember

ROWS, COLS, C = 2, 3, 4
P = ROWS * COLS
EVERYTHING = ChangeComponents.everything(C)


def bank(budget: int = 20, components: ChangeComponents = EVERYTHING) -> MemoryBank:
    return MemoryBank(patch_cells(ROWS, COLS), budget, components)


def scene(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, P, C, generator=torch.Generator().manual_seed(0)) * 2


def test_what_does_not_change_is_remembered_once() -> None:
    memory, vision = bank(), scene()
    for second in range(5):
        memory.add(vision, torch.full((2,), float(second)))
    tokens = memory.tokens(torch.full((2,), 5.0))
    assert tokens.mask.sum(1).tolist() == [P, P]
    assert (tokens.place[..., 0][tokens.mask] == -5).all()


def test_what_changes_is_remembered_with_its_time_and_place() -> None:
    memory, vision = bank(), scene()
    memory.add(vision, torch.zeros(2))
    changed = vision.clone()
    changed[0, 4] += 3.0
    memory.add(changed, torch.ones(2))
    tokens = memory.tokens(torch.full((2,), 1.5))
    assert tokens.mask.sum(1).tolist() == [P + 1, P]
    late = tokens.mask[0] & (tokens.place[0, :, 0] > -1)
    assert tokens.place[0][late].tolist() == [[-0.5, 1.0, 1.0]]  # the fifth patch: second row, second column
    assert torch.equal(tokens.vision[0][late][0], changed[0, 4])


def test_a_slow_drift_is_noticed_when_it_has_become_large() -> None:
    memory, vision = bank(budget=100), scene(1)
    for i in range(20):
        memory.add(vision + 0.1 * i, torch.full((1,), float(i)))
    kept = memory.tokens(torch.full((1,), 20.0)).mask.sum()
    assert P < kept < 20 * P


def test_the_budget_holds_and_the_largest_changes_survive() -> None:
    memory, vision = bank(budget=7), scene(1)
    generator = torch.Generator().manual_seed(1)
    for i in range(10):
        moved = vision + 0.3 * torch.randn(vision.shape, generator=generator)
        if i == 4:
            moved[0, 2] = 9.0
        memory.add(moved, torch.full((1,), float(i)))
    tokens = memory.tokens(torch.full((1,), 10.0))
    assert tokens.mask.sum() == 7 == tokens.mask.numel()
    assert (tokens.vision[0] == 9.0).all(1).any()


def test_scenes_do_not_see_each_other_and_a_masked_state_is_as_if_it_were_not() -> None:
    states = LatentState(
        torch.randn(3, 5, P, C, generator=torch.Generator().manual_seed(0)),
        torch.zeros(3, 5, 1),
        torch.arange(5.0).expand(3, 5),
    )
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 2] = False
    now = torch.full((3,), 5.0)
    together = remember(states, mask, now, patch_cells(ROWS, COLS), 9, EVERYTHING)
    chosen = torch.tensor([0, 1, 3, 4])
    alone = remember(states[1:2, chosen], mask[1:2, chosen], now[1:2], patch_cells(ROWS, COLS), 9, EVERYTHING)
    order = [t.place[0 if t is alone else 1].sum(1).argsort() for t in (together, alone)]
    assert torch.equal(together.vision[1][order[0]], alone.vision[0][order[1]])


def test_changes_outside_of_the_components_are_no_news() -> None:
    changes = torch.zeros(100, C)
    changes[:, 0] = torch.randn(100, generator=torch.Generator().manual_seed(0))
    changes[:, 1] = 0.05 * changes[:, 0].flip(0)
    components = ChangeComponents.fit(changes, 0.95)
    assert components.directions.shape == (1, C) and components.kept > 0.95
    news, noise = components.novelty(torch.tensor([[1.0, 0, 0, 0], [0, 0, 5.0, 0]]))
    assert news > 0.5 and noise < 1e-6
    assert ChangeComponents.fit(torch.randn(50, C), 1.0).directions.shape == (C, C)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        bank(budget=0)
    with pytest.raises(ValueError, match="variance"):
        ChangeComponents.fit(torch.randn(5, C), 0.0)
    with pytest.raises(ValueError, match="ever added"):
        bank().tokens(torch.zeros(1))
