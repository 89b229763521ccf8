"""Measure speed, or work out memory: benchmark.py [planner|controller|runtime|device|memory] preset=demo"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run

PARTS = ("planner", "controller", "runtime", "device", "memory")
CHOSEN = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in PARTS else PARTS[0]


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, measure."""
    if CHOSEN == "memory":
        from argos_sim.pipeline.footprint import planner_footprint, ppo_footprint

        run(lambda settings: (planner_footprint(settings), ppo_footprint(settings)), config)
    elif CHOSEN == "controller":
        from argos_sim.pipeline.throughput import benchmark_controller

        run(benchmark_controller, config)
    elif CHOSEN == "runtime":
        from argos_sim.pipeline.runtime_speed import benchmark_runtime

        run(benchmark_runtime, config)
    else:
        from argos_sim.pipeline import benchmark

        run(benchmark.benchmark_device if CHOSEN == "device" else benchmark.benchmark_planner, config)


if __name__ == "__main__":
    main()
