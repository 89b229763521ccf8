"""Laws of the cubic path between two joint states."""

import torch

from argos_sim.kinematics import cubic_path


def test_the_path_begins_and_ends_in_the_given_states():
    start, end = torch.randn(2, 8, 12, dtype=torch.float64)
    duration = torch.rand(8, dtype=torch.float64) + 0.1
    for phase, state in ((torch.zeros(8), start), (torch.ones(8), end)):
        assert torch.allclose(torch.cat(cubic_path(start, end, duration, phase.double()), -1), state)


def test_the_velocity_is_the_positions_derivative():
    start, end = torch.randn(2, 8, 12, dtype=torch.float64)
    duration, phase = torch.rand(8, dtype=torch.float64) + 0.1, torch.rand(8, dtype=torch.float64) * 0.9
    step = 1e-6
    (a, velocity), (b, _) = (cubic_path(start, end, duration, phase + p) for p in (0.0, step))
    assert torch.allclose((b - a) / (step * duration[:, None]), velocity, atol=1e-3)
