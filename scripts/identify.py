"""Identify an arm's joints and motors: identify.py --robot sim --seconds 60 --out runs/identified

The arm is moved for so long within a box of postures, recorded, and simulated until its simulation moves alike.
identified.yaml says what was found, ranges.yaml is for training (identified=runs/identified/ranges.yaml), and
identified.png shows both movements. --data fits an earlier recording again. On a real arm clear its surroundings, have
the power switch at hand, and begin with a few seconds: any key, Ctrl-C, SIGTERM or a closed terminal stops it, so that
it sinks, braked, for 2 s at most; a second one lets it go at once.
"""

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path

from argos_sim.deploy import opening
from argos_sim.deploy.keys import stop_on_key
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.signals import hear_signals_as_usual, stop_on_signals
from argos_sim.deploy.simulated import WORLD_FILE, SimulatedRobot, SimulatedRobotSettings
from argos_sim.identification.excitation import Excitation, ExcitationSettings
from argos_sim.identification.links import Links

RECORDING = "recording"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", choices=("sim", "so100"), default="sim", help="sim: an arm of MuJoCo's")
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="folder that export.py made")
    parser.add_argument("--seconds", type=float, default=60.0, help="of excitation")
    parser.add_argument("--out", type=Path, default=Path("runs/identified"), help="folder for recording and results")
    parser.add_argument("--data", type=Path, help="fit this recording, and move nothing")
    sd = "standard deviation of what links are beside the model, 0 believes it:"
    parser.add_argument("--mass-sd", type=float, default=Links.mass, help=f"{sd} of each one's mass, as a share")
    parser.add_argument("--centre-sd", type=float, default=Links.centre, help=f"{sd} of its centre of mass [m]")
    parser.add_argument("--threads", type=int, default=1, help="of the batched simulation")
    parser.add_argument(
        "--seed", type=opening.seed, default=0, help="of the excitation; sim: of the arm that is drawn, too"
    )
    parser.add_argument("--trials", type=int, help="only measure, on so many hidden arms from --seed on")
    parser.add_argument("--live", action="store_true", help="trials: in real time, each in a process of its own")
    parser.add_argument("--bodies", default="nominal", help="trials: preset that links are drawn from")
    opening.add_so100(parser)
    return parser.parse_args()


def opened(options: argparse.Namespace, manifest: PolicyManifest) -> Robot:
    """The robot, without its cameras."""
    if options.robot == "so100":
        if manifest.body is None:
            raise DeployError("The policy does not know the arm's body, so that no guard keeps it off the table.")
        blind = dataclasses.replace(manifest, spec=manifest.spec | {"cameras": []})
        return opening.so100(options, blind, dict)
    return SimulatedRobot(options.policy, manifest, SimulatedRobotSettings(image_size=16, seed=options.seed))


def move(options: argparse.Namespace, manifest: PolicyManifest) -> None:
    """Excite and record."""
    # Here, since MuJoCo may be missing: a sentence of main's says so.
    from argos_sim.identification.playing import play
    from argos_sim.motion.model import RobotModel

    reasons: list[str] = []
    stop_on_signals(reasons.append)
    excitation = Excitation(manifest, ExcitationSettings(seconds=options.seconds, seed=options.seed))
    model = RobotModel.of_policy(options.policy, manifest)
    robot = opened(options, manifest)
    try:
        with stop_on_key(reasons.append) as keys:
            how = " Any key stops the arm." if keys else ""
            print(f"The arm is moved for {options.seconds:.0f} s, and there and back.{how}", flush=True)
            play(robot, manifest, model, excitation, options.out / RECORDING, options.robot, reasons)
    finally:
        robot.close()
    hear_signals_as_usual()  # nothing moves any more
    signal.signal(signal.SIGINT, signal.default_int_handler)  # main's sentence


def main() -> None:
    """Move and fit; a mistake is one sentence, and ends with 2."""
    options = parse()
    try:
        if options.threads < 1 or (options.trials is not None and options.trials < 1):
            raise ValueError("--threads and --trials must be 1 at least.")
        links = Links(options.mass_sd, options.centre_sd)
        manifest = read_manifest(options.policy)
        if not (options.policy / WORLD_FILE).is_file():
            raise DeployError(f"The policy at {options.policy} has no {WORLD_FILE}, which says how its arm is built.")
        if options.trials is None and options.data is None:
            move(options, manifest)
        # Only now: nothing that trains is loaded while an arm moves.
        from argos_sim.identification import report, trial
        from argos_sim.identification.fit import fit
        from argos_sim.identification.windows import read_recording
        from argos_sim.mujoco_c.world import World

        world = World.from_json(json.loads((options.policy / WORLD_FILE).read_text()))
        if options.trials is not None:
            seeds, live = range(options.seed, options.seed + options.trials), options.policy if options.live else None
            trial.run(world, manifest, options.out, options.seconds, seeds, options.bodies, live, links)
            return
        recording = read_recording(options.data or options.out / RECORDING)
        found = fit(recording, world, options.threads, lambda line: print(line, flush=True), links)
        report.write(options.out, *found, recording)
        print(report.table(found[0]))
        for sentence in report.not_identifiable(found[0]):
            print(f"Not identifiable: {sentence}")
        print(f"Written to {options.out}: {report.FOUND}, {report.RANGES}, {report.PICTURE}")
    except ModuleNotFoundError as error:
        print(f"error: {error}. A recording can be fitted on another machine, with --data.", file=sys.stderr)
        sys.exit(2)
    except (DeployError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: Stopped by hand; what was recorded is kept, and nothing else was written.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
