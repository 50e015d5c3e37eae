"""Batches for models that take the tensors of each request by themselves; see `SeparateInstance`."""

from collections.abc import Sequence
from typing import Any

from kserve_v2.messages import Tensors
from kserve_v2.scheduling.merging.outputs import finish_outputs, finish_requested_outputs
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


class SeparateMerger:
    """Joins nothing and cuts nothing: a batch is a list of requests."""

    separate = True

    def __init__(self, signature: ModelSignature) -> None:
        self._signature = signature

    def merge(self, members: Sequence[Pending]) -> Any:
        """The inputs of each member, as the backend wants them. Those of several members are read-only: if the batch
        fails, each is executed again with what its client has sent.
        """
        if len(members) == 1:
            return [self._reshaped(members[0].request.inputs)]
        return [self._reshaped(_read_only(pending.request.inputs)) for pending in members]

    def _reshaped(self, inputs: dict[str, Array]) -> dict[str, Array]:
        return self._signature.reshape_inputs(inputs) if self._signature.reshapes_inputs else inputs

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The declared outputs of one member; of one that has asked for some, those that are there."""
        (pending,) = members
        requested = pending.request.requested_outputs
        if requested:
            return finish_requested_outputs(outputs, self._signature, pending.rows, requested)
        return finish_outputs(outputs, self._signature, pending.rows)

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The same."""
        assert len(members) == 1  # noqa: S101 - each is answered by itself
        return [outputs]


def _read_only(inputs: Tensors) -> dict[str, Array]:
    views = {name: array.view() for name, array in inputs.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
