"""An archive of a model: a handler, and the files that it needs."""

import difflib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from kserve_v2.archiving.containers import FORMATS, write_folder, write_tar, write_zip
from kserve_v2.archiving.manifest import (
    BUILT_IN_HANDLERS,
    MODEL_MANIFEST,
    RUNTIMES,
    check_name,
    manifest_text,
)
from kserve_v2.archiving.members import Members, split_list
from kserve_v2.errors import InvalidArgumentError

logger = logging.getLogger(__name__)

AnyPath = str | os.PathLike[str]

_FOLDER = MODEL_MANIFEST.partition("/")[0]
# Handlers of the backend in C++ that have no file.
_LSP_HANDLERS = ("BaseHandler", "TorchScriptHandler")


def archive_model(
    model_name: str,
    *,
    version: str,
    handler: str,
    model_file: AnyPath | None = None,
    serialized_file: AnyPath | None = None,
    extra_files: str | Iterable[AnyPath] = (),
    requirements_file: AnyPath | None = None,
    config_file: AnyPath | None = None,
    runtime: str = "python",
    export_path: AnyPath = ".",
    archive_format: str = "default",
    force: bool = False,
) -> Path:
    """Write an archive of a model, as `torch-model-archiver` does, and return where it is.

    `handler`: a Python file, also without its suffix, and with `:function` for one of its functions; or the name of a
    handler that TorchServe brings along. `extra_files`: files, folders and patterns, in a list, or separated by commas.
    `archive_format`: "default" and "zip-store" make NAME.mar, "tgz" NAME.tar.gz, "no-archive" the folder NAME. With
    `force` one that is there is replaced. Raises InvalidArgumentError for what cannot be archived, OSError where it
    cannot be written.
    """
    check_name(model_name, "model_name")
    if not version.strip():
        raise InvalidArgumentError("version: expected one, such as 1.0")
    _check_choice("runtime", runtime, RUNTIMES)
    _check_choice("archive_format", archive_format, FORMATS)
    target = export_target(Path(export_path), model_name + FORMATS[archive_format], force=force)
    members = Members(_FOLDER)
    entries = {"modelName": model_name}
    for key, option, path in (
        ("serializedFile", "serialized_file", serialized_file),
        ("modelFile", "model_file", model_file),
        ("requirementsFile", "requirements_file", requirements_file),
        ("configFile", "config_file", config_file),
    ):
        if path:
            members.add(Path(path), option)
            entries[key] = Path(path).name
    entries["handler"] = _add_handler(members, handler, runtime)
    entries["modelVersion"] = version
    for pattern in members.add_extra(split_list(extra_files), "extra_files"):
        logger.warning("extra_files: no file fits the pattern %s", pattern)
    manifest = (MODEL_MANIFEST, manifest_text("model", entries, runtime))
    _write(target, members, manifest, archive_format)
    return target


def _write(target: Path, members: Members, manifest: tuple[str, str], archive_format: str) -> None:
    if archive_format == "no-archive":
        write_folder(target, members.files, manifest)
    elif archive_format == "tgz":
        write_tar(target, members.files, manifest, target.name.removesuffix(FORMATS["tgz"]))
    else:
        write_zip(target, members.files, manifest, deflate=archive_format != "zip-store")


def export_target(folder: Path, name: str, *, force: bool) -> Path:
    """Where the archive goes. Raises InvalidArgumentError."""
    target = folder / name
    if os.path.lexists(folder) and not folder.is_dir():
        raise InvalidArgumentError(f"export_path: {folder} is no folder")
    if os.path.lexists(target) and not force:
        raise InvalidArgumentError(f"{target} already exists: give --force (-f) to replace it")
    return target


def _add_handler(members: Members, handler: str, runtime: str) -> str:
    """Add the handler's file, if it has one; returns its name in the manifest. Raises InvalidArgumentError."""
    path, _, function = handler.partition(":")
    if handler in (_LSP_HANDLERS if runtime == "LSP" else BUILT_IN_HANDLERS):
        return handler
    suffix = ".py"
    if runtime == "LSP":
        suffix = ".dylib" if sys.platform == "darwin" else ".so"
    file = Path(path if path.endswith(suffix) else path + suffix)
    if not file.is_file() and "/" not in handler:
        close = difflib.get_close_matches(handler, BUILT_IN_HANDLERS, n=1)
        known = (
            f"did you mean {close[0]}?" if close else f"{handler} is none of: {', '.join(BUILT_IN_HANDLERS)}"
        )
        raise InvalidArgumentError(f"handler: there is no file {file}, {'' if close else 'and '}{known}")
    members.add(file, "handler")
    # What is imported before a colon is a module.
    return f"{file.stem}:{function}" if function else Path(path).name


def _check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise InvalidArgumentError(f"{what}: expected one of {', '.join(choices)}, got {value!r}")
