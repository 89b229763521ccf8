"""Where the repository keeps what is not code. ARGOS runs from its repository: ``pip install -e .``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
PRETRAINED = ASSETS / "pretrained"


def asset(*parts: str) -> Path:
    """The existing file or folder ``assets/parts[0]/parts[1]/...``."""
    path = ASSETS.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing. A robot's USD is made from its MJCF by `make robot`; all else comes with the "
            "repository, where ARGOS must be installed, with `pip install -e .`."
        )
    return path
