"""Gather a run's figures, curves and pictures into report.html.  Example: python scripts/report.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.stages import STAGES


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, write metrics.json and report.html."""
    run(STAGES["report"], config)


if __name__ == "__main__":
    main()
