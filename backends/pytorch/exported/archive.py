"""The archive of a `.pt2` file, which is a zip file: what is in it, and what it is. Nothing is unpickled or executed.

Two kinds are served: programs of `torch.export.save`, also in the layout before torch 2.8, and packages of AOTInductor.
"""

import json
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kserve_v2.errors import InvalidArgumentError

logger = logging.getLogger(__name__)

Kind = Literal["program", "compiled"]

_MODELS = "models/"
_WEIGHTS = "data/weights/"
_CONSTANTS = "data/constants/"
_COMPILED = "data/aotinductor/"
_FORMAT_VERSION = "0"
_OLD_PROGRAM = "serialized_exported_program.json"

_EXPORT_AGAIN = "export the model again with torch.export.save"


@dataclass(frozen=True, slots=True)
class Payload:
    """Where the tensors of one kind are: of each by its name, in `entries`, or all of them in one member of
    `torch.save`, `whole`.
    """

    entries: dict[str, Any]
    whole: str = ""


class ExportArchive:
    """A `.pt2` file that is open. `kind`: what it holds. `model`: the name that it has in there."""

    kind: Kind
    model: str

    def __init__(self, file: Path) -> None:
        """Raises InvalidArgumentError for what is no such file, or could not have been written by torch."""
        self.file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise self._error(
                f"is no archive of torch.export, or was not copied to its end ({error}); {_EXPORT_AGAIN}"
            ) from error
        try:
            self._check_members()
            members = self._zip.namelist()
            self._is_old = _OLD_PROGRAM in members
            self._root = "" if self._is_old else members[0].partition("/")[0] + "/"
            self._members = {name.removeprefix(self._root) for name in members}
            self.kind, self.model = self._find()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "ExportArchive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _error(self, text: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"{self.file.name} {text}")

    def _check_members(self) -> None:
        """What torch writes is stored as it is, so all of it together is no larger than the file."""
        infos = self._zip.infolist()
        if not infos:
            raise self._error(f"is an empty archive; {_EXPORT_AGAIN}")
        names = [info.filename for info in infos]
        for name in names:
            if name.startswith("/") or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts:
                raise self._error(f"has a member that leads out of it, {name!r}: torch writes no such file")
        if len(set(names)) < len(names):
            raise self._error("has two members of one name: torch writes no such file")
        if any(name.endswith("/constants.pkl") for name in names):
            raise self._error("is a TorchScript archive: rename it to model.pt")
        unpacked, size = sum(info.file_size for info in infos), self.file.stat().st_size
        if unpacked > size:
            raise self._error(
                f"would unpack to {unpacked} bytes, but has {size}: torch does not compress its archives; if another "
                f"tool has packed this one, {_EXPORT_AGAIN}"
            )

    def _find(self) -> tuple[Kind, str]:
        if self._is_old:
            return "program", "model"
        if "archive_format" not in self._members or self.read("archive_format") != b"pt2":
            raise self._error(
                "is what torch.save makes, such as a state_dict or a pickled module, and no program: export the model "
                "with torch.export.save"
                if "data.pkl" in self._members
                else f"is a zip file, but no archive of torch.export; {_EXPORT_AGAIN}"
            )
        version = (
            self.read("archive_version").decode(errors="replace") if self.has("archive_version") else "0"
        )
        if version.strip() != _FORMAT_VERSION:
            raise self._error(
                f"has version {version!r} of the archive format, expected {_FORMAT_VERSION!r}: it was made by a newer "
                "torch than this one; update torch"
            )
        programs = {name[len(_MODELS) : -len(".json")] for name in self._members if _is_program(name)}
        packages = {name.split("/")[2] for name in self._members if name.startswith(_COMPILED)}
        if programs and packages:
            logger.warning(
                "%s has a program of torch.export and a package of AOTInductor: the program is served",
                self.file.name,
            )
        if programs:
            return "program", self._the_one(programs)
        if packages:
            return "compiled", self._the_one(packages)
        raise self._error(
            f"has neither a program of torch.export nor a package of AOTInductor; {_EXPORT_AGAIN}"
        )

    def _the_one(self, models: set[str]) -> str:
        if len(models) == 1 or "model" in models:
            return "model" if "model" in models else next(iter(models))
        raise self._error(
            f"has {len(models)} models, {', '.join(map(repr, sorted(models)))}, and none is called 'model': "
            "save each of them in a file of its own"
        )

    # --- members ------------------------------------------------------------------------------------------------------

    def has(self, member: str) -> bool:
        """Whether there is such a member."""
        return member in self._members

    def read(self, member: str) -> bytes:
        """The content of a member. Raises InvalidArgumentError where that is missing or damaged."""
        with self._reading(member):
            return self._zip.read(self._root + member)

    def read_into(self, member: str) -> bytearray:
        """The content of a member as memory of its own, read once."""
        content = bytearray(self._zip.getinfo(self._root + member).file_size if self.has(member) else 0)
        view = memoryview(content)
        with self._reading(member), self._zip.open(self._root + member) as stream:
            read = 0
            while count := stream.readinto(view[read:]):  # type: ignore[attr-defined]  # of io.BufferedIOBase
                read += count
            # The checksum is compared at the end.
            complete = read == len(content) and not stream.read(1)
        if not complete:
            raise self._error(f"is damaged: member {member} is not as long as the archive says")
        return content

    @contextmanager
    def _reading(self, member: str) -> Iterator[None]:
        """In here a member is read. Raises InvalidArgumentError where it is missing or damaged."""
        try:
            yield
        except KeyError:
            raise self._error(f"has no member {member}; {_EXPORT_AGAIN}") from None
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise self._error(f"is damaged: member {member} cannot be read ({error})") from error

    def read_json(self, member: str) -> Any:
        """A member that is JSON. Raises InvalidArgumentError where it is none."""
        try:
            return json.loads(self.read(member))
        except (ValueError, RecursionError) as error:
            raise self._error(f"is damaged: member {member} is no JSON ({error})") from error

    # --- what belongs to the program ----------------------------------------------------------------------------------

    def compiled_for(self) -> dict[str, str]:
        """On what a package was compiled, and for what, as it says."""
        names = sorted(
            name for name in self._members if name.startswith(_COMPILED) and name.endswith("_metadata.json")
        )
        read = self.read_json(names[0]) if names else {}
        return {str(key): str(value) for key, value in read.items()} if isinstance(read, dict) else {}

    def program(self) -> Any:
        """The program, as it is written in JSON."""
        return self.read_json(_OLD_PROGRAM if self._is_old else f"{_MODELS}{self.model}.json")

    def weights(self) -> Payload:
        """Where the parameters and buffers are."""
        return self._payload(_WEIGHTS, "weights", "serialized_state_dict")

    def constants(self) -> Payload:
        """Where the other tensors of the program are."""
        return self._payload(_CONSTANTS, "constants", "serialized_constants")

    def _payload(self, folder: str, kind: str, old: str) -> Payload:
        for whole in (f"{old}.pt", f"{old}.json") if self._is_old else (f"{folder}{self.model}.pt",):
            if self.has(whole):
                return Payload({}, whole)
        member = f"{folder}{self.model}_{kind}_config.json"
        config = self.read_json(member)
        entries = config.get("config") if isinstance(config, dict) else None
        if not isinstance(entries, dict):
            raise self._error(f"is damaged: member {member} lists no tensors")
        return Payload({name: (folder, entry) for name, entry in entries.items()})


def _is_program(name: str) -> bool:
    return name.startswith(_MODELS) and name.endswith(".json")
