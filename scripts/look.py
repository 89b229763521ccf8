"""Contact sheets of randomized environments.  Example: python scripts/look.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, draw the sheets."""
    from argos_sim.pipeline.look import look

    run(look, config)


if __name__ == "__main__":
    main()
