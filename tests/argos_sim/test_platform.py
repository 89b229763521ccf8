"""The machine is made ready without changing more than it needs."""

from __future__ import annotations

import logging

import warp as wp

from argos_sim.platform import prepare, use_pageable_memory_without_cuda


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
