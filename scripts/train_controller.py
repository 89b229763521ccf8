"""Imitate the demonstrations, then train by PPO.  Example: python scripts/train_controller.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run both stages."""
    from argos_sim.pipeline.controller import train_imitation, train_ppo_stage

    run(lambda settings: (train_imitation(settings), train_ppo_stage(settings)), config)


if __name__ == "__main__":
    main()
