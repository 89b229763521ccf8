"""``argos_wm`` stands alone: it imports no simulator and nothing that imports one."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import argos_wm

FORBIDDEN = ("argos_sim", "tasks", "isaaclab", "isaacsim", "warp", "newton", "mujoco", "rsl_rl")


def test_no_module_imports_a_simulator() -> None:
    modules = [module.name for module in pkgutil.walk_packages(argos_wm.__path__, "argos_wm.")]
    code = f"import sys, {', '.join(modules)}; print([m for m in {FORBIDDEN} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]" and "argos_wm.world_model" in modules
