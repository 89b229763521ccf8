"""Speed of the controller's environment and of PPO, each figure beside what it is compared with.

Ratios are quoted, since machines differ and are noisy: what is compared takes turns, in processes that wait for each
other, and medians are told. Cost is compared with Isaac Lab's own step for the same scene, and with the bound that
physics, rendering and encoding set, measured apart.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.throughput_worlds import World
from argos_wm.checkpoint import save_json, write_text

SIZES = {"cpu": (64, 128, 512), "cuda": (256, 1024, 2048, 8192)}
"""Numbers of environments beside PPO's own."""
PUBLISHED = (
    ("Isaac Lab 3.0, Lift-KukaAllegro-Camera, 4,096 envs, 64×64 RGB", "RTX 5090", 85_000),
    ("Isaac Lab, Cartpole camera, 1,024 envs, with training", "RTX 4090", 32_000),
    ("ManiSkill3, PickCube, 128×128 RGB", "RTX 4090", 18_500),
    ("ManiSkill3, PickCube, state", "RTX 4090", 319_000),
    ("mjlab, Lift-Cube-Yam, 4,096 envs, state", "RTX 5090", 872_000),
)
"""Environment steps a second as printed by each project: other scenes, other machines."""
LABELS = {
    "blind": "without perception",
    "seeing": "with perception",
    "planner": "with perception and planner",
    "bank": "with perception and plan bank",
}
ITERATIONS = 2
"""Of PPO whose learning is timed."""
BLIND_TURNS = 4
"""Times ``throughput.turns``, where environments that see nothing are compared: their turns are short, so that noise
weighs more."""
PROFILED = 10
"""Control steps in the profile: two camera frames."""

Figures = dict[str, float]


def benchmark_controller(settings: Settings) -> Figures:
    """All figures of the controller's speed; also ``throughput.{json,md,png}`` and a profile in the run's folder."""
    sizes = numbers_of_environments(settings)
    figures: Figures = {}
    for size in sizes:
        whole = size == settings.controller.ppo.num_envs
        print(f"  {size} environments", flush=True)
        figures |= one_size(settings, size, whole)
    figures |= memory_growth(figures, sizes)
    settings.folder.mkdir(parents=True, exist_ok=True)
    save_json(settings.folder / "throughput.json", figures)  # whatever becomes of the rest
    try:
        figures |= other_ways(settings)
    except ValueError as error:
        print(f"  Not compared with other ways: {error}", flush=True)
    save_json(settings.folder / "throughput.json", figures)
    text = markdown(figures, sizes, settings)
    write_text(settings.folder / "throughput.md", text)
    draw(figures, sizes).savefig(settings.folder / "throughput.png", dpi=110)
    print(text)
    return figures


def numbers_of_environments(settings: Settings) -> list[int]:
    """PPO's own number and those beside it, from few to many; one alone shows no growth and is refused."""
    device = torch.device(settings.resolved_device()).type
    others = settings.throughput.sizes or SIZES[device]
    sizes = sorted({settings.controller.ppo.num_envs, *others})
    if len(sizes) < 2 or sizes[0] < 1 or settings.throughput.turns < 2:
        raise SettingsError(
            f"throughput.sizes={list(others)} and throughput.turns={settings.throughput.turns}: growth needs another "
            "number of environments than controller.ppo.num_envs, all above zero, and a turn after the warm-up."
        )
    return sizes


@contextmanager
def worlds(**made: World) -> Iterator[dict[str, World]]:
    """Several worlds, ended afterwards in any case."""
    try:
        yield made
    finally:
        for world in made.values():
            world.close()


def in_turns(turns: int, **works: Callable[[], float | Figures]) -> dict[str, Any]:
    """Medians of what each of ``works`` returns, called in turn, again and again; the first turn is warm-up."""
    seen: dict[str, list[Any]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            seen[name].append(work())
    return {name: _median(values[1:]) for name, values in seen.items()}


def _median(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: statistics.median(value[key] for value in values) for key in values[0]}
    return statistics.median(values)


def one_size(settings: Settings, size: int, whole: bool) -> Figures:
    """Speed and memory with ``size`` environments; with PPO's own number the ``whole`` of comparisons."""
    kinds = ("plain", "blind", "seeing") if whole else ("blind", "seeing")
    cfg = settings.throughput
    with worlds(**{kind: World(settings, kind, size) for kind in kinds}) as made:
        seeing = made["seeing"]

        def planned(source: str) -> float:
            seeing.ask("targets", source)
            seconds = seeing.ask("step", cfg.steps)
            seeing.ask("targets", "held")
            return seconds

        def steps(kind: str) -> Callable[[], float]:
            return lambda: made[kind].ask("step", cfg.steps)

        works: dict[str, Any] = {"seeing": steps("seeing")}
        works |= {source: (lambda source=source: planned(source)) for source in ("planner", "bank")}
        if whole:
            works["parts"] = lambda: seeing.ask("parts")
        seeing.ask("step", cfg.steps)
        memory = seeing.ask("memory")  # before planner and bank are made, of which a training has its own number
        turns = BLIND_TURNS * cfg.turns if whole else cfg.turns
        times = in_turns(turns, **{kind: steps(kind) for kind in kinds if kind != "seeing"})
        times |= in_turns(cfg.turns, **works)
        parts = times.pop("parts", {})
        figures = {f"step_s.{kind}.{size}": seconds for kind, seconds in times.items()}
        figures |= {f"env_steps_per_s.{kind}.{size}": size / seconds for kind, seconds in times.items()}
        figures |= {f"memory_mib.{kind}.{size}": mib for kind, mib in memory.items()}
        if whole:
            figures |= comparisons(settings, times, parts) | staggered_cameras(seeing, cfg.turns, cfg.steps)
            settings.folder.mkdir(parents=True, exist_ok=True)
            seeing.ask("targets", "planner")
            write_text(settings.folder / "throughput_profile.txt", seeing.ask("profile", PROFILED))
            figures["ppo_learning_share"] = seeing.ask("learning", ITERATIONS)
    return figures


def comparisons(settings: Settings, times: Figures, parts: Figures) -> Figures:
    """What the environment costs beside Isaac Lab's own, and beside the bound that its parts set."""
    frame = environment_cfg(settings, 1).rates.control_per_frame
    bound = parts["physics"] + parts["proprioception"] + (parts["rendering"] + parts["encoding"]) / frame
    return {
        "cost_without_perception": times["blind"] / times["plain"],
        "bound_s": bound,
        "control_steps_per_frame": float(frame),
        "share_of_bound": bound / times["seeing"],
        **{f"part_s.{name}": seconds for name, seconds in parts.items()},
    }


def staggered_cameras(seeing: World, turns: int, steps: int) -> Figures:
    """What it costs when cameras tick apart from each other: a renderer that draws all of them draws at each step."""

    def apart() -> float:
        seeing.ask("ages", True)
        seconds = seeing.ask("step", steps)
        seeing.ask("ages", False)
        return seconds

    times = in_turns(max(2, turns // 2), together=lambda: seeing.ask("step", steps), apart=apart)
    return {"cost_of_staggered_cameras": times["apart"] / times["together"]}


def memory_growth(figures: Figures, sizes: list[int]) -> Figures:
    """MiB an environment, by a line through all sizes, and the farthest that a size lies from it, in shares of the
    whole growth: a step would show there."""
    grown: Figures = {}
    for kind in ("host", "device"):
        if f"memory_mib.{kind}.{sizes[0]}" not in figures:
            continue
        held = np.array([figures[f"memory_mib.{kind}.{size}"] for size in sizes])
        slope, base = np.polyfit(sizes, held, 1)
        off = np.abs(held - (slope * np.array(sizes) + base)).max() / max(abs(held[-1] - held[0]), 1e-9)
        grown |= {f"memory_mib_per_env.{kind}": float(slope), f"memory_off_line.{kind}": float(off)}
    return grown


def other_ways(settings: Settings) -> Figures:
    """Cost of a control step by other engines and threads than the settings', as a ratio to theirs."""
    size, cfg = settings.controller.ppo.num_envs, settings.throughput
    engine, threads = settings.other_physics(), torch.get_num_threads()
    other: Any = dataclasses.replace(settings, physics=engine)
    ways = {settings.resolved_physics(): World(settings, "seeing", size), engine: World(other, "seeing", size)}
    if threads > 1:
        ways["one_thread"] = World(settings, "seeing", size, 1)
    with worlds(**ways) as made:
        for world in made.values():
            world.ask("targets", "planner")
        works = {name: (lambda world=world: world.ask("step", cfg.steps)) for name, world in made.items()}
        times = in_turns(max(2, cfg.turns // 2), **works)
    usual = times.pop(settings.resolved_physics())
    return {f"cost_of_{name}": seconds / usual for name, seconds in times.items()}


def markdown(figures: Figures, sizes: list[int], settings: Settings) -> str:
    """All figures as Markdown tables."""
    size = settings.controller.ppo.num_envs
    device = torch.device(settings.resolved_device())
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rows = [
        ("without perception ÷ Isaac Lab's own step", figures["cost_without_perception"], "≤ 1.10"),
        ("bound by physics, rendering, encoding ÷ with perception", figures["share_of_bound"], "≥ 0.85"),
        ("learning ÷ an iteration of PPO", figures["ppo_learning_share"], "≤ 0.25"),
    ]
    for kind in ("host", "device"):
        if f"memory_mib_per_env.{kind}" in figures:
            rows.append((f"memory of an environment, {kind} [MiB]", figures[f"memory_mib_per_env.{kind}"], ""))
            rows.append((f"farthest from linear growth, {kind}", figures[f"memory_off_line.{kind}"], "no step"))
    rows += [(name.replace("_", " "), value, "") for name, value in figures.items() if name.startswith("cost_of_")]
    lines = [f"{settings.task}, {settings.resolved_physics()}, {machine}, {size} environments:", ""]
    lines += ["| figure | measured | aim |", "|---|---:|---:|"]
    lines += [f"| {name} | {value:.3g} | {aim} |" for name, value, aim in rows]
    lines += ["", "| part, all environments once | ms |", "|---|---:|"]
    parts = {name.removeprefix("part_s."): value for name, value in figures.items() if name.startswith("part_s.")}
    lines += [f"| {name} | {1e3 * value:.3g} |" for name, value in parts.items()]
    lines += ["", "| environments | " + " | ".join(LABELS.values()) + " | MiB |", "|---:" * (len(LABELS) + 2) + "|"]
    for n in sizes:
        speeds = " | ".join(f"{figures[f'env_steps_per_s.{kind}.{n}']:,.0f}" for kind in LABELS)
        lines.append(f"| {n} | {speeds} | {figures[f'memory_mib.host.{n}']:,.0f} |")
    lines += ["", "In environment steps a second. As printed by other projects, of other scenes and machines:", ""]
    lines += ["| | GPU | steps a second |", "|---|---|---:|"]
    lines += [f"| {name} | {gpu} | {speed:,} |" for name, gpu, speed in PUBLISHED]
    return "\n".join(lines) + "\n"


def draw(figures: Figures, sizes: list[int]) -> Figure:
    """Speed and memory against the number of environments, and what a control step is made of."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    speed, memory, step = figure.subplots(1, 3)
    for kind, label in LABELS.items():
        speed.plot(sizes, [figures[f"env_steps_per_s.{kind}.{n}"] for n in sizes], "o-", label=label)
    speed.set(title="speed", xlabel="environments", ylabel="environment steps a second", xscale="log", ylim=(0, None))
    speed.legend(fontsize=8)
    for kind in ("host", "device"):
        if f"memory_mib_per_env.{kind}" in figures:
            held = [figures[f"memory_mib.{kind}.{n}"] for n in sizes]
            memory.plot(sizes, held, "o-", label=f"{kind}: {figures[f'memory_mib_per_env.{kind}']:.2g} MiB each")
    memory.set(title="memory", xlabel="environments", ylabel="MiB", ylim=(0, None))
    memory.legend(fontsize=8)
    _stack(step, figures)
    for axis in (speed, memory):
        axis.set_xticks(sizes, [f"{n:,}" for n in sizes])
        axis.minorticks_off()
    return figure


def _stack(axis: Any, figures: Figures) -> None:
    """The bound's parts, one upon the other, beside the measured steps."""
    each = 1 / figures["control_steps_per_frame"]
    shares = {"physics": 1.0, "rendering": each, "encoding": each}
    bottom = 0.0
    for name, share in shares.items():
        height = 1e3 * share * figures[f"part_s.{name}"]
        axis.bar("bound", height, bottom=bottom, label=name)
        bottom += height
    whole = next(int(k.rsplit(".", 1)[1]) for k in figures if k.startswith("step_s.plain."))
    for kind, label in {"plain": "Isaac Lab", "blind": "blind", "seeing": "seeing", "planner": "+ planner"}.items():
        axis.bar(label, 1e3 * figures[f"step_s.{kind}.{whole}"], color="0.6")
    axis.set(title=f"a control step of {whole} environments", ylabel="ms")
    axis.tick_params(axis="x", labelrotation=30)
    axis.legend(fontsize=8)
