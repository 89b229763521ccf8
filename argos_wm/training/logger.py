"""Learning curves: a JSON-lines file always, TensorBoard or Weights & Biases on request.

``curves.jsonl`` holds one row a log step, ``{"step": 100, "planner/loss": 0.5}``; the report is drawn from it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from argos_wm.training.parallel import Parallel

LoggerKind = Literal["tensorboard", "wandb", "none"]


class RunLogger:
    """Append scalars to ``out_dir/curves.jsonl`` and to the logger that was asked for."""

    def __init__(
        self,
        out_dir: Path,
        kind: LoggerKind = "none",
        name: str = "argos",
        config: dict[str, Any] | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        """
        Args:
            out_dir: folder of the run; made if missing.
            kind: what to log to besides the curves file. ``wandb`` is imported only when asked for.
            name: name of the run in Weights & Biases.
            config: settings to show beside the curves.
            parallel: the run's processes, of which only the main one opens ``kind``; None is one alone.
        """
        if kind not in ("tensorboard", "wandb", "none"):
            raise ValueError(f"There is no logger named {kind!r}; choose tensorboard, wandb or none.")
        self.path = Path(out_dir) / "curves.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._tensorboard: Any = None
        self._wandb: Any = None
        if parallel is not None and not parallel.main:
            kind = "none"
        if kind == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(self.path.parent / "tensorboard"))
            if config:
                self._tensorboard.add_text("config", f"```json\n{json.dumps(config, indent=2, default=str)}\n```")
        elif kind == "wandb":
            self._wandb = _start_wandb(self.path.parent, name, config)

    def log(self, values: dict[str, float], step: int) -> None:
        """Record ``values`` at ``step``, the number of finished steps of the stage that reports them."""
        values = {k: float(v) for k, v in values.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._tensorboard is not None:
            for key, value in values.items():
                self._tensorboard.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.log({**values, **{f"{k.split('/')[0]}/step": step for k in values}})

    def drop_after(self, step: int, prefix: str) -> None:
        """Forget rows of the stage ``prefix`` beyond ``step``: a resumed stage is about to write them again."""
        if not self.path.is_file():
            return
        kept = [row for row in self.path.read_text().splitlines() if not _is_after(row, step, prefix)]
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_text("".join(row + "\n" for row in kept))
        os.replace(temporary, self.path)

    def close(self) -> None:
        """Flush and close whatever was opened."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def _is_after(row: str, step: int, prefix: str) -> bool:
    try:
        data = json.loads(row)
    except json.JSONDecodeError:
        return True  # A row that was cut off by a kill belongs to the steps that are done again.
    return data.get("step", 0) > step and any(key.startswith(prefix) for key in data)


def _start_wandb(folder: Path, name: str, config: dict[str, Any] | None) -> Any:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            "logger=wandb needs the package wandb: install it with `pip install wandb`, or use logger=tensorboard."
        ) from None
    return wandb.init(project="argos", name=name, dir=str(folder), config=config)
