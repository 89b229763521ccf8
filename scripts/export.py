"""Export the trained controller to ONNX and check it.  Example: python scripts/export.py preset=demo"""

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run the stage."""
    from argos_sim.pipeline.export import export_stage

    run(export_stage, config)


if __name__ == "__main__":
    main()
