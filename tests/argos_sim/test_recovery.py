"""Laws of recovery: shares of what was lost, paired by episode."""

from __future__ import annotations

import torch

from argos_sim.recovery import paired_loss, rate, recovery


def test_what_is_recovered_is_a_share_of_what_was_lost() -> None:
    old, shifted = torch.ones(100), torch.cat([torch.ones(20), torch.zeros(80)])
    after, again = torch.cat([torch.ones(80), torch.zeros(20)]), torch.cat([torch.ones(95), torch.zeros(5)])
    found = recovery(old, shifted, after, again)
    assert abs(found["lost"] - 0.8) < 1e-6 and abs(found["recovered"] - 0.75) < 1e-6
    assert abs(found["forgotten"] - 0.05) < 1e-6
    for name in ("lost", "recovered", "forgotten"):
        low, high = found[f"{name}_ci"]
        assert low < found[name] < high
    nothing = recovery(old, shifted, shifted, old)
    assert nothing["recovered"] == 0 and nothing["forgotten"] == 0 and nothing["recovered_ci"] == [0, 0]


def test_what_never_changed_in_a_few_episodes_is_not_known_to_be_unchanged() -> None:
    few, many = (paired_loss(torch.ones(n), torch.ones(n)) for n in (20, 500))
    assert few[0] == many[0] == 0
    assert few[1][0] < -0.05 < many[1][0] < 0 < many[1][1] < 0.05 < few[1][1]


def test_fewer_episodes_are_compared_with_the_same_of_the_others_and_nothing_lost_is_not_recovered() -> None:
    old = torch.cat([torch.ones(10), torch.zeros(90)])
    found = recovery(old, torch.zeros(100), torch.ones(10), torch.ones(10))
    assert found["lost"] == 1 and found["recovered"] == 1
    assert "recovered" not in recovery(old, old, old, old)
    # Two more were done under the shift than before: what then falls is no recovery.
    better, worse = (torch.cat([torch.ones(n), torch.zeros(100 - n)]) for n in (12, 4))
    assert "recovered" not in recovery(old, better, worse, old)
    assert rate(old)["success"] == 0.1 and rate(old)["episodes"] == 100
