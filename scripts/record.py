"""Record demonstrations from a robot into a LeRobot dataset: record.py datasets/mine --source policy --episodes 20

--source policy plays the exported policy, --source FILE.json a trajectory of the joints, and --source leader follows an
SO-100 leader that somebody moves. Each session is kept as a recording in <dataset>.recordings: what a killed one has
finished is there, and the same command goes on from it. While the arm moves any key stops it.
"""

import argparse
import math
import sys
from pathlib import Path

from argos_sim.deploy import opening
from argos_sim.deploy.demonstrating import Source
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import PolicyManifest, read_manifest
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.signals import stop_on_signals
from argos_sim.deploy.simulated_cameras import CAMERAS, TRAINED, simulated_robot


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of the dataset to make, or to go on with")
    parser.add_argument("--source", required=True, help="policy, leader, or a trajectory's .json file")
    parser.add_argument("--robot", choices=("sim", "so100"), default="sim")
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="whose joints, limits, rates")
    parser.add_argument("--episodes", type=int, default=10, help="that the dataset shall have")
    parser.add_argument("--text", nargs="*", default=[], help="what is done, in turn; sim: by default its own texts")
    parser.add_argument("--seconds", type=float, help="of an episode; sim: by default as long as in training")
    parser.add_argument("--keep-all", action="store_true", help="sim: keep episodes in which it was not done, too")
    parser.add_argument("--seed", type=opening.seed, default=0)
    parser.add_argument("--stop-file", type=Path, help="the arm stops as soon as this file exists")
    parser.add_argument("--leader-port", default="/dev/ttyACM1", help="leader: of its servos' bus")
    parser.add_argument("--leader-calibration", type=Path, help="leader: lerobot's file of it")
    parser.add_argument("--leader-inverted", nargs="*", default=[], help="leader: joints that count the other way")
    opening.add_so100(parser)
    opening.add_cameras(parser)
    sim_camera = "sim: training's camera, or one that align_camera.py finds"
    parser.add_argument("--sim-camera", choices=tuple(CAMERAS), default=TRAINED, help=sim_camera)
    seen = "camera.yaml of align_camera.py: policy and dataset see as training's camera"
    parser.add_argument("--camera-file", type=Path, help=seen)
    opening.add_sight(parser)
    options = parser.parse_args()
    if options.episodes < 1 or (options.seconds is not None and not 0 < options.seconds < math.inf):
        parser.error("--episodes and --seconds are above zero.")
    return options


def main() -> None:
    """Record; a mistake is one sentence, and ends with 2."""
    options = parse()

    def robot_of(manifest: PolicyManifest) -> Robot:
        if options.robot == "so100":
            return opening.so100(options, manifest)
        return simulated_robot(options.policy, manifest, options.seed, options.sim_camera)

    try:
        manifest = read_manifest(options.policy)
        source = Source(options.source, options.leader_port, options.leader_calibration, options.leader_inverted)

        from argos_sim.robot_demos import record_dataset  # only now: it takes seconds

        def watched(log: Path) -> Watched:
            make_pilot = source.pilot(manifest, options.stop_file)
            more = {"make_pilot": make_pilot, "camera_file": options.camera_file}
            more["senses"] = opening.sense_settings(options)
            made = Watched(options.policy, robot_of, options.seed, log, options.stop_file, **more)
            stop_on_signals(made.stop)
            return made

        record_dataset(
            options.dataset,
            watched,
            options.episodes,
            manifest.image_size,
            options.text,
            options.seconds,
            options.keep_all,
        )
    except (ValueError, OSError, EOFError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before or after an arm moves, which hears of it otherwise
        print("error: Stopped by hand; sessions that were finished are kept.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
