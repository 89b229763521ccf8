"""Modules that stand in for packages which tests do without; processes started in ``environment`` import them."""

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """This process's, in which Python finds the stand-ins before anything else."""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
