"""Tiny policies, each exported once for all tests of this folder that a worker runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from argos_wm.encoders.state import StateEncoder
from argos_wm.world_model import WorldModel
from tests.argos_sim.deploy.tiny import CAMERAS, make_encoder, make_model, make_sight, write


@pytest.fixture(scope="session")
def encoder() -> StateEncoder:
    return make_encoder()


@pytest.fixture(scope="session")
def model(encoder: StateEncoder) -> WorldModel:
    return make_model(encoder)


@pytest.fixture(scope="session")
def policy(encoder: StateEncoder, model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "policy"
    write(folder, encoder, model, sight=make_sight(encoder))
    return folder


@pytest.fixture(scope="session")
def two_cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two cameras."""
    both, folder = make_encoder(CAMERAS), tmp_path_factory.mktemp("exported") / "two_cameras"
    write(folder, both, make_model(both))
    return folder
