"""Encode what the planner learns from: the demonstrations and other sources.  Example: scripts/encode.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.stages import STAGES


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run the stage."""
    run(STAGES["latents"], config)


if __name__ == "__main__":
    main()
