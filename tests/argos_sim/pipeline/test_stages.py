"""The pipeline's order."""

from argos_sim.pipeline.stages import PROCESSES, STAGES


def test_the_pipeline_does_every_stage_once_in_order() -> None:
    assert [name for names in PROCESSES for name in names] == list(STAGES)
