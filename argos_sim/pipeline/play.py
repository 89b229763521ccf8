"""Play: the planner and the controller at work, as a video and as pictures for the report, or live in a browser."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from argos_sim.controller.network import Controller
from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
from argos_sim.envs.latent_tracking_env import wrong_encoder
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.controller import load_controller
from argos_sim.pipeline.environment import environment_cfg, make_environment
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stage import RECORD
from argos_sim.viewing.painter import Painter, make_painter
from argos_sim.viewing.recording import Recording, record_episodes
from argos_sim.viewing.stills import plan_picture, strip_picture, typical_episodes
from argos_sim.viewing.video import write_video
from argos_wm.checkpoint import CheckpointError, load_json, save_json
from argos_wm.encoders.state import StateEncoder
from argos_wm.planner import Planner

PLAN_PICTURES = 4
"""Episodes of which the report shows plans."""
EPISODES = 6
"""Filmed by default."""
PLAY_SEED = 7
"""Apart from the seeds of training and evaluation."""


@dataclass(frozen=True)
class Weights:
    """Folders of the three trained parts."""

    encoder: Path
    planner: Path
    controller: Path
    owner: str
    """Whose they are, for people."""

    @staticmethod
    def of(folder: Path) -> Weights:
        """The weights in a run's folder (the controller that its trial kept, or else PPO's), or in one laid out like
        ``assets/pretrained``."""
        kept = folder / "controller"
        controller = kept if (kept / "controller.safetensors").is_file() else folder / "ppo"
        weights = Weights(folder / "encoder", folder / "planner", controller, str(folder))
        files = (
            weights.encoder / "encoder.json",
            weights.planner / "planner.safetensors",
            weights.controller / "controller.safetensors",
        )
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise CheckpointError(
                f"{folder} has no {missing[0]}, so that there is nothing to play; run scripts/demo.py first, or give a "
                "folder with encoder, planner and controller."
            )
        return weights

    def hash(self) -> str:
        """Of the three files of weights: the first 16 hex digits of the SHA-256 of theirs."""
        files = (self.encoder / "vision", self.planner / "planner", self.controller / "controller")
        whole = hashlib.sha256()
        for file in files:
            path = file.with_suffix(".safetensors")
            if path.is_file():  # an encoder may be pretrained, and its vision's weights elsewhere
                whole.update(hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()[:16]

    @staticmethod
    def find(settings: Settings) -> Weights:
        """Those of the run if its controller is trained, or else the shipped ones."""
        trained = (settings.folder / "ppo" / RECORD).is_file()
        return Weights.of(settings.folder if trained else PRETRAINED)


FILMED = "play.json"
"""Beside a run's film: whose weights it shows."""


def require_film_of(weights: Weights, film: Path) -> None:
    """Refuse, in a sentence, a film that does not show ``weights``: an earlier training's, or the shipped ones."""
    record = film.with_name(FILMED)
    if not record.is_file() or load_json(record).get("weights") != weights.hash():
        raise CheckpointError(
            f"{film} does not show the weights that lie in {weights.owner} now. Run scripts/play.py again."
        )


def play(
    settings: Settings, output: Path | None = None, episodes: int | None = None, folder: Path | None = None
) -> Path:
    """Film the closed loop under ``settings.randomization``.

    Args:
        output: the mp4; by default ``<run>/play/play.mp4``, and beside it the pictures that the report shows.
        episodes: environments, filmed one after the other; by default the settings'.
        folder: weights to play; by default the run's own, or the shipped ones where the run has none.

    Returns:
        the path of the video.
    """
    weights = Weights.find(settings) if folder is None else Weights.of(folder)
    episodes = episodes or settings.play.episodes or EPISODES
    print(f"[play] {episodes} episodes with the weights in {weights.owner}", flush=True)
    policy = load_policy(settings, weights)
    with make_environment(play_cfg(settings, weights, policy, episodes)) as env:
        recording = record_episodes(env, policy.controller.to(env.device), policy.planner, settings.seed + PLAY_SEED)
    paint = make_painter(weights.encoder, policy.encoder.spec, recording.vision)
    video = output or settings.folder / "play" / "play.mp4"
    write_video(recording, paint, video)
    if output is None:
        plan_pictures(recording, paint, video.parent)
        demo_picture(recording, paint, video.parent / "demo.png")
        save_json(video.with_name(FILMED), {"weights": weights.hash()})
    print(f"[play] {_score(recording)}: {video}")
    return video


def watch(settings: Settings) -> Path | None:
    """Show the closed loop live in a browser, until Ctrl-C or for ``play.episodes``; then film what was seen.

    Returns:
        the video of the last whole episodes, ``<run>/play/watched.mp4``; None where none was whole.
    """
    # Filming needs none of Newton's viewers, which these import.
    from argos_sim.viewing.visualizer import add_viewer, free_port, require_viser
    from argos_sim.viewing.watching import Watch

    require_viser()
    host, port = settings.play.host, free_port(settings.play.host, settings.play.port)
    weights = Weights.find(settings)
    policy = load_policy(settings, weights)
    cfg = play_cfg(settings, weights, policy, num_envs=1)
    add_viewer(cfg, host, port)
    with make_environment(cfg) as env:
        controller, seed = policy.controller.to(env.device), settings.seed + PLAY_SEED
        painter = partial(make_painter, weights.encoder, policy.encoder.spec)
        watching = Watch(env, controller, policy.planner, painter, f"ARGOS · {settings.task}", seed)
        shown = "localhost" if host in ("127.0.0.1", "0.0.0.0") else host
        port = watching.server.get_port()  # another where the wanted one was taken meanwhile
        print(f"[play] the weights in {weights.owner}, live at http://{shown}:{port} (Ctrl-C ends it)", flush=True)
        recording = watching.run(settings.play.episodes)
        if recording is None:
            print("[play] ended before an episode was whole; there is no video.")
            return None
        video = settings.folder / "play" / "watched.mp4"
        write_video(recording, painter(recording.vision), video)
    print(f"[play] {_score(recording)}: {video}", flush=True)
    return video


def _score(recording: Recording) -> str:
    reached = [judgement.reached for episode in recording.judgements for judgement in episode]
    return (
        f"reached {sum(reached)} of {len(reached)} targets and did what was asked in {sum(recording.done)} of "
        f"{recording.episodes} episodes"
    )


@dataclass(frozen=True)
class Policy:
    """The three trained parts, which know the same latents."""

    encoder: StateEncoder
    planner: Planner
    controller: Controller


def load_policy(settings: Settings, weights: Weights) -> Policy:
    """The parts in ``weights``; those that don't belong together are refused."""
    encoder = StateEncoder.load(weights.encoder)
    planner = Planner.load(weights.planner, settings.controller.sampling, settings.resolved_device())
    planner.spec.require(encoder.spec, f"the planner {weights.planner}", f"the encoder {weights.encoder}")
    controller = load_controller(weights.controller, encoder.spec, f"the encoder {weights.encoder}")
    return Policy(encoder, planner, controller)


def play_cfg(settings: Settings, weights: Weights, policy: Policy, num_envs: int) -> LatentTrackingEnvCfg:
    """An environment to play in; what it must remember follows from the weights, not from the preset."""
    cfg = environment_cfg(settings, num_envs, encoder=str(weights.encoder))
    if tuple(cfg.joint_names) != policy.encoder.joint_names:
        raise SettingsError(wrong_encoder(str(weights.encoder), policy.encoder.joint_names, cfg.joint_names))
    cfg.ranges = dataclasses.replace(settings.ranges())
    cfg.seed = settings.seed + PLAY_SEED
    remember_for(cfg, policy.encoder, policy.planner, policy.controller.cfg.history)
    return cfg


def remember_for(cfg: LatentTrackingEnvCfg, encoder: StateEncoder, planner: Planner, control_history: int) -> None:
    """Let an environment see and remember what trained parts need, whatever the preset says."""
    cfg.perception.image_size = encoder.vision.image_size
    cfg.perception.control_history = control_history
    cfg.perception.history_s = max(-offset for offset in planner.world_model.config.history)
    cfg.apply()


def plan_pictures(recording: Recording, paint: Painter, folder: Path, most: int = PLAN_PICTURES) -> list[Path]:
    """Write ``plan_0.png`` …: the plan made at the start of an episode beside what happened."""
    for old in folder.glob("plan_*.png"):  # of another film
        old.unlink()
    paths = []
    for episode in range(min(most, recording.episodes)):
        paths.append(folder / f"plan_{episode}.png")
        _save(plan_picture(recording, paint, episode), paths[-1])
    return paths


def demo_picture(recording: Recording, paint: Painter, path: Path) -> Path:
    """Write the README's picture: a few episodes, imagined and made true."""
    _save(strip_picture(recording, paint, typical_episodes(recording)), path)
    return path


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
