"""Isaac Lab's own viser visualizer, set up so that people watch one environment in a browser.

It draws Newton's model of the scene, which Isaac Lab keeps on every engine, so that nothing here is tied to a robot, a
task or an engine.
"""

# Isaac Lab's configurations take classes as functions.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import importlib.util
import math
import socket
from typing import Any, cast

from isaaclab_visualizers.viser import ViserVisualizerCfg
from isaaclab_visualizers.viser.viser_visualizer import ViserVisualizer

from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv

PORTS_TRIED = 20
"""Ports from the wanted one on, of which the first that is free is taken."""
SIDE, FARTHER = math.radians(40.0), 0.95
"""The viewer stands this far round the workspace from the robot's own camera, and this many times as far away."""

DRAW_EVERY = 2
"""Control steps; drawing one took 10 ms of a CPU, all else in it 17 (OvPhysX), and it lasts 20."""
AMBIENT = 0.25
"""Light from everywhere, beside viser's lamps; with Newton's 1.0 shapes and shadows are faint."""


class ViewerError(ValueError):
    """The viewer cannot be opened as it was asked for."""


def require_viser() -> None:
    """Refuse, in a sentence, to go on without viser."""
    if importlib.util.find_spec("viser") is None:
        raise ViewerError("The viewer needs viser, which is not installed. Run: pip install -c constraints.txt viser")


def free_port(host: str, port: int) -> int:
    """The first free port from ``port`` on."""
    if not host:
        raise ViewerError("play.host is empty; 0.0.0.0 lets other machines in, localhost does not.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except PermissionError:
                continue
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == 99:
                    raise ViewerError(f"This machine has no address {host!r} (play.host): {error}.") from None
                continue
            return candidate
    raise ViewerError(
        f"No port from {port} to {port + PORTS_TRIED - 1} is free on {host}; choose another by play.port."
    )


class SteadyVisualizer(ViserVisualizer):
    """Draws every ``DRAW_EVERY``-th control step."""

    _steps = 0

    def step(self, dt: float) -> None:
        """See ``ViserVisualizer``."""
        self._steps += 1
        if self._steps % DRAW_EVERY == 0:
            super().step(DRAW_EVERY * dt)


def add_viewer(cfg: LatentTrackingEnvCfg, host: str, port: int) -> None:
    """Let the environment of ``cfg`` be watched at ``http://host:port``."""
    eye, lookat = viewpoint(cfg)
    viewer = ViserVisualizerCfg(
        bind_address=host, port=port, verbose=False, eye=eye, lookat=lookat, enable_live_plots=False
    )
    viewer.class_type = SteadyVisualizer
    cfg.sim.visualizer_cfgs = [viewer]


def viewpoint(cfg: LatentTrackingEnvCfg) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Where a person stands and looks at: the point of the table that the camera looks at, seen from further round."""
    pose = cfg.camera_pose
    x, y, z = pose.position
    lookat = (x, y + z / math.tan(pose.pitch), 0.0)
    ahead, up = FARTHER * (y - lookat[1]), FARTHER * z
    return (lookat[0] - ahead * math.sin(SIDE), lookat[1] + ahead * math.cos(SIDE), up), lookat


def server_of(env: LatentTrackingEnv) -> Any:
    """The ``viser.ViserServer`` of the environment's visualizer, every new page of which begins at the viewpoint."""
    visualizer: Any = env.sim.visualizers[0]
    server = visualizer._viewer._server  # Isaac Lab gives no other way to it
    server.scene.add_light_ambient("ambient_light", intensity=AMBIENT)
    server.initial_camera.position, server.initial_camera.look_at = visualizer.cfg.eye, visualizer.cfg.lookat
    server.initial_camera.fov = math.radians(visualizer._focal_length_to_vertical_fov_degrees())
    return server


def show_camera(env: LatentTrackingEnv, server: Any) -> Any:
    """Draw the robot's camera into the scene, where it stands now.

    Returns:
        a handle, the ``image`` of which is the camera's picture.
    """
    data, lens = env.scene["camera"].data, cast("Any", env.cfg.scene.camera.spawn)
    x, y, z, w = data.quat_w_ros.torch[0].tolist()
    half = 0.5 * lens.horizontal_aperture / lens.focal_length
    return server.scene.add_camera_frustum(
        "/camera",
        fov=2 * math.atan(half),
        aspect=1.0,
        scale=0.06,
        line_width=1.5,
        color=(110, 116, 126),
        wxyz=(w, x, y, z),
        position=tuple(data.pos_w.torch[0].tolist()),
    )
