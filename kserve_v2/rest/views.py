"""Answers of the control routes as JSON objects, member for member in the protocol's order."""

from dataclasses import asdict
from typing import Any

import orjson
from starlette.responses import Response

from kserve_v2.config.release import release_json
from kserve_v2.messages import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from kserve_v2.repository.routing.releases import ReleaseView

Json = dict[str, Any]


def json_response(value: Any, status: int = 200) -> Response:
    """An answer whose body is `value`, which may be, or have in it, objects of dataclasses."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def empty_response() -> Response:
    """An answer that only says that something was done."""
    return Response(status_code=200, media_type="application/json")


def root_view(metadata: ServerMetadata) -> Json:
    """`GET /`, for programs. Clients of KServe's v1 protocol read from its `status` that the server is there."""
    return {**asdict(metadata), "status": "alive"}


def model_metadata_view(metadata: ModelMetadata) -> Json:
    """`GET /v2/models/M`; `labels` where there are any."""
    labels = {"labels": metadata.labels} if metadata.labels else {}
    return {
        "name": metadata.name,
        "versions": metadata.versions,
        **labels,
        "platform": metadata.platform,
        "inputs": [_tensor_view(tensor) for tensor in metadata.inputs],
        "outputs": [_tensor_view(tensor) for tensor in metadata.outputs],
    }


def _tensor_view(tensor: TensorMetadata) -> Json:
    parameters = {"parameters": tensor.parameters} if tensor.parameters else {}
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, **parameters}


def index_view(entry: IndexEntry) -> Json:
    """One element of `POST /v2/repository/index`; empty members are left out."""
    members = {
        "name": entry.name,
        "version": entry.version,
        "state": entry.state,
        "reason": entry.reason,
        "labels": entry.labels,
        "release_problems": entry.release_problems,
        "memory_bytes": entry.memory,
        "memory_estimated": entry.memory_estimated,
    }
    return {name: value for name, value in members.items() if value}


def release_view(view: ReleaseView) -> Json:
    """`GET /v2/repository/models/M/release`. `source`: where the release is from; "" if there is none. `problems` are
    left out if there are none.
    """
    return {
        "name": view.name,
        "source": view.found.source,
        "ready_versions": [str(version) for version in view.ready],
        **release_json(view.found.release),
        **({"problems": list(view.problems)} if view.problems else {}),
    }
