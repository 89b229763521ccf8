"""What every script shares: settings from Hydra, mistakes as one sentence, a clean end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from argos_sim.pipeline.settings import Settings, settings_from
from argos_wm.training.parallel import is_lost_process

LOST = (
    "Another process of this run ended, or the run was stopped. Run the same command again; it goes on from its last "
    "checkpoint."
)

# Hydra copies its whole store sixty times to print --help, though it hands out copies of what is in it anyway.
ConfigStore.__deepcopy__ = lambda store, _: store  # pyright: ignore[reportAttributeAccessIssue]
# Hydra knows every setting and its default from here; scripts/config only overrides them.
ConfigStore.instance().store(name="settings", node=Settings().to_dict())
WORDS = "ARGOS_SCRIPT_WORDS"
"""The environment's variable in which a script hands its own words to the one that it starts."""


def script_words() -> str:
    """What --help begins with: the words of the script that was started."""
    return os.environ.get(WORDS) or (sys.modules["__main__"].__doc__ or "").strip()


OmegaConf.register_new_resolver("script_words", script_words, replace=True)


def run(function: Callable[[Settings], Any], config: DictConfig, many_processes: bool = False) -> None:
    """Call ``function`` with typed settings; ``many_processes`` says that ``torchrun`` may start it several times.

    A mistake of the caller's (a ``ValueError``, or a missing file), a NaN or another process's end is printed as a
    sentence and ends with 2; ``ARGOS_TRACEBACK=1`` shows where it was found.
    """
    import tasks  # noqa: F401  registers the gymnasium ids

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if not many_processes:
            refuse(
                "This script runs in one process, and would overwrite its own files in several; "
                "scripts/train_planner.py and scripts/train_controller.py are those to start with torchrun."
            )
        signal.signal(signal.SIGTERM, lambda *_: refuse(LOST))
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    try:
        function(settings_from({str(k): v for k, v in values.items()}))
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        if os.environ.get("ARGOS_TRACEBACK"):
            raise
        refuse(str(error))
    except RuntimeError as error:
        if not is_lost_process(error) or os.environ.get("ARGOS_TRACEBACK"):
            raise
        refuse(LOST)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or os.environ.get("ARGOS_TRACEBACK"):
            raise
        refuse(f"The disk is full ({error}). Make room and run the same command again; it goes on where it was.")
    # Isaac Lab's engines may hang in their destructors at interpreter exit; everything is on disk by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def run_processes(script: str, processes: Iterable[tuple[str, ...]], settings: Iterable[str] | None = None) -> None:
    """Run ``script`` with each of ``processes``' words and ``settings``, by default this command line's.

    Ends this process at the first failure, and once the help was printed.
    """
    given = sys.argv[1:] if settings is None else list(settings)
    if {"-h", "--help"} & set(given):
        main = sys.modules["__main__"]
        if Path(str(main.__file__)) == Path(script):
            main.main()  # Hydra prints the help and ends this process
        words = next(iter(processes))  # the help is the same for all
        command = [sys.executable, script, *words, *given]
        sys.exit(subprocess.run(command, env=os.environ | {WORDS: script_words()}).returncode)
    for words in processes:
        code = subprocess.run([sys.executable, script, *words, *given]).returncode
        if code:
            sys.exit(code)


def refuse(sentence: str) -> NoReturn:
    """End the process with 2 and one sentence."""
    sys.stdout.flush()
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    os._exit(2)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, HydraException) and not os.environ.get("ARGOS_TRACEBACK"):
        refuse(" ".join(line.strip() for line in str(error).splitlines() if line.strip()))
    traceback.print_exception(kind, error, trace)


# Hydra prints its own errors over several lines unless it is told to raise them.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")
sys.excepthook = _report
