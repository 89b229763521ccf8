"""The whole pipeline, from nothing to a report.  Example: python scripts/demo.py preset=smoke

Each stage is its own process: two physics engines do not share one, and a stage that was killed resumes by itself.
"""

import subprocess
import sys
import time
from pathlib import Path

STAGES = (
    ("collect_demos.py",),
    ("train_encoder.py",),
    ("train_planner.py",),
    ("train_controller.py",),
    ("evaluate.py", "planner"),
    ("evaluate.py", "controllers"),
    ("evaluate.py", "other_engine"),
    ("export.py",),
    ("play.py",),
    ("report.py",),
)


def main() -> None:
    """Run every stage with the overrides given; stop at the first that fails."""
    scripts, begin = Path(__file__).parent, time.monotonic()
    for name, *part in STAGES:
        code = subprocess.run([sys.executable, str(scripts / name), *part, *sys.argv[1:]]).returncode
        if code:
            sys.exit(code)
    print(f"The whole pipeline took {(time.monotonic() - begin) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
