"""Traces in Triton's JSON form: a flat list of objects, which belong together by their id."""

from typing import Any

from kserve_v2.tensors.datatypes import BY_DTYPE, Array
from kserve_v2.tracing.trace import Trace

Json = dict[str, Any]


def trace_objects(trace: Trace) -> list[Json]:
    """The objects of one trace: who it is, when things happened, what the tensors were; then those of its children."""
    return [
        _identity(trace),
        *({"id": trace.id, "timestamps": [{"name": name, "ns": ns}]} for name, ns in trace.times),
        *(
            {"id": trace.id, "activity": activity, "tensor": _tensor(name, array)}
            for activity, name, array in trace.tensors
        ),
        *(each for child in trace.children for each in trace_objects(child)),
    ]


def _identity(trace: Trace) -> Json:
    version = {"model_version": int(trace.model_version)} if trace.model_version else {}
    request_id = {"request_id": trace.request_id} if trace.request_id else {}
    parent = {"parent_id": trace.parent_id} if trace.parent_id else {}
    return {"id": trace.id, "model_name": trace.model_name, **version, **request_id, **parent}


def _tensor(name: str, array: Array) -> Json:
    datatype = BY_DTYPE[array.dtype].name
    return {
        "name": name,
        "data": ",".join(map(_element, array.ravel().tolist())),
        "shape": ",".join(map(str, array.shape)),
        "dtype": datatype,
    }


def _element(value: object) -> str:
    """One element, as Triton writes it: truth as 0 or 1, text in quotes."""
    if isinstance(value, bool):
        return str(int(value))
    return f'"{value.decode(errors="replace")}"' if isinstance(value, bytes) else str(value)
