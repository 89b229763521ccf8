"""The report is one file that needs nothing else, holds every figure, and refuses an unfinished run in a sentence."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from argos_sim.pipeline.play import FILMED, Weights
from argos_sim.pipeline.report import STAGES, write_report
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import RECORD
from argos_sim.reporting.curves import chart, read_curves
from argos_sim.reporting.figures import plain
from argos_sim.reporting.provenance import flattened
from argos_wm.checkpoint import CheckpointError, save_json
from tests.chromium import chromium

METRICS = {
    "preset": "fabricated",
    "planner.error_ratio_0.8s": 0.612,
    "planner.error_ratio_0.8s_ci": [0.58, 0.64],
    "planner.windows_0.8s": 512.0,
    "planner.text_sensitivity": 1.31,
    "planner.text_sensitivity_ci": [1.12, 1.52],
    "controller.ppo.unseen.reached": 0.643,
    "controller.ppo.unseen.reached_ci": [0.61, 0.67],
    "controller.imitation.unseen.reached": 0.412,
    "controller.imitation.unseen.reached_ci": [0.38, 0.44],
    "closed_loop.success": 0.703,
    "closed_loop.success_ci": [0.62, 0.78],
    "closed_loop.episodes": 128,
    "export.inference_p99_ms": 0.317,
    "env_steps_per_s": 1789.0,
    "timing.demos_s": 61.5,
    "timing.total_s": 1201.0,
    "trial.kept": "dagger",
    "trial.episodes": 512,
    "trial.gain": -0.031,
    "trial.gain_ci": [-0.052, -0.011],
    "a.figure.nobody.foresaw": 0.0777,
}


@pytest.fixture
def run(tmp_path: Path) -> Settings:
    """A finished run, fabricated: records, curves, metrics, a video's bytes and a picture."""
    for number, stage in enumerate(STAGES):
        folder = tmp_path / stage
        save_json(folder / RECORD, {"name": stage, "fingerprint": "0", "seconds": 1.0, "figures": {}})
        rows = [{"step": step, f"{folder.name}/loss": 1.0 / (step + 1 + number)} for step in range(0, 1000, 2)]
        (folder / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 10')
    save_json(tmp_path / "metrics.json", METRICS)
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "play.mp4").write_bytes(b"not really a video")
    for name in ("encoder/encoder.json", "planner/planner.safetensors", "controller/controller.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    save_json(tmp_path / "play" / FILMED, {"weights": Weights.of(tmp_path).hash()})
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "play" / "plan_0.png")
    return Settings(preset="<fabricated>", run_dir=str(tmp_path))


def test_one_file_without_references(run: Settings) -> None:
    text = write_report(run).read_text()
    without_data = re.sub(r"data:[a-z]+/[a-z0-9]+;base64,[A-Za-z0-9+/=]+", "data:", text)
    assert not re.findall(r"https?:|//[a-z]|@import|url\(|<link|<script", without_data)
    sources = re.findall(r'(?:src|href)="([^"]*)"', without_data)
    assert sources and set(sources) == {"data:"}


def test_holds_every_figure_and_setting(run: Settings) -> None:
    text = write_report(run).read_text()
    for name, value in METRICS.items():
        assert f"<code>{name}</code>" in text
        assert f">{plain(value)}<" in text
    for name in flattened(run.to_dict()):
        assert f">{name}</code>" in text
    assert all(f"{Path(stage).name}/loss" in text for stage in STAGES)
    assert "<fabricated>" not in text, "what a person wrote must be escaped"


def test_an_aim_is_judged_by_its_figure(run: Settings) -> None:
    text = write_report(run).read_text()
    row = next(r for r in text.split("<tr>") if r.startswith("<td>planner: error at 0.8 s"))
    assert "≤ 0.75 ✓" in row and "≤ 0.55 ✗" in row


def test_which_controller_leaves_the_run_is_told(run: Settings) -> None:
    text = unescape(write_report(run).read_text())
    row = next(r for r in text.split("<tr>") if "the controller: DAgger" in r)
    assert "DAgger" in row and "-3.1 points [-5.2, -1.1]" in row and "512 episodes" in row


def test_weights_made_with_other_settings_are_called_out(run: Settings) -> None:
    recorded = run.to_dict()
    save_json(run.folder / "planner" / "planner.json", {"extra": {"settings": recorded}})
    assert "made with" not in write_report(run).read_text()
    recorded["planner"]["loop"]["steps"] = 4321
    recorded["evaluation"]["episodes"] = 7654
    save_json(run.folder / "planner" / "planner.json", {"extra": {"settings": recorded}})
    text = write_report(run).read_text()
    assert "made with" in text and "4321" in text
    assert "7654" not in text, "how much was measured later says nothing about the planner's weights"


@pytest.mark.parametrize("stage", [*STAGES, "play"])
def test_missing_stage_is_named(run: Settings, stage: str) -> None:
    (run.folder / stage / ("play.mp4" if stage == "play" else RECORD)).unlink()
    with pytest.raises(CheckpointError, match=rf"The stage '{stage}' has .*Run scripts/\w+\.py first\.$"):
        write_report(run)
    assert not (run.folder / "report.html").exists()


def test_missing_metrics_are_named(run: Settings) -> None:
    (run.folder / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.json"):
        write_report(run)


def test_opens_in_a_browser_that_fetches_nothing_and_complains_of_nothing(run: Settings, tmp_path: Path) -> None:
    with chromium(tmp_path) as page:
        page.open(write_report(run).as_uri())
        page.wait(lambda: page.run("document.readyState") == "complete", "the report")
        assert "0.612" in page.run("document.body.innerText")
        pictures = page.run("[...document.images].map(image => image.naturalWidth)")
        assert pictures and 0 not in pictures
        fetched = page.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in fetched if not name.startswith("data:")] == []
        assert page.complaints == []


def test_a_large_video_stays_beside_the_report(run: Settings) -> None:
    (run.folder / "play" / "play.mp4").write_bytes(bytes(9_000_000))
    path = write_report(run)
    assert path.stat().st_size < 1_000_000
    assert "play.mp4" in path.read_text()


def test_curves_survive_a_cut_off_row_and_infinities(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text('{"step": 0, "a": 1.0}\n{"step": 1, "a": NaN}\n{"step": 2, "a": 3.0, "b": Infinity}\n{"step": 3, ')
    curves = read_curves(path)
    assert list(curves) == ["a"]
    assert curves["a"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [-1.0, 1.0], [1e-6, 1e3], [1e30] + [1.0] * 500])
def test_every_curve_stays_in_its_chart(values: list[float]) -> None:
    points = np.stack([np.arange(len(values), dtype=float), np.asarray(values)], 1)
    path = re.findall(r'class="line"[^>]* d="M([^"]*)"', chart("loss", points))[0]
    numbers = np.array([[float(x) for x in pair.split(",")] for pair in path.split(" L")])
    assert np.isfinite(numbers).all()
    assert (numbers[:, 0] >= 0).all() and (numbers[:, 0] <= 260).all()
    assert (numbers[:, 1] >= 0).all() and (numbers[:, 1] <= 130).all()


def test_a_film_of_other_weights_is_refused(run: Settings) -> None:
    (run.folder / "controller" / "controller.safetensors").write_bytes(b"trained anew")
    with pytest.raises(CheckpointError, match=r"does not show the weights .* Run scripts/play\.py again"):
        write_report(run)


def test_what_was_judged_under_all_ranges_has_its_rows_and_a_remark(run: Settings) -> None:
    assert ">complete<" not in write_report(run).read_text()
    told = {"controller.ppo.complete.reached": 0.5, "ppo.unseen_was_seen": True}
    save_json(run.folder / "metrics.json", METRICS | told)
    text = write_report(run).read_text()
    assert text.count(">complete<") == 1
    assert text.count("what is called unseen here was not") == 2
