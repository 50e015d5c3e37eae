"""Answers of the control routes as JSON objects, member for member in the protocol's order."""

from typing import Any

from kserve_v2.messages import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from kserve_v2.repository.model import LoadedModel
from kserve_v2.statistics import Duration, ModelStatistics

Json = dict[str, Any]


def server_metadata_view(metadata: ServerMetadata) -> Json:
    """`GET /v2`."""
    return {"name": metadata.name, "version": metadata.version, "extensions": metadata.extensions}


def model_metadata_view(metadata: ModelMetadata) -> Json:
    """`GET /v2/models/M`."""
    return {
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": [_tensor_view(tensor) for tensor in metadata.inputs],
        "outputs": [_tensor_view(tensor) for tensor in metadata.outputs],
    }


def _tensor_view(tensor: TensorMetadata) -> Json:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def index_view(entry: IndexEntry) -> Json:
    """One element of `POST /v2/repository/index`; empty members are left out."""
    members = {"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}
    return {name: value for name, value in members.items() if value}


def statistics_view(model: LoadedModel) -> Json:
    """One element of `model_stats`."""
    statistics = model.statistics
    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": statistics.last_inference_ms,
        "inference_count": statistics.inference_count,
        "execution_count": statistics.execution_count,
        "inference_stats": _inference_stats(statistics),
        "response_stats": {},
        "batch_stats": _batch_stats(statistics),
        "memory_usage": [],
    }


def _inference_stats(statistics: ModelStatistics) -> Json:
    return {
        "success": _duration(statistics.success),
        "fail": _duration(statistics.fail),
        "queue": _duration(statistics.queue),
        "compute_input": _duration(statistics.compute_input),
        "compute_infer": _duration(statistics.compute_infer),
        "compute_output": _duration(statistics.compute_output),
        # There is no response cache: nothing hits it, nothing misses it.
        "cache_hit": _duration(Duration()),
        "cache_miss": _duration(Duration()),
    }


def _batch_stats(statistics: ModelStatistics) -> list[Json]:
    return [
        {
            "batch_size": size,
            "compute_input": _duration(batch.compute_input),
            "compute_infer": _duration(batch.compute_infer),
            "compute_output": _duration(batch.compute_output),
        }
        for size, batch in sorted(statistics.batches.items())
    ]


def _duration(duration: Duration) -> Json:
    return {"count": duration.count, "ns": duration.ns}
