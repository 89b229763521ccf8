"""Make a finished run's weights the shipped ones.  Example: python scripts/ship.py preset=desk"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, copy."""
    from argos_sim.pipeline.ship import ship

    run(ship, config)


if __name__ == "__main__":
    main()
