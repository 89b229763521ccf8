"""Run an exported policy on a robot, live: run_robot.py --robot sim --text "touch the red block"

Nothing that trains is loaded. Any key, Ctrl-C, SIGTERM, a closed terminal or the file given by --stop-file stops the
arm: no torque. On a real arm begin with --limp, and move each joint by hand (docs/deployment.md).
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from argos_sim.deploy import opening
from argos_sim.deploy.guard_options import add_guard, guard_settings
from argos_sim.deploy.keys import stop_on_key
from argos_sim.deploy.live import Watched, run_episodes, run_text, show_joints
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.signals import stop_on_signals
from argos_sim.deploy.simulated_cameras import CAMERAS, TRAINED, simulated_robot
from argos_sim.deploy.view.access import PORT, TOKEN_VARIABLE, ViewSettings, read_token


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--robot", choices=("sim", "so100"), default="sim", help="sim: an arm of MuJoCo's, in real time"
    )
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="folder that export.py made")
    parser.add_argument("--text", default="touch the red block", help="what the arm is asked to do")
    parser.add_argument("--seconds", type=float, default=10.0, help="for how long")
    parser.add_argument("--episodes", type=int, help="sim: judge so many episodes, each with a text of its own")
    parser.add_argument("--log", type=Path, help="folder for a recording of every control step")
    parser.add_argument("--no-pictures", action="store_true", help="keep no pictures in that recording")
    parser.add_argument("--stop-file", type=Path, help="the arm stops as soon as this file exists")
    parser.add_argument("--seed", type=opening.seed, default=0)
    opening.add_so100(parser)
    opening.add_cameras(parser)
    sim_camera = "sim: training's camera, or one that align_camera.py finds"
    parser.add_argument("--sim-camera", choices=tuple(CAMERAS), default=TRAINED, help=sim_camera)
    parser.add_argument("--camera-file", type=Path, help="camera.yaml of align_camera.py, to see as training's camera")
    opening.add_sight(parser)
    parser.add_argument("--view", type=int, nargs="?", const=PORT, metavar="PORT", help="show a browser what happens")
    parser.add_argument("--view-host", default="127.0.0.1", help="others than this machine need a token to look")
    parser.add_argument("--view-token-file", type=Path, help=f"holds the token; or else {TOKEN_VARIABLE} does")
    add_guard(parser)
    parser.add_argument("--limp", action="store_true", help="no torque: only print the joints, to be moved by hand")
    options = parser.parse_args()
    if not options.seconds > 0 or (options.episodes is not None and options.episodes < 1):
        parser.error("--seconds and --episodes are above zero.")
    return options


def view_settings(options: argparse.Namespace) -> ViewSettings | None:
    """Where the browser's view is served; None serves none."""
    if options.view is None:
        return None
    return ViewSettings(options.view, options.view_host, read_token(options.view_token_file))


def main() -> None:
    """Run; a mistake is one sentence, and ends with 2."""
    options = parse()

    def robot_of(manifest: PolicyManifest) -> Robot:
        if options.robot == "so100":
            return opening.so100(options, manifest)
        return simulated_robot(options.policy, manifest, options.seed, options.sim_camera)

    pictures = not options.no_pictures
    try:
        view, safety = view_settings(options), guard_settings(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    more = {"view": view, "camera_file": options.camera_file, "safety": safety}
    more["senses"] = opening.sense_settings(options)
    watched = Watched(options.policy, robot_of, options.seed, options.log, options.stop_file, pictures, **more)
    stop_on_signals(watched.stop)
    begin = time.monotonic()
    try:
        if options.limp:
            with contextlib.closing(watched.make_robot(read_manifest(options.policy))) as robot:
                show_joints(robot, options.seconds, lambda: watched.stopped is not None)
            return
        with watched, stop_on_key(watched.stop) as keys:
            how = " Any key stops the arm." if keys else ""
            print(f"Began after {time.monotonic() - begin:.1f} s.{how}", flush=True)
            if watched.guarded:
                print(f"Guard: {watched.guarded}.", flush=True)
            if watched.rectification is not None:
                print(watched.rectification.told(), flush=True)
            if watched.address:
                print(f"In a browser: {watched.address}", flush=True)
            if options.episodes is None:
                run_text(watched, options.text, options.seconds)
            else:
                run_episodes(watched, options.episodes)
            watched.summarise()
    except (DeployError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
