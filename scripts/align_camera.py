"""Find where the camera stands and what to move, from the arm in the picture or a printed board.

    align_camera.py                                    the simulated arm, whose camera stands a little off
    align_camera.py --robot so100 --calibration …      the arm moves through 14 postures by itself
    align_camera.py --robot so100 --limp …             you move the limp arm to 14 postures
    align_camera.py --print board.pdf                  a ChArUco board; then --way board
    align_camera.py --data FOLDER                      pictures and joints.json that were taken before

Writes camera.yaml and overlay.png to --out, and keeps what each session saw in --out/recordings. Postures: still room
and camera, even light, nothing but the arm moves. While the arm moves any key stops it: it sinks, braked, for 2 s at
most; a second one lets it go at once.
"""

import argparse
import math
import sys
from pathlib import Path

from argos_sim.camera_alignment.align import Asked, align, known_lens, policy_world
from argos_sim.camera_alignment.board import Board
from argos_sim.camera_alignment.capture import by_hand
from argos_sim.camera_alignment.checks import POSTURES
from argos_sim.camera_alignment.recording import Recording, keep_recording, read_recording
from argos_sim.camera_alignment.sessions import moved_session, simulated_session
from argos_sim.camera_alignment.trials import WEBCAM, WIDE, TrialSettings, summary
from argos_sim.deploy import opening
from argos_sim.deploy.lerobot_cameras import opened_camera
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.recorder import require_place
from argos_sim.deploy.signals import stop_on_signals
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.deploy.simulated_cameras import CAMERAS, TRAINED
from argos_sim.mujoco_c.world import World

MOST_BIAS = 10.0
"""Of joints in a trial [degrees]."""
stopped: list[str] = []
"""Why nothing shall move any more."""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", type=Path, metavar="FILE", help="only print a board, as .pdf or .png at true scale")
    parser.add_argument("--way", choices=("arm", "board"), default="arm", help="what the camera is found from")
    parser.add_argument("--robot", choices=("sim", "so100"), default="sim")
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="folder that export.py made")
    parser.add_argument("--data", type=Path, help="no robot: a folder with pictures and joints.json")
    parser.add_argument("--out", type=Path, default=Path("runs/camera"), help="where the result is written")
    parser.add_argument("--limp", action="store_true", help="so100: you move the arm, and it rests by itself")
    parser.add_argument("--pictures", type=int, default=14, help="how many are taken")
    parser.add_argument(
        "--board-at", type=float, nargs=3, metavar=("X", "Y", "YAW"),
        help="board: corner A in the base's frame [mm] and how far AB is turned from x [degrees], by a ruler",
    )  # fmt: skip
    parser.add_argument("--focal-px", type=float, help="board: focal length, where it is known [pixels]")
    parser.add_argument("--lens", type=Path, metavar="FILE", help="a camera.yaml of before, whose lens is the camera's")
    parser.add_argument("--trials", type=int, help="only measure: so many hidden cameras of a simulated arm or board")
    parser.add_argument("--joint-bias", type=float, default=0.0, help="trials: largest error of a joint [degrees]")
    parser.add_argument("--board-lens", action="store_true", help="trials: the arm's way knows the lens from a board")
    parser.add_argument("--webcam", action="store_true", help="trials: lenses off centre and bent as a webcam's")
    parser.add_argument("--wide", action="store_true", help="trials: such lenses, wide and bent much")
    parser.add_argument("--seed", type=opening.seed, default=0, help="sim: of background and noise")
    sims = tuple(name for name in CAMERAS if name != TRAINED)
    parser.add_argument("--sim-camera", choices=sims, default=sims[0], help="sim: how its camera is off")
    opening.add_so100(parser)
    parser.add_argument("--camera", default="0", help="so100: number or path of the camera, as OpenCV has it")
    return parser.parse_args()


def require_sense(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` where a number is absurd."""
    least = POSTURES if options.way == "arm" and options.data is None else 1
    if options.pictures < least or (options.trials is not None and options.trials < 1):
        raise ValueError(f"--pictures must be {least} at least, and --trials 1.")
    if not 0 <= options.joint_bias <= MOST_BIAS:
        raise ValueError(f"--joint-bias must be from 0 to {MOST_BIAS:g} degrees.")
    if options.focal_px is not None and not 0 < options.focal_px < math.inf:
        raise ValueError(f"--focal-px {options.focal_px:g} should be a number of pixels above zero.")
    if options.board_at is not None and not all(map(math.isfinite, options.board_at)):
        raise ValueError("--board-at should be three numbers: millimetres, millimetres, degrees.")


def record(options: argparse.Namespace, manifest: PolicyManifest, world: World) -> Recording:
    """Pictures of the robot that the options name."""
    board = options.way == "board"
    if options.robot == "sim":
        if board:
            raise ValueError("The simulated arm has no board before it; use --way arm, --data or --trials.")
        stop_on_signals(stopped.append)
        settings = SimulatedRobotSettings(seed=options.seed, **CAMERAS[options.sim_camera])
        return simulated_session(options.policy, manifest, world, settings, options.pictures, stopped)
    name, hz = manifest.spec.get("cameras", ("front",))[0], manifest.rates["camera_hz"]
    robot = opening.so100(options, manifest, lambda: {name: opened_camera(options.camera, hz)})
    try:
        if options.limp or board:
            corners = tuple(Board().corners) if board and options.board_at is None else ()
            return by_hand(robot, manifest, options.pictures, input, corners)
        stop_on_signals(stopped.append)
        return moved_session(robot, manifest, world, options.pictures, options.seed, input, stopped)
    finally:
        robot.close()


def measure(options: argparse.Namespace, manifest: PolicyManifest, world: World) -> None:
    """Print how well hidden cameras are found."""
    lens = WIDE if options.wide else WEBCAM if options.webcam else {}
    bias = math.radians(options.joint_bias)
    cfg = TrialSettings(joint_bias=bias, lens_from_board=options.board_lens, **lens)
    found = summary(world, manifest, options.way, cfg, options.trials, lambda line: print(line, flush=True))
    for name, value in found.items():
        print(f"  {name}: {value:.3g}")


def main() -> None:
    """Run; a mistake is one sentence, and ends with 2."""
    options = parse()
    try:
        if options.print is not None:
            Board().write(options.print)
            print(f"{options.print}: print it at 100 %, and check its line of 100 mm with a ruler.")
            return
        require_sense(options)
        if options.trials is None:
            require_place(options.out)  # nothing moves for pictures that cannot be kept
        manifest, world = read_manifest(options.policy), policy_world(options.policy)
        if options.trials is not None:
            measure(options, manifest, world)
            return
        lens = None if options.lens is None else known_lens(options.lens)
        at = options.board_at
        placed = None if at is None else (at[0] / 1e3, at[1] / 1e3, math.radians(at[2]))
        if options.data is None:
            recording = record(options, manifest, world)
            folder = keep_recording(options.out, recording)
            print(f"{folder}: --data finds the camera from it again.")
        else:
            recording = read_recording(options.data, manifest.joint_names)
        asked = Asked(options.way, placed, options.focal_px, lens)
        print(align(recording, world, manifest, asked, options.out))
    except (DeployError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, EOFError):
        print("error: Stopped by hand; nothing was written.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
