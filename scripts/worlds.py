"""Judge the planner in small worlds: worlds.py [bouncing_shapes|curtain|two_room|push_t] preset=demo"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run
from argos_sim.pipeline.settings import Settings

WORLDS = ("bouncing_shapes", "curtain", "two_room", "push_t")
CHOSEN: list[str] = []
while len(sys.argv) > 1 and sys.argv[1] in WORLDS:
    CHOSEN.append(sys.argv.pop(1))


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run the chosen worlds, or all in turn."""
    from argos_sim.pipeline.worlds import forecast_stage, goal_stage, memory_stage

    apart = {"bouncing_shapes": forecast_stage, "curtain": memory_stage}

    def work(settings: Settings) -> None:
        for name in CHOSEN or WORLDS:
            if name in apart:
                apart[name](settings)
            else:
                goal_stage(settings, name)

    run(work, config)


if __name__ == "__main__":
    main()
