"""A viewer that opens where it can, keeps to real time, and hears what it is asked for."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from argos_sim.viewing.canvas import BLUE
from argos_sim.viewing.panel import CURVE_S, LABEL, LARGE, Panel, Status, Tracking, mosaic, status_html
from argos_sim.viewing.recording import ImaginedTargets
from argos_sim.viewing.visualizer import ViewerError, free_port, require_viser
from argos_sim.viewing.watching import AskedTargets, Pace, interruptions

HOST = "127.0.0.1"


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(HOST, port) < port + 20


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ViewerError, match=r"no address '192\.0\.2\.1' \(play\.host\)"):
        free_port("192.0.2.1", 8080)


def test_an_empty_address_is_refused_and_one_of_version_six_is_tried() -> None:
    with pytest.raises(ViewerError, match=r"play\.host is empty"):
        free_port("", 8080)
    if socket.has_ipv6:
        try:
            assert free_port("::1", 18300) >= 18300
        except ViewerError as error:  # a machine without the address itself
            assert "hostname not supported" not in str(error)


def test_a_missing_viser_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ViewerError, match="needs viser"):
        require_viser()


def test_time_passes_no_faster_than_real_and_is_not_caught_up_with() -> None:
    pace, begin = Pace(0.02), time.monotonic()
    for _ in range(10):
        pace.wait()
    # Time is due from when it was due before, which is a little earlier than it was noticed.
    assert time.monotonic() - begin >= 0.19
    time.sleep(0.3)
    pace.restart()
    pace.wait()
    assert pace.speed > 0.5, "a pause is no slow step"
    begin = time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - begin >= 0.09


def test_the_first_interruption_is_noted_and_the_second_ends() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell began this in the background
    with interruptions() as interrupted:
        assert not interrupted
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert interrupted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1.0)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_chosen_instruction_is_heard_when_the_planner_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImaginedTargets, "targets", lambda *_: None)
    texts = ["touch red", "touch blue"]
    instruction = SimpleNamespace(texts=texts, phrase=torch.tensor([0]), first_touched=torch.tensor([1]))
    instruction.text = lambda ids: [texts[i] for i in instruction.phrase[ids].tolist()]
    rates = SimpleNamespace(control_per_plan=40)
    env: Any = SimpleNamespace(
        instruction=instruction,
        max_episode_length=124,
        episode_length_buf=torch.tensor([0]),
        cfg=SimpleNamespace(rates=rates),
    )
    source, ids = AskedTargets(cast("Any", None), seed=0), torch.tensor([0])
    source.targets(env, ids, torch.zeros(1))
    assert instruction.phrase.item() == 0 and instruction.first_touched.item() == 1
    source.wishes.instruction = "touch blue"
    for _ in range(2):
        source.targets(env, ids, torch.zeros(1))
    assert instruction.phrase.item() == 1, "what was asked for was not heard"
    assert instruction.first_touched.item() == -1, "a touch counts for the instruction that it followed"
    assert source.said == ["touch red", "touch blue"]
    # A finger that still lies on what was touched before has touched nothing of the new instruction's yet.
    instruction.cfg, instruction.tip_distance = SimpleNamespace(touch_distance=0.01), lambda: torch.tensor([[0.0, 0.3]])
    instruction.first_touched[:] = 0
    source.forgive(env)
    assert instruction.first_touched.item() == -1
    instruction.tip_distance = lambda: torch.tensor([[0.2, 0.3]])
    source.forgive(env)
    instruction.first_touched[:] = 0
    source.forgive(env)
    assert instruction.first_touched.item() == 0, "it had left"
    # In an episode's last frame nothing can be done about it any more.
    env.episode_length_buf[:] = 120
    source.wishes.instruction = "touch red"
    source.targets(env, ids, torch.zeros(1))
    assert instruction.phrase.item() == 1 and instruction.first_touched.item() == 0


def test_every_picture_stands_in_its_place() -> None:
    camera, seen = torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.5)
    planned = torch.stack([torch.full((3, 8, 8), value) for value in (0.2, 0.4, 0.6)])
    picture = mosaic(camera, seen, planned, (0.8, 1.6, 2.4))
    middle = LABEL + LARGE // 2
    assert picture.getpixel((LARGE // 2, middle)) == (0, 0, 0)
    assert picture.getpixel((picture.width - LARGE // 2, middle)) == (128, 128, 128)
    lower = picture.height - 30
    row = [picture.getpixel((round(picture.width * share), lower)) for share in (1 / 6, 1 / 2, 5 / 6)]
    assert row == [(51, 51, 51), (102, 102, 102), (153, 153, 153)]
    assert picture.getpixel((0, lower)) == BLUE, "the target is framed"


def test_curves_are_of_the_chosen_joint_and_of_the_last_seconds() -> None:
    import viser

    server = viser.ViserServer(HOST, free_port(HOST, 18080), verbose=False)
    try:
        panel = Panel(server, ["touch red"], ["first", "second"], "title")
        for step in range(1000):
            joints = torch.tensor([[0.0, 1.0], [0.1, 2.0], [0.2, 3.0]]) + step
            panel.add(Tracking(0.02 * step, joints, 0.5, 0.25))
        panel.joint.value = "second"
        panel.draw_curves()
        time_axis, *values = panel.position.data
        assert time_axis[-1] == pytest.approx(0.02 * 999)
        assert time_axis[-1] - time_axis[0] == pytest.approx(CURVE_S, abs=0.021)
        assert [value[-1] for value in values] == [1000.0, 1001.0, 1002.0]
    finally:
        server.stop()


def test_what_is_said_cannot_be_read_as_markup() -> None:
    status = Status("<b>red</b>", "red", "not done", False, (0, 0), (0, 0), 0.0, 1.0)
    assert "<b>" not in status_html(status)
