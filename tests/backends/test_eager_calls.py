"""What handlers call other models with, and what they get: tensors, parameters, and the requests that a call is for."""

import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kserve_v2_backends.eager.calls import Calling, make_request

from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, InferResponse


class Recorder:
    """A caller that answers with what it was given."""

    def __init__(self) -> None:
        self.served: list[Sequence[InferRequest]] = []

    def call(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        self.served.append(serving)
        return InferResponse(request.model_name, "3", "", request.inputs, {"said": True})

    async def call_async(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        return self.call(request, serving)

    def stream(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> Generator[InferResponse, None, None]:
        yield self.call(request, serving)

    async def stream_async(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> AsyncGenerator[InferResponse, None]:
        yield self.call(request, serving)


def requested(inputs: Any, **options: Any) -> InferRequest:
    arguments: dict[str, Any] = {
        "version": "",
        "outputs": (),
        "parameters": None,
        "sequence": None,
        **options,
    }
    return make_request("other", inputs, **arguments)


class TestInputs:
    def test_arrays_are_lent_and_not_copied(self) -> None:
        given = np.arange(6, dtype=np.float32).reshape(2, 3)
        array = requested({"x": given}).inputs["x"]
        assert np.shares_memory(array, given)
        assert not array.flags.writeable
        assert given.flags.writeable

    @pytest.mark.parametrize("given", [np.arange(6).reshape(2, 3).T, np.arange(8)[::2]])
    def test_others_are_copied_in_the_right_order(self, given: Any) -> None:
        array = requested({"x": given}).inputs["x"]
        assert array.flags.c_contiguous
        assert array.tolist() == given.tolist()

    def test_scalars_keep_their_shape(self) -> None:
        assert requested({"x": np.array(3)}).inputs["x"].shape == ()

    def test_all_datatypes(self) -> None:
        given = {
            "bf16": np.ones(2, ml_dtypes.bfloat16),
            "bool": np.ones(2, np.bool_),
            "u8": np.ones(2, np.uint8),
        }
        assert {name: array.dtype for name, array in requested(given).inputs.items()} == {
            name: array.dtype for name, array in given.items()
        }

    @pytest.mark.parametrize(
        "given",
        [
            np.array([["a", "ŝ"]]),
            np.array([["a", "ŝ".encode()]], dtype=object),
            np.array([[b"a", "ŝ".encode()]]),
        ],
    )
    def test_texts_become_bytes(self, given: Any) -> None:
        assert requested({"x": given}).inputs["x"].tolist() == [[b"a", "ŝ".encode()]]

    @pytest.mark.parametrize(
        ("inputs", "text"),
        [
            ({"x": [1.0]}, "input 'x': expected a numpy array or a torch tensor, got list"),
            ({"x": np.float32(1)}, "input 'x': expected a numpy array or a torch tensor, got float32"),
            ({"x": np.ones(1, np.complex64)}, "input 'x': there is no datatype for complex64"),
            ({"x": np.ones(1, ">f4")}, "input 'x': there is no datatype for >f4"),
            (
                {"x": np.array([1], dtype=object)},
                "input 'x': expected str or bytes as elements of BYTES, got int",
            ),
            ([np.ones(1)], "expected a dict of inputs, got list"),
        ],
    )
    def test_what_is_no_tensor_is_named(self, inputs: Any, text: str) -> None:
        with pytest.raises(InternalError) as caught:
            requested(inputs)
        assert caught.value.message.startswith("call of model 'other': ")
        assert text in caught.value.message

    def test_one_output_may_be_named_as_it_is(self) -> None:
        assert requested({}, outputs="scores").requested_outputs == ("scores",)

    @pytest.mark.parametrize(
        "sequence", [(True, True, False), (1.5, True, False), (1, True), 7, ("a", 1, 0), None]
    )
    def test_sequences(self, sequence: Any) -> None:
        if sequence is None:
            assert requested({}, sequence=("a", True, False)).control == {
                "sequence_id": "a",
                "sequence_start": True,
                "sequence_end": False,
            }
            return
        with pytest.raises(InternalError, match="expected \\(id, start, end\\)"):
            requested({}, sequence=sequence)


class TestWhatACallIsFor:
    def calling(self) -> tuple[Calling, Recorder]:
        recorder = Recorder()
        return Calling(recorder, "cpu", as_torch=False), recorder

    def test_the_requests_that_are_executed_unless_some_are_named(self) -> None:
        calling, recorder = self.calling()
        first, second = InferRequest("m", {}), InferRequest("m", {})
        with calling.serving([first, second]):
            answer = calling.call(requested({"x": np.ones(1)}), None)
            calling.call(requested({}), second)
            calling.call(requested({}), [first])
            list(calling.stream(requested({}), None))
        assert recorder.served == [(first, second), (second,), (first,), (first, second)]
        assert (answer.version, answer.parameters) == ("3", {"said": True})

    def test_of_a_thread_that_nothing_is_known_of_all_that_are_executed(self) -> None:
        calling, recorder = self.calling()
        first, second = InferRequest("m", {}), InferRequest("m", {})
        with calling.serving([first]), calling.serving([second]):
            thread = threading.Thread(target=calling.call, args=(requested({}), None))
            thread.start()
            thread.join()
        assert recorder.served == [(first, second)]

    def test_nothing_outside_of_an_execution(self) -> None:
        calling, recorder = self.calling()
        with calling.serving([InferRequest("m", {})]):
            pass
        with pytest.raises(InternalError, match="BLS is only supported during the 'execute' function"):
            calling.call(requested({}), None)
        with pytest.raises(InternalError, match="BLS is only supported during the 'execute' function"):
            calling.stream(requested({}), None)
        assert recorder.served == []

    @pytest.mark.parametrize("named", [[], ["request"], [None]])
    def test_what_are_no_requests_is_said(self, named: Any) -> None:
        calling, _ = self.calling()
        with (
            calling.serving([InferRequest("m", {})]),
            pytest.raises(InternalError, match="requests: expected some that the handler was called with"),
        ):
            calling.call(requested({}), named)

    def test_without_a_server_there_are_no_models(self) -> None:
        calling = Calling(None, "cpu", as_torch=False)
        with (
            calling.serving([InferRequest("m", {})]),
            pytest.raises(InternalError, match="there is no server"),
        ):
            calling.call(requested({}), None)

    def test_answers_that_cannot_be_written_to_are_copied_and_others_are_not(self) -> None:
        calling, _ = self.calling()
        given = np.ones(2)
        with calling.serving([InferRequest("m", {})]):
            lent = InferRequest("other", {"x": given})
            assert calling.call(lent, None)["x"] is given
            answer = calling.call(requested({"x": given}), None)
        assert answer["x"].flags.writeable
        assert not np.shares_memory(answer["x"], given)
