"""What PPO learns from, each latent kept once.

rsl_rl keeps every group of observations of every control step. A picture's latent holds until the next frame and a
target's until the next plan, so that most of what it keeps it keeps several times: of DINOv3 ViT-L's 256 patches, at 40
steps and 2,048 environments, 160 GiB where 11 do.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor


class Held:
    """Rows (N, D) that stay the same over many steps, each kept once; in half precision, but on a CPU as they are."""

    def __init__(self, device: torch.device | str) -> None:
        self.dtype = torch.float32 if torch.device(device).type == "cpu" else torch.float16
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.blocks: list[Tensor] = []
        self.count = 0
        """Rows kept."""
        self._last = self._place = torch.empty(0)

    def add(self, rows: Tensor) -> Tensor:
        """Keep what changed in (N, D) since the last call; where each row lies (N, 1), for ``take``."""
        rows = rows.to(self.dtype)
        if not self.blocks:
            changed = torch.arange(len(rows), device=rows.device)
            self._last, self._place = torch.empty_like(rows), torch.empty_like(changed)
        else:
            changed = (rows != self._last).any(1).nonzero().squeeze(-1)
        if len(changed):
            block = rows[changed]
            self._last[changed] = block
            self._place[changed] = torch.arange(self.count, self.count + len(block), device=rows.device)
            self.blocks.append(block)
            self.count += len(block)
        return self._place[:, None].clone()

    def take(self, place: Tensor) -> Tensor:
        """The rows (B, D), float32, that lie at ``place (B, 1)``."""
        place = place.squeeze(-1)
        found = torch.empty(len(place), self.blocks[0].shape[1], device=place.device)
        begin = 0
        for block in self.blocks:
            here = ((place >= begin) & (place < begin + len(block))).nonzero().squeeze(-1)
            found[here] = block[place[here] - begin].float()
            begin += len(block)
        return found


class LatentRollouts(RolloutStorage):
    """rsl_rl's storage with its observation groups ``held`` kept once each; batches are equal to those of its own."""

    def __init__(self, num_envs: int, steps: int, obs: TensorDict, actions: int, held: list[str], device: str) -> None:
        self.held = {name: Held(device) for name in held}
        places = {name: torch.zeros(num_envs, 1, dtype=torch.long, device=device) for name in held}
        super().__init__("rl", num_envs, steps, _replaced(obs, places), [actions], device)

    def add_transition(self, transition: RolloutStorage.Transition) -> None:
        """Add what was seen and done in one control step."""
        obs = transition.observations
        assert obs is not None
        transition.observations = _replaced(obs, {name: held.add(obs[name]) for name, held in self.held.items()})
        super().add_transition(transition)

    def mini_batch_generator(
        self, num_mini_batches: int, num_epochs: int = 8
    ) -> Generator[RolloutStorage.Batch, None, None]:
        """Shuffled flat batches, with the latents where their places were."""
        for batch in super().mini_batch_generator(num_mini_batches, num_epochs):
            places = batch.observations
            assert places is not None
            batch.observations = _replaced(places, {name: held.take(places[name]) for name, held in self.held.items()})
            yield batch

    def clear(self) -> None:
        """Begin the next iteration."""
        super().clear()
        for held in self.held.values():
            held.clear()


def _replaced(obs: TensorDict, groups: dict[str, Tensor]) -> TensorDict:
    """The same observations with other values of some groups; the given ones stay as they are."""
    return TensorDict({**dict(obs.items()), **groups}, batch_size=obs.batch_size, device=obs.device)
