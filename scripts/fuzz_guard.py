"""Try to get torques out of the guard's limits: fuzz_guard.py --policy runs/shipped/export --count 10000000"""

import argparse
import sys
import time
from pathlib import Path

from argos_sim.deploy.fuzz import fuzz, fuzz_steps
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.safety import SafetySettings

STEPS = 200
"""For one step of a guard so many commands and states are tried at once, which costs about as much."""
SETTINGS = {
    "as it comes": SafetySettings(),
    "half the torque, torque rate 30 N·m/s, a box": SafetySettings(
        torque_share=0.5, torque_rate=30.0, box=((-0.2, 0.2), (-0.4, 0.0), (0.0, 0.4))
    ),
}


def main() -> None:
    """Try each of the settings, half of the count each; ends with 1 where a torque was outside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, default=Path("runs/shipped/export"), help="folder that export.py made")
    parser.add_argument("--count", type=int, default=10_000_000, help="commands and states")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    try:
        manifest = read_manifest(options.policy)
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for name, settings in SETTINGS.items():
        begin = time.monotonic()
        count = options.count // len(SETTINGS)
        for what, tried, number in (("torques", fuzz, count), ("steps", fuzz_steps, max(1, count // STEPS))):
            found = tried(manifest, settings, number, options.seed)
            print(
                f"{name}: {found['outside']:.0f} of {found['tried']:,.0f} {what} outside the limits, the largest "
                f"{found['largest']:.6f} of its limit ({time.monotonic() - begin:.0f} s)",
                flush=True,
            )
            failed |= found["outside"] > 0
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
