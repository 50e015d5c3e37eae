"""How the requests of a batch become the tensors of one execution, and its outputs the answers to each of them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.merging.outputs import finish_outputs
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


class Merger(Protocol):
    """Compiled from a model's configuration when it is loaded. Called on the instance's thread.

    `separate`: the inputs of an execution are a list, those of each member, and so are the outputs: `check` and `split`
    are called for each member by itself. They are so for other models, too, where an instance gives a list.
    """

    @property
    def separate(self) -> bool: ...

    def merge(self, members: Sequence[Pending]) -> dict[str, Array]:
        """The inputs of one execution, as the backend wants them. Raises InternalError where the members do not fit
        together.
        """
        ...

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The outputs of one execution, as the model's configuration says. Raises InternalError where the backend gave
        something else.
        """
        ...

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The checked outputs of each member. May be views."""
        ...


class RowMerger:
    """Joins and cuts along the batch axis, by the rows of each request."""

    separate = False

    def __init__(self, signature: ModelSignature) -> None:
        self._signature = signature

    def merge(self, members: Sequence[Pending]) -> dict[str, Array]:
        """The inputs of all members, joined along axis 0."""
        if len(members) == 1:
            inputs = members[0].request.inputs
        else:
            inputs = concatenate(
                [pending.request.inputs for pending in members], [pending.rows for pending in members]
            )
        signature = self._signature
        return signature.reshape_inputs(inputs) if signature.reshapes_inputs else inputs

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The declared outputs, each with as many rows as the members have together."""
        rows = members[0].rows if len(members) == 1 else sum([pending.rows for pending in members])
        return finish_outputs(outputs, self._signature, rows)

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """Views of each member's rows."""
        return [outputs] if len(members) == 1 else split_rows(outputs, [pending.rows for pending in members])


def concatenate(requests: Sequence[Tensors], rows: Sequence[int]) -> dict[str, Array]:
    """Join the tensors of several requests along axis 0; `rows`: how many of them each request has.

    The answer is cut by `rows` alone. So a tensor with another number of rows would hand the rows of one client to
    another, even where the totals agree: it is refused here, whatever the check of the request has said. Raises
    InternalError for that, and for requests whose names, datatypes or row shapes differ.
    """
    first = requests[0]
    for tensors, expected in zip(requests, rows, strict=True):
        if tensors.keys() != first.keys():
            raise InternalError(
                f"requests with inputs {sorted(first)} and {sorted(tensors)} cannot be merged"
            )
        for name, array in tensors.items():
            if array.shape[:1] != (expected,) or array.dtype != first[name].dtype:
                raise InternalError(
                    f"input '{name}' of {array.dtype} with shape {list(array.shape)} cannot be merged: "
                    f"expected {first[name].dtype} with {expected} rows"
                )
    try:
        return {name: np.concatenate([tensors[name] for tensors in requests]) for name in first}
    except ValueError as error:
        raise InternalError(f"the requests cannot be merged: {error}") from error


def split_rows(outputs: Outputs, rows: Sequence[int]) -> list[Outputs]:
    """Cut outputs along axis 0 by the row counts recorded when the requests were merged. The parts are views."""
    parts: list[Outputs] = []
    start = 0
    for count in rows:
        stop = start + count
        parts.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return parts
