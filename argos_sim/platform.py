"""Start Isaac Lab without Isaac Sim, on any machine: quiet, headless, and also where there is no CUDA driver.

Call ``prepare()`` before the first simulation is built. ``launch(cfg)`` then opens whatever runtime the configuration
needs, which for Newton and OvPhysX is none: both run inside this process and ask for no licence or consent. Isaac Sim
asks for its own on its first start, and it is the user's to give.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


def keep_ovphysx_from_polling() -> bool:
    """Leave the cores to those who compute: no cache of cooked colliders, and no more of PhysX's threads than torch's.

    The cache's agent (UJITSO, the thread of ``libcarb.ujitsoagent``) wakes 14,000 times a second from the first scene
    to the end of the process, whatever this then does, and interrupts those who compute: on two cores a planner
    trained after a simulation took 1.5 times as long. Meshes are cooked anew in each process instead. ovphysx says
    ``resources.dataStoreConfigurator is false`` at the start, and means that. Isaac Lab asks for eight threads on any
    machine; they are as many as torch has now (``OMP_NUM_THREADS``) and cores at most, and where that is one, none:
    a thread beside the one that waits for it only adds the waiting, on a busy machine many times a step's own time.
    Does nothing where ovphysx is not installed; calling it again changes nothing.

    Returns:
        True if it is kept from it.
    """
    if importlib.util.find_spec("ovphysx") is None:
        return False
    import torch
    from ovphysx import PhysXConfig

    check = PhysXConfig.__post_init__
    if getattr(check, "quiet", False):
        return True

    def quiet_check(self: Any) -> None:
        self.carbonite_overrides = {"/UJITSO/enabled": False} | (self.carbonite_overrides or {})
        if self.num_threads is not None:
            threads = min(self.num_threads, len(os.sched_getaffinity(0)), torch.get_num_threads())
            self.num_threads = threads if threads > 1 else 0  # 0: the thread that asks for a step does it
        check(self)

    vars(quiet_check)["quiet"] = True
    PhysXConfig.__post_init__ = quiet_check
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
    keep_ovphysx_from_polling()


_KITS: list[Any] = []
"""Isaac Sim's runtimes that were started; they end with the process."""


@contextmanager
def launch(cfg: Any) -> Iterator[None]:
    """Open the runtime that ``cfg`` (an environment's or a simulation's configuration) needs, and close it after.

    Without Isaac Sim nothing is started; with an Isaac Sim preset, Kit is started headless, on the device of ``cfg``,
    and stays open: it ends the whole process, with status 0, from inside its own ``close``, before anything that was
    made could be saved. A runtime that is not installed is refused in one sentence.
    """
    require_runtime(cfg)
    prepare()
    from isaaclab.app import launch_simulation
    from isaaclab.app.sim_launcher import scan

    if scan(cfg, {}).needs_kit:
        # Kit takes `cuda:0` unless it is told, and then writes that into `cfg`.
        wanted: dict[str, Any] = {"headless": True, "device": getattr(cfg, "sim", cfg).device}
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            wanted["multi_gpu"] = False  # a renderer's, which each process has to itself
        kit = launch_simulation(cfg, wanted)
        kit.__enter__()
        _KITS.append(kit)
        yield
        return
    failure: Exception | None = None
    with launch_simulation(cfg, {"headless": True}):
        try:
            yield
        except Exception as error:
            failure = error  # seen inside, Isaac Lab would print where it came from
    if failure is not None:
        raise failure


def require_runtime(cfg: Any) -> None:
    """Refuse, in one sentence, engines and renderers that are not installed or do not go together."""
    from isaaclab.app.sim_launcher import validate_launch

    try:
        found, kit = validate_launch(cfg, {})
    except ValueError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{reason} The physics isaacsim_physx goes with the renderers isaacsim_rtx and newton_renderer, ovphysx "
            "with ovrtx and newton_renderer, newton_mjwarp with all three."
        ) from None
    if kit and importlib.util.find_spec("isaacsim") is None:
        raise ValueError(
            f"Isaac Sim is not installed, and is needed for {' and '.join(kit)}; install it (docs/scale.md), or set "
            "physics=ovphysx or newton_mjwarp and renderer=newton_renderer, which need none."
        )
    if found.has_ovphysx_physics and importlib.util.find_spec("ovphysx") is None:
        raise ValueError(
            "The physics ovphysx is not installed; install it (make venv, or pip install --no-deps ovphysx ovstage), "
            "or set physics=newton_mjwarp."
        )
    if found.has_ovrtx and importlib.util.find_spec("ovrtx") is None:
        raise ValueError(
            "The renderer ovrtx is not installed; install it (docs/scale.md), or set renderer=newton_renderer."
        )


def machine() -> str:
    """Processor, cores, memory and accelerator of this machine."""
    import torch

    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    text = f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB"
    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{text}, no GPU"
