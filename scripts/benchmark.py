"""Measure speed, beside what it is compared with, in one run: benchmark.py planner preset=demo"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run

PARTS = ("planner",)
if len(sys.argv) > 1 and sys.argv[1] in PARTS:
    sys.argv.pop(1)


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, measure."""
    from argos_sim.pipeline.benchmark import benchmark_planner

    run(benchmark_planner, config)


if __name__ == "__main__":
    main()
