"""All settings of a run, typed, in one place. The defaults are the preset ``demo``; presets override by name."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import draccus
import torch
from draccus.utils import DecodingError, ParsingError

from argos_sim.configs import AdaptationConfig, CurriculumConfig, DaggerConfig, ExpertCfg, ImitationConfig, PPOConfig
from argos_sim.controller.network import Senses
from argos_sim.precision import ExportConfig
from argos_sim.randomization.identified import digest, with_identified
from argos_sim.randomization.photographs import FAMILY, photograph_paths
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges
from argos_wm.data.corpus import SourceConfig
from argos_wm.data.windows import WindowConfig
from argos_wm.sampler import SamplerConfig
from argos_wm.training.loop import LoopConfig
from argos_wm.training.self_forcing import SelfForcingConfig
from argos_wm.world_model import WorldModelConfig
from argos_wm.worlds.curtain import CurtainConfig
from argos_wm.worlds.forecasting import ForecastConfig
from argos_wm.worlds.goal_reaching import GoalConfig

DEFAULT_TASK = "Argos-Reach-SO100-v0"
WITH_PHOTOGRAPHS = ("train", "complete")
"""Presets that the user's photographs belong to; ``unseen`` keeps to what nobody chose."""


@dataclass(frozen=True)
class DemosSettings:
    """What is recorded."""

    episodes: int = 1000
    """Successful episodes to keep."""
    num_envs: int = 256
    expert: ExpertCfg = field(default_factory=lambda: ExpertCfg(noise=0.1, redirected=0.5))
    dataset: str | None = None
    """A LeRobot dataset that is copied instead of recording, such as ``record.py`` makes of a robot; null records."""

    def __post_init__(self) -> None:
        for name in ("episodes", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"demos.{name} is {getattr(self, name)}; it should be 1 or more.")


@dataclass(frozen=True)
class EncoderSettings:
    """What the planner and the controller see through."""

    folder: str | None = "assets/pretrained/encoder"
    """A saved state encoder to start from; null trains one."""
    vision: str = "small-vit"
    """Vision encoder to train (small-vit) or to load frozen (a DINOv3 or DINOv2 hub id, or a local folder)."""
    image_size: int = 64
    """Pixels; a multiple of the encoder's patch."""
    keep_cls: bool = False
    """Give every patch of a DINO the CLS token's channels, too."""
    statistics: Literal["position", "channel"] = "position"
    """What latents are standardised by: a mean and deviation for each position and channel, or for each channel."""
    lpips: str | None = None
    """A file of LPIPS's weights (``argos_wm/image_quality.py``) to measure the decoder with, too."""
    view_movements: int = 2
    """Batches of expert episodes rendered as views, ``view_envs`` each, 33 states an episode."""
    view_scattered: int = 100
    """Batches of single states rendered as views, ``view_envs`` each."""
    view_envs: int = 256
    check_envs: int = 64
    """Expert episodes rendered to measure the invariance of a given encoder."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=6000, batch_size=64, learning_rate=1.5e-3, ema_decay=0.995, weight_decay=0.02
        )
    )
    proprio_loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1500, batch_size=256, learning_rate=2e-3))
    proprio_dim: int = 16
    """Channels of the proprioceptive latent; a robot of more than eight joints has two for each."""

    def proprio_channels(self, joints: int) -> int:
        """Those of a robot: a position and a speed of each joint must find room."""
        return max(self.proprio_dim, 2 * joints)


@dataclass(frozen=True)
class PlannerSettings:
    """The world model."""

    text_encoder: str = "hashed-ngram"
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1000, batch_size=128, learning_rate=1e-3, ema_decay=0.998)
    )
    mean_steps: int = 500
    """Training steps of the baseline that predicts the mean: half of the planner's, to
    keep the demo short; it learns faster (held-out ratio 0.30 after 600 of 1,000 steps, 0.28 at the end)."""
    self_forcing: SelfForcingConfig = field(default_factory=SelfForcingConfig)
    start_from: str | None = None
    """Folder of a trained planner of the same latents and sizes to train further; None begins with random weights."""
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    """What it learns from besides the demonstrations, by a name of yours: pictures, videos, other robots' episodes."""
    demos_weight: float = 1.0
    """Share of the demonstrations beside the weights of the sources."""
    encode_batch: int = 64
    """Pictures of the sources encoded at once."""
    sampling: SamplerConfig = field(default_factory=SamplerConfig)
    """With which it is judged."""


@dataclass(frozen=True)
class ControllerSettings:
    """The torque controller."""

    history: int = 0
    """K, past control steps that it sees beside the present one; four won nothing (``docs/controller.md``)."""
    attention_width: int = 64
    queries: int = 4
    hidden: tuple[int, ...] = (256, 256)
    senses: Senses = "both"
    """What it takes of where it is and where it shall be, see ``scripts/ablate.py``."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    dagger: DaggerConfig = field(default_factory=DaggerConfig)
    """Between imitation and PPO, if it has rounds."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    sampling: SamplerConfig = field(default_factory=lambda: SamplerConfig(steps=2))
    """How its targets are drawn. At a low temperature two Heun steps did no worse than six (errors at 0.8 s of 0.31 and
    0.33 of repeating, 100 episodes) and cost a quarter."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Ranges that widen while PPO trains, beginning with those of ``randomization``."""
    trial_episodes: int = 256
    """Episodes, at least, in which what PPO made and what it began with are compared; the better of the two leaves the
    run (``argos_sim/pipeline/trial.py``). 0 takes what PPO made."""
    demonstration_share: float = 0.1
    """Share of environments in PPO whose targets are a demonstration's own future."""
    perturbed_share: float = 0.0
    """Share of environments in PPO whose targets are the planner's, a little off."""
    bank_share: float = 0.0
    """Share of environments in PPO whose episodes follow plans drawn beforehand (``argos_sim/plan_bank.py``); for where
    planning is most of the time."""

    def __post_init__(self) -> None:
        if self.trial_episodes < 0:
            raise ValueError(f"controller.trial_episodes is {self.trial_episodes}; 0 leaves the trial out.")


@dataclass(frozen=True)
class EvaluationSettings:
    """How much is measured."""

    episodes: int = 128
    """Episodes of each controller under each randomization; each has a target every 0.8 s."""
    other_engine_episodes: int = 128
    transfer_episodes: int = 512
    """Episodes of each policy in each cell of the transfer tables."""
    transfer_conditions: tuple[str, ...] = ()
    """Cells to measure, see ``argos_sim/pipeline/transfer.py``; none named are all of them."""
    planner_windows: int = 512
    inference_calls: int = 2000


@dataclass(frozen=True)
class ThroughputSettings:
    """How long the controller's speed is measured (``scripts/benchmark.py controller``)."""

    sizes: tuple[int, ...] = ()
    """Numbers of environments beside PPO's own, from few to many; none: 64 to 512 on a CPU, 256 to 8,192 on a GPU."""
    turns: int = 7
    """Of all that are compared, the first of them warm-up; medians are told. Environments that see nothing take more,
    see ``throughput.BLIND_TURNS``."""
    steps: int = 25
    """Control steps in a turn: a few whole camera frames."""


@dataclass(frozen=True)
class RuntimeSettings:
    """How the exported policy's speed is measured (``scripts/benchmark.py runtime``)."""

    seconds: float = 60.0
    """Of each loop."""
    control_hz: int = 200
    loads: tuple[str, ...] = ("idle", "busy")
    """What else the machine does, see ``runtime_speed.LOADS``."""


@dataclass(frozen=True)
class AdaptationSettings:
    """Online adaptation to shifts, and how it is judged; apart from the pipeline."""

    learning: AdaptationConfig = field(default_factory=AdaptationConfig)
    seeds: int = 3
    """Independent learners of each method."""
    judged_after: tuple[int, ...] = (3, 7)
    """Rounds after which all are judged, beside the last."""
    episodes: int = 192
    """Of a method, its learners together, at the end; half as many before."""
    history_only: str | None = None
    """Folder of a run whose controller has a history, such as ``ablate.py history`` makes: what that does without
    adapting is judged beside all others."""

    def __post_init__(self) -> None:
        last = self.learning.rounds
        if any(not 0 < number <= last for number in self.judged_after):
            raise ValueError(f"adaptation.judged_after = {self.judged_after} must name rounds from 1 to {last}.")


@dataclass(frozen=True)
class PlaySettings:
    """How the policy is shown."""

    viewer: Literal["none", "viser"] = "none"
    """none films episodes; viser shows one arm live in a browser."""
    episodes: int | None = None
    """How many; by default 6 are filmed, and watching goes on until Ctrl-C."""
    host: str = "127.0.0.1"
    """Address at which the viewer is served; 0.0.0.0 lets other machines see it, and ask for instructions."""
    port: int = 8080
    """The viewer's port, or the next free one."""

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"play.episodes is {self.episodes}; at least one episode must be played.")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"play.port is {self.port}, which is no port: choose one from 1 to 65535.")


@dataclass(frozen=True)
class WorldsSettings:
    """Small worlds that the planner's design is judged in; apart from the pipeline."""

    bouncing_shapes: ForecastConfig = field(default_factory=ForecastConfig)
    curtain: CurtainConfig = field(default_factory=CurtainConfig)
    two_room: GoalConfig = field(default_factory=GoalConfig)
    push_t: GoalConfig = field(default_factory=lambda: GoalConfig(patch=12))


@dataclass(frozen=True)
class Settings:
    """One run."""

    preset: str = "demo"
    task: str = DEFAULT_TASK
    run_dir: str | None = None
    """Where everything goes; by default ``runs/<preset>``, for other tasks than the default one with the task's name
    behind it, such as ``runs/desk-push-so100``, so that one task's run does not take another's place."""
    device: Literal["auto", "cpu", "cuda:0"] = "auto"
    """Of several processes (``torchrun``) each takes a GPU of its own."""
    physics: Literal["auto", "ovphysx", "newton_mjwarp", "isaacsim_physx"] = "auto"
    """auto is what measures faster: OvPhysX on a CPU, Newton on a GPU."""
    renderer: Literal["newton_renderer", "isaacsim_rtx", "ovrtx"] = "newton_renderer"
    randomization: Literal["nominal", "train", "unseen", "complete"] = "train"
    """Ranges of demonstrations and of PPO."""
    photographs: str | None = None
    """A folder of pictures, one family of backgrounds more in ``train`` and ``complete``."""
    identified: str | None = None
    """A file of ranges that ``scripts/identify.py`` wrote, see ``randomization/identified.py``."""
    identified_sha256: str | None = None
    """Of that file: found by itself, so that a run's record tells what was in it. A file with another is refused."""
    seed: int = 0
    """Of every random choice; the seeds of single stages (``…loop.seed``) are counted from it."""
    ablation_seeds: int = 1
    """Trainings of each ablation and of the whole beside it: the run's seed and those that follow it."""
    logger: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    overwrite: bool = False
    """Do every stage anew instead of reusing what an earlier run left."""
    demos: DemosSettings = field(default_factory=DemosSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    adaptation: AdaptationSettings = field(default_factory=AdaptationSettings)
    play: PlaySettings = field(default_factory=PlaySettings)
    worlds: WorldsSettings = field(default_factory=WorldsSettings)
    throughput: ThroughputSettings = field(default_factory=ThroughputSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    export: ExportConfig = field(default_factory=ExportConfig)

    def __post_init__(self) -> None:
        if self.ablation_seeds < 1:
            raise ValueError(f"ablation_seeds is {self.ablation_seeds}; every ablation is trained once at least.")
        found = None if self.identified is None else digest(Path(self.identified))
        if self.identified_sha256 not in (None, found):
            raise ValueError(f"identified_sha256 is not that of the file of identified ranges, {self.identified}.")
        object.__setattr__(self, "identified_sha256", found)

    def drawn_from(self, preset: str | None = None) -> dict[str, Any]:
        """What decides the draws of a preset, for fingerprints: its ranges, and which photographs there are."""
        identity = self.ranges(preset).identity()
        if self.photographs is not None:
            folder = Path(self.photographs)
            identity["photographs"] = [
                (str(path.relative_to(folder)), path.stat().st_size) for path in photograph_paths(folder)
            ]
        return identity

    @property
    def prior(self) -> str:
        """The stage whose controller PPO starts from."""
        return "dagger" if self.controller.dagger.rounds > 0 else "imitation"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.run_dir is not None:
            return Path(self.run_dir)
        other = "" if self.task == DEFAULT_TASK else f"-{self.task.removeprefix('Argos-').removesuffix('-v0').lower()}"
        return Path(f"runs/{self.preset}{other}")

    def ranges(self, preset: str | None = None) -> RandomizationRanges:
        """The ranges of a preset, by default the run's own, with the user's photographs and identified ranges."""
        name = preset or self.randomization
        ranges = get_ranges(name)
        if self.identified is not None:
            ranges = with_identified(name, ranges, Path(self.identified))
        if self.photographs is None or name not in WITH_PHOTOGRAPHS:
            return ranges
        photograph_paths(Path(self.photographs))  # none is refused before any long work
        return dataclasses.replace(ranges, background_families=(*ranges.background_families, FAMILY + self.photographs))

    def resolved_device(self) -> str:
        """The device with ``auto`` decided; of several processes, this one's."""
        if self.device == "cpu" or (self.device == "auto" and not torch.cuda.is_available()):
            return "cpu"
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"

    def resolved_physics(self) -> str:
        """The engine with ``auto`` decided."""
        if self.physics != "auto":
            return self.physics
        return "ovphysx" if self.resolved_device() == "cpu" else "newton_mjwarp"

    def other_physics(self) -> str:
        """The engine that the controller is not trained on."""
        return "newton_mjwarp" if self.resolved_physics() != "newton_mjwarp" else "ovphysx"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are stored with every result."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


class SettingsError(ValueError):
    """A setting is unknown or has the wrong type."""


def settings_from(values: dict[str, Any]) -> Settings:
    """Typed settings from plain nested values; the error names the setting."""
    try:
        settings = draccus.decode(Settings, values)
    except DecodingError as error:
        raise SettingsError(f"Setting {error} Correct it on the command line or in scripts/config.") from None
    except ParsingError as error:  # a class refused its own values, in a sentence of its own
        raise SettingsError(str(error.__cause__ or error)) from None
    for name, number in _numbers(settings):
        if not math.isfinite(number):
            raise SettingsError(f"Setting {name} = {number} is not a finite number, which all settings are.")
    return dataclasses.replace(_counted_from(settings, settings.seed), seed=settings.seed)


def _numbers(part: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in ``part``, with its name."""
    if dataclasses.is_dataclass(part):
        for item in dataclasses.fields(part):
            yield from _numbers(getattr(part, item.name), f"{name}.{item.name}" if name else item.name)
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _numbers(value, f"{name}.{key}")
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _numbers(value, name)
    elif isinstance(part, float):
        yield name, part


def _counted_from(part: Any, seed: int) -> Any:
    """``part`` with ``seed`` added to each seed in it."""
    if isinstance(part, dict):
        return {
            k: _counted_from(value, seed) if dataclasses.is_dataclass(value) else value for k, value in part.items()
        }
    changes = {}
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            changes[item.name] = _counted_from(value, seed)
        elif item.name == "seed":
            changes[item.name] = value + seed
    return dataclasses.replace(part, **changes)
