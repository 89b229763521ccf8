"""Files of a dataset by their names, in a local folder or on the Hugging Face hub, where each is fetched when needed.

A data set of terabytes is read file after file: what was fetched for that is deleted again when its reader is done with
it. What the cache held before is left there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from argos_wm.data.files import DatasetError


class DatasetFiles:
    """Where a dataset's files are.

    Args:
        source: a local folder, or a hub id such as ``lerobot/droid_1.0.1``.
        folder: where the dataset begins below that; some repositories hold many.
        revision: branch, tag or commit on the hub.
        endpoint: the hub's address; None is the public one, or what the environment says.
        cache: where files of the hub go; None is the hub's usual cache.
    """

    def __init__(
        self,
        source: str,
        folder: str = "",
        revision: str | None = None,
        endpoint: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self.source, self.folder, self.revision = source, folder, revision
        self.local = Path(source).is_dir()
        self._endpoint, self._cache = endpoint, cache
        self._fetched: set[Path] = set()
        if not self.local and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
            raise DatasetError(f"There is no folder {source}, and it is no hub id, which has the form owner/name.")

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.source}/{self.folder}" if self.folder else self.source

    def path(self, name: str) -> Path:
        """The local path of a file, fetched if it is on the hub.

        Raises:
            FileNotFoundError: the dataset has no such file.
            DatasetError: the hub cannot be reached, or does not show the dataset to this user.
        """
        whole = f"{self.folder}/{name}" if self.folder else name
        if self.local:
            path = Path(self.source) / whole
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing.")
            return path
        from huggingface_hub import try_to_load_from_cache

        before = try_to_load_from_cache(
            self.source, whole, cache_dir=self._cache, revision=self.revision, repo_type="dataset"
        )
        path = Path(self._ask(whole))
        if not isinstance(before, str) or Path(before) != path:
            self._fetched.add(path)
        return path

    def names(self, folder: str) -> list[str]:
        """Names of the files below a folder of the dataset, sorted."""
        if self.local:
            root = Path(self.source) / self.folder
            return sorted(str(p.relative_to(root)) for p in (root / folder).rglob("*") if p.is_file())
        from huggingface_hub import HfApi

        start = f"{self.folder}/" if self.folder else ""
        every = self._asking(
            lambda: HfApi(endpoint=self._endpoint).list_repo_files(
                self.source, repo_type="dataset", revision=self.revision
            )
        )
        return sorted(n.removeprefix(start) for n in every if n.startswith(f"{start}{folder}/"))

    def forget(self, path: Path) -> None:
        """Delete a file that was fetched here; a local dataset's own and what the cache held before are left alone."""
        if path in self._fetched:
            self._fetched.remove(path)
            path.resolve().unlink()  # the cache keeps the bytes once and links to them
            path.unlink(missing_ok=True)

    def _ask(self, name: str) -> str:
        from huggingface_hub import hf_hub_download

        return self._asking(
            lambda: hf_hub_download(
                self.source,
                name,
                repo_type="dataset",
                revision=self.revision,
                endpoint=self._endpoint,
                cache_dir=self._cache,
            )
        )

    def _asking(self, call: Any) -> Any:
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        try:
            return call()
        except GatedRepoError:
            raise DatasetError(
                f"{self.source} is gated: accept its terms on its page on the hub, then log in by `hf auth login`."
            ) from None
        except RepositoryNotFoundError:
            raise DatasetError(
                f"The hub has no dataset {self.source} that you may see. Correct the name, or log in by "
                "`hf auth login`."
            ) from None
        except LocalEntryNotFoundError:
            raise DatasetError(
                f"{self.source} is not on this machine and the hub cannot be reached. Fetch it where there is a "
                f"network, by `hf download --repo-type dataset {self.source}`, and give the folder."
            ) from None
        except EntryNotFoundError as error:
            raise FileNotFoundError(str(error).strip().splitlines()[0]) from None
        except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DatasetError(f"{self.source} cannot be fetched from the hub ({reason}). Try again later.") from None
