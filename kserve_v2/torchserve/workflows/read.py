"""Reading an unpacked .war: its manifest, and the specification that it names."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from kserve_v2.archiving.manifest import WORKFLOW_MANIFEST
from kserve_v2.errors import InvalidArgumentError, describe
from kserve_v2.regular_files import read_regular
from kserve_v2.torchserve.model_config import read_model_yaml
from kserve_v2.torchserve.workflows.workflow import Workflow, workflow_of

_MOST_BYTES = 1024 * 1024


def read_workflow(folder: Path, name: str = "") -> Workflow:
    """The workflow in a folder. `name`: what it is called, if not as its manifest says. Raises InvalidArgumentError."""
    entries = _manifest(folder)
    name = name or _text(entries, "workflowName")
    if not name:
        raise InvalidArgumentError("Workflow name is not defined.")
    spec_file, handler = _file(entries, "specFile"), _file(entries, "handler")
    if not spec_file:
        raise InvalidArgumentError(f"workflow '{name}': {WORKFLOW_MANIFEST} names no specFile")
    for file in filter(None, (spec_file, handler)):
        if not (folder / file).is_file():
            raise InvalidArgumentError(
                f"workflow '{name}': its manifest names {file}, which is not in the archive"
            )
    return workflow_of(name, read_model_yaml(folder / spec_file, spec_file), handler)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_regular(folder / WORKFLOW_MANIFEST, _MOST_BYTES))
    except FileNotFoundError:
        raise InvalidArgumentError("Missing Workflow entry in manifest file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{WORKFLOW_MANIFEST} cannot be read: {describe(error)}") from error
    entries = document.get("workflow") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise InvalidArgumentError("Missing Workflow entry in manifest file.")
    return entries


def _text(entries: dict[str, Any], key: str) -> str:
    value = entries.get(key) or ""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{WORKFLOW_MANIFEST}: workflow.{key}: expected a text, got {value!r}")
    return value


def _file(entries: dict[str, Any], key: str) -> str:
    """A file of the archive's own: nothing else is opened because of a name."""
    value = _text(entries, key)
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value or "\\" in value:
        raise InvalidArgumentError(f"{WORKFLOW_MANIFEST}: workflow.{key} {value!r} leads out of the archive")
    return value
