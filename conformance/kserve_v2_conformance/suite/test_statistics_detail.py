"""The statistics extension: versions, failures, times, responses and batches."""

from time import time
from typing import Any

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.statistics import duration, is_duration, statistics, statistics_of
from kserve_v2_conformance.suite.support import (
    UNKNOWN_VERSION,
    both,
    eventually,
    protocol,
    refused,
    request_of,
)
from kserve_v2_conformance.target import NotCovered, ServedModel, Target, model_path
from kserve_v2_conformance.tensors import Tensor, array

_OF_A_RESPONSE = ("compute_infer", "compute_output", "success", "fail", "empty_response", "cancel")
_OF_A_BATCH = ("compute_input", "compute_infer", "compute_output")
_WAIT_MS = 20
# A clock of another machine, and one that has just been set.
_A_DAY_MS = 86_400_000


@both("STAT-007")
def test_cache(carrier: str, target: Target, check: Checks) -> None:
    """Hits and misses of the cache, whether or not the model has one."""
    clause, model = f"{protocol(carrier)}-STAT-007", target.model("identity")
    entry = statistics_of(target, carrier, model)
    for name in ("cache_hit", "cache_miss"):
        seen = entry.get("inference_stats", {}).get(name)
        check.that(clause, name, is_duration(seen), "count and ns", repr(seen))


@pytest.mark.needs("decoupled")
@both("STAT-008", "STAT-016")
def test_responses(carrier: str, target: Target, check: Checks) -> None:
    """Two responses to one request."""
    prefix, model = protocol(carrier), target.model("repeat")

    def successes(entry: dict[str, Any]) -> list[int]:
        return [duration(entry, "response_stats", key, "success")["count"] for key in ("0", "1")]

    before = successes(statistics_of(target, carrier, model))
    list(target.grpc.stream([grpc_carrier.encode_raw(request_of(model, [7], [2]))]))
    expected = [count + 1 for count in before]
    eventually(lambda: successes(statistics_of(target, carrier, model)) == expected)
    after = statistics_of(target, carrier, model)
    check.equal(f"{prefix}-STAT-016", "success of the responses 0 and 1", successes(after), expected)
    responses = after.get("response_stats")
    if check.has_type(f"{prefix}-STAT-008", "response_stats", responses, dict):
        for key, each in (responses or {}).items():
            missing = [name for name in _OF_A_RESPONSE if not is_duration(each.get(name))]
            check.equal(f"{prefix}-STAT-008", f"what response {key} lacks", missing, [])


def _versioned(target: Target) -> ServedModel:
    model = target.model("versions")
    if len(model.versions) < 2:
        raise NotCovered(f"the metadata of {model.name} list fewer than two versions")
    return model


@both("STAT-009")
def test_version(carrier: str, target: Target, check: Checks) -> None:
    """One request to the first version: its statistics count it, those of the last do not."""
    clause, model = f"{protocol(carrier)}-STAT-009", _versioned(target)
    first, last = model.versions[0], model.versions[-1]

    def counts() -> list[int]:
        entries = [statistics_of(target, carrier, model, version) for version in (first, last)]
        check.equal(clause, "versions", [each.get("version") for each in entries], [first, last])
        return [int(each.get("inference_count", 0)) for each in entries]

    before = counts()
    infer(target, request_of(model, [5], version=first), carrier, check)
    eventually(lambda: counts() != before)
    check.equal(clause, "inference_count of both", counts(), [before[0] + 1, before[1]])


@both("STAT-010")
def test_all_versions(carrier: str, target: Target, check: Checks) -> None:
    """An entry for each version."""
    model = _versioned(target)
    seen = [str(each.get("version")) for each in statistics(target, carrier, model.name)]
    check.equal(f"{protocol(carrier)}-STAT-010", "versions", sorted(seen), sorted(model.versions))


@pytest.mark.clause("REST-STAT-011")
def test_unknown_version(target: Target, check: Checks) -> None:
    """Statistics of a version that does not exist."""
    path = model_path(target.model("identity").name, UNKNOWN_VERSION)
    refused(check, "REST-STAT-011", target.rest.get(f"{path}/stats"))


@pytest.mark.clause("GRPC-STAT-011")
def test_grpc_unknown_version(target: Target, check: Checks) -> None:
    """ModelStatistics of a version that does not exist."""
    request = pb.ModelStatisticsRequest(name=target.model("identity").name, version=UNKNOWN_VERSION)
    answer = target.grpc.call(request, pb.ModelStatisticsResponse)
    check.that("GRPC-STAT-011", "status", isinstance(answer, GrpcError), "an error", str(answer) or "OK")


@both("STAT-012")
def test_failure(carrier: str, target: Target, check: Checks) -> None:
    """One more failure of a model that fails."""
    clause, model = f"{protocol(carrier)}-STAT-012", target.model("failing")

    def counts() -> list[int]:
        entry = statistics_of(target, carrier, model)
        return [duration(entry, "inference_stats", name)["count"] for name in ("fail", "success")]

    before = counts()
    infer(target, request_of(model, [1]), carrier, check)
    eventually(lambda: counts() != before)
    check.equal(clause, "counts of fail and success", counts(), [before[0] + 1, before[1]])


@both("STAT-013")
def test_last_inference(carrier: str, target: Target, check: Checks) -> None:
    """The time of an inference of now, within a day: the two machines' clocks may differ."""
    clause, model = f"{protocol(carrier)}-STAT-013", target.model("identity")

    def last() -> int:
        return int(statistics_of(target, carrier, model).get("last_inference", 0))

    before = last()
    infer(target, request_of(model, [1]), carrier, check)
    now = time() * 1000
    eventually(lambda: last() > before)
    seen = last()
    kept = seen >= before and abs(seen - now) < _A_DAY_MS
    check.that(clause, "last_inference", kept, f"about {now:.0f}, not before {before}", seen)


@both("STAT-014")
def test_durations(carrier: str, target: Target, check: Checks) -> None:
    """A model that takes 20 ms."""
    clause, model = f"{protocol(carrier)}-STAT-014", target.model("slow")

    def times() -> dict[str, int]:
        entry = statistics_of(target, carrier, model)
        return {name: duration(entry, "inference_stats", name)["ns"] for name in ("success", "compute_infer")}

    before = times()
    infer(target, request_of(model, [_WAIT_MS]), carrier, check)
    least = {name: ns + _WAIT_MS * 1_000_000 for name, ns in before.items()}
    eventually(lambda: all(ns >= least[name] for name, ns in times().items()))
    for name, ns in times().items():
        check.that(clause, f"ns of {name}", ns >= least[name], f"{least[name]} or more", ns)


@both("STAT-015")
def test_batches(carrier: str, target: Target, check: Checks) -> None:
    """One execution of two rows."""
    clause, model = f"{protocol(carrier)}-STAT-015", target.model("identity_batched")

    def of_two() -> dict[str, Any]:
        listed = statistics_of(target, carrier, model).get("batch_stats") or []
        return next((each for each in listed if each.get("batch_size") == 2), {})

    before = of_two()
    tensor = model.inputs[0]
    rows = Tensor(tensor.name, tensor.datatype, (2, 3), array(tensor.datatype, list(range(6))))
    infer(target, InferRequest(model.name, (rows,)), carrier, check)
    eventually(lambda: of_two() != before)
    after = of_two()
    for name in _OF_A_BATCH:
        check.that(clause, name, is_duration(after.get(name)), "count and ns", repr(after.get(name)))
        check.equal(
            clause, f"count of {name}", duration(after, name)["count"], duration(before, name)["count"] + 1
        )
