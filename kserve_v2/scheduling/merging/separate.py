"""Batches for models that take the tensors of each request by themselves; see `SeparateInstance`."""

from collections.abc import Sequence
from typing import Any

from kserve_v2.errors import InternalError
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.merging.outputs import finish_outputs
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


class SeparateMerger:
    """Joins nothing and cuts nothing: a batch is a list of requests."""

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

    def check(self, outputs: Any, members: Sequence[Pending]) -> Outputs:
        """The outputs of all members in one dictionary, for their memory to be looked after: the number of its member
        stands before each name.
        """
        answers: Sequence[Tensors] = outputs
        if not isinstance(outputs, list | tuple) or len(outputs) != len(members):
            got = f"{len(outputs)} answers" if isinstance(outputs, list | tuple) else type(outputs).__name__
            raise InternalError(
                f"model '{self._signature.model_name}' gave {got} to {len(members)} requests, expected a list with one "
                "dict for each"
            )
        return {
            f"{number}:{name}": array
            for number, (pending, answer) in enumerate(zip(members, answers, strict=True))
            for name, array in finish_outputs(answer, self._signature, pending.rows).items()
        }

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The outputs of each request."""
        names = self._signature.outputs
        return [{name: outputs[f"{number}:{name}"] for name in names} for number in range(len(members))]


def _read_only(inputs: Tensors) -> dict[str, Array]:
    views = {name: array.view() for name, array in inputs.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
