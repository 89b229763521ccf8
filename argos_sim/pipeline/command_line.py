"""What every script shares: settings from Hydra, mistakes as one sentence, a clean end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from argos_sim.pipeline.settings import Settings, settings_from
from argos_wm.checkpoint import CheckpointError

# Hydra knows every setting and its default from here; scripts/config only overrides them.
ConfigStore.instance().store(name="settings", node=Settings().to_dict())


def run(function: Callable[[Settings], Any], config: DictConfig) -> None:
    """Call ``function`` with typed settings.

    A mistake of the caller's (all of them are ``ValueError``) is printed as a sentence and ends the process with 2.
    """
    import tasks  # noqa: F401  registers the gymnasium ids

    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    try:
        function(settings_from({str(k): v for k, v in values.items()}))
    except (ValueError, CheckpointError) as error:
        if os.environ.get("ARGOS_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(2)
    # Isaac Lab's engines may hang in their destructors at interpreter exit; everything is on disk by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
