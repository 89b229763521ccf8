"""Laws of the order: nothing twice, nothing lost, and the next sample follows from a number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_wm.data.order import Order, Permutation


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 3000), key=st.integers(0, 2**40))
def test_a_permutation_sees_everything_once(count: int, key: int) -> None:
    assert sorted(Permutation(count, key)(np.arange(count))) == list(range(count))


def test_it_shuffles_well_and_differently_for_each_key() -> None:
    count = 10_000
    a, b = (Permutation(count, key)(np.arange(count)) for key in (1, 2))
    assert (a == b).mean() < 0.01
    assert abs(np.corrcoef(np.arange(count), a)[0, 1]) < 0.05
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 0.05


def test_a_permutation_of_billions_needs_no_memory() -> None:
    some = Permutation(10**11 + 7, 0)(np.arange(1000) * 10**8)
    assert len(set(some)) == 1000 and (some < 10**11 + 7).all()


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 100), size=st.integers(1, 7), ranks=st.integers(1, 5), seed=st.integers(0, 100))
def test_ranks_together_see_what_one_would(count: int, size: int, ranks: int, seed: int) -> None:
    order = Order(count, seed)
    together = np.concatenate([order.batch(step, size, rank, ranks) for step in range(6) for rank in range(ranks)])
    alone = np.concatenate([order.batch(step, size * ranks) for step in range(6)])
    assert (together == alone).all()
    for epoch in range(len(alone) // count):
        assert sorted(alone[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_differ_and_a_seed_repeats() -> None:
    first, second = Order(50)(np.arange(100)).reshape(2, 50)
    assert (first != second).any()
    assert (Order(50)(np.arange(100)) == np.concatenate([first, second])).all()
    assert (Order(50, shuffle=False)(np.arange(60))[:60] == np.arange(60) % 50).all()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Permutation(0, 0)
    with pytest.raises(ValueError, match="Rank 2 of 2"):
        Order(5).batch(0, 1, 2, 2)
