"""A camera made of MuJoCo's own ray caster: pictures with the classes of their pixels, and without OpenGL.

Colours are Lambert's: a hemisphere of ambient light and one lamp. ``TRAINED`` is the one light of training, Newton's;
there it can only lean, and only in ``complete``; here it can be another.
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import matrix
from argos_sim.envs.camera import CameraPose

SKY, GROUND = np.array([0.4, 0.4, 0.45]), np.array([0.1, 0.1, 0.12])
"""Linear colours of the ambient light from above and from below."""
SHOWN = np.array([1, 1, 1, 0, 0, 0], dtype=np.uint8)
"""Groups of geoms that are seen; 3 are those that only collide, 4 is ``scene.HIDDEN``."""
FAR = 3.0
"""m."""


@dataclass(frozen=True)
class Light:
    """One lamp and the room's ambient light."""

    toward: tuple[float, float, float] = (1.0, -1.0, 1.0)
    """From the origin: the direction of a lamp infinitely far away, or the place of one that is near [m]."""
    near: bool = False
    """Whether the lamp is near, and throws shadows."""
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Linear."""
    ambient: float = 0.5
    """Share of ``SKY`` and ``GROUND``."""


TRAINED = Light()


def unseen_light(rng: np.random.Generator) -> Light:
    """A lamp anywhere above the table, near, with shadows, warm or cold, in a darker or a lighter room."""
    bearing, rise = rng.uniform(-math.pi, math.pi), math.radians(rng.uniform(30.0, 85.0))
    distance, warmth = rng.uniform(0.6, 1.5), rng.uniform(-0.15, 0.15)
    place = distance * np.array(
        [math.cos(bearing) * math.cos(rise), math.sin(bearing) * math.cos(rise), math.sin(rise)]
    )
    colour = rng.uniform(0.6, 1.2) * np.array([1 + warmth, 1.0, 1 - warmth])
    return Light(tuple(place - (0.0, 0.2, 0.0)), True, tuple(colour), rng.uniform(0.25, 1.0))  # pyright: ignore


def posed(pose: CameraPose, aperture: float, height: int, width: int) -> Pinhole:
    """A camera at ``pose`` whose central square is what a sensor of width ``aperture`` sees, in the units of the pose's
    focal length."""
    focal = pose.focal_length / aperture * min(height, width)
    return Pinhole(np.array(pose.position, dtype=float), matrix(pose.quaternion), focal, height, width)


class RayCamera:
    """Pictures of any state of ``model``, or of another that looks the same.

    Args:
        size: pixels of a square picture's side, or height and width: then the pose's focal length is that of the
            central square, which is what a policy sees.
        aperture: width of the sensor, in the units of the pose's focal length.
        classes: name of a body → class of its pixels and its children's; what has none is background, 0.
        focal_scale: factor on the focal length.
        distortion, distortion_2: k₁ and k₂ of the lens, see ``Pinhole``.
        offset: of the principal point from the picture's middle, in halves of the central square.
    """

    def __init__(
        self,
        model: Any,
        size: int | tuple[int, int],
        pose: CameraPose,
        aperture: float,
        classes: dict[str, int],
        focal_scale: float = 1.0,
        distortion: float = 0.0,
        distortion_2: float = 0.0,
        offset: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.size, self.model = (size, size) if isinstance(size, int) else size, wide(model)
        nominal = posed(pose, aperture, *self.size)
        right, down = nominal.half * offset[0], nominal.half * offset[1]
        bent = replace(nominal, distortion=distortion, distortion_2=distortion_2)
        self.lens = replace(bent, focal=focal_scale * nominal.focal, offset=(right, down))
        self._rays = self.lens.directions(self.lens.pixels())
        material = model.geom_matid
        # Colours of an MJCF's materials are sRGB, those of a task's objects are linear.
        painted = _linear(model.mat_rgba[material][:, :3].astype(float))
        self._albedo = np.where((material >= 0)[:, None], painted, model.geom_rgba[:, :3])
        self._class = np.array([self._class_of(model, body, classes) for body in model.geom_bodyid], dtype=np.uint8)

    @staticmethod
    def _class_of(model: Any, body: int, classes: dict[str, int]) -> int:
        while body > 0:
            if (found := classes.get(model.body(body).name)) is not None:
                return found
            body = model.body_parentid[body]
        return 0

    def render(
        self, data: Any, light: Light = TRAINED, shift: np.ndarray | None = None, turn: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The picture (3, H, W) uint8 and its classes (H, W) uint8.

        Args:
            shift, turn: (3,) offset of the camera along [m] and small rotation about [rad] each axis.
        """
        rotation = self.lens.rotation if turn is None else matrix(_small(turn)) @ self.lens.rotation
        eye = self.lens.position + (0.0 if shift is None else shift)
        return self._drawn(data, light, eye, self._rays @ rotation.T)

    def render_from(
        self, data: Any, camera: Pinhole, light: Light = TRAINED, where: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As ``render``, from another camera of the same size; only ``where`` (H, W) is true, elsewhere nothing."""
        if where is None:
            return self._drawn(data, light, camera.position, camera.rays())
        rays = camera.directions(camera.pixels()[where.ravel()]) @ camera.rotation.T
        colours, seen = self._seen(data, light, camera.position, np.ascontiguousarray(rays))
        picture, classes = np.zeros((3, *self.size), np.uint8), np.zeros(self.size, np.uint8)
        picture[:, where], classes[where] = colours.T, seen
        return picture, classes

    def _drawn(self, data: Any, light: Light, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        colours, classes = self._seen(data, light, eye, rays)
        return colours.T.reshape(3, *self.size), classes.reshape(self.size)

    def _seen(self, data: Any, light: Light, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours (M, 3) and classes (M,), both uint8, along unit rays (M, 3)."""
        geom, distance, normal = cast(self.model, data, eye, rays)
        hit = (geom >= 0) & (distance < FAR)
        geom = np.where(hit, geom, 0)
        point = eye + rays * distance[:, None]
        colour = self._albedo[geom] * _received(self.model, data, point, normal, light)
        picture = np.where(hit[:, None], _srgb(colour), 0.0)
        classes = np.where(hit, self._class[geom], 0).astype(np.uint8)
        return (255 * picture).astype(np.uint8), classes


def wide(model: Any) -> Any:
    """A copy for ``cast``. MuJoCo 3.12.0 leaves out bodies by a box about each that does not turn with it, so that
    many rays miss what single ones hit; in the copy these boxes are too large to leave out anything."""
    out = copy.deepcopy(model)
    out.bvh_aabb[:, 3:] = 100.0
    return out


def cast(model: Any, data: Any, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First geom (M,), −1 for none, its distance (M,) [m] and normal (M, 3) along unit ``rays (M, 3)`` from ``eye``."""
    count = len(rays)
    geom, distance, normal = np.zeros(count, np.int32), np.zeros(count), np.zeros(3 * count)
    mujoco.mj_multiRay(model, data, eye, rays.ravel(), SHOWN, 1, -1, geom, distance, normal, count, mujoco.mjMAXVAL)
    return geom, distance, normal.reshape(-1, 3)


def _received(model: Any, data: Any, point: np.ndarray, normal: np.ndarray, light: Light) -> np.ndarray:
    """Light (M, 3), linear, that surfaces at ``point`` with ``normal`` (M, 3) receive."""
    up = 0.5 * (normal[:, 2:] + 1)
    ambient = light.ambient * (SKY * up + GROUND * (1 - up))
    lamp = np.array(light.toward)
    way = lamp - point if light.near else np.broadcast_to(lamp, point.shape)
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    facing = np.maximum((normal * way).sum(1, keepdims=True) / distance, 0.0)
    if light.near:
        _, first, _ = cast(model, data, lamp, -way / distance)
        facing = facing * (first[:, None] >= distance - 2e-3)
    return ambient + facing * np.array(light.colour)


def _srgb(linear: np.ndarray) -> np.ndarray:
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _small(turn: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a small rotation vector."""
    vector = np.append(0.5 * turn, 1.0)
    return tuple(vector / np.linalg.norm(vector))
