"""Gymnasium ids: one for each task of each robot."""

from __future__ import annotations

import gymnasium as gym


def register(robot: str, package: str, names: tuple[str, ...]) -> None:
    """Register ``Argos-<Name>-<robot>-v0`` for each of ``names``.

    Args:
        robot: as ids name it.
        package: has a module for each name, with ``<Name>EnvCfg``, and ``agents`` with ``<Name>PPOCfg``. What an expert
            does is the task's, in ``tasks.<name>``.
    """
    for name in names:
        gym.register(
            id=f"Argos-{name}-{robot}-v0",
            entry_point="argos_sim.envs.latent_tracking_env:LatentTrackingEnv",
            disable_env_checker=True,
            kwargs={
                "env_cfg_entry_point": f"{package}.{name.lower()}:{name}EnvCfg",
                "rsl_rl_cfg_entry_point": f"{package}.agents:{name}PPOCfg",
                "expert_entry_point": f"tasks.{name.lower()}:{name}Expert",
            },
        )
