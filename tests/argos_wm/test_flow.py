"""Laws of the flow: straight paths are exact, ends stay put, and a second implementation agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from argos_wm.flow import (
    MIN_TIME,
    Parts,
    Solver,
    dimension_shift,
    guided,
    interpolate,
    sample,
    shift_time,
    solver_times,
    training_times,
    velocity_loss,
)

SOLVERS: tuple[Solver, Solver] = ("euler", "heun")


def gaussian(mean: float, std: float):
    """The exact x̂_0 of data drawn from N(mean, std²): the posterior mean given x_t."""

    def predict(x: Parts, s: float) -> Parts:
        gain = (1 - s) * std**2 / ((1 - s) ** 2 * std**2 + s**2)
        return (mean + gain * (x[0] - (1 - s) * mean),)

    return predict


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", (1, 3))
def test_a_straight_path_is_exact(solver: Solver, steps: int) -> None:
    data = (torch.randn(4, 3, 2, dtype=torch.double), torch.randn(4, 5, dtype=torch.double))
    noise = tuple(torch.randn_like(x) for x in data)
    for got, want in zip(sample(lambda x, t: data, noise, steps, solver, shift=3.0), data, strict=True):
        assert torch.allclose(got, want, atol=1e-12)


def test_the_path_has_its_ends_and_its_velocity() -> None:
    x0, noise = (torch.randn(2, 3),), (torch.randn(2, 3),)
    assert torch.equal(interpolate(x0, noise, torch.zeros(2))[0], x0[0])
    assert torch.equal(interpolate(x0, noise, torch.ones(2))[0], noise[0])
    t = torch.tensor([0.3, 0.9])
    x_t = interpolate(x0, noise, t)[0]
    assert torch.allclose((x_t - x0[0]) / t[:, None], noise[0] - x0[0], atol=1e-5)


def test_the_loss_is_the_error_of_the_velocity() -> None:
    x0, noise, guess = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    t = torch.tensor([0.1, 0.5, 1.0])
    x_t = interpolate((x0,), (noise,), t)[0]
    error = (x_t - guess) / t[:, None, None] - (noise - x0)
    assert torch.allclose(velocity_loss(guess, x0, t), error.square().flatten(1).mean(1), rtol=1e-4)
    assert torch.equal(velocity_loss(guess, x0, t * 0), velocity_loss(guess, x0, t * 0 + MIN_TIME))


def test_heun_is_of_second_order_and_finds_the_distribution() -> None:
    noise = (torch.randn(20000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.double),)
    model = gaussian(2.0, 0.5)
    exact = sample(model, noise, 2000, "heun")[0]
    assert abs(exact.mean() - 2.0) < 0.02 and abs(exact.std() - 0.5) < 0.02
    errors = {s: (sample(model, noise, 10, s)[0] - exact).abs().mean() for s in SOLVERS}
    assert errors["heun"] < errors["euler"] / 2


def test_agrees_with_diffusers_given_explicit_sigmas() -> None:
    diffusers = pytest.importorskip("diffusers")
    shift, steps = 4.0, 7
    sigmas = np.asarray(solver_times(steps, shift), dtype=np.float32)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=sigmas[:-1])
    x = noise = torch.randn(5, 1)
    model = gaussian(1.0, 0.3)
    for timestep, sigma in zip(scheduler.timesteps, sigmas[:-1], strict=True):
        x = scheduler.step((x - model((x,), float(sigma))[0]) / float(sigma), timestep, x).prev_sample
    assert torch.allclose(sample(model, (noise,), steps, "euler", shift)[0], x, atol=1e-4)


def test_the_shift_keeps_the_ends_and_the_order() -> None:
    t = torch.linspace(0, 1, 11)
    shifted = shift_time(t, 8.0)
    assert shifted[0] == 0 and shifted[-1] == 1 and (shifted.diff() > 0).all()
    assert torch.isclose(shift_time(torch.tensor(0.5), 8.0), torch.tensor(8 / 9))
    assert torch.equal(shift_time(t, 1.0), t)
    assert dimension_shift(256) == 1.0 and dimension_shift(256 * 1024) == 8.0


def test_training_times_are_inside_and_follow_the_generator() -> None:
    torch.manual_seed(0)
    first = training_times(5000, 3.0)
    torch.manual_seed(0)
    assert torch.equal(first, training_times(5000, 3.0))
    assert first.min() > 0 and first.max() < 1 and abs(first.median() - 0.75) < 0.02


def test_guidance_one_is_the_conditional_model() -> None:
    calls: list[str] = []

    def model(name: str, mean: float):
        def predict(x: Parts, t: float) -> Parts:
            calls.append(name)
            return (torch.full_like(x[0], mean),)

        return predict

    x, t = (torch.zeros(2, 1),), 0.5
    assert guided(model("c", 3.0), model("u", 1.0), 1.0)(x, t)[0].unique().tolist() == [3.0]
    assert guided(model("c", 3.0), model("u", 1.0), 4.0, (0.6, 1.0))(x, t)[0].unique().tolist() == [3.0]
    assert calls == ["c", "c"]
    assert guided(model("c", 3.0), model("u", 1.0), 4.0)(x, t)[0].unique().tolist() == [9.0]


def test_unknown_solvers_and_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="rk4"):
        sample(gaussian(0, 1), (torch.zeros(1, 1),), 3, "rk4")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="0 steps"):
        sample(gaussian(0, 1), (torch.zeros(1, 1),), 0)
