"""Imitate the demonstrations, let the expert correct (DAgger; controller.dagger.rounds=0 leaves it out), then PPO.

Afterwards a trial decides which leaves the run, what PPO made or what it began with.

Example: python scripts/train_controller.py preset=demo
On several GPUs: torchrun --nproc_per_node 4 scripts/train_controller.py preset=gpu
"""

from pathlib import Path

from argos_sim.pipeline.command_line import run_processes

if __name__ == "__main__":
    # One process each: a process opens at most one simulator.
    run_processes(str(Path(__file__).with_name("demo.py")), (("dagger",), ("controller",), ("trial",)))
