"""A signal to the whole group of processes, as a terminal sends it, stops the arm and ends the script in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from argos_sim.deploy.signals import FROM_TERMINALS
from argos_sim.paths import ROOT
from tests.argos_sim.deploy.pilots import flying, until

SCRIPT = """
import runpy, sys
from argos_sim.deploy import simulated_cameras
from tests.argos_sim.deploy.pilots import StandIn

robot = StandIn()
simulated_cameras.simulated_robot = lambda *of: robot  # no arm of MuJoCo's: the policy is of another body
if __name__ == "__main__":  # and not in the planner's process, which reads this file, too
    sys.argv = ["run_robot.py", "--policy", sys.argv[1], "--seconds", "60"]
    runpy.run_path("scripts/run_robot.py", run_name="__main__")
    print("closed" if robot.closed else "left open", "limp" if not robot.sent[-1].any() else "driven")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP"])
def test_a_signal_to_all_its_processes_stops_the_arm(policy: Path, tmp_path: Path, name: str) -> None:
    script, told = tmp_path / "live.py", tmp_path / "told"
    script.write_text(textwrap.dedent(SCRIPT))
    with told.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), str(policy)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: "steps" in told.read_text() or process.poll() is not None, "a line of state")
            os.killpg(process.pid, getattr(signal, name))
            assert process.wait(20) == 0, told.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not _group(process.pid), "the end of all its processes")
    lines = told.read_text().splitlines()
    assert "Stopped: stopped by hand" in lines and lines[-1] == "closed limp"


def test_the_planner_leaves_a_terminals_signals_to_its_parent(policy: Path) -> None:
    with flying(policy) as (pilot, _):
        assert pilot.planning.pid is not None
        for number in FROM_TERMINALS:
            os.kill(pilot.planning.pid, number)
        count = pilot.counts["targets"]
        until(lambda: pilot.counts["targets"] >= count + 2, "more targets")


def _group(leader: int) -> list[int]:
    """Processes that ``leader`` began, and they in turn."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(path.parent.name))
    return found
