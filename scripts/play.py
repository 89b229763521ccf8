"""Film the policy at work: a run's own weights, or the shipped ones.  Example: python scripts/play.py preset=demo

With play.viewer=viser it is watched live, in a browser.
"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.stages import show


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, film or show."""
    run(show, config)


if __name__ == "__main__":
    main()
