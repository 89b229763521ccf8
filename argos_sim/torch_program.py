"""A network as a torch program (``torch.export``), for those who go on in torch.

``torch.export.load`` unpickles where a file asks it to, so that a stranger's file may run code. Nothing here loads any
but the one that it has just written, and no robot needs one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from argos_sim.compared import TorchNetwork, difference
from argos_sim.deploy.manifest import DeployError
from argos_sim.traced import Traced


def write_program(traced: Traced, path: Path) -> str:
    """Write ``traced`` to ``path``, for any batch, and compare what was written with torch.

    Returns:
        the file's SHA-256.

    Raises:
        DeployError: they differ.
    """
    example, shapes = traced.example()
    with torch.no_grad():
        program = torch.export.export(traced.module, (), kwargs=dict(example), dynamic_shapes=shapes)
    program.example_inputs = None  # recorded data: nobody's business, and far larger than most networks
    torch.export.save(program, path)
    loaded = replace(traced, module=torch.export.load(path).module())
    apart = difference(traced, TorchNetwork(loaded))
    if not apart.largest <= traced.tolerance:
        path.unlink()
        raise DeployError(
            f"The torch program of the {traced.name} differs from torch by up to {apart.largest:.1e}, more than "
            f"{traced.tolerance:.0e}."
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()
