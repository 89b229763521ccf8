"""Film the policy at work: a run's own weights, or the shipped ones.  Example: python scripts/play.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, film."""
    from argos_sim.pipeline.play import play

    run(play, config)


if __name__ == "__main__":
    main()
