"""Encode the demonstrations, train the world model.  Example: python scripts/train_planner.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run the stage."""
    from argos_sim.pipeline.planner import train_planner_stage

    run(train_planner_stage, config)


if __name__ == "__main__":
    main()
