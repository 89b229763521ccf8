"""The SO-100's tasks."""

import gymnasium as gym

gym.register(
    id="Argos-Reach-SO100-v0",
    entry_point="argos_sim.envs.latent_tracking_env:LatentTrackingEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": "tasks.so100.reach:ReachEnvCfg",
        "rsl_rl_cfg_entry_point": "tasks.so100.agents:ReachPPOCfg",
        "expert_entry_point": "tasks.so100.reach:ReachExpert",
    },
)
