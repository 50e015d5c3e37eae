"""A folder of models in an object store, by fsspec."""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.locations.flat import has_model_file
from kserve_v2.repository.locations.manifest import Digest, Item, Manifest
from kserve_v2.repository.locations.store import (
    Found,
    MissingError,
    UnreachableError,
    archive_name,
    unreachable,
    without_doubles,
)
from kserve_v2.repository.reading.layout import SERVER_SETTINGS, is_version

logger = logging.getLogger(__name__)

_MD5 = re.compile(r"[0-9a-f]{32}")
# How the stores call what changes with the content.
_TAGS = ("ETag", "etag", "generation", "VersionId", "blob_id", "oid")
# Between the tries of a question.
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


class _Objects:
    """What lies at a path. Used on several threads."""

    def __init__(
        self, filesystem: Any, path: str, shown: str, pause: Callable[[float], object] = lambda seconds: None
    ) -> None:
        """`filesystem`: fsspec's. `shown`: the URL without secrets. `pause`: waits before something is asked again."""
        self._pause = pause
        self._filesystem = filesystem
        self._path = str(filesystem._strip_protocol(path)).strip("/")
        self.shown = shown

    def read(self, item: Item, start: int, end: int) -> bytes:
        """See `Store`."""
        content: bytes = self._filesystem.cat_file(item.key, start=start, end=end)
        return content

    def counts(self, item: Item) -> bool:
        """Whether the checksum is that of the content: S3 tells another one for what it encrypts by a key of KMS."""
        call = getattr(self._filesystem, "call_s3", None)
        if call is None:
            return True
        bucket, _, key = item.key.partition("/")
        told = call("head_object", Bucket=bucket, Key=key)
        return not (
            "aws:kms" in str(told.get("ServerSideEncryption", "")) or told.get("SSECustomerAlgorithm")
        )

    def _archive(self, name: str, key: str) -> Manifest | None:
        try:
            return Manifest((item(name, key, self._ask(lambda: self._filesystem.info(key))),), archive=True)
        except MissingError:
            return None

    def _ask(self, question: Callable[[], Any]) -> Any:
        """What the store answers, after some tries. Raises UnreachableError."""
        for seconds in (*_PAUSES_S, None):
            try:
                self._filesystem.invalidate_cache()
                return question()
            except Exception as error:
                unreachable_error = unreachable(error, self.shown)
                if seconds is None or unreachable_error.final:
                    raise unreachable_error from error
                self._pause(seconds)
        raise AssertionError("the last try has raised")


class ObjectArchive(_Objects):
    """One archive."""

    def whole(self) -> Manifest | None:
        """See `Whole`."""
        return self._archive(self._path.rpartition("/")[2], self._path)


class ObjectStore(_Objects):
    """Models below one path: directories, and archives beside them."""

    _left_out: Collection[str] = ()

    def found(self) -> Collection[Found]:
        """See `Store`."""
        top = self.top()
        self._raise_if_one(top)
        self._tell_left_out([name for name, is_directory in top if not is_directory])
        named = [
            Found(name) if is_directory else Found(archive_name(name) or "", name)
            for name, is_directory in top
        ]
        return without_doubles(each for each in named if each.name)

    def find(self, name: str) -> Found | None:
        """See `Store`."""
        return next((each for each in self.found() if each.name == name), None)

    def top(self) -> list[tuple[str, bool]]:
        """Names of what lies at the top, and whether each is a directory. Raises UnreachableError: there is no
        difference between a folder that has been emptied and one that never was.
        """
        try:
            listed = self._ask(lambda: self._filesystem.ls(self._path, detail=True))
        except MissingError:
            listed = []
        entries = [
            (self._relative(info["name"], self._path), info["type"] == "directory")
            for info in listed
            if self._relative(info["name"], self._path)
        ]
        if not entries:
            raise UnreachableError("nothing is there")
        return sorted(entries)

    def _raise_if_one(self, top: Sequence[tuple[str, bool]]) -> None:
        """Raise InvalidArgumentError for what is one model, and not a folder of models."""
        directories = [name for name, is_directory in top if is_directory]
        files = [name for name, is_directory in top if not is_directory]
        versions = [name for name in directories if is_version(name)]
        if len(versions) < len(directories):
            return
        if versions and not has_model_file(files):
            # Models may be called like versions.
            inside = self._ask(lambda: self._filesystem.ls(f"{self._path}/{versions[0]}", detail=True))
            files = [info["name"].rpartition("/")[2] for info in inside if info["type"] != "directory"]
        if has_model_file(files):
            raise InvalidArgumentError("it is one model, not a folder of models: give --model-name NAME")

    def _tell_left_out(self, files: Sequence[str]) -> None:
        """Say once which files beside the models MLServer would read, and this server does not fetch."""
        left_out = [name for name in files if name == SERVER_SETTINGS or name.endswith(".py")]
        if left_out and left_out != self._left_out:
            logger.warning(
                "%s: %s beside the models' folders %s not fetched: give what %s says as options of this server, and "
                "put modules into the folder of each model that imports them",
                self.shown, ", ".join(left_out), "is" if len(left_out) == 1 else "are", SERVER_SETTINGS,
            )  # fmt: skip
        self._left_out = left_out

    def manifest(self, found: Found) -> Manifest | None:
        """See `Store`."""
        if found.archive:
            return self._archive(found.archive, f"{self._path}/{found.archive}")
        return self.tree(f"{self._path}/{found.name}")

    def whole(self) -> Manifest | None:
        """Everything below the path, as one model."""
        return self.tree(self._path)

    def tree(self, top: str) -> Manifest | None:
        """What lies below a directory."""
        try:
            listed = [*self._ask(lambda: self._filesystem.find(top, detail=True, withdirs=True)).values()]
            if hasattr(self._filesystem, "call_s3"):
                # Where a file is called like a directory, the directory is told alone.
                listed += self._ask(lambda: self._filesystem.find(top, detail=True)).values()
        except MissingError:
            return None
        return manifest_of(top, listed)

    @staticmethod
    def _relative(key: str, top: str) -> str:
        return relative(key, top).rstrip("/")


def relative(key: str, top: str) -> str:
    """A key without the directory that it lies in."""
    key, top = key.lstrip("/"), top.lstrip("/")
    return key[len(top) + 1 :] if key.startswith(f"{top}/") else ""


def manifest_of(top: str, listed: Iterable[Mapping[str, Any]]) -> Manifest | None:
    """What a listing shows below a directory; None for nothing at all."""
    items, directories = dict[str, Item](), set[str]()
    anything = False
    for info in listed:
        anything = True
        path = relative(info["name"], top)
        if path.rstrip("/") == "":
            continue
        # What is called like a directory, and empty, is one: so object stores write down those that have no files.
        if info["type"] == "directory" or (path.endswith("/") and not info["size"]):
            directories.add(path.rstrip("/"))
        else:
            items[path] = item(path, info["name"], info)
    if not anything:
        return None
    return Manifest(tuple(items.values()), tuple(sorted(directories)))


def item(path: str, key: str, info: Mapping[str, Any]) -> Item:
    """One file as a store describes it."""
    tag = next((str(info[name]).strip('"') for name in _TAGS if info.get(name)), "")
    modified = next((info[name] for name in _TIMES if info.get(name)), None)
    return Item(
        path, key, int(info["size"]), tag or str(modified or ""), _digest(info, tag), _seconds(modified)
    )


def _digest(info: Mapping[str, Any], tag: str) -> Digest | None:
    """The checksum of the content, as S3, Google, Azure or Hugging Face tell it; None if it is not told."""
    large = info.get("lfs") or {}
    sha256 = large.get("sha256") if isinstance(large, Mapping) else getattr(large, "sha256", None)
    if sha256:
        return Digest("sha256", str(sha256))
    encoded = info.get("md5Hash")
    settings = info.get("content_settings") or {}
    raw = settings.get("content_md5") if isinstance(settings, Mapping) else None
    try:
        if encoded:
            return Digest("md5", base64.b64decode(encoded).hex())
        if raw:
            return Digest("md5", bytes(raw).hex())
    except (binascii.Error, TypeError, ValueError):
        return None
    # Of a file that was sent in parts, it is something else, with a dash in it.
    return Digest("md5", tag) if "ETag" in info and _MD5.fullmatch(tag) else None


def _seconds(modified: object) -> float:
    if isinstance(modified, int | float):
        return float(modified)
    if isinstance(modified, str):
        try:
            modified = datetime.fromisoformat(modified)
        except ValueError:
            return 0.0
    if isinstance(modified, datetime):
        return (modified if modified.tzinfo else modified.replace(tzinfo=UTC)).timestamp()
    return 0.0
