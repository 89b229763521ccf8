"""Where latent targets come from: the frozen planner, a demonstration's own future, a little off, or a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from argos_sim.envs import distractors
from argos_sim.mdp import events
from argos_sim.randomization import dynamics
from argos_wm.data.latent_cache import LatentCache
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentSpec, LatentState
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig

GIVEN = ("table_height", "distractors")
"""Ranges of which an episode that begins as another one did has the other's draw."""
BATCHES = {"cpu": 256, "cuda": 1024}
"""Targets drawn at once. On an H100, 1,300 of the shipped planner's took 75 ms by 256 and 16 ms in one."""


class TargetSource(Protocol):
    """Where targets come from."""

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """States wanted in environments ``ids`` after ``horizon (n,)`` seconds, standardised, ``time`` = horizon."""
        ...

    def reseed(self, seed: int) -> None:
        """Draw from here on as a source of this seed would, whatever was drawn before."""
        ...


class PlannerTargets:
    """Targets that the frozen planner imagines from each environment's history and instruction.

    Args:
        planner: its spec must be that of the environment's encoder.
        seed: of the sampler's noise.
        batch: targets drawn at once; None is what the device does best (``BATCHES``).
    """

    def __init__(self, planner: Planner, seed: int = 0, batch: int | None = None) -> None:
        self.planner, self.batch = planner, batch or BATCHES[planner.device.type]
        self.generator = torch.Generator(device=planner.device).manual_seed(seed)

    @staticmethod
    def load(folder: Path, spec: LatentSpec, sampler: SamplerConfig, device: str, seed: int = 0) -> PlannerTargets:
        """The planner saved in ``folder``; one made for other latents than the environment's ``spec`` is refused."""
        planner = Planner.load(folder, sampler, device)
        planner.spec.require(spec, f"the planner {folder}", "the environment's encoder")
        return PlannerTargets(planner.accelerate(), seed)

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``TargetSource``."""
        planner = self.planner
        text = planner.features(env.instruction.text(ids))
        history, mask = env.perception.history(planner.world_model.config.history, ids)
        parts = [
            planner.next_state(history[part], mask[part], text[part], horizon[part], self.generator)
            for part in torch.arange(len(ids), device=env.device).split(self.batch)
        ]
        return LatentState.cat(parts)

    def reseed(self, seed: int) -> None:
        """See ``TargetSource``."""
        self.generator.manual_seed(seed)


class DemonstrationTargets:
    """Targets from recorded demonstrations: an episode begins where one began, and is asked for what came next."""

    def __init__(self, cache: LatentCache, episodes: Tensor, device: str, seed: int = 0) -> None:
        """``episodes`` (M,) of ``cache`` are used; it must hold ``environment_state``."""
        if cache.environment_state is None:
            raise ValueError(
                "These demonstrations lack observation.environment_state, so that an episode cannot begin as one of "
                "them did; leave demonstrations out of the target mixture."
            )
        self.cache, self.episodes, self.device = cache, episodes.cpu(), device
        self.generator = torch.Generator().manual_seed(seed)
        self._episode: Tensor | None = None
        self._phrase = torch.zeros(0, dtype=torch.long)  # of each episode of the cache, in the environment's numbers
        self._placed_at = torch.zeros(0, dtype=torch.long)  # age of each episode when it was put at its first frame

    def begin(self, env, ids: Tensor) -> None:
        """Reset environments ``ids`` to the first frames of demonstrations, with their instructions."""
        if self._episode is None:
            self._phrase = self._phrases(env.instruction.texts)
            self._episode = torch.zeros(env.num_envs, dtype=torch.long)
            self._placed_at = torch.zeros(env.num_envs, dtype=torch.long)
        draw = torch.randint(len(self.episodes), (len(ids),), generator=self.generator)
        episode = self.episodes[draw]
        self._episode[ids.cpu()] = episode
        self._placed_at[ids.cpu()] = env.episode_length_buf[ids].cpu()
        env.instruction.phrase[ids] = self._phrase[episode].to(env.device)
        first = self.cache.starts[episode]
        joints = self.cache.positions[first].to(env.device)
        velocity = torch.zeros_like(joints)
        if self.cache.control_state is not None:  # a redirected demonstration begins in full motion
            velocity = self.cache.control_state[first, 0, joints.shape[1] :].to(joints)
        events.write_joints(env, ids, joints, velocity)
        assert self.cache.environment_state is not None
        poses = self.cache.environment_state[first].to(env.device).unflatten(-1, (-1, 7))
        # The table of the recording, not the one that was drawn.
        dynamics.set_table(env, ids, 0.0)
        if env.cfg.distractors:
            distractors.set_aside(env, ids)
        if env.widening is not None:
            env.widening.leave_out(ids, GIVEN)
        events.restore_objects(env, ids, poses)

    def _phrases(self, texts: Sequence[str]) -> Tensor:
        """Which of ``texts`` each episode of the cache was asked for (E,)."""
        known = {text: i for i, text in enumerate(texts)}
        unknown = [text for text in self.cache.instructions if text not in known]
        if unknown:
            raise ValueError(
                f"A demonstration was asked to {unknown[0]!r}, which this task asks of nobody, so that no episode can "
                "begin as it did. Record demonstrations anew with overwrite=true, or leave them out of the target "
                "mixture with controller.demonstration_share=0."
            )
        return torch.tensor([known[text] for text in self.cache.instructions])

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``TargetSource``."""
        assert self._episode is not None, "begin() comes first"
        episode = self._episode[ids.cpu()]
        now = (env.episode_length_buf[ids].cpu() - self._placed_at[ids.cpu()]) * env.cfg.rates.control_dt
        frame = ((now + horizon.cpu()) * self.cache.fps).round().long()
        frame = torch.minimum(self.cache.starts[episode] + frame, self.cache.starts[episode + 1] - 1)
        state = self.cache.states(frame)
        return LatentState(state.vision, state.proprio, horizon.cpu()).to(env.device)

    def aged(self, env) -> None:
        """Episodes stand where they began, and were given other ages."""
        self._placed_at = env.episode_length_buf.cpu().clone()

    def reseed(self, seed: int) -> None:
        """See ``TargetSource``."""
        self.generator.manual_seed(seed)


class PerturbedTargets:
    """Another source's targets, a little off: what a controller must bear with that follows an imperfect planner.

    Args:
        joints: standard deviation of an offset of the target's joint positions [rad].
        unit: (J,) what counts as a radian of each joint.
        vision: standard deviation of an offset of its vision latents, in standardised units.
    """

    def __init__(
        self,
        base: TargetSource,
        encoder: StateEncoder,
        joints: float = 0.05,
        vision: float = 0.1,
        seed: int = 0,
        unit: Tensor | float = 1.0,
    ) -> None:
        self.base, self.encoder, self.joints, self.vision, self.unit = base, encoder, joints, vision, unit
        self.generator = torch.Generator(device=encoder.device).manual_seed(seed)

    @torch.no_grad()
    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``TargetSource``."""
        target = self.base.targets(env, ids, horizon)
        raw = self.encoder.decode_proprio(target.proprio)
        raw[:, : raw.shape[1] // 2] += self.joints * self.unit * self._normal(raw[:, : raw.shape[1] // 2])
        vision = target.vision + self.vision * self._normal(target.vision)
        return LatentState(vision, self.encoder.encode_proprio(raw), target.time)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=self.generator.device).to(like.device)

    def reseed(self, seed: int) -> None:
        """See ``TargetSource``; the base, which others may share, is left to them."""
        self.generator.manual_seed(seed)


class MixedTargets:
    """Several sources, each for a fixed share of the environments.

    Attributes:
        names: of the sources.
        source_of: (N,) index of each environment's.
    """

    def __init__(self, sources: dict[str, TargetSource], shares: dict[str, float], num_envs: int, device: str) -> None:
        """``shares`` of all ``sources`` but the first, which has the rest."""
        rest = 1 - sum(shares.values())
        if rest < 0 or min(shares.values(), default=0.0) < 0:
            raise ValueError(f"The shares of targets {shares} must not be negative, nor sum to more than 1.")
        self.sources, self.names = sources, tuple(sources)
        self.source_of = torch.zeros(num_envs, dtype=torch.long, device=device)
        begin = 0.0
        for name, share in shares.items():
            self.source_of[round(begin * num_envs) : round((begin + share) * num_envs)] = self.names.index(name)
            begin += share

    def begin(self, env, ids: Tensor) -> None:
        """Reset the environments of sources that choose how an episode begins."""
        for i, source in enumerate(self.sources.values()):
            begin, chosen = getattr(source, "begin", None), ids[self.source_of[ids] == i]
            if begin is not None and len(chosen):
                begin(env, chosen)

    def aged(self, env) -> None:
        """Tell the sources that count from an episode's beginning."""
        for source in self.sources.values():
            aged = getattr(source, "aged", None)
            if aged is not None:
                aged(env)

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``TargetSource``."""
        out = None
        for i, source in enumerate(self.sources.values()):
            mask = self.source_of[ids] == i
            if bool(mask.any()):
                part = source.targets(env, ids[mask], horizon[mask])
                if out is None:
                    out = part.map(lambda x: x.new_zeros(len(ids), *x.shape[1:]))
                for name in ("vision", "proprio", "time"):
                    getattr(out, name)[mask] = getattr(part, name)
        assert out is not None
        return out

    def reseed(self, seed: int) -> None:
        """See ``TargetSource``."""
        for i, source in enumerate(self.sources.values()):
            source.reseed(seed + i)
