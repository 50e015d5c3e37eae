"""Whatever the check of a request lets through, merging and splitting give each client exactly its own rows.

The models are those that the other tests serve and the examples, with their completed configurations, and some whose
inputs may be missing, vary or have no dimensions of their own.
"""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.messages import InferRequest
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.candidate import read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version
from kserve_v2.scheduling.merging.rows import RowMerger, concatenate, split_rows
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BYTES, Array
from tests.scheduling.targets import NOBODY
from tests.wire.servers import make_repository

_TESTS = Path(__file__).parents[1]
_OWN = (
    'name: "two" max_batch_size: 8 input [{ name: "A" data_type: TYPE_INT32 dims: [2] },'
    ' { name: "B" data_type: TYPE_FP32 dims: [1] }]',
    'name: "optional" max_batch_size: 8 input [{ name: "A" data_type: TYPE_INT32 dims: [2] },'
    ' { name: "B" data_type: TYPE_FP32 dims: [1] optional: true }]',
    'name: "varying" max_batch_size: 8 input [{ name: "A" data_type: TYPE_INT64 dims: [-1] },'
    ' { name: "B" data_type: TYPE_STRING dims: [-1, 2] }]',
    'name: "scalars" max_batch_size: 8 input [{ name: "A" data_type: TYPE_INT32 dims: [1] reshape { } },'
    ' { name: "B" data_type: TYPE_BOOL dims: [2] reshape { shape: [2, 1] } }]',
)


def _served(*roots: Path) -> list[ModelSignature]:
    registry = BackendRegistry()
    found = []
    for root in roots:
        options = RepositoryOptions((root,))
        # What has an empty version is an ensemble, which merges nothing.
        for path in sorted({each.parent.parent for each in root.glob("*/1/*")}):
            candidate = read_candidate(path.name, options)
            config = prepare_version(candidate, candidate.versions[0], options, registry).config
            found.append(ModelSignature(config))
    return found


@pytest.fixture(scope="module")
def batching_models(tmp_path_factory: pytest.TempPathFactory) -> list[ModelSignature]:
    wire = make_repository(_TESTS / "wire/models", tmp_path_factory.mktemp("wire"))
    signatures = [
        *_served(wire, _TESTS.parent / "model_repository"),
        *(ModelSignature(text_format.Parse(text, ModelConfig())) for text in _OWN),
    ]
    return [each for each in signatures if each.max_batch_size > 1 and each.inputs]


def _tagged(shape: tuple[int, ...], dtype: "np.dtype[np.generic]", tag: int) -> Array:
    """An array of which each element says whose it is."""
    if dtype == BYTES.dtype:
        array = np.empty(shape, dtype)
        array[...] = b"%d" % tag
        return array
    return np.full(shape, tag % 2 if dtype == np.bool_ else tag, dtype)


@st.composite
def _requests(draw: st.DrawFn, model: ModelSignature, tag: int) -> InferRequest:
    """A request that may well be wrong: rows that differ between inputs, are none, or too many; missing inputs."""
    usual = draw(st.integers(0, 3))
    inputs = {}
    for name in draw(st.permutations(sorted(model.inputs))):
        tensor = model.inputs[name]
        if draw(st.integers(0, 9)) == 0:
            continue
        rows = draw(st.integers(0, 4)) if draw(st.integers(0, 2)) == 0 else usual
        dims = tuple(draw(st.integers(0, 2)) if dim == -1 else dim for dim in tensor.dims)
        inputs[name] = _tagged((rows, *dims), tensor.datatype.dtype, tag)
    return InferRequest(model.model_name, inputs)


def _accepted(model: ModelSignature, requests: list[InferRequest]) -> list[InferRequest]:
    accepted = []
    for request in requests:
        try:
            request.rows, request.batch_key = model.check(request)
        except InvalidArgumentError:
            continue
        accepted.append(request)
    return accepted


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_each_request_gets_back_exactly_its_own_rows(
    batching_models: list[ModelSignature], data: st.DataObject
) -> None:
    model = data.draw(st.sampled_from(batching_models), label="model")
    drawn = [data.draw(_requests(model, tag)) for tag in range(1, data.draw(st.integers(2, 5)) + 1)]
    accepted = _accepted(model, drawn)
    assume(accepted)
    batch = [request for request in accepted if request.batch_key == accepted[0].batch_key]
    members = [Pending(request, NOBODY) for request in batch]

    merged = RowMerger(model).merge(members)
    parts = split_rows(merged, [member.rows for member in members])

    for request, part in zip(batch, parts, strict=True):
        assert part.keys() == request.inputs.keys()
        for name, sent in request.inputs.items():
            assert len(part[name]) == request.rows == len(sent)
            assert part[name].ravel().tolist() == sent.ravel().tolist()


@pytest.mark.parametrize(
    ("other", "text"),
    [
        # The totals agree: 0 + 2 rows of A and 1 + 1 of B. Cut by rows, the first client would get a row of the second.
        (
            {"A": np.zeros((2, 2), np.float32), "B": np.zeros((1, 2), np.float32)},
            "expected float32 with 1 rows",
        ),
        ({"A": np.zeros((1, 2), np.float32)}, "cannot be merged"),
        ({"A": np.zeros((1, 2), np.float32), "B": np.zeros((1, 2), np.int32)}, "'B' of int32"),
        ({"A": np.zeros((1, 3), np.float32), "B": np.zeros((1, 2), np.float32)}, "cannot be merged"),
        ({"A": np.zeros((1, 2), np.float32), "B": np.float32(1)[...]}, "with shape []"),
    ],
)
def test_what_does_not_add_up_is_not_merged(other: dict[str, Array], text: str) -> None:
    first = {"A": np.zeros((1, 2), np.float32), "B": np.zeros((1, 2), np.float32)}
    with pytest.raises(InternalError) as error:
        concatenate([first, other], [1, 1])
    assert text in error.value.message


def test_an_input_without_rows_is_not_taken_for_one_that_was_not_looked_at_yet() -> None:
    model = ModelSignature(text_format.Parse(_OWN[0], ModelConfig()))
    inputs = {"A": np.zeros((0, 2), np.int32), "B": np.zeros((1, 1), np.float32)}
    with pytest.raises(InvalidArgumentError, match="input 'B' batch size does not match other inputs"):
        model.check(InferRequest("two", inputs))
