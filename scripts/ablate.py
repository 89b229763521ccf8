"""Leave out parts of a run's controller, one at a time, and tabulate what each is worth.

ablate.py preset=demo runs all; names before the settings choose: ablate.py no_prior vision_only preset=demo
ablation_seeds=3 trains each, and the whole, three times from other seeds; encoder and planner stay those of the run.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.ablations import (
    ablation_names,
    overrides,
    prepare_ablation,
    processes,
    require_same_recipe,
    tabulate,
    trainings,
)
from argos_sim.pipeline.command_line import run, run_processes
from argos_sim.pipeline.settings import Settings

CHOSEN: list[str] = []
while len(sys.argv) > 1 and sys.argv[1] in ablation_names():
    CHOSEN.append(sys.argv.pop(1))
DEMO = str(Path(__file__).with_name("demo.py"))


def work(settings: Settings) -> None:
    """Run the chosen ablations, each process of each after the other, and write the table."""
    names = CHOSEN or ablation_names()
    require_same_recipe(settings)
    # What the run itself came to is first: every ablation is compared with it.
    run_processes(DEMO, [("evaluate_controllers",)])
    for name, number in trainings(settings, names):
        folder = prepare_ablation(settings, name, number)
        print(f"ablation {name}: {folder}", flush=True)
        run_processes(DEMO, processes(name), [*sys.argv[1:], *overrides(settings, name, number), f"run_dir={folder}"])
    path = tabulate(settings, names)
    print(path.read_text())
    print(f"The table is {path}")


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, do the work."""
    run(work, config)


if __name__ == "__main__":
    main()
