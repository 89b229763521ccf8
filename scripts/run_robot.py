"""Run an exported policy on a robot, live: run_robot.py --robot sim --text "touch the red block"

Nothing that trains is loaded. Ctrl-C, SIGTERM or the file given by --stop-file stops the arm: no torque.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from argos_sim.deploy.live import Watched, run_episodes, run_text
from argos_sim.deploy.manifest import DeployError


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", choices=("sim",), default="sim", help="a simulated SO-100, on MuJoCo in real time")
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="folder that export.py made")
    parser.add_argument("--text", default="touch the red block", help="what the arm is asked to do")
    parser.add_argument("--seconds", type=float, default=10.0, help="for how long")
    parser.add_argument("--episodes", type=int, help="instead: judge so many episodes, each with a text of its own")
    parser.add_argument("--log", type=Path, help="folder for a recording of every control step")
    parser.add_argument("--stop-file", type=Path, help="the arm stops as soon as this file exists")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Run; a mistake is one sentence, and ends with 2."""
    options = parse()
    watched = Watched(options.policy, options.seed, options.log, options.stop_file)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watched.stop("stopped by hand"))
    begin = time.monotonic()
    try:
        with watched:
            print(f"Began after {time.monotonic() - begin:.1f} s.", flush=True)
            if options.episodes is None:
                run_text(watched, options.text, options.seconds)
            else:
                run_episodes(watched, options.episodes)
            watched.summarise()
    except (DeployError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
