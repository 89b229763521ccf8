"""Start Isaac Lab without Isaac Sim, on any machine: quiet, headless, and also where there is no CUDA driver.

Call ``prepare()`` before the first simulation is built. ``launch(cfg)`` then opens whatever runtime the configuration
needs, which for Newton and OvPhysX is none: both run inside this process and ask for no licence or consent. Isaac Sim
asks for its own on its first start, and it is the user's to give.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOUD_LOGGERS = ("isaaclab", "isaaclab_newton", "isaaclab_ov", "isaaclab_physx", "newton", "trimesh")


def use_pageable_memory_without_cuda() -> bool:
    """Let Warp serve requests for pinned host memory from ordinary memory when the machine has no CUDA device.

    Isaac Lab's OvPhysX assets ask for pinned staging buffers even on a CPU, and pinning needs a CUDA driver. Pinning
    only speeds up copies to a GPU, so that without one nothing is lost. Does nothing on a machine with a GPU; calling
    it again changes nothing.

    Returns:
        True if pinned requests are served from ordinary memory.
    """
    import warp as wp

    wp.init()
    if wp.get_cuda_device_count() > 0:
        return False
    cpu: Any = wp.get_device("cpu")
    cpu.pinned_allocator = cpu.default_allocator
    return True


def prepare(log_level: int = logging.ERROR) -> None:
    """Make this process ready for Isaac Lab on a CPU or a GPU; idempotent.

    Args:
        log_level: what the simulators' loggers keep. Their warnings are about scenes that this project does not use.
    """
    import warp as wp

    wp.config.quiet = True
    for name in LOUD_LOGGERS:
        logging.getLogger(name).setLevel(log_level)
    use_pageable_memory_without_cuda()


@contextmanager
def launch(cfg: Any) -> Iterator[None]:
    """Open the runtime that ``cfg`` (an environment's or a simulation's configuration) needs, and close it after.

    Without Isaac Sim nothing is started; with an Isaac Sim preset, Kit is started headless.
    """
    prepare()
    from isaaclab.app import launch_simulation

    with launch_simulation(cfg, {"headless": True}):
        yield
