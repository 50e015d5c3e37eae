"""What the v1 protocol says of models: the states of their versions, and their tensors, in TF Serving's words."""

from collections.abc import Iterable, Sequence
from typing import Any

from kserve_v2.messages import IndexEntry, ModelMetadata, TensorMetadata
from kserve_v2.v1.codec import SIGNATURE, TF_DATATYPES

Json = dict[str, Any]

_STATES = {"LOADING": "LOADING", "READY": "AVAILABLE", "UNLOADING": "UNLOADING", "UNAVAILABLE": "END"}

# Reasons why a version is over that are no errors begin with these.
_OVER = ("unloaded", "evicted")


def version_status(entries: Iterable[IndexEntry]) -> list[Json]:
    """`model_version_status`, the highest version first. `entries`: of the index, those with a version."""
    return [
        {"version": entry.version, "state": _STATES[entry.state], "status": _status(entry)}
        for entry in sorted(entries, key=lambda each: int(each.version), reverse=True)
    ]


def _status(entry: IndexEntry) -> Json:
    failed = entry.state == "UNAVAILABLE" and entry.reason and not entry.reason.startswith(_OVER)
    return {
        "error_code": "UNKNOWN" if failed else "OK",
        "error_message": entry.reason if failed else "",
    }


def metadata_view(metadata: ModelMetadata, version: int) -> Json:
    """`GET /v1/models/M/metadata`. `version`: the one that answers."""
    signature = {
        "inputs": _tensors(metadata.inputs),
        "outputs": _tensors(metadata.outputs),
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": metadata.name, "signature_name": "", "version": str(version)},
        # The doubled member is TF Serving's.
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensors(tensors: Sequence[TensorMetadata]) -> Json:
    return {
        tensor.name: {
            "dtype": f"DT_{TF_DATATYPES[tensor.datatype].upper()}",
            "tensor_shape": {
                "dim": [{"size": str(size), "name": ""} for size in tensor.shape],
                "unknown_rank": False,
            },
            "name": f"{tensor.name}:0",
        }
        for tensor in tensors
    }
