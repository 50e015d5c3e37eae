"""Where an archive is that a call names: in the model store, or at a URL that the operator allows."""

import difflib
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from kserve_v2.repository.temporary_folder import DOWNLOADS, TemporaryFolder
from kserve_v2.torchserve_api.errors import (
    archive_not_found,
    download_failed,
    file_exists,
    not_allowed_url,
    relative_path,
)
from kserve_v2.torchserve_api.fetching import FetchError, FetchRules, UnderWay, fetch

logger = logging.getLogger(__name__)

ENDINGS = (".mar", ".model", ".tar.gz", ".tgz")
"""Of archives, as `load_models=all` finds them."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*")
_MAX_SHOWN = 2048


@dataclass(frozen=True, slots=True)
class Place:
    """An archive that is there. `fetched`: the folder of its own that it was fetched to, which goes with the model."""

    archive: Path
    fetched: Path | None = None


class Archives:
    """Finds archives. Used on several threads; everything blocks."""

    def __init__(self, store: Path | None, allowed: Sequence[re.Pattern[str]], rules: FetchRules) -> None:
        """`store`: the model store. `allowed`: URLs that may be fetched, whole."""
        self._store, self._allowed, self._rules = store, allowed, rules
        self._folder = TemporaryFolder(DOWNLOADS)
        self._under_way = UnderWay()

    def find(self, url: str) -> Place:
        """The archive that a client names. Raises TorchServeError."""
        if ".." in unquote(url):
            # Also as it was allowed: what is in front of it says nothing of where it leads.
            raise relative_path(url[:_MAX_SHOWN])
        if _URL.match(url):
            return self._at_url(url)
        return Place(self._in_store(url))

    @staticmethod
    def is_elsewhere(url: str) -> bool:
        """Whether it takes another server to find an archive, and perhaps long."""
        return _URL.match(url) is not None and not url.lower().startswith("file:")

    def all(self) -> list[str]:
        """The names of all archives and folders in the model store. Raises OSError."""
        if self._store is None:
            return []
        return sorted(
            each.name
            for each in self._store.iterdir()
            if not each.name.startswith(".")
            and each.name != "lost+found"
            and (each.is_dir() or each.name.lower().endswith(ENDINGS))
        )

    def give_up(self) -> None:
        """Fetch nothing more, and nothing to its end. Does not block."""
        self._under_way.give_up()

    def similar(self, name: str) -> str:
        """Of an archive that is not in the model store, the one that may be meant, for the operator. Raises OSError."""
        if self._store is None or _URL.match(name) or (self._store / name).exists():
            return ""
        close = difflib.get_close_matches(name, self.all(), n=1)
        return (
            f", did you mean {close[0]}?"
            if close
            else f"; the model store has: {', '.join(self.all()) or 'nothing'}"
        )

    def close(self) -> None:
        """Remove what was fetched."""
        self._folder.close()

    def _in_store(self, name: str) -> Path:
        path = in_store(self._store, name)
        if path is None:
            raise archive_not_found(name[:_MAX_SHOWN])
        return path

    def _at_url(self, url: str) -> Place:
        if len(url) > _MAX_SHOWN or not any(pattern.fullmatch(url) for pattern in self._allowed):
            raise not_allowed_url(url[:_MAX_SHOWN])
        try:
            parts = urlsplit(url)
        except ValueError:
            raise download_failed(url) from None
        if parts.scheme == "file":
            return Place(self._of_file_url(url, unquote(parts.path)))
        name = PurePosixPath(unquote(parts.path)).name
        if _NAME.fullmatch(name) is None or not name.lower().endswith(ENDINGS):
            logger.error(
                "the archive at %s is not fetched: its name does not end as one's of %s", url, ENDINGS
            )
            raise download_failed(url)
        if self._store is not None and (self._store / name).exists():
            raise file_exists(name)
        folder = self._folder.open() / secrets.token_hex(8)
        folder.mkdir()
        try:
            fetch(url, folder / name, self._rules, under_way=self._under_way)
        except FetchError as error:
            folder.rmdir()
            # Clients are not told: whether something answers behind a name is what they could want to know.
            logger.error("the archive at %s cannot be fetched: %s", url, error)  # noqa: TRY400 - no defect
            raise download_failed(url) from None
        return Place(folder / name, folder)

    def _of_file_url(self, url: str, path: str) -> Path:
        """A file by its URL, which lies in the model store as any other."""
        store = self._store.resolve() if self._store is not None else None
        try:
            found = Path(path).resolve()
            there = found.exists()
        except (OSError, ValueError):
            # Such as a name that is too long, or has a NUL in it.
            raise not_allowed_url(url) from None
        if store is None or not found.is_relative_to(store) or found == store:
            raise not_allowed_url(url)
        if not there:
            raise archive_not_found(url)
        return found


def in_store(store: Path | None, name: str) -> Path | None:
    """A file or folder of a store, or None: nothing else of the machine's is looked for. Blocks."""
    parts = PurePosixPath(name.lstrip("/")).parts
    if store is None or not parts or any(part.startswith(".") for part in parts) or "\0" in name:
        return None
    try:
        path = store.joinpath(*parts)
        return path if path.exists() else None
    except (OSError, ValueError):
        # Such as a name that is too long.
        return None
