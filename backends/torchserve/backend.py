"""The `torchserve` backend: a model is an archive of TorchServe's, `.mar` or `.tgz`, or the folder of one, or the file
of a handler. Its code runs in processes of its own, by `kserve_v2_child.torchserve.host`; here its files are only read.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from kserve_v2_child.torchserve.manifest import FOLDER, Manifest, ManifestError, read_manifest
from kserve_v2_child.torchserve.names import problem

from kserve_v2.backend import ModelConfig, ModelSource, Unpacked
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.torchserve.archives import files_of, is_archive
from kserve_v2.torchserve.model_config import DEFAULTS, NO_GPU, fill, read_model_yaml, worker_settings

from ..gpus import visible_gpus
from .imports import missing_modules

logger = logging.getLogger(__name__)

HANDLER, ENVELOPE = "handler", "service_envelope"
"""Parameters that go before what an archive says of itself."""

_REQUIREMENTS = "requirements.txt"
# The parameter that names an environment in which the handler is to run.
_ENVIRONMENT = "EXECUTION_ENV_PATH"
# How handlers answer in parts.
_SENDS_PARTS = b"send_intermediate_predict_response"
_MOST_READ = 1024 * 1024


class TorchServeBackend:
    """Serves archives."""

    default_filename = "model.mar"
    platform = ""

    def gpu_count(self) -> int:
        """Those that the driver shows: whether a handler uses them is its own affair."""
        return visible_gpus()

    def isolated_host(self, file: Path) -> str:
        """As in TorchServe, each worker is a process."""
        return "torchserve"

    def prepare_files(
        self,
        source: ModelSource,
        config: ModelConfig,
        gpu_count: int,
        unpack: Callable[[Path, str], Unpacked],
    ) -> ModelSource:
        """Unpack the archive, and read what it says of itself."""
        source = _unpacked(source, config, unpack)
        folder = source.version_path
        try:
            manifest = read_manifest(folder)
        except ManifestError as error:
            raise InvalidArgumentError(f"model '{source.name}': {error}") from error
        _check_files(source, manifest)
        handler = _text(config, HANDLER) or manifest.handler or _handler_file(config)
        if not handler:
            raise InvalidArgumentError(
                f"model '{source.name}': neither MAR-INF/MANIFEST.json nor parameters['{HANDLER}'] names a handler, "
                "such as image_classifier or handler.py"
            )
        if why := problem(handler, folder):
            raise InvalidArgumentError(f"model '{source.name}': {why}")
        config.parameters[HANDLER].string_value = handler
        if not manifest.requirements_file and _ENVIRONMENT not in config.parameters:
            # Otherwise it runs in an environment that has other packages than this one.
            _tell_missing(source, handler, manifest)
        whole = _model_yaml(source, manifest)
        shown = manifest.config_file or "model-config.yaml"

        def tell(text: str) -> None:
            logger.warning("model '%s': %s: %s", source.name, shown, text)

        workers = worker_settings(whole, _defaults(config), shown, tell)
        if workers.device_type == "gpu" and not (gpu_count or config.instance_group):
            tell(NO_GPU)
        fill(config, workers, gpu_count)
        if not config.HasField("model_transaction_policy") and _sends_parts(folder):
            config.model_transaction_policy.decoupled = True
        if source.kept is not None and manifest.requirements_file not in ("", _REQUIREMENTS):
            # What environments are made of has one name.
            shutil.copyfile(folder / manifest.requirements_file, folder / _REQUIREMENTS)
        settings = {**source.settings, "model_yaml_config": json.dumps(whole)}
        return replace(source, settings=settings)

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """All that can be known is known by `prepare_files`."""

    complete_unopened = complete

    def load(self, source: ModelSource, config: ModelConfig) -> NoReturn:
        """There is no other process to load it in."""
        raise InvalidArgumentError(
            f"model '{source.name}': a handler of TorchServe's has its folder as working directory, and modules that "
            "others may have, too: it runs in a process of its own only; remove parameters['isolation']"
        )


def _unpacked(
    source: ModelSource, config: ModelConfig, unpack: Callable[[Path, str], Unpacked]
) -> ModelSource:
    file = source.model_file(config)
    if not (is_archive(file.name) and file.is_file()):
        # A folder, or what names it. What is linked to is where the model's own code looks for its files.
        own = file if file.is_dir() and file.name != FOLDER else source.version_path
        return replace(source, version_path=own.resolve())
    there = unpack(file, f"{source.model_path.name}/{source.version}/{file.name}")
    return replace(source, version_path=files_of(there.path), kept=there)


def _handler_file(config: ModelConfig) -> str:
    return config.default_model_filename if config.default_model_filename.endswith(".py") else ""


def _check_files(source: ModelSource, manifest: Manifest) -> None:
    """Raise InvalidArgumentError for a file that the manifest names, and that is not there."""
    named = {
        "modelFile": manifest.model_file, "serializedFile": manifest.serialized_file,
        "requirementsFile": manifest.requirements_file, "configFile": manifest.config_file,
    }  # fmt: skip
    for key, name in named.items():
        if name and not (source.version_path / name).exists():
            raise InvalidArgumentError(
                f"model '{source.name}': MAR-INF/MANIFEST.json names {name} as {key}, and the archive has no such file"
            )


def _tell_missing(source: ModelSource, handler: str, manifest: Manifest) -> None:
    """Have the log, and whoever checks the model, told of packages that its code needs and that are not there."""
    module = Path(handler.partition(":")[0]).name
    for name in (module if module.endswith(".py") else f"{module}.py", manifest.model_file):
        for missing in missing_modules(source.version_path / name, source.version_path) if name else ():
            logger.warning(
                "model '%s': %s imports %s, which is neither in the archive nor installed: install it, or list it in a "
                "requirements.txt of the archive", source.name, name, missing,
            )  # fmt: skip


def _model_yaml(source: ModelSource, manifest: Manifest) -> dict[str, Any]:
    if not manifest.config_file:
        return {}
    shown = f"model '{source.name}': {manifest.config_file}"
    try:
        return read_model_yaml(source.version_path / manifest.config_file, shown)
    except OSError as error:
        raise InvalidArgumentError(f"{shown} cannot be read: {error.strerror}") from error


def _defaults(config: ModelConfig) -> Mapping[str, Any]:
    text = _text(config, DEFAULTS)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"parameters['{DEFAULTS}'] is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"parameters['{DEFAULTS}']: expected a JSON object")
    return found


def _sends_parts(folder: Path) -> bool:
    """Whether some code of the model's answers in parts, by its text."""
    return any(_has(file, _SENDS_PARTS) for file in sorted(folder.glob("*.py")))


def _has(file: Path, wanted: bytes) -> bool:
    try:
        with file.open("rb") as stream:
            return wanted in stream.read(_MOST_READ)
    except OSError:
        return False


def _text(config: ModelConfig, name: str) -> str:
    return config.parameters[name].string_value if name in config.parameters else ""
