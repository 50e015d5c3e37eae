"""Folders of MLServer's: every `model-settings.json` in one is a version of a model, wherever it lies below.

Each model is shown as a directory of links to these folders. Versions there are texts of any kind, and here numbers:
whole numbers stay what they are, others are numbered in MLServer's order, and their texts are labels.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import pairwise
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.isolation import EXECUTION_ENV_PATH
from kserve_v2.config.release import RELEASE, is_label
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.regular_files import read_regular
from kserve_v2.repository.locations.folder import ShownModels
from kserve_v2.repository.locations.linked import LinkArea, ModelLinks
from kserve_v2.repository.locations.location import Location
from kserve_v2.repository.locations.names import name_problem
from kserve_v2.repository.reading.layout import (
    CONFIG,
    MODEL_SETTINGS,
    SERVER_SETTINGS,
    has_own_settings,
    is_hidden,
    is_version,
)

# Each is a process.
_MOST_WORKERS = "999999999"

logger = logging.getLogger(__name__)

BACKEND = "mlserver"
ROOT = "mlserver_root"
"""The configuration's parameter with the folder that is served: modules are found there, too."""

_ENVIRONMENT = "MLSERVER_"
_MODEL_ENVIRONMENT = "MLSERVER_MODEL_"
# Of a settings file.
_MAX_BYTES = 1024 * 1024
# Of the name of a version.
_MAX_LABEL = 128
# How deep models may lie.
_MAX_DEPTH = 8

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One of a model's. `folder`: where its settings lie. `label`: its version as they say it, "" for none. `settings`:
    what they are, where there is no file. `problem`: why they cannot be read, "" if they can.
    """

    name: str
    folder: Path
    label: str = ""
    environment: str = ""
    settings: bytes = b""
    problem: str = ""


class MLServerModels(ShownModels[list[Version]]):
    """The models of one folder. See `location.Location`."""

    def __init__(self, folder: Path, area: LinkArea, environ: Mapping[str, str]) -> None:
        super().__init__(folder, area)
        self._environ = environ
        self._problems: dict[Path, str] = {}

    def _place(self, found: list[Version]) -> str:
        return f"{found[0].folder}/"

    def _links(self, name: str, found: list[Version]) -> ModelLinks:
        problem = next((each.problem for each in found if each.problem), "")
        if problem:
            raise InvalidArgumentError(problem)
        said = _server_settings(self._folder, self._environ)
        return links_of(name, found, {**said, "root": str(self._folder)})

    def _found(self) -> dict[str, list[Version]]:
        """The models that there are now, by name. What cannot be read is said in the log, once."""
        problems: dict[Path, str] = {}
        found: dict[str, list[Version]] = {}
        for folder in settings_folders(self._folder):
            try:
                version = read_version(folder, self._environ)
            except InvalidArgumentError as error:
                problems[folder] = error.message
                if self._problems.get(folder) != error.message:
                    logger.error("%s: %s", folder / MODEL_SETTINGS, error.message)  # noqa: TRY400 - no defect
            else:
                found.setdefault(version.name, []).append(version)
        self._problems = problems
        described = None if found else version_of_environment(self._folder, self._environ)
        if described is not None:
            found[described.name] = [described]
        for folder, problem in problems.items():
            # Under the name of its folder, whatever its own may be, so that a check finds it and an index shows it.
            if folder.name not in found and not name_problem(folder.name):
                found[folder.name] = [Version(folder.name, folder, problem=f"{MODEL_SETTINGS} {problem}")]
        return found


class FetchedMLServerModels(MLServerModels):
    """Those among the models that another location has brought here, once it has."""

    def __init__(self, origin: Location, area: LinkArea, environ: Mapping[str, str]) -> None:
        # What lies there are models of any kind, and none that the environment would describe.
        of_files = {
            key: value for key, value in environ.items() if key != f"{_MODEL_ENVIRONMENT}IMPLEMENTATION"
        }
        super().__init__(Path(), area, of_files)
        self.shown = origin.shown
        self._origin = origin

    def _found(self) -> dict[str, list[Version]]:
        root = self._origin.root
        if root is None:
            return {}
        self._folder = root
        return super()._found()


def settings_folders(
    folder: Path, depth: int = _MAX_DEPTH, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterable[Path]:
    """The folders below one, itself among them, that have a model's settings, in the order of their names. What has a
    config.pbtxt is a model of another kind. `above`: the folders that lead to it, which links may lead back to.
    """
    try:
        status = folder.stat()
        with os.scandir(folder) as listing:
            entries = sorted(
                (each for each in listing if not is_hidden(each.name)), key=lambda each: each.name
            )
        names = {each.name for each in entries}
        folders = [each.name for each in entries if depth and each.is_dir()]
    except OSError:
        return
    here = status.st_dev, status.st_ino
    if here in above:
        return
    if has_own_settings(names):
        yield folder
    if CONFIG not in names:
        for name in folders:
            yield from settings_folders(folder / name, depth - 1, above | {here})


def read_version(folder: Path, environ: Mapping[str, str]) -> Version:
    """What the settings in a folder say, and the environment where they say nothing. Raises InvalidArgumentError."""
    read = _read_json(folder / MODEL_SETTINGS)
    parameters = read.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidArgumentError(f"parameters: expected an object, got {type(parameters).__name__}")
    name = _text(read, "name") or environ.get(f"{_MODEL_ENVIRONMENT}NAME", "") or folder.name
    if problem := _name_problem(name):
        raise InvalidArgumentError(f"name: '{name}' {problem}, and cannot be a model's name")
    label = _text(parameters, "version") or environ.get(f"{_MODEL_ENVIRONMENT}VERSION", "")
    if len(label) > _MAX_LABEL:
        raise InvalidArgumentError(f"version: it has {len(label)} characters, and may have {_MAX_LABEL}")
    environment = _text(parameters, "environment_tarball") or _text(parameters, "environment_path")
    return Version(name, folder, label, str(folder / environment) if environment else "")


def _name_problem(name: str) -> str | None:
    if "/" in name:
        return "has a slash"
    return "is that of a hidden file" if is_hidden(name) else name_problem(name)


def version_of_environment(folder: Path, environ: Mapping[str, str]) -> Version | None:
    """The one model that the environment describes, as KServe does, of files that lie in a folder."""
    implementation = environ.get(f"{_MODEL_ENVIRONMENT}IMPLEMENTATION")
    if not implementation:
        return None
    name = environ.get(f"{_MODEL_ENVIRONMENT}NAME") or folder.name
    uri = environ.get(f"{_MODEL_ENVIRONMENT}URI") or str(folder)
    settings = {"name": name, "implementation": implementation, "parameters": {"uri": uri}}
    return Version(
        name,
        folder,
        environ.get(f"{_MODEL_ENVIRONMENT}VERSION", ""),
        settings=json.dumps(settings).encode(),
    )


def _read_json(file: Path) -> Json:
    try:
        read = json.loads(read_regular(file, _MAX_BYTES))
    except OSError as error:
        raise InvalidArgumentError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"is no JSON: {error}") from None
    if not isinstance(read, dict):
        raise InvalidArgumentError(f"expected a JSON object, got {type(read).__name__}")
    return read


def _text(given: Json, member: str) -> str:
    value = given.get(member)
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(f"{member}: expected a text, got {json.dumps(value)}")
    return value or ""


def _server_settings(folder: Path, environ: Mapping[str, str]) -> Json:
    """What is said of the server that matters to models: how many processes each has."""
    said: Json = {}
    if (folder / SERVER_SETTINGS).is_file():
        said = _read_json(folder / SERVER_SETTINGS)
    workers = said.get("parallel_workers", environ.get(f"{_ENVIRONMENT}PARALLEL_WORKERS"))
    return {"parallel_workers": workers}


# --- how it is shown --------------------------------------------------------------------------------------------------


def links_of(name: str, versions: Iterable[Version], server: Json) -> ModelLinks:
    """The directory that shows a model. Raises InvalidArgumentError for two versions that are one."""
    numbered = number(name, versions)
    config = ModelConfig(backend=BACKEND)
    config.version_policy.all.SetInParent()
    workers = server.get("parallel_workers")
    if workers is not None and str(workers).isdecimal():
        if len(str(workers)) > len(_MOST_WORKERS):
            raise InvalidArgumentError(f"parallel_workers: expected at most {_MOST_WORKERS}, got {workers}")
        if int(workers) > 1:
            config.instance_group.add(count=int(workers))
    labels = {each.label: number for number, each in numbered.items() if is_label(each.label)}
    if labels:
        config.parameters[RELEASE].string_value = json.dumps({"labels": labels})
    environments = {each.environment for each in numbered.values()}
    if len(environments) > 1:
        raise InvalidArgumentError(
            "its versions have several environments, and all versions of a model have one"
        )
    if environment := environments.pop():
        config.parameters[EXECUTION_ENV_PATH].string_value = environment
    if root := server.get("root"):
        config.parameters[ROOT].string_value = root
    text = f"# What the server has made of MLServer's settings.\n{text_format.MessageToString(config)}"
    files = {CONFIG: text.encode()}
    files |= {
        f"{number}/{MODEL_SETTINGS}": each.settings for number, each in numbered.items() if each.settings
    }
    links = {str(number): each.folder for number, each in numbered.items() if not each.settings}
    return ModelLinks(links=links, files=files)


def number(name: str, versions: Iterable[Version]) -> dict[int, Version]:
    """Versions by their numbers, of which the highest answers requests that name none: whole numbers as they are, if
    there is nothing else; all in MLServer's order if there is. Raises InvalidArgumentError for two that are one.
    """
    ordered = sorted(versions, key=cmp_to_key(_compared))
    for each, other in pairwise(ordered):
        if each.label == other.label:
            which = f"version '{each.label}'" if each.label else "the version without a name"
            raise InvalidArgumentError(
                f"{which} of model '{name}' is in two folders, {each.folder} and {other.folder}"
            )
    if all(is_version(each.label) for each in ordered):
        return {int(each.label): each for each in ordered}
    for each in ordered:
        if each.label and not is_label(each.label):
            logger.warning(
                "model '%s': version '%s' is served, but no path can name it: the name of a version is a number, or "
                "begins with a letter", name, each.label,
            )  # fmt: skip
    return dict(enumerate(ordered, 1))


def _compared(left: Version, right: Version) -> int:
    """Numbers by value, others by text; one without a version is the highest."""
    if not left.label or not right.label:
        return bool(right.label) - bool(left.label)
    if left.label.isdecimal() and right.label.isdecimal():
        return int(left.label) - int(right.label)
    return (left.label > right.label) - (left.label < right.label)
