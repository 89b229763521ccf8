"""Measure a run: evaluate.py [planner|controllers|other_engine] preset=demo; without a word, all three in turn."""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run, run_processes
from argos_sim.pipeline.stages import STAGES

PARTS = ("planner", "controllers", "other_engine")
PART = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in PARTS else None


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run one part."""
    run(STAGES[f"evaluate_{PART}"], config)


if __name__ == "__main__":
    if PART is None:
        run_processes(__file__, [(part,) for part in PARTS])  # two physics engines do not share one
    else:
        main()
