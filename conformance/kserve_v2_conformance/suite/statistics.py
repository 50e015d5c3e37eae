"""The calls of the statistics extension, for the files of cases about it."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import UnreadableAnswer
from kserve_v2_conformance.target import ServedModel, Target, model_path


def statistics(target: Target, carrier: str, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """The entries of `model_stats`, in the form that REST has; those of all models without a name.

    Raises UnreadableAnswer.
    """
    if carrier == "json":
        path = f"{model_path(name, version)}/stats" if name else "/v2/models/stats"
        answer = target.rest.get(path)
        entries = answer.object().get("model_stats")
        if answer.status != 200 or not isinstance(entries, list):
            raise UnreadableAnswer(f"{path}: {answer.status} without model_stats")
        return entries
    request = pb.ModelStatisticsRequest(name=name, version=version)
    message = target.grpc.succeed(request, pb.ModelStatisticsResponse)
    document = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return [_with_numbers(each) for each in document["model_stats"]]


def _with_numbers(value: Any) -> Any:
    """protobuf's JSON has 64-bit integers as strings."""
    if isinstance(value, dict):
        return {
            key: each if key in ("name", "version", "type") else _with_numbers(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def statistics_of(target: Target, carrier: str, model: ServedModel, version: str = "") -> dict[str, Any]:
    """The only entry of a model, or of one of its versions. Raises UnreadableAnswer."""
    entries = statistics(target, carrier, model.name, version)
    if len(entries) != 1 or entries[0].get("name") != model.name:
        raise UnreadableAnswer(
            f"statistics of {model.name} have the entries {[each.get('name') for each in entries]}"
        )
    return entries[0]


def duration(entry: dict[str, Any], *path: str) -> dict[str, int]:
    """A duration of an entry, without time where it is none: `duration(entry, "inference_stats", "success")`."""
    for name in path:
        entry = entry.get(name) or {}
    return entry if is_duration(entry) else {"count": 0, "ns": 0}


def is_duration(value: object) -> bool:
    """Whether a value has `count` and `ns`, integers that are not negative."""
    members = [value.get(name) for name in ("count", "ns")] if isinstance(value, dict) else [None]
    return all(type(each) is int and each >= 0 for each in members)
