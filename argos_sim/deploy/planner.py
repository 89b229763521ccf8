"""The exported planner: what was seen and felt, and words, to the state that is wanted next.

The networks are the world model's two halves: one reads everything that stays the same while a target is drawn, the
other guesses the target once a solver evaluation. The flow between is ``argos_wm.flow.sample``, in numpy.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Protocol

import numpy as np

from argos_sim.deploy.manifest import PLANNER, DeployError, PlannerSettings, PolicyManifest
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import require_array
from argos_sim.deploy.text import load_text

Parts = tuple[np.ndarray, np.ndarray]
"""Vision (N, P, C) and proprioception (N, D)."""


class Computes(Protocol):
    """A network: arrays by name in, arrays in the order of ``outputs`` out; ``network.Network`` is one."""

    outputs: list[str]

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for N rows."""
        ...


class Sampler:
    """Draws states: ``argos_wm.flow.sample`` over the world model's two halves."""

    def __init__(self, context: Computes, flow: Computes, settings: PlannerSettings) -> None:
        self._context, self._flow, self.settings = context, flow, settings

    def draw(
        self, history: Parts, known: np.ndarray, words: Parts, horizon: np.ndarray, rng: np.random.Generator
    ) -> Parts:
        """N states, from noise of ``rng``.

        Args:
            history: (N, S, …) at ``settings.history``; ``known`` (N, S) of them are.
            words: tokens (N, L, dim), and which of them are there (N, L).
            horizon: (N,) [s].
        """
        count = len(horizon)
        given = {
            "history_vision": history[0],
            "history_proprio": history[1],
            "history_time": np.tile(np.asarray(self.settings.history, dtype=np.float32), (count, 1)),
            "history_known": np.asarray(known, dtype=bool),
            "words": words[0],
            "words_known": words[1],
            "horizon": np.asarray(horizon, dtype=np.float32),
        }
        shapes = ((count, *part.shape[2:]) for part in history)
        noise = tuple(self.settings.temperature * rng.standard_normal(s, dtype=np.float32) for s in shapes)
        return self(given, (noise[0], noise[1]))

    def __call__(self, given: dict[str, np.ndarray], noise: Parts) -> Parts:
        """N states, from the context network's inputs by name and from noise at t = 1."""
        said = self._read(given)
        silent = None
        if self.settings.guidance_scale != 1:
            silent = self._read(given | {name: np.zeros_like(given[name]) for name in ("words", "words_known")})
        x = noise
        for now, then in itertools.pairwise(self._times()):
            v = self._velocity(x, now, said, silent)
            ahead = (x[0] + (then - now) * v[0], x[1] + (then - now) * v[1])
            if self.settings.solver == "heun" and then > 0:
                w = self._velocity(ahead, then, said, silent)
                ahead = (x[0] + (then - now) * (v[0] + w[0]) / 2, x[1] + (then - now) * (v[1] + w[1]) / 2)
            x = ahead
        return x

    def _times(self) -> list[float]:
        """From 1, noise, to 0."""
        steps, shift = self.settings.steps, self.settings.shift
        even = [1 - i / steps for i in range(steps + 1)]
        return [shift * t / (1 + (shift - 1) * t) for t in even]

    def _read(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._context.outputs, self._context(given), strict=True))

    def _velocity(self, x: Parts, t: float, said: dict[str, np.ndarray], silent: dict[str, np.ndarray] | None) -> Parts:
        low, high = self.settings.guidance_interval
        guess = self._guess(x, t, said)
        if silent is not None and low <= t <= high:
            other, scale = self._guess(x, t, silent), self.settings.guidance_scale
            guess = (other[0] + scale * (guess[0] - other[0]), other[1] + scale * (guess[1] - other[1]))
        return (x[0] - guess[0]) / t, (x[1] - guess[1]) / t

    def _guess(self, x: Parts, t: float, context: dict[str, np.ndarray]) -> Parts:
        """The clean states, as the network sees them in ``x`` at flow time ``t``."""
        time = np.full(len(x[0]), t, dtype=np.float32)
        vision, proprio = self._flow({"vision": x[0], "proprio": x[1], "time": time} | context)
        return vision, proprio


class PlannerRuntime:
    """Draws targets; what it draws follows from the history, the text, the horizon and the random generator."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest) -> None:
        """Load it; ``DeployError`` in one sentence if the policy was exported without its planner."""
        context, flow = (Network(folder, manifest, name) for name in PLANNER)
        if manifest.planner is None:
            raise DeployError(f"The policy at {folder} does not say how its planner is asked. Export the whole policy.")
        self.settings: PlannerSettings = manifest.planner
        self._sampler = Sampler(context, flow, self.settings)
        self._text = load_text(folder, manifest)
        shapes = manifest.inputs
        self._shapes = {"vision": shapes["vision"], "proprio": shapes["target_proprio"]}

    def next_state(
        self,
        vision: np.ndarray,
        proprio: np.ndarray,
        known: np.ndarray,
        text: str,
        horizon: float,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The state wanted ``horizon`` seconds from now.

        Args:
            vision: (S, P, C) standardised latents at ``settings.history``, oldest first, the present last.
            proprio: (S, D) likewise.
            known: (S,) bool, False for a state that is not known.
            text: what is asked for; an empty one asks for nothing in particular.
            horizon: [s].

        Returns:
            vision (P, C) and proprio (D,).

        Raises:
            ValueError: an argument has another shape or is not finite.
        """
        count = len(self.settings.history)
        history = (
            require_array("vision", vision, (count, *self._shapes["vision"]))[None],
            require_array("proprio", proprio, (count, *self._shapes["proprio"]))[None],
        )
        until = require_array("horizon", np.atleast_1d(horizon), (1,))
        tokens, there = self._text(text)
        drawn = self._sampler.draw(history, np.asarray(known)[None], (tokens[None], there[None]), until, rng)
        return drawn[0][0], drawn[1][0]
