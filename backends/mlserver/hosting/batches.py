"""Several requests as one, as MLServer joins them, and the answer to it as one for each."""

from collections.abc import Sequence
from math import prod
from typing import Any

from mlserver.errors import InferenceError
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    TensorData,
)


class CannotJoinError(Exception):
    """The requests do not fit together: each is to be executed by itself."""


class Batch:
    """Some requests that are executed together: rows of the one lie behind those of the other."""

    def __init__(self, requests: Sequence[InferenceRequest]) -> None:
        """Raises CannotJoinError."""
        self._requests = requests
        self._rows = [_rows(request) for request in requests]
        self.merged = self._merge()

    def _merge(self) -> InferenceRequest:
        first, *others = self._requests
        names = [each.name for each in first.inputs]
        for other in others:
            if sorted(each.name for each in other.inputs) != sorted(names) or (
                _described(other) != _described(first)
            ):
                raise CannotJoinError
        by_name = [{each.name: each for each in request.inputs} for request in self._requests]
        merged = InferenceRequest.model_construct(
            inputs=[_joined([inputs[name] for inputs in by_name]) for name in names]
        )
        if first.parameters is not None:
            merged.parameters = Parameters(**first.parameters.model_dump(exclude={"headers"}))
            merged.parameters.headers = _common_headers(self._requests)
        if first.outputs is not None:
            merged.outputs = [RequestOutput(**each.model_dump()) for each in first.outputs]
        return merged

    def split(self, response: InferenceResponse) -> list[InferenceResponse]:
        """The answer to each. Raises InferenceError where an output has not as many rows as the batch."""
        parts = [self._parts(output) for output in response.outputs]
        answers = []
        for index in range(len(self._requests)):
            answer = response.model_copy()
            answer.outputs = [each[index] for each in parts]
            if response.parameters is not None:
                answer.parameters = response.parameters.model_copy()
            answers.append(answer)
        return answers

    def _parts(self, output: ResponseOutput) -> list[ResponseOutput]:
        rows = sum(self._rows)
        data = getattr(output.data, "root", output.data)
        size = prod(output.shape[1:])
        if not output.shape or output.shape[0] != rows or not hasattr(data, "__len__"):
            raise InferenceError(
                f"output '{output.name}' has shape {output.shape} for a batch of {rows} rows: a model with "
                "max_batch_size > 1 answers one row per row"
            )
        # Nested lists have a row in each element, flat ones a number.
        step = 1 if len(data) == rows else size
        if len(data) != rows * step:
            raise InferenceError(
                f"output '{output.name}' of shape {output.shape} has {len(data)} elements, expected {rows * size}"
            )
        parts, start = [], 0
        for count in self._rows:
            parts.append(
                output.model_copy(
                    update={
                        "shape": [count, *output.shape[1:]],
                        "data": type(output.data)(data[start : start + count * step]),
                    }
                )
            )
            start += count * step
        return parts


def _common_headers(requests: Sequence[InferenceRequest]) -> dict[str, Any]:
    """Those that all have: what one client says of itself is not said of the others."""
    first, *others = (
        (each.parameters.headers if each.parameters is not None else None) or {} for each in requests
    )
    return {
        name: value
        for name, value in first.items()
        if all(name in each and each[name] == value for each in others)
    }


def _rows(request: InferenceRequest) -> int:
    rows = {each.shape[0] if each.shape else 0 for each in request.inputs}
    if len(rows) != 1 or 0 in rows:
        raise CannotJoinError
    return rows.pop()


def _described(request: InferenceRequest) -> Any:
    """What has to be the same for requests to share a batch: all but rows, ids and headers."""
    parameters = request.parameters.model_dump(exclude={"headers"}) if request.parameters is not None else {}
    return (
        {
            each.name: (
                str(each.datatype),
                each.shape[1:],
                each.parameters.model_dump() if each.parameters is not None else {},
            )
            for each in request.inputs
        },
        [each.model_dump() for each in request.outputs] if request.outputs is not None else None,
        parameters,
    )


def _joined(tensors: Sequence[RequestInput]) -> RequestInput:
    data: list[Any] = []
    nested = set()
    for each in tensors:
        elements = getattr(each.data, "root", each.data)
        if not isinstance(elements, list):
            raise CannotJoinError
        nested.add(bool(elements) and isinstance(elements[0], list))
        # Lists of numbers have an element for each, whatever else is only right if there is one for each row.
        if len(elements) not in (each.shape[0], prod(each.shape)):
            raise CannotJoinError
        data += elements
    if len(nested) > 1:
        raise CannotJoinError
    first = tensors[0]
    made = first.model_copy()
    made.shape = [sum(each.shape[0] for each in tensors), *first.shape[1:]]
    made.data = TensorData.model_construct(root=data)
    return made
