"""The README's results come from metrics alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from argos_sim.reporting.figures import GOALS
from argos_sim.reporting.readme import BEGIN, END, fill_readme, preset_settings, results_markdown
from argos_wm.checkpoint import save_json

METRICS = {"preset": "demo", "planner.error_ratio_0.8s": 0.612, "planner.error_ratio_0.8s_ci": [0.58, 0.64]}


def test_an_aim_is_judged_by_its_own_preset() -> None:
    desk = METRICS | {"preset": "desk"}
    text = results_markdown({"demo": METRICS, "desk": desk})
    row = next(line for line in text.splitlines() if line.startswith("| planner: error at 0.8 s"))
    assert row.count("0.612 [0.58, 0.64]") == 2
    assert "≤ 0.75 |" in row and "≤ 0.55, not reached |" in row
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_what_was_not_measured_is_a_dash() -> None:
    text = results_markdown({"demo": METRICS})
    assert sum("| – |" in line for line in text.splitlines()) == len(GOALS) - 1


def test_only_the_results_change(tmp_path: Path) -> None:
    save_json(tmp_path / "run" / "metrics.json", METRICS)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        fill_readme(readme, [tmp_path / "run"])
        text = readme.read_text()
        assert text.startswith(f"before\n{BEGIN}\n|") and text.endswith(f"{END}\nafter\n") and "old" not in text
    with pytest.raises(ValueError, match="Name the runs"):
        fill_readme(readme, [])
    assert readme.read_text() == text
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="README"):
        fill_readme(readme, [tmp_path / "run"])


def test_a_run_with_overrides_is_not_its_preset(tmp_path: Path) -> None:
    readme, run = tmp_path / "README.md", tmp_path / "run"
    readme.write_text(f"{BEGIN}{END}")
    save_json(run / "metrics.json", METRICS)
    recorded = preset_settings("demo").to_dict()
    save_json(run / "planner" / "planner.json", {"extra": {"settings": recorded}})
    fill_readme(readme, [run])
    # The planner does not depend on how long its baseline was trained.
    recorded["planner"]["mean_steps"] = 2
    save_json(run / "planner" / "planner.json", {"extra": {"settings": recorded}})
    fill_readme(readme, [run])
    recorded["planner"]["loop"]["steps"] = 2
    save_json(run / "planner" / "planner.json", {"extra": {"settings": recorded}})
    filled = readme.read_text()
    with pytest.raises(ValueError, match=r"stage 'planner' was made with planner\.loop\.steps = 2 instead of"):
        fill_readme(readme, [run])
    assert readme.read_text() == filled
