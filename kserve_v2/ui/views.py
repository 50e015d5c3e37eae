"""What the page shows of models, as JSON objects: what the protocol's routes do not tell, or only one by one."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.config import config_to_dict
from kserve_v2.config.content_types import CONTENT_TYPES
from kserve_v2.errors import ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.example_request import SAMPLE_REQUEST
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.views import index_view, model_metadata_view

Json = dict[str, Any]

MAX_LABELS = 10_000
"""Outputs with more labels are shown with numbers: the names of all classes of a dictionary are too much for a page."""


def server_view(service: InferenceService, urls: Mapping[str, str], *, grpc_tls: bool) -> Json:
    """The server: who it is, where its other ports are, and what the page may do with models."""
    return {
        **asdict(service.server_metadata()),
        "ready": service.ready(),
        "grpc_port": _port(urls.get("gRPC")),
        "grpc_tls": grpc_tls,
        "metrics_port": _port(urls.get("Metrics", "").removesuffix("/metrics")),
        "may_not_load": _why_not_load(service),
    }


def _port(url: str | None) -> int | None:
    port = (url or "").rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _why_not_load(service: InferenceService) -> str:
    """Why models are not loaded and unloaded from the page; "" if they are."""
    try:
        service.check_may_load()
    except ServingError as error:
        return error.message
    return ""


async def models_view(service: InferenceService) -> list[Json]:
    """Every version of every model of the repository, loaded or not."""
    loaded = {(model.name, str(model.version)): model for model in service.statistics()}
    return [_model_view(entry, loaded.get((entry.name, entry.version))) for entry in await service.index()]


def _model_view(entry: IndexEntry, model: LoadedModel | None) -> Json:
    view = index_view(entry)
    if model is None or entry.state != "READY":
        return view
    config = model.config
    return {
        **view,
        "backend": config.backend or config.platform,
        "instances": _instances(config),
        "memory": dict(model.memory.bytes) if model.memory is not None else {},
        "memory_estimated": model.memory is not None and model.memory.estimated,
        "max_batch_size": config.max_batch_size,
        "decoupled": model.decoupled,
        "inference_count": model.statistics.inference_count,
        "last_inference": model.statistics.last_inference_ms,
    }


def _instances(config: ModelConfig) -> list[Json]:
    """How many instances of a model there are on each device."""
    counts: dict[str, int] = {}
    for group in config.instance_group:
        names = {group.KIND_GPU: "GPU", group.KIND_CPU: "CPU"}
        devices = [names.get(group.kind, "CPU or GPU")]
        if group.kind == group.KIND_GPU and group.gpus:
            devices = [f"GPU {gpu}" for gpu in group.gpus]
        for device in devices:
            counts[device] = counts.get(device, 0) + (group.count or 1)
    return [{"device": device, "count": count} for device, count in counts.items()]


def form_view(service: InferenceService, name: str, version: str) -> Json:
    """What a form for requests to a model, and the display of its answers, are made from. Raises as `acquire`."""
    model = service.acquire(name, version)
    config = config_to_dict(service.model_config(name, version))
    optional = [tensor["name"] for tensor in config.get("input", []) if tensor.get("optional")]
    parameters = config.get("parameters", {})
    # All of them, whichever is asked for.
    versions = [str(each.version) for each in service.statistics(name)]
    return {
        **model_metadata_view(service.model_metadata(name, version)),
        "version": str(model.version),
        "versions": versions,
        "labels": {
            label: str(number)
            for label, number in service.manager.labels(name).items()
            if str(number) in versions
        },
        "max_batch_size": model.config.max_batch_size,
        "decoupled": model.decoupled,
        "sequence": model.config.HasField("sequence_batching"),
        "optional_inputs": optional,
        "has_sample": os.path.lexists(model.like.path / SAMPLE_REQUEST),
        "output_labels": _labels(model.labels.items()),
        CONTENT_TYPES: parameters.get(CONTENT_TYPES, {}).get("string_value", ""),
        "description": parameters.get("description", {}).get("string_value", ""),
    }


def _labels(labels: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    return {output: names for output, names in labels if 0 < len(names) <= MAX_LABELS}
