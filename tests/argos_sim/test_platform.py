"""The machine is made ready without changing more than it needs."""

from __future__ import annotations

import os

import pytest
import warp as wp

from argos_sim.platform import QUIET_ENVIRONMENT, prepare, use_pageable_memory_without_cuda


def test_pinned_memory_can_be_asked_for_with_and_without_cuda() -> None:
    use_pageable_memory_without_cuda()
    array = wp.full(shape=4, value=2.0, dtype=wp.float32, device="cpu", pinned=True)
    assert wp.clone(array, pinned=True).numpy().tolist() == [2.0] * 4


def test_doing_it_twice_changes_nothing() -> None:
    first = use_pageable_memory_without_cuda()
    allocator = wp.get_device("cpu").pinned_allocator
    assert use_pageable_memory_without_cuda() == first == (wp.get_cuda_device_count() == 0)
    assert wp.get_device("cpu").pinned_allocator is allocator


def test_prepare_never_overrides_a_persons_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(QUIET_ENVIRONMENT))
    monkeypatch.setenv(name, "as I said")
    prepare()
    assert os.environ[name] == "as I said"
