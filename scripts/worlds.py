"""Judge the planner's design where every answer is known: worlds.py [bouncing_shapes|two_room|push_t] preset=demo"""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run

WORLDS = ("bouncing_shapes", "two_room", "push_t")
CHOSEN: list[str] = []
while len(sys.argv) > 1 and sys.argv[1] in WORLDS:
    CHOSEN.append(sys.argv.pop(1))


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run the chosen worlds, or all in turn."""
    from argos_sim.pipeline.worlds import forecast_stage, goal_stage

    run(
        lambda settings: [
            forecast_stage(settings) if name == "bouncing_shapes" else goal_stage(settings, name)
            for name in CHOSEN or WORLDS
        ],
        config,
    )


if __name__ == "__main__":
    main()
