"""Imitate the demonstrations, then train by PPO.  Example: python scripts/train_controller.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.stages import STAGES


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run both stages."""
    run(STAGES["controller"], config)


if __name__ == "__main__":
    main()
