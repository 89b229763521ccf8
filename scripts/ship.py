"""Make a finished run's weights the shipped ones, or only its encoder: ship.py [encoder] preset=desk"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run

ENCODER_ONLY = len(sys.argv) > 1 and sys.argv[1] == "encoder" and bool(sys.argv.pop(1))


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, copy."""
    from argos_sim.pipeline.ship import ship, ship_encoder

    run(ship_encoder if ENCODER_ONLY else ship, config)


if __name__ == "__main__":
    main()
