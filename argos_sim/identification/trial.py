"""How well hidden joints and motors are found: arms that nobody knows, excited, recorded and fitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import PolicyManifest, read_manifest
from argos_sim.deploy.simulated import JointDynamics, SimulatedRobot, SimulatedRobotSettings
from argos_sim.identification.excitation import Excitation, ExcitationSettings
from argos_sim.identification.fit import Fit, fit
from argos_sim.identification.links import Links
from argos_sim.identification.parameters import PER_JOINT
from argos_sim.identification.playing import play
from argos_sim.identification.windows import Recording, read_recording
from argos_sim.motion.model import RobotModel
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.virtual import VirtualRobot
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import get_ranges


def hidden(world: World, seed: int) -> JointDynamics:
    """An arm of ``train``'s ranges, each joint by itself."""
    ranges, rng, joints = get_ranges("train"), np.random.default_rng((seed, 17)), len(world.joint_names)
    return JointDynamics(
        friction=tuple(rng.uniform(*ranges.joint_friction, joints)),
        armature=tuple(rng.uniform(*ranges.joint_armature, joints)),
        back_emf=tuple(world.back_emf * rng.uniform(*ranges.back_emf_scale, joints)),
        strength=tuple(rng.uniform(*ranges.motor_strength, joints)),
        delay=int(rng.integers(ranges.action_delay[0], ranges.action_delay[1] + 1)),
    )


def true_delay(dynamics: JointDynamics, dt: float, offset: float) -> float:
    """From a command to what it does, as read [s], where commands come ``offset`` after a step of physics: it waits for
    the next step, whose outcome carries the time of its begin."""
    return dynamics.delay * dt + (-offset) % dt - dt


def hidden_masses(world: World, seed: int, bodies: str) -> np.ndarray:
    """Factors (J,) on the masses of the links that the joints of arm ``seed`` move, as its first episode draws them."""
    arms = Arms(world, 1)
    arms.reset(get_ranges(bodies), np.random.default_rng((seed, 0)))
    links = [int(arms.nominal.jnt_bodyid[arms.nominal.joint(name).id]) for name in world.joint_names]
    return arms.models[0].body_mass[links] / arms.nominal.body_mass[links]


def sent_after(recording: Recording, dt: float) -> float:
    """How long after a step of physics commands were sent, on a circle's average [s]: read-outs carry steps' times."""
    turns = np.exp(2j * np.pi * (recording.sent_at - recording.read_at) / dt)
    return float(np.angle(turns.mean()) / (2 * np.pi) * dt % dt)


def record(world: World, manifest: PolicyManifest, folder: Path, seconds: float, seed: int, bodies: str) -> float:
    """Excite hidden arm ``seed``, with links drawn from the preset ``bodies``; the ``offset`` of its control steps."""
    offset = float(np.random.default_rng((seed, 18)).uniform(0, world.rates.physics_dt))
    settings = SimulatedRobotSettings(image_size=16, seed=seed, ranges=bodies, dynamics=hidden(world, seed))
    robot = VirtualRobot(world, settings, offset)
    excitation = Excitation(manifest, ExcitationSettings(seconds=seconds, seed=seed))
    model = RobotModel(world.mjcf, world.joint_names)
    play(robot, manifest, model, excitation, folder, f"hidden arm {seed}", clock=robot)
    return offset


Found = tuple[str, str, float, tuple[float, float, float]]
"""Parameter, joint, truth, and what was found with its interval."""


def errors(found: Fit, dynamics: JointDynamics, masses: np.ndarray) -> list[Found]:
    """Of all that was found; per strength, where that is not known, and, by another name, where it is known, too, as
    what no weight misleads."""
    out = []
    for name in PER_JOINT:
        for j, joint in enumerate(found.joint_names):
            truth, strength = getattr(dynamics, name)[j], dynamics.strength[j]
            known = found.strength_known(j)
            if known:
                out.append((name, joint, truth, found.value(name, j)))
            if name != "strength":
                label = f"{name} per strength{', which is known' if known else ''}"
                out.append((label, joint, truth / strength, found.ratio(name, j)))
    for j, joint in enumerate(found.joint_names):
        if (mass := found.mass(j)) is not None:
            out.append(("link mass", joint, float(masses[j]), mass))
    return out


def record_live(policy: Path, world: World, folder: Path, seconds: float, seed: int, bodies: str) -> float:
    """The same on ``SimulatedRobot`` in real time; what physics lost [s]."""
    manifest = read_manifest(policy)
    settings = SimulatedRobotSettings(image_size=16, seed=seed, ranges=bodies, dynamics=hidden(world, seed))
    robot = SimulatedRobot(policy, manifest, settings)
    try:
        excitation = Excitation(manifest, ExcitationSettings(seconds=seconds, seed=seed))
        model = RobotModel(world.mjcf, world.joint_names)
        play(robot, manifest, model, excitation, folder, f"hidden arm {seed}, live")
        return robot.lost_s()
    finally:
        robot.close()


def run(
    world: World,
    manifest: PolicyManifest,
    folder: Path,
    seconds: float,
    seeds: range,
    bodies: str = "nominal",
    live: Path | None = None,
    links: Links | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Tell of each hidden arm and parameter what was found, and of all how far off and how often in its interval; in
    real time where ``live`` is the policy's folder; ``links`` as for ``fit``."""
    every: dict[str, list[tuple[float, bool]]] = {}
    for seed in seeds:
        dynamics, at = hidden(world, seed), folder / f"{bodies}-{seed}{'-live' if live else ''}"
        if live is None:
            record(world, manifest, at, seconds, seed, bodies)
        else:
            lost = record_live(live, world, at, seconds, seed, bodies)
            tell(f"{seed} the machine was too busy for {lost:.2f} s")
        begin, recording = time.process_time(), read_recording(at)
        found, _, _ = fit(recording, world, links=links)
        tell(f"{seed} fitted in {time.process_time() - begin:.0f} s of one core")
        rows = errors(found, dynamics, hidden_masses(world, seed, bodies))
        for name, joint, truth, (value, low, high) in rows:
            off = 100 * (value / truth - 1)
            every.setdefault(name, []).append((off, low <= truth <= high))
            tell(f"{seed} {name} {joint}: true {truth:.4f}, found {value:.4f} [{low:.4f}, {high:.4f}], {off:+.1f} %")
        value, low, high = (1e3 * x for x in found.delay())
        dt = world.rates.physics_dt
        true = 1e3 * true_delay(dynamics, dt, sent_after(recording, dt))
        tell(f"{seed} delay: true {true:.2f} ms, found {value:.2f} [{low:.2f}, {high:.2f}]")
    for name, of in every.items():
        off, inside = np.abs([x for x, _ in of]), np.sum([within for _, within in of])
        tell(
            f"{name}: off by {np.median(off):.1f} % (median), {off.max():.1f} % at most, {np.sum(off < 10)} of "
            f"{len(off)} within 10 %; {inside} of {len(off)} intervals hold the truth"
        )
