"""Adapt the controller to shifts: adapt.py [before|payload|weak_motor|friction|camera|summary] preset=demo."""

import sys

import hydra
from omegaconf import DictConfig

from argos_sim.pipeline.command_line import run, run_processes
from argos_sim.pipeline.settings import Settings

SHIFTED = ("payload", "weak_motor", "friction", "camera")
PARTS = ("before", *SHIFTED, "summary")
PART = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in PARTS else None


@hydra.main(config_path="config", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Parse, run one part."""

    def work(settings: Settings) -> None:
        from argos_sim.pipeline.adapt import adapt_before, adapt_to
        from argos_sim.pipeline.evaluate import write_metrics
        from argos_sim.reporting.adaptation import write_summary

        if PART == "before":
            adapt_before(settings)
        elif PART in SHIFTED:
            adapt_to(settings, PART)
        write_metrics(settings)
        if PART == "summary":
            print(f"The summary is {write_summary(settings.folder)}")

    run(work, config)


if __name__ == "__main__":
    if PART is None:
        run_processes(__file__, [(part,) for part in PARTS])  # a process opens one simulator
    else:
        main()
