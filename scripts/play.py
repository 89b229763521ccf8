"""Film the policy at work: a run's own weights, or the shipped ones.  Example: python scripts/play.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.stages import STAGES


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, film."""
    run(STAGES["play"], config)


if __name__ == "__main__":
    main()
