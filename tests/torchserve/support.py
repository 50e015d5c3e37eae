"""Archives made by `torch-model-archiver`, and their handlers in this process: as a model's process has them, with the
folder as working directory and import path.
"""

import importlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import text_format
from kserve_v2_backends.torchserve.backend import TorchServeBackend
from kserve_v2_child import host
from kserve_v2_child.torchserve.host import MODULES
from kserve_v2_child.torchserve.instances import BatchInstance
from kserve_v2_child.torchserve.packing import Field, pack
from kserve_v2_child.torchserve.worker import Worker

from kserve_v2.backend import ModelConfig, ModelSource, config_to_dict
from kserve_v2.repository.preparing.unpacked import UnpackedArchives


def archive(
    folder: Path, name: str, handler: str = "handler.py", form: str = "default", **files: Any
) -> Path:
    """Make one. `files`: by their names, with `__` for the dot, what is to be written; of `model_file`,
    `serialized_file`, `config_file`, `requirements_file` which of them that is, and `extra` the further ones.
    """
    roles = {
        role: files.pop(role, None)
        for role in ("model_file", "serialized_file", "config_file", "requirements_file")
    }
    version = files.pop("version", "1.0")
    source = folder / f"source-{name}"
    source.mkdir(parents=True)
    for file, content in files.items():
        path = source / file.replace("__", ".")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    own = source / f"{handler.partition(':')[0].removesuffix('.py')}.py"
    named = {*(each for each in roles.values() if each), own.name}
    extra = [str(path) for path in sorted(source.iterdir()) if path.name not in named]
    store = folder / "store"
    store.mkdir(exist_ok=True)
    _generate(
        model_name=name,
        handler=str(source / handler) if own.is_file() else handler,
        version=version,
        extra_files=",".join(extra) or None,
        export_path=str(store),
        archive_format=form,
        **{role: str(source / file) if file else None for role, file in roles.items()},
    )
    return (
        store
        / {"default": f"{name}.mar", "tgz": f"{name}.tar.gz", "no-archive": name, "zip-store": f"{name}.mar"}[
            form
        ]
    )


def _generate(**options: Any) -> None:
    # It works in a folder of the model's name there, and not in the one that it exports to.
    before, tempfile.tempdir = tempfile.tempdir, tempfile.mkdtemp()
    with warnings.catch_warnings():
        # It leaves files open.
        warnings.simplefilter("ignore", ResourceWarning)
        archiver = importlib.import_module("model_archiver")
        try:
            archiver.ModelArchiver.generate_model_archive(archiver.ModelArchiverConfig(**options))
        finally:
            shutil.rmtree(tempfile.tempdir)
            tempfile.tempdir = before


def prepared(path: Path, config: str | ModelConfig = "", **settings: str) -> tuple[ModelSource, ModelConfig]:
    """What the server makes of an archive."""
    message = text_format.Parse(config, ModelConfig()) if isinstance(config, str) else config
    message.default_model_filename = message.default_model_filename or path.name
    source = ModelSource(path.stem, 1, path.parent, path.parent, settings=settings)
    return TorchServeBackend().prepare_files(source, message, 0, UnpackedArchives().unpack), message


class Handler:
    """A handler that is loaded."""

    def __init__(self, source: ModelSource, config: ModelConfig) -> None:
        self._kept = source.kept
        told = host.Source(
            source.name, 1, source.model_path, source.version_path, source.settings, (), host.ThreadBudget(1),
            None, None, None,
        )  # fmt: skip
        self.worker = Worker(told, config_to_dict(config), host.Placement("worker", "CPU"))
        self.instance = BatchInstance(self.worker)

    def ask(self, *requests: Any, headers: Mapping[str, str] | None = None) -> list[Any]:
        """The outcome of each request: its body and parameters, or an exception. A request is a body, or fields."""
        made = [_request(each, headers or {}, f"id-{index}") for index, each in enumerate(requests)]
        outcomes = self.instance.execute([each.inputs for each in made], made)
        return [
            outcome if isinstance(outcome, BaseException)
            else (outcome["prediction"][0, 0], request.response_parameters)
            for outcome, request in zip(outcomes, made, strict=True)
        ]  # fmt: skip

    def json(self, *requests: Any, headers: Mapping[str, str] | None = None) -> list[Any]:
        """The answers, read as JSON."""
        return [json.loads(body) for body, _ in self.ask(*requests, headers=headers)]


def _request(given: Any, headers: Mapping[str, str], request_id: str) -> host.Request:
    fields: Sequence[Field]
    if isinstance(given, bytes):
        fields = [Field("body", given)]
    elif isinstance(given, str):
        fields = [Field("body", given.encode(), "text/plain; charset=utf-8")]
    elif isinstance(given, list) and given and isinstance(given[0], Field):
        fields = given
    else:
        fields = [Field("body", json.dumps(given).encode(), "application/json")]
    element, packed = pack(fields, headers, request_id, decode=True)
    array = np.empty((1, 1), np.object_)
    array[0, 0] = element
    return host.Request("m", {"body": array}, packed=json.loads(json.dumps(packed)))


@contextmanager
def loaded(path: Path, config: str = "", **settings: str) -> Iterator[Handler]:
    """The handler of an archive, as long as it is asked."""
    source, message = prepared(path, config, **settings)
    folder = str(source.version_path)
    before, modules, paths, written = Path.cwd(), set(sys.modules), list(sys.path), sys.dont_write_bytecode
    os.chdir(folder)
    sys.path[:0] = [folder, str(MODULES)]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        # As in a process of its own, whatever threads of models have been prepared here.
        with torch.enable_grad():
            yield Handler(source, message)
    finally:
        os.chdir(before)
        sys.path[:], sys.dont_write_bytecode = paths, written
        for name in set(sys.modules) - modules:
            # What is installed stays, torch above all; another archive has files of the same names.
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith((folder, str(MODULES))) or name == "ts" or name.startswith("ts."):
                del sys.modules[name]
