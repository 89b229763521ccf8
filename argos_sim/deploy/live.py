"""A pilot on a robot with somebody watching: views in terminal and browser, episodes, and a summary at the end."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from argos_sim.deploy.camera_file import described
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.follower import Follower
from argos_sim.deploy.guard_options import told
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.pilot import Pilot, PilotSettings
from argos_sim.deploy.planning import encoded_text
from argos_sim.deploy.recorder import Recorder, require_new
from argos_sim.deploy.recording import describe
from argos_sim.deploy.rectification import Rectification, first_frame, read_rectification
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.safety import SafetySettings
from argos_sim.deploy.senses import SenseSettings
from argos_sim.deploy.simulated import SimulatedRobot
from argos_sim.deploy.simulated_cameras import simulated_robot
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.view.access import ViewSettings
from argos_sim.deploy.view.browser import BrowserView, require_free
from argos_sim.deploy.view.digest import Digest
from argos_sim.deploy.view.terminal import Screen

LINE_S, DRAW_S = 0.5, 0.25
"""Between two lines of state, and between two views in place."""
LOOK_S = 0.05
"""How often is looked whether somebody asks for something else."""
ASKING_S = 8.0
"""How long who asks waits for an answer."""


class Watched:
    """A robot and its pilot, ended in any case.

    Args:
        folder: the exported policy.
        make_robot: makes the robot for a policy's manifest; None makes a simulated one.
        log: folder for a recording of every control step.
        stop_file: see ``PilotSettings``.
        pictures: whether the recording keeps what the cameras see.
        make_pilot: makes what moves the robot, of which nothing is shown; None makes the policy's ``Pilot``.
        camera_file: see ``PilotSettings``; a recording keeps pictures as they came, and names it.
        view: where the browser's view of the ``Pilot`` is served; None serves none.
        safety: of the guard of the ``Pilot``; None leaves it as it is by itself.
        senses: what the ``Pilot`` believes; None leaves that as it is by itself.

    Attributes:
        guarded: how the guard is stricter than by itself, in words.
        rectification: what ``camera_file`` does to pictures; None where there is none.
        address: of the browser's view; empty where there is none.
    """

    def __init__(
        self,
        folder: Path,
        make_robot: Callable[[PolicyManifest], Robot] | None = None,
        seed: int = 0,
        log: Path | None = None,
        stop_file: Path | None = None,
        pictures: bool = True,
        make_pilot: Callable[[PolicyManifest, Robot, Recorder | None], Pilot | Follower] | None = None,
        view: ViewSettings | None = None,
        camera_file: Path | None = None,
        safety: SafetySettings | None = None,
        senses: SenseSettings | None = None,
    ) -> None:
        self.folder, self.seed, self.log, self.stop_file = folder, seed, log, stop_file
        self.camera_file, self.safety, self.guarded = camera_file, safety or SafetySettings(), ""
        self.senses = senses or SenseSettings()
        self.pictures, self.make_pilot = pictures, make_pilot or self._pilot
        self.make_robot = make_robot or self._simulated
        self.rectification: Rectification | None = None
        self.stopped: str | None = None
        self.pilot: Pilot | Follower | None = None
        self.address, self._view_settings = "", view
        self._digest: Digest | None = None
        self._screen = Screen()
        self._view: BrowserView | None = None
        self._asked: queue.Queue[tuple[str, queue.Queue[str], float]] = queue.Queue()

    def _simulated(self, manifest: PolicyManifest) -> Robot:
        return simulated_robot(self.folder, manifest, self.seed)

    def _pilot(self, _: PolicyManifest, robot: Robot, recorder: Recorder | None) -> Pilot:
        file, stop = self.camera_file, self.stop_file
        believed = {"safety": self.safety, "senses": self.senses}
        settings = PilotSettings(stop_file=stop, seed=self.seed, camera_file=file, **believed)
        return Pilot(self.folder, robot, settings, recorder)

    def __enter__(self) -> Watched:
        manifest = read_manifest(self.folder)
        if self.safety.box is not None and manifest.body is None:
            raise DeployError("The policy does not know the arm's body, so that nothing keeps it in a box.")
        self.guarded = told(self.safety, manifest)
        if self.camera_file is not None:
            self.rectification = read_rectification(self.camera_file, self.folder, manifest)
        if self._view_settings is not None:
            require_free(self._view_settings)
        if self.log is not None:
            require_new(self.log)
        self.robot = self.make_robot(manifest)
        recorder = None
        try:
            if self.camera_file is not None and self.rectification is not None:
                self.rectification.require(self.camera_file, first_frame(self.robot))
            if self.log is not None:
                about = describe(self.folder, manifest, self.robot)
                seen = None if self.camera_file is None else described(self.camera_file)
                about |= {
                    "seed": self.seed,
                    "guard": asdict(self.safety),
                    "senses": asdict(self.senses),
                    "camera_file": seen,
                }
                recorder = Recorder(self.log, len(manifest.joint_names), about, self.pictures)
            self.pilot = self.make_pilot(manifest, self.robot, recorder)
            if self.stopped is not None:  # while it was made
                self.pilot.stop(self.stopped)
        except BaseException:
            self.robot.close()
            if recorder is not None:
                recorder.discard()
            raise
        if self._view_settings is not None and isinstance(self.pilot, Pilot):
            telemetry, targets = Telemetry(manifest, pictures=True), self.pilot.planning.targets
            self.pilot.telemetry = telemetry
            try:
                self._view = BrowserView(self.folder, manifest, telemetry, targets, self._view_settings, self._obey)
            except BaseException:
                self.pilot.close()
                raise
            self.address = self._view.address
        if isinstance(self.pilot, Pilot):
            self._digest = Digest(self.pilot.telemetry, manifest, self.guarded)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self.pilot is not None:
                self.pilot.close()  # the motors first
        finally:
            if self._view is not None:
                self._view.close()

    def stop(self, reason: str) -> None:
        """Stop the arm, and end soon."""
        self.stopped = reason
        if self.pilot is not None:
            self.pilot.stop(reason)

    def wait(self, seconds: float, show: bool) -> bool:
        """Let the arm move; False where it was stopped."""
        assert self.pilot is not None
        end = time.monotonic() + seconds
        show_at = time.monotonic()
        while (now := time.monotonic()) < end and self.stopped is None:
            if self.pilot.fallback.mode == Mode.STOP:
                self.stopped = self.pilot.fallback.reason
            if show and now >= show_at:
                show_at = now + (DRAW_S if self._screen.in_place else LINE_S)
                self._show()
            self._listen(min(LOOK_S, max(0.0, end - now)), judged=not show)
        if show:
            self._show()
            self._screen.leave()
        return self.stopped is None

    def tell_end(self, done: bool | None) -> None:
        """Note in the recording that what was asked is over, and whether it was ``done``; None where nobody knows."""
        if self.pilot is not None and self.pilot.recorder is not None:
            self.pilot.recorder.tell("end", done=done, stopped=self.stopped)

    def _show(self) -> None:
        if self._digest is None:
            return
        self._digest.update()
        state = self._digest.state()
        if state is not None:
            self._screen.draw(state)

    def _obey(self, kind: str, text: str) -> str:
        """What the browser's view asks for, from a thread of its own; why it cannot be, or an empty text."""
        if kind == "stop":
            self.stop("stopped in the browser")
            return ""
        answer: queue.Queue[str] = queue.Queue()
        self._asked.put((text, answer, time.monotonic() + ASKING_S))
        try:
            return answer.get(timeout=ASKING_S)
        except queue.Empty:
            return "Nobody answers; the run may be over."

    def _listen(self, seconds: float, judged: bool) -> None:
        """Wait for somebody to ask for something else, and do it."""
        try:
            text, answer, until = self._asked.get(timeout=seconds)
        except queue.Empty:
            return
        if time.monotonic() > until:  # who asked was told that nobody answers
            return
        try:
            if judged:
                raise ValueError("Episodes are being judged, each with an instruction of its own.")
            self.begin(text)
            answer.put("")
        except ValueError as error:
            answer.put(str(error))

    def begin(self, text: str) -> None:
        """Ask for something; a simulated arm begins anew.

        Raises:
            ValueError: it cannot be asked for; what was asked before goes on.
        """
        assert self.pilot is not None
        encoded_text(text)
        if isinstance(self.robot, SimulatedRobot):
            self.robot.begin(0, text)
            self.pilot.begin(text)
        else:
            self.pilot.ask(text)

    def summarise(self) -> None:
        """Print all figures."""
        assert self.pilot is not None
        if self.stopped:
            print(f"Stopped: {self.stopped}")
        for name, value in self.pilot.figures().items():
            print(f"  {name}: {value:.3f}" if value != int(value) else f"  {name}: {int(value)}")
        lost = self.robot.lost_s() if isinstance(self.robot, SimulatedRobot) else 0.0
        if lost > 0.01:
            print(f"  The machine was too busy: the simulated arm stood still for {lost:.2f} s in all.")
        if self.pilot.recorder is not None and self.pilot.recorder.problem:
            print(f"  The recording is not whole: {self.pilot.recorder.problem}.")
        if self.pilot.refused_because:
            print(f"  last refused: {self.pilot.refused_because}")


def run_text(watched: Watched, text: str, seconds: float) -> None:
    """Ask for one thing, for some time."""
    pilot, robot = watched.pilot, watched.robot
    assert pilot is not None
    watched.begin(text)
    pilot.start()
    watched.wait(seconds, show=True)
    done = robot.success() if isinstance(robot, SimulatedRobot) else None
    watched.tell_end(done)
    pilot.stop("the time is over")  # before anything is printed, which may wait for a terminal
    if done is not None:
        print("Done." if done else "Not done.")


def run_episodes(watched: Watched, episodes: int) -> float:
    """Judge episodes as training does, each with its own text, arm and blocks; the share in which it was done.

    Raises:
        ValueError: the robot is not simulated, and nobody can judge it.
    """
    pilot, robot, done = watched.pilot, watched.robot, 0
    if not isinstance(robot, SimulatedRobot):
        raise ValueError("Only a simulated robot's episodes can be judged; leave --episodes out.")
    assert pilot is not None
    for number in range(episodes):
        text = robot.begin(number)
        pilot.begin(text)
        if number == 0:
            pilot.start()
        if not watched.wait(robot.episode_s, show=False):
            episodes = number
            break
        succeeded = robot.success()
        watched.tell_end(succeeded)
        done += succeeded
        print(f"episode {number + 1}: {text}: {done} of {number + 1} done", flush=True)
    low, high = wilson(done, episodes)
    share = done / max(1, episodes)
    print(f"Done what was asked: {100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}] of {episodes} episodes")
    return share


def show_joints(robot: Robot, seconds: float, stopped: Callable[[], bool]) -> None:
    """Print the joints of a limp arm, to be moved by hand: whether signs and zeros are right."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopped():
        reading = robot.joints()
        if reading is not None:
            angles = zip(robot.joint_names, reading.position, strict=True)
            print("  ".join(f"{name} {angle:+.2f}" for name, angle in angles), flush=True)
        time.sleep(LINE_S)


def wilson(done: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if of == 0:
        return 0.0, 1.0
    share, weight = done / of, z * z / of
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / of + weight / (4 * of)) / (1 + weight)
    return centre - half, centre + half
