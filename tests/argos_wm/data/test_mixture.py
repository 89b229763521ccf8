"""Laws of the mixture: shares hold, nothing is seen twice in an epoch, and ranks and kills change nothing."""

import numpy as np
import pytest

from argos_wm.data.mixture import Mixture

COUNTS = {"images": 1000, "robots": 50, "videos": 300}
WEIGHTS = {"images": 0.5, "robots": 0.2, "videos": 0.3}


def draws(mixture: Mixture, steps: int, size: int, ranks: int = 1) -> np.ndarray:
    parts = [mixture.batch(step, size, rank, ranks) for step in range(steps) for rank in range(ranks)]
    return np.array([(s, i) for part in parts for s, i in zip(part.source, part.sample, strict=True)])


def test_shares_are_as_asked_for() -> None:
    source = draws(Mixture(COUNTS, WEIGHTS), 100, 64)[:, 0]
    assert np.bincount(source) / len(source) == pytest.approx(list(WEIGHTS.values()), abs=0.02)
    by_size = draws(Mixture(COUNTS), 100, 64)[:, 0]
    assert np.bincount(by_size) / len(by_size) == pytest.approx(np.array([1000, 50, 300]) / 1350, abs=0.02)


def test_every_source_is_seen_whole_before_it_is_seen_again() -> None:
    rows = draws(Mixture(COUNTS, WEIGHTS), 20, 64)
    robots = rows[rows[:, 0] == 1, 1]
    assert len(robots) > 100
    for epoch in range(len(robots) // 50):
        assert sorted(robots[epoch * 50 : (epoch + 1) * 50]) == list(range(50))


def test_four_ranks_see_what_one_sees() -> None:
    assert (draws(Mixture(COUNTS, WEIGHTS), 10, 8, ranks=4) == draws(Mixture(COUNTS, WEIGHTS), 10, 32)).all()


def test_a_run_goes_on_where_it_was() -> None:
    whole = Mixture(COUNTS, WEIGHTS, seed=3)
    last = [whole.batch(step, 16) for step in range(30)][-1]
    resumed = Mixture(COUNTS, WEIGHTS, seed=3).batch(29, 16)
    assert (resumed.source == last.source).all() and (resumed.sample == last.sample).all()
    again = whole.batch(3, 16)  # also backwards
    assert (again.sample == Mixture(COUNTS, WEIGHTS, seed=3).batch(3, 16).sample).all()
    assert whole.epochs(30, 16)["robots"] == pytest.approx(30 * 16 * 0.2 / 50, rel=0.3)


def test_a_weight_of_zero_leaves_a_source_out() -> None:
    mixture = Mixture({"a": 10, "b": 0}, {"a": 1.0, "b": 0.0})
    assert (draws(mixture, 5, 8)[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("counts", "weights", "message"),
    [
        ({"a": 5}, {"a": 1.0, "b": 1.0}, "differ in b"),
        ({"a": 5}, {"a": 0.0}, "not all be zero"),
        ({"a": 5, "b": 5}, {"a": 2.0, "b": -1.0}, "negative"),
        ({"a": 5, "b": 0}, {"a": 0.5, "b": 0.5}, "source b has no samples"),
    ],
)
def test_nonsense_is_refused(counts: dict[str, int], weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(counts, weights)
