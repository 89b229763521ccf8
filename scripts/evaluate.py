"""Measure a run: evaluate.py [planner|controllers|other_engine] preset=demo; without a word, all three in turn."""

import subprocess
import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run

PARTS = ("planner", "controllers", "other_engine")
PART = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in PARTS else None


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run one part."""
    from argos_sim.pipeline import evaluate

    parts = {
        "planner": evaluate.evaluate_planner_stage,
        "controllers": evaluate.evaluate_controllers_stage,
        "other_engine": lambda settings: evaluate.evaluate_controllers_stage(settings, other_engine=True),
    }
    part = parts[PART or PARTS[0]]
    run(lambda settings: (part(settings), evaluate.write_metrics(settings)), config)


if __name__ == "__main__":
    if PART is None:
        # One process an engine: two of them do not share one.
        for part in PARTS:
            subprocess.run([sys.executable, __file__, part, *sys.argv[1:]], check=True)
    else:
        main()
