"""Batches in which some requests cannot be decoded: the others are executed without them."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import Answers, InferRequest, Tensors

T = TypeVar("T")


class UndecodableError(InvalidArgumentError):
    """Elements of inputs that are not what they should be. `rows`: by row, the input, and what is wrong with it."""

    def __init__(self, rows: Mapping[int, tuple[str, str]], *, batched: bool, count: int) -> None:
        """Out of `count` rows; or elements, of a model that does not batch."""
        self.rows = rows
        self.batched = batched
        row, (name, text) = min(rows.items())
        at = "" if count == 1 else f", row {row}" if batched else f", element {row}"
        super().__init__(f"input '{name}'{at}: {text}")


Errors = Sequence[UndecodableError | None]
"""For each request of a batch: None for one that can be decoded."""


def without_undecodable(
    error: UndecodableError, tensors: Tensors, requests: Sequence[InferRequest]
) -> tuple[Tensors, list[InferRequest], Errors]:
    """What is left of a batch, which is joined by rows: tensors and requests."""
    errors: list[UndecodableError | None] = []
    rows: list[int] = []
    start = 0
    for request in requests:
        own = range(start, start + request.rows)
        start += request.rows
        wrong = {row - own.start: error.rows[row] for row in own if row in error.rows}
        if wrong:
            errors.append(UndecodableError(wrong, batched=error.batched, count=request.rows))
        else:
            errors.append(None)
            rows += own
    return {name: array[rows] for name, array in tensors.items()}, decodable(requests, errors), errors


def decodable(each: Sequence[T], errors: Errors) -> list[T]:
    """Those of the requests that can be decoded."""
    return [one for one, error in zip(each, errors, strict=True) if error is None]


def merge_answers(answers: Answers, requests: Sequence[InferRequest], errors: Errors) -> Answers:
    """An answer to each request of a batch, the errors among them. `answers`: those to the `requests` that were
    executed.
    """
    if isinstance(answers, Mapping):
        answers = _split(answers, requests)
    given = iter(answers)
    return [next(given) if error is None else error for error in errors]


def _split(outputs: Tensors, requests: Sequence[InferRequest]) -> list[Tensors]:
    parts: list[Tensors] = []
    start = 0
    for request in requests:
        stop = start + request.rows
        parts.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return parts
