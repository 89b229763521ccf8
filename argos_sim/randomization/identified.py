"""Ranges that ``scripts/identify.py`` found on an arm, in place of those that a preset guesses."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import yaml

from argos_sim.randomization.ranges import RandomizationRanges, Range

INTEGERS = ("action_delay", "observation_delay")
IDENTIFIED = ("joint_friction", "joint_armature", "back_emf_scale", "motor_strength", "mass_scale", *INTEGERS)
"""What can be found."""


def read_identified(path: Path) -> dict[str, Range]:
    """Ranges by their names in ``RandomizationRanges``; ``ValueError`` in one sentence where the file has no such."""
    try:
        data = yaml.safe_load(_read(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(data, dict) or not data:
        raise ValueError(f"{path} should hold ranges by name, such as joint_friction: [0.04, 0.06].")
    unknown = [str(name) for name in data if name not in IDENTIFIED]
    if unknown:
        raise ValueError(f"{path} has {unknown[0]!r}; what is identified is {', '.join(IDENTIFIED)}.")
    found: dict[str, Range] = {}
    for name, pair in data.items():
        whole = name in INTEGERS
        if not isinstance(pair, list) or len(pair) != 2 or not all(_number(x, whole) for x in pair):
            numbers = "whole numbers" if whole else "numbers"
            raise ValueError(f"{path}: {name} = {pair} should be two {numbers}, [low, high].")
        found[name] = (pair[0], pair[1])
    replace(RandomizationRanges(), **found)  # what makes no sense is refused here, by name
    return found


def with_identified(preset: str, ranges: RandomizationRanges, path: Path) -> RandomizationRanges:
    """``train`` with the ranges of a file; those of ``unseen`` and ``complete``, which go beyond it, wide enough to
    hold them; ``nominal`` as it is."""
    found = read_identified(path)
    if preset == "nominal":
        return ranges
    if preset != "train":
        own = {name: getattr(ranges, name) for name in found}
        found = {name: (min(low, own[name][0]), max(high, own[name][1])) for name, (low, high) in found.items()}
    return replace(ranges, **found)


def digest(path: Path) -> str:
    """SHA-256 of a file of ranges; ``ValueError`` in one sentence where there is none."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"There is no file of identified ranges {path}; correct the setting identified.")
    return path.read_bytes()


def _number(value: object, whole: bool) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
