"""Data in JSON that are nested in another way than the shape says, how integers are written, and compression."""

import gzip
import json
import zlib

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import rest_carrier
from kserve_v2_conformance.inference.build import closed_form, plain_request
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.target import NotCovered, ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, array


def _matrix(target: Target) -> tuple[ServedModel, InferRequest]:
    """Two rows of three."""
    for capability in ("identity_fixed", "identity_matrix", "identity_batched"):
        if model := target.find(capability):
            tensor = Tensor(model.inputs[0].name, "FP32", (2, 3), array("FP32", [1, 2, 3, 4, 5, 6]))
            return model, InferRequest(model.name, (tensor,))
    raise NotCovered("no identity takes two rows of three")


# Data for two rows of three, and whether their elements are as many as the shape says.
_STRUCTURES: dict[str, tuple[list[object], bool]] = {
    "three-rows-of-two": ([[1, 2], [3, 4], [5, 6]], True),
    "one-row": ([[1, 2, 3, 4, 5, 6]], True),
    "deeper": ([[[1], [2], [3]], [[4], [5], [6]]], True),
    "ragged": ([[1, 2, 3, 4], [5, 6]], True),
    "mixed-depths": ([1, [2, 3], [4, [5, 6]]], True),
    "row-missing": ([[1, 2, 3]], False),
    "row-too-many": ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], False),
    "element-missing": ([[1, 2, 3], [4, 5]], False),
}


@pytest.mark.clause("REST-DATA-007")
@pytest.mark.parametrize("name", _STRUCTURES)
def test_structure(name: str, target: Target, check: Checks) -> None:
    """Nested data for two rows of three."""
    data, complete = _STRUCTURES[name]
    model, request = _matrix(target)
    body = rest_carrier.json_object(request)
    body["inputs"][0]["data"] = data
    outcome = rest_carrier.read(_send(target, model, json.dumps(body).encode()), check)
    judge = Judge(check, "json")
    if complete:
        judge.failure_or(outcome, request, closed_form(model, request.inputs), ["REST-DATA-007"])
    else:
        judge.failure(outcome, ["REST-DATA-007"], blames_client=True)


@pytest.mark.clause("REST-DATA-008")
@pytest.mark.parametrize("datatype", ["INT32", "INT64", "UINT8"])
def test_integers(datatype: str, target: Target, check: Checks) -> None:
    """How the elements of integer tensors are written."""
    model = target.model(f"identity.{datatype}")
    request = plain_request(model)
    _succeeds(target, check, "REST-DATA-008", model, request, {})


def _send(
    target: Target, model: ServedModel, body: bytes, headers: dict[str, str] | None = None
) -> RestAnswer:
    return target.rest.post(
        f"{model.path}/infer", body, {"Content-Type": "application/json", **(headers or {})}
    )


def _plain(target: Target) -> tuple[ServedModel, InferRequest]:
    model = target.model("identity")
    if model.inputs[0].datatype in ("FP16", "BF16"):
        raise NotCovered("JSON carries no FP16 and BF16")
    return model, plain_request(model)


def _succeeds(
    target: Target,
    check: Checks,
    clause: str,
    model: ServedModel,
    request: InferRequest,
    headers: dict[str, str],
) -> RestAnswer:
    answer = _send(target, model, rest_carrier.encode_json(request).body, headers)
    outcome = rest_carrier.read(answer, check)
    Judge(check, "json").success(outcome, request, closed_form(model, request.inputs), [clause])
    return answer


@pytest.mark.clause("REST-INFER-030")
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
def test_coding_of_answer(coding: str, target: Target, check: Checks) -> None:
    """What the request accepts, and nothing else."""
    model, request = _plain(target)
    answer = _succeeds(target, check, "REST-INFER-030", model, request, {"Accept-Encoding": coding})
    used = answer.headers.get("content-encoding", "identity")
    check.that("REST-INFER-030", "Content-Encoding", used in ("identity", coding), f"{coding}, or none", used)


@pytest.mark.clause("REST-INFER-031")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_coding_of_request(coding: str, target: Target, check: Checks) -> None:
    """A body that is compressed: understood, or refused."""
    model, request = _plain(target)
    body = rest_carrier.encode_json(request).body
    compressed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    outcome = rest_carrier.read(_send(target, model, compressed, {"Content-Encoding": coding}), check)
    Judge(check, "json").failure_or(outcome, request, closed_form(model, request.inputs), ["REST-INFER-031"])
