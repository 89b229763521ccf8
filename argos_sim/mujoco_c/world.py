"""What is to be built and asked in MuJoCo, as plain values read off a task's configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from argos_sim.envs.camera import CameraPose
from argos_sim.paths import ASSETS, asset
from argos_sim.rates import Rates

OUTCOMES = ("touch", "move", "lift", "stack")
"""What can count as done, see ``outcomes.py``."""


@dataclass(frozen=True)
class Placement:
    """Where objects lie at first: a ring sector ahead of the arm, as in ``mdp.events.place_objects``."""

    centre: tuple[float, float]
    radius: tuple[float, float]
    angle: tuple[float, float]
    height: float
    separation: float


@dataclass(frozen=True)
class Goal:
    """What counts as done [m, rad]; each outcome reads what it needs."""

    outcome: str
    """One of ``OUTCOMES``."""
    touch_distance: float
    centre: tuple[float, float] = (0.0, 0.0)
    sectors: tuple[tuple[float, float], ...] = ()
    height: float = 0.0
    clearance: float = 0.0


@dataclass(frozen=True)
class World:
    """A task's scene, instructions and clocks; lengths in metres, angles in radians, joints in the task's order."""

    mjcf: Path
    """The robot."""
    joint_names: tuple[str, ...]
    joint_limits: tuple[tuple[float, float], ...]
    ready: tuple[float, ...]
    """Joints about which an episode begins, and ..."""
    spread: tuple[float, ...]
    """... half-widths of the uniform offsets from there."""
    stall_torque: float
    """Of every motor [N·m]."""
    back_emf: float
    """Torque lost per speed [N·m·s/rad]."""
    tip_body: str
    tip_offset: tuple[float, float, float]
    objects: dict[str, tuple[float, float, float]]
    """Cubes by name, and their linear colours."""
    half_size: float
    object_mass: float
    placement: Placement
    texts: tuple[str, ...]
    """All instructions, and ..."""
    asked: tuple[tuple[int, int], ...]
    """... the object's and the place's index that each names; −1 for no place."""
    goal: Goal
    camera: CameraPose
    aperture: float
    """Width of the camera's sensor, in the units of its focal length."""
    rates: Rates
    substeps: int
    """Steps of the solver in one physics step, as on Newton: with too few, held blocks slip."""
    plans: int
    """Targets of an episode."""

    @property
    def steps(self) -> int:
        """Control steps of an episode, as many as are judged in Isaac Lab."""
        return self.plans * self.rates.control_per_plan + self.rates.control_per_frame - 1

    def to_json(self) -> dict[str, Any]:
        """As plain values, the robot's file by its place among the assets."""
        return asdict(self) | {"mjcf": self.mjcf.relative_to(ASSETS).as_posix()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> World:
        """Inverse of ``to_json``.

        Raises:
            ValueError: these values do not describe a world.
        """
        try:
            values: dict[str, Any] = {name: _tuples(value) for name, value in data.items()}
            kinds: dict[str, type] = {"placement": Placement, "goal": Goal, "camera": CameraPose, "rates": Rates}
            values |= {k: kind(**{n: _tuples(v) for n, v in values[k].items()}) for k, kind in kinds.items()}
            values["objects"] = {name: tuple(colour) for name, colour in values["objects"].items()}
            place = Path(values["mjcf"])
            if place.is_absolute() or ".." in place.parts:
                raise TypeError(f"the robot's file {place} is not among the assets")
            values["mjcf"] = asset(*place.parts)
            return World(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"This describes no world of MuJoCo's ({error}). Export the policy again.") from None

    @staticmethod
    def of(cfg: Any) -> World:
        """The world of a task's environment configuration; one sentence if MuJoCo's loop has no such thing."""
        robot, instruction = cfg.scene.robot, cfg.commands.instruction
        usd = Path(robot.spawn.usd_path)
        mjcf = usd.parents[1] / f"{usd.stem}.xml"
        if not mjcf.is_file():
            raise ValueError(f"MuJoCo's loop needs the robot as MJCF, and there is no {mjcf}.")
        motors: Any = robot.actuators["motors"] if set(robot.actuators) == {"motors"} else None
        # By name, since the class itself would bring Isaac Lab along.
        if type(motors).__name__ != "STS3215ActuatorCfg":
            raise ValueError(f"MuJoCo's loop has the motor model of the STS3215 alone, and {mjcf.stem} has others.")
        spawned = [getattr(cfg.scene, name).spawn for name in instruction.objects]
        thing = [getattr(spawn, "nominal", spawn) for spawn in spawned]  # one size, if there are several (``sizes.py``)
        place, spread = cfg.events.place_objects.params, cfg.events.place_robot.params
        own = spread.get("joint_spread") or {}
        goals, phrasings = instruction.goals(), instruction.phrasings()
        return World(
            mjcf=mjcf,
            joint_names=tuple(cfg.joint_names),
            joint_limits=tuple(cfg.joint_limits[name] for name in cfg.joint_names),
            ready=tuple(robot.init_state.joint_pos[name] for name in cfg.joint_names),
            spread=tuple(own.get(name, spread["spread"]) for name in cfg.joint_names),
            stall_torque=motors.stall_torque,
            back_emf=motors.back_emf,
            tip_body=instruction.tip_body,
            tip_offset=instruction.tip_offset,
            objects={
                n: tuple(t.visual_material.diffuse_color) for n, t in zip(instruction.objects, thing, strict=True)
            },
            half_size=instruction.object_half_size,
            object_mass=thing[0].mass_props.mass,
            placement=Placement(**{k: place[k] for k in ("centre", "radius", "angle", "height", "separation")}),
            texts=tuple(text for texts in phrasings.values() for text in texts),
            asked=tuple(goals[goal] for goal, texts in phrasings.items() for _ in texts),
            goal=_goal(instruction),
            camera=cfg.camera_pose,
            aperture=cfg.scene.camera.spawn.horizontal_aperture,
            rates=cfg.rates,
            substeps=cfg.newton_substeps,
            plans=cfg.plans_per_episode,
        )


def _tuples(value: Any) -> Any:
    """Lists as tuples, at every depth; dictionaries stay as they are."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _goal(instruction: Any) -> Goal:
    """What the task's instruction counts as done."""
    outcome = instruction.class_type.__name__.removesuffix("Command").lower()
    if outcome not in OUTCOMES:
        raise ValueError(f"MuJoCo's loop knows {', '.join(OUTCOMES)}, and this task asks to {outcome}.")
    known = ("centre", "sectors", "height", "clearance")
    return Goal(
        outcome, instruction.touch_distance, **{k: getattr(instruction, k) for k in known if hasattr(instruction, k)}
    )
