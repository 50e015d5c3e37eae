"""Implicit state: what a model gives as one of its outputs, its sequence's next step gets as an input.

The state lies with its sequence, in `SequenceStep.state`, by the name of the input: not in the instance, and never on
the wire. At most one step of a sequence is under way, so the thread that executes it is alone with its state.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.messages import SequenceStep, Tensors
from kserve_v2.scheduling.merging.outputs import fit_output
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BYTES, Array


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One state. `input`: the name under which the model is given it. `output`: what it gives. `initial`: what the
    first step of a sequence is given, with its batch dimension if the model batches; nobody may write to it.
    """

    input: str
    output: TensorSignature
    initial: Array

    def before(self, step: SequenceStep) -> Array:
        """What the model is given for this step."""
        return step.state.get(self.input, self.initial)


def state_key(states: Sequence[StateTensor], step: SequenceStep) -> Hashable:
    """Steps can share an execution if their keys are equal: states that grow have to be of one size."""
    return tuple([state.before(step).shape for state in states if not state.output.fixed]) or None


class StateMerger:
    """A merger around another: it adds the states to the inputs, and keeps what the model makes of them."""

    def __init__(self, inner: Merger, states: Sequence[StateTensor], signature: ModelSignature) -> None:
        self.separate = inner.separate
        self._inner = inner
        self._states = states
        self._signature = signature

    def merge(self, members: Sequence[Pending]) -> Any:
        """The inputs of one execution, the state of each member among them; zeros for one that stands in for none."""
        inputs: Any = self._inner.merge(members)
        steps = [_step(pending) for pending in members]
        if self.separate:
            return [{**each, **self._before([step])} for each, step in zip(inputs, steps, strict=True)]
        return {**inputs, **self._before(steps)}

    def _before(self, steps: Sequence[SequenceStep]) -> dict[str, Array]:
        return {state.input: _joined(state, steps) for state in self._states}

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The outputs as the configuration says, and under names that no output has, the states."""
        checked = dict(self._inner.check(outputs, members))
        for state in self._states:
            name = state.output.name
            if name not in outputs:
                raise InternalError(
                    f"model '{self._signature.model_name}' gave no output '{name}', the state of its sequences, got "
                    f"{sorted(map(str, outputs))}"
                )
            given = fit_output(outputs[name], state.output, self._signature, len(members))
            # What is answered as well may be written to, or be kept, by whoever gets it.
            checked[_key(state)] = given.copy() if name in checked else given
        return checked

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The outputs of each member, without its state, which is its sequence's from now on."""
        kept = {_key(state) for state in self._states}
        parts = self._inner.split({n: array for n, array in outputs.items() if n not in kept}, members)
        for state in self._states:
            rows = outputs[_key(state)]
            for index, pending in enumerate(members):
                step = _step(pending)
                if step.ready:
                    step.state[state.input] = _own(rows, index, len(members))
        return parts


def _key(state: StateTensor) -> str:
    """Where a state is kept among the outputs of an execution: it may be one of those as well."""
    return f"\0{state.input}"


def _step(pending: Pending) -> SequenceStep:
    step = pending.request.sequence
    assert step is not None  # noqa: S101 - every request of such a model has one
    return step


def _joined(state: StateTensor, steps: Sequence[SequenceStep]) -> Array:
    if len(steps) == 1:
        return state.before(steps[0])
    # Who stands in for nobody has the size of those that are there.
    size = next((state.before(step).shape for step in steps if step.ready), state.initial.shape)
    nothing = zeros(state.output, size)
    try:
        return np.concatenate([state.before(step) if step.ready else nothing for step in steps])
    except ValueError as error:
        raise InternalError(f"states '{state.input}' of different sizes cannot be merged: {error}") from error


def zeros(tensor: TensorSignature, shape: tuple[int, ...]) -> Array:
    """A state of nothing: zeros, or empty texts."""
    if tensor.datatype is BYTES:
        return np.full(shape, b"", np.object_)
    return np.zeros(shape, tensor.datatype.dtype)


def _own(rows: Array, index: int, count: int) -> Array:
    """The state of one member, which holds no memory of the others'. A failed execution must leave it as it is, so
    models that write to their inputs are given a copy.
    """
    state = rows if count == 1 else rows[index : index + 1].copy()
    state.flags.writeable = False
    return state
