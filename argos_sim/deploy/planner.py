"""The exported planner: what was seen and felt, and words, to the state that is wanted next.

The networks are the world model's two halves: one reads everything that stays the same while a target is drawn, the
other guesses the target once a solver evaluation. The flow between is ``argos_wm.flow.sample``, in numpy.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import PLAN_CONTEXT, PLAN_FLOW, DeployError, PlannerSettings, PolicyManifest
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import require_array
from argos_sim.deploy.text import load_text

Parts = tuple[np.ndarray, np.ndarray]
"""Vision (1, P, C) and proprioception (1, D)."""
SHARED = ("current_vision", "current_proprio", "vector", "target_cos", "target_sin", "bias")
"""Outputs of the context network, beside keys and values of each block, that the flow network takes."""


class PlannerRuntime:
    """Draws targets; what it draws follows from the history, the text, the horizon and the random generator."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest) -> None:
        """Load it; ``DeployError`` in one sentence if the policy was exported without its planner."""
        self._context = Network(folder, manifest, PLAN_CONTEXT)
        self._flow = Network(folder, manifest, PLAN_FLOW)
        if manifest.planner is None:
            raise DeployError(f"The policy at {folder} does not say how its planner is asked. Export the whole policy.")
        self.settings: PlannerSettings = manifest.planner
        self._text = load_text(self.settings.text)
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
        count, cfg = len(self.settings.history), self.settings
        history = {
            "history_vision": require_array("vision", vision, (count, *self._shapes["vision"]))[None],
            "history_proprio": require_array("proprio", proprio, (count, *self._shapes["proprio"]))[None],
            "history_time": np.asarray(cfg.history, dtype=np.float32)[None],
            "history_known": np.asarray(known, dtype=bool)[None],
            "horizon": require_array("horizon", np.atleast_1d(horizon), (1,)),
        }
        tokens, there = self._text(text)
        said = self._read(history, tokens, there)
        silent = self._read(history, np.zeros_like(tokens), np.zeros_like(there)) if cfg.guidance_scale != 1 else None
        shapes = self._shapes.values()
        noise = tuple(cfg.temperature * rng.standard_normal((1, *s), dtype=np.float32) for s in shapes)
        drawn = self._sample((noise[0], noise[1]), said, silent)
        return drawn[0][0], drawn[1][0]

    def _read(self, history: dict[str, np.ndarray], tokens: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._context(history | {"words": tokens[None], "words_known": there[None]})
        return dict(zip(self._context.file.outputs, outputs, strict=True))

    def _sample(self, noise: Parts, said: dict[str, np.ndarray], silent: dict[str, np.ndarray] | None) -> Parts:
        """From noise at t = 1 to a state at t = 0, by Euler's or Heun's steps."""
        cfg, x = self.settings, noise
        even = [1 - i / cfg.steps for i in range(cfg.steps + 1)]
        times = [cfg.shift * t / (1 + (cfg.shift - 1) * t) for t in even]
        for now, then in itertools.pairwise(times):
            v = self._velocity(x, now, said, silent)
            ahead = (x[0] + (then - now) * v[0], x[1] + (then - now) * v[1])
            if cfg.solver == "heun" and then > 0:
                w = self._velocity(ahead, then, said, silent)
                ahead = (x[0] + (then - now) * (v[0] + w[0]) / 2, x[1] + (then - now) * (v[1] + w[1]) / 2)
            x = ahead
        return x

    def _velocity(self, x: Parts, t: float, said: dict[str, np.ndarray], silent: dict[str, np.ndarray] | None) -> Parts:
        low, high = self.settings.guidance_interval
        guess = self._guess(x, t, said)
        if silent is not None and low <= t <= high:
            other, scale = self._guess(x, t, silent), self.settings.guidance_scale
            guess = (other[0] + scale * (guess[0] - other[0]), other[1] + scale * (guess[1] - other[1]))
        return (x[0] - guess[0]) / t, (x[1] - guess[1]) / t

    def _guess(self, x: Parts, t: float, context: dict[str, np.ndarray]) -> Parts:
        """The clean state, as the network sees it in ``x`` at flow time ``t``."""
        time = np.full(1, t, dtype=np.float32)
        vision, proprio = self._flow({"vision": x[0], "proprio": x[1], "time": time} | context)
        return vision, proprio
