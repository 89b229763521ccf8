"""Replay a recording of run_robot.py --log: replay.py FOLDER opens rerun's viewer with both arms, pictures and curves.

The recorded torques are played into MuJoCo from the recorded start; how far that arm is from the recorded one is
printed for each joint. --save FILE.rrd writes a file for the viewer, --png FILE a still picture of the curves, and
--web PORT shows it in a browser, where this machine has no screen.
"""

import argparse
import contextlib
import sys
import threading
from pathlib import Path

from argos_sim.replay.curves import draw_curves
from argos_sim.replay.replay import replay, save, serve, show


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="folder that run_robot.py --log wrote")
    parser.add_argument("--save", type=Path, help="write this .rrd file and open no viewer")
    parser.add_argument("--png", type=Path, help="write curves and differences as this picture; alone, open no viewer")
    parser.add_argument("--web", type=int, metavar="PORT", help="show it to browsers on this port, until Ctrl-C")
    parser.add_argument("--policy", type=Path, help="refuse a recording that was made with another policy than this")
    parser.add_argument("--world", type=Path, help="play the torques in this world.json and not the recording's own")
    parser.add_argument("--restart", type=float, help="put the simulated arm back on the recorded one every so many s")
    return parser.parse_args()


def main() -> None:
    """Replay; a mistake is one sentence, and ends with 2."""
    options = parse()
    try:
        if options.restart is not None and not options.restart > 0:
            raise ValueError(f"--restart {options.restart} should be above zero.")
        replayed = replay(options.recording, options.policy, options.world, options.restart)
        print(replayed.table(), flush=True)
        if options.png is not None:
            draw_curves(replayed.recording, replayed.played, options.png)
            print(f"Written: {options.png}")
        if options.save is not None:
            save(replayed, options.save)
            print(f"Written: {options.save}. Look at it with: rerun {options.save}")
        if options.web is not None:
            print(f"Open {serve(replayed, options.web, options.web + 1)}; Ctrl-C ends.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
        elif options.save is None and options.png is None:
            show(replayed)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: Stopped by hand.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
