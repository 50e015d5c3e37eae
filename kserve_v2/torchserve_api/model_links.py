"""A registered version as the directory of a model of ours: its archive, and how it is served."""

import json
from pathlib import Path

from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.config.isolation import EXECUTION_TIMEOUT
from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.reading.layout import CONFIG
from kserve_v2.torchserve.archives import is_archive
from kserve_v2.torchserve.model_config import WorkerSettings, instance_groups
from kserve_v2.torchserve_api.precedence import Served

_FOLDER_MARK = "MAR-INF"


def model_config(archive: Path, served: Served, parameters: dict[str, str], gpu_count: int) -> ModelConfig:
    """The configuration: all that is decided, so that nothing of it hangs on the archive any more. `parameters`: of the
    model; those that are empty are left out.
    """
    config = ModelConfig(backend="torchserve", default_model_filename=_filename(archive))
    config.max_batch_size = served.batch_size
    batching = config.dynamic_batching
    batching.SetInParent()
    if served.batch_size > 1:
        batching.max_queue_delay_microseconds = served.max_batch_delay * 1000
    batching.default_queue_policy.max_queue_size = served.job_queue_size
    if served.client_timeout_ms:
        batching.default_queue_policy.default_timeout_microseconds = served.client_timeout_ms * 1000
    kind = served.device_type if served.device_type in ("cpu", "gpu") else ""
    settings = WorkerSettings(
        min_workers=max(1, served.min_workers),
        device_type=kind,  # type: ignore[arg-type]
        device_ids=served.device_ids,
    )
    config.instance_group.extend(instance_groups(settings, gpu_count))
    config.parameters[EXECUTION_TIMEOUT].string_value = str(served.response_timeout)
    for name, value in parameters.items():
        if value:
            config.parameters[name].string_value = value
    return config


def model_links(archive: Path, config: ModelConfig, shown: str) -> ModelLinks:
    """The directory as it is now. Raises OSError where the archive is gone."""
    archive = archive.absolute()
    # So that it is not called a broken link of a model that is there.
    archive.stat()
    text = f"# What the server has made of {json.dumps(shown)}.\n{text_format.MessageToString(config)}"
    name = "1" if archive.is_dir() else f"1/{_filename(archive)}"
    return ModelLinks(links={name: archive}, files={CONFIG: text.encode()})


def _filename(archive: Path) -> str:
    if not archive.is_dir():
        # TorchServe takes files of other names, too.
        return archive.name if is_archive(archive.name) else f"{archive.name}.mar"
    return _FOLDER_MARK if (archive / _FOLDER_MARK).exists() else "."
