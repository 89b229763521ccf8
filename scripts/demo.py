"""The whole pipeline, from nothing to a report.  Example: python scripts/demo.py preset=smoke

With names before the settings it does only those stages: python scripts/demo.py evaluate_planner export preset=smoke
In order: demos, encoder, latents, planner, evaluate_planner, dagger (imitation first), controller (PPO, into ppo/),
trial (into controller/), evaluate_controllers, export, evaluate_other_engine, play, report.
"""

import sys
import time

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run, run_processes
from argos_sim.pipeline.stages import MANY_PROCESSES, PROCESSES, STAGES

CHOSEN: list[str] = []
while len(sys.argv) > 1 and sys.argv[1] in STAGES:
    CHOSEN.append(sys.argv.pop(1))


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, do the chosen stages."""
    together = set(CHOSEN) <= set(MANY_PROCESSES)
    run(lambda settings: [STAGES[name](settings) for name in CHOSEN], config, many_processes=together)


if __name__ == "__main__":
    if CHOSEN:
        main()
    else:
        begin = time.monotonic()
        run_processes(__file__, PROCESSES)
        print(f"The whole pipeline took {(time.monotonic() - begin) / 60:.1f} minutes.")
