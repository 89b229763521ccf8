"""Measure a run: evaluate.py [planner|controllers|other_engine|transfer] preset=demo; without a word, the first three.

``transfer`` judges where nothing was trained, in three processes: on the run's engine, on the other one, on MuJoCo.
"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run, run_processes
from argos_sim.pipeline.stages import STAGES, TRANSFER

PARTS = {part: STAGES[f"evaluate_{part}"] for part in ("planner", "controllers", "other_engine")} | TRANSFER
WORD = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in (*PARTS, "transfer") else None


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run one part."""
    assert WORD is not None
    run(PARTS[WORD], config)


if __name__ == "__main__":
    if WORD in PARTS:
        main()
    else:  # two physics engines do not share a process
        parts = TRANSFER if WORD else [part for part in PARTS if part not in TRANSFER]
        run_processes(__file__, [(part,) for part in parts])
