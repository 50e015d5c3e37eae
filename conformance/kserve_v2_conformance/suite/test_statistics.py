"""The statistics extension."""

from typing import Any

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferRequest
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.statistics import duration, is_duration, statistics, statistics_of
from kserve_v2_conformance.suite.support import UNKNOWN_MODEL, both, eventually, protocol, request_of
from kserve_v2_conformance.target import Target, model_path
from kserve_v2_conformance.tensors import Tensor, array

_COUNTS = ("last_inference", "inference_count", "execution_count")
_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


def _count(entry: dict[str, Any], name: str) -> int:
    return duration(entry, "inference_stats", name)["count"]


@both("STAT-001")
def test_members(carrier: str, target: Target, check: Checks) -> None:
    """The members of an entry."""
    clause, model = f"{protocol(carrier)}-STAT-001", target.model("identity")
    infer(target, request_of(model, [1]), carrier, check)
    entry = statistics_of(target, carrier, model)
    check.has_type(clause, "version", entry.get("version", ""), str)
    for name in _COUNTS:
        check.has_type(clause, name, entry.get(name), int)
    for name in _DURATIONS:
        seen = entry.get("inference_stats", {}).get(name)
        check.that(clause, name, is_duration(seen), "count and ns", repr(seen))
    check.has_type(clause, "batch_stats", entry.get("batch_stats"), list)


@both("STAT-002")
def test_success(carrier: str, target: Target, check: Checks) -> None:
    """One more success."""
    clause, model = f"{protocol(carrier)}-STAT-002", target.model("identity.INT32")
    before = statistics_of(target, carrier, model)
    infer(target, request_of(model, [1]), carrier, check)
    counted = eventually(
        lambda: _count(statistics_of(target, carrier, model), "success") > _count(before, "success")
    )
    after = statistics_of(target, carrier, model)
    check.that(
        clause,
        "count of success",
        counted,
        "one more",
        f"{_count(before, 'success')}, then {_count(after, 'success')}",
    )
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        check.equal(clause, f"count of {name}", _count(after, name), _count(before, name) + 1)
    check.equal(clause, "count of fail", _count(after, "fail"), _count(before, "fail"))


@both("STAT-003", "STAT-006")
def test_batch(carrier: str, target: Target, check: Checks) -> None:
    """A batch of four rows: four inferences, one execution."""
    prefix, model = protocol(carrier), target.model("identity_batched")
    before = statistics_of(target, carrier, model)
    tensor = model.inputs[0]
    rows = Tensor(tensor.name, tensor.datatype, (4, 3), array(tensor.datatype, list(range(12))))
    outcome = infer(target, InferRequest(model.name, (rows,)), carrier, check)
    check.that(
        f"{prefix}-STAT-003", "a valid request", not isinstance(outcome, Failure), "success", str(outcome)
    )
    eventually(lambda: statistics_of(target, carrier, model)["inference_count"] != before["inference_count"])
    after = statistics_of(target, carrier, model)
    for name, more in (("inference_count", 4), ("execution_count", 1)):
        check.equal(f"{prefix}-STAT-003", name, after[name], before[name] + more)
    sizes = [each.get("batch_size") for each in after.get("batch_stats", [])]
    check.that(f"{prefix}-STAT-006", "batch sizes", 4 in sizes, "4 among them", str(sizes))


@both("STAT-004")
def test_all_models(carrier: str, target: Target, check: Checks) -> None:
    """Statistics without a model's name."""
    wanted = {target.model("identity").name, target.model("add_sub").name}
    names = {entry.get("name") for entry in statistics(target, carrier)}
    check.that(
        f"{protocol(carrier)}-STAT-004", "models", wanted <= names, f"{sorted(wanted)} among them", str(names)
    )


@pytest.mark.clause("REST-STAT-005")
def test_unknown_model(target: Target, check: Checks) -> None:
    """Statistics of a model that does not exist."""
    answer = target.rest.get(f"{model_path(UNKNOWN_MODEL)}/stats")
    check.that("REST-STAT-005", "status", answer.status >= 400, "an error status", str(answer.status))
    check.that(
        "REST-STAT-005",
        "body",
        answer.error is not None,
        "an error object",
        answer.body.decode(errors="replace"),
    )


@pytest.mark.clause("GRPC-STAT-005")
def test_grpc_unknown_model(target: Target, check: Checks) -> None:
    """ModelStatistics of a model that does not exist."""
    answer = target.grpc.call(pb.ModelStatisticsRequest(name=UNKNOWN_MODEL), pb.ModelStatisticsResponse)
    check.that("GRPC-STAT-005", "status", isinstance(answer, GrpcError), "an error", str(answer) or "OK")
