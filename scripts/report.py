"""Gather a run's figures, curves and pictures into report.html.  Example: python scripts/report.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, write metrics.json and report.html."""
    from argos_sim.pipeline.evaluate import write_metrics
    from argos_sim.pipeline.report import write_report

    run(lambda settings: (write_metrics(settings), print(f"The report is {write_report(settings)}")), config)


if __name__ == "__main__":
    main()
