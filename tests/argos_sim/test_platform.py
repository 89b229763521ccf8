"""The machine is made ready without changing more than it needs."""

from __future__ import annotations

import logging
import os

import torch
import warp as wp

from argos_sim.platform import keep_ovphysx_from_polling, prepare, use_pageable_memory_without_cuda


def test_pinned_memory_can_be_asked_for_with_and_without_cuda() -> None:
    use_pageable_memory_without_cuda()
    array = wp.full(shape=4, value=2.0, dtype=wp.float32, device="cpu", pinned=True)
    assert wp.clone(array, pinned=True).numpy().tolist() == [2.0] * 4


def test_doing_it_twice_changes_nothing() -> None:
    first = use_pageable_memory_without_cuda()
    allocator = wp.get_device("cpu").pinned_allocator
    assert use_pageable_memory_without_cuda() == first == (wp.get_cuda_device_count() == 0)
    assert wp.get_device("cpu").pinned_allocator is allocator


def test_prepare_may_be_called_again_and_quietens_the_simulators() -> None:
    prepare()
    prepare()
    assert not logging.getLogger("isaaclab").isEnabledFor(logging.WARNING)
    assert logging.getLogger("argos_sim").isEnabledFor(logging.WARNING)


def test_ovphysx_is_told_once_and_what_others_tell_it_stays() -> None:
    from ovphysx import PhysXConfig

    assert keep_ovphysx_from_polling() and keep_ovphysx_from_polling()
    told = PhysXConfig(num_threads=64, carbonite_overrides={"/physics/updateToUsd": False})
    assert told.carbonite_overrides == {"/UJITSO/enabled": False, "/physics/updateToUsd": False}
    assert told.num_threads == 0  # torch has one thread in tests, and then PhysX has none beside it
    torch.set_num_threads(2)
    try:
        assert PhysXConfig(num_threads=64).num_threads == (2 if len(os.sched_getaffinity(0)) > 1 else 0)
    finally:
        torch.set_num_threads(1)
    assert PhysXConfig(carbonite_overrides={"/UJITSO/enabled": True}).carbonite_overrides == {"/UJITSO/enabled": True}
    assert PhysXConfig().num_threads is None
