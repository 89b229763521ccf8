"""The SO-100's tasks."""

import gymnasium as gym

for _name in ("Reach", "Push", "Lift", "Stack"):
    _module = f"tasks.so100.{_name.lower()}"
    gym.register(
        id=f"Argos-{_name}-SO100-v0",
        entry_point="argos_sim.envs.latent_tracking_env:LatentTrackingEnv",
        disable_env_checker=True,
        kwargs={
            "env_cfg_entry_point": f"{_module}:{_name}EnvCfg",
            "rsl_rl_cfg_entry_point": f"tasks.so100.agents:{_name}PPOCfg",
            "expert_entry_point": f"{_module}:{_name}Expert",
        },
    )
