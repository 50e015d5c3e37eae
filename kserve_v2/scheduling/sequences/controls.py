"""The tensors that tell a model where in its sequence each row of a batch stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelSequenceBatching
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import SequenceStep
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.pending import Pending
from kserve_v2.tensors.datatypes import BOOL, BY_CONFIG_ENUM, BYTES, FP32, INT32, UINT64, Array, Datatype

_Control = ModelSequenceBatching.Control

_FLAGS: dict[int, Callable[[SequenceStep], bool]] = {
    _Control.CONTROL_SEQUENCE_START: lambda step: step.start,
    _Control.CONTROL_SEQUENCE_READY: lambda step: step.ready,
    _Control.CONTROL_SEQUENCE_END: lambda step: step.end,
}


@dataclass(frozen=True, slots=True)
class Flag:
    """A control that is one of two values. `kind`: of the schema."""

    name: str
    kind: int
    datatype: Datatype
    values: tuple[float, float]

    def of(self, steps: Sequence[SequenceStep]) -> Array:
        """One value for each step."""
        holds = _FLAGS[self.kind]
        return np.array([self.values[holds(step)] for step in steps], self.datatype.dtype)


@dataclass(frozen=True, slots=True)
class CorrelationId:
    """The control that is the sequence's id."""

    name: str
    datatype: Datatype

    def of(self, steps: Sequence[SequenceStep]) -> Array:
        """One id for each step; 0, or no text, for one that is not ready."""
        if self.datatype is BYTES:
            array: Array = np.empty(len(steps), object)
            array[:] = [str(step.id).encode(errors="replace") if step.ready else b"" for step in steps]
            return array
        return np.array([step.id for step in steps], self.datatype.dtype)

    def check(self, sequence_id: int | str, model_name: str) -> None:
        """Raise InvalidArgumentError for an id that the tensor cannot hold: a part of it could be another's."""
        given = BYTES if isinstance(sequence_id, str) else UINT64
        if (given is BYTES) is not (self.datatype is BYTES):
            raise InvalidArgumentError(
                f"sequence batching control '{self.name}' data-type is '{given.name}', but model '{model_name}' "
                f"expects '{self.datatype.name}'"
            )
        if isinstance(sequence_id, int):
            most = int(np.iinfo(self.datatype.dtype).max)
            if sequence_id > most:
                raise InvalidArgumentError(
                    f"sequence batching control '{self.name}' of model '{model_name}' is of data-type "
                    f"'{self.datatype.name}', which holds correlation IDs up to {most}, got {sequence_id}"
                )


class Controls:
    """The control inputs of one model, compiled from its valid configuration."""

    def __init__(self, config: ModelConfig) -> None:
        self._model_name = config.name
        self._batched = config.max_batch_size > 0
        self._flags: list[Flag] = []
        self._correlation_id: CorrelationId | None = None
        for entry in config.sequence_batching.control_input:
            for control in entry.control:
                if control.kind == _Control.CONTROL_SEQUENCE_CORRID:
                    self._correlation_id = CorrelationId(entry.name, BY_CONFIG_ENUM[control.data_type])
                else:
                    datatype, values = _values(control)
                    self._flags.append(Flag(entry.name, control.kind, datatype, values))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._flags) or self._correlation_id is not None

    def check(self, sequence_id: int | str) -> None:
        """Raise InvalidArgumentError for no id, or one that the model cannot be told."""
        if not sequence_id:
            raise InvalidArgumentError(
                f"inference request to model '{self._model_name}' must specify a non-zero or non-empty correlation ID"
            )
        if isinstance(sequence_id, int) and sequence_id < 0:
            # Of a model that calls this one, or of an ensemble's step: no client can send it. It would fail its batch.
            raise InvalidArgumentError(
                f"inference request to model '{self._model_name}' must specify a correlation ID >= 0, got {sequence_id}"
            )
        if self._correlation_id is not None:
            self._correlation_id.check(sequence_id, self._model_name)

    def number(self, count: int) -> int | str:
        """An id for a sequence that the server begins, such as the tensor can hold; `count`: how many there were."""
        datatype = UINT64 if self._correlation_id is None else self._correlation_id.datatype
        if datatype is BYTES:
            return f"server-{count}"
        # From above: clients count from below.
        most = int(np.iinfo(datatype.dtype).max)
        return most - count % (most // 2)

    def tensors(self, steps: Sequence[SequenceStep]) -> dict[str, Array]:
        """The control tensors of one execution, a row for each step: [rows, 1], or [1] of a model that does not
        batch.
        """
        shape = (len(steps), 1) if self._batched else (1,)
        made = {flag.name: flag.of(steps).reshape(shape) for flag in self._flags}
        if self._correlation_id is not None:
            made[self._correlation_id.name] = self._correlation_id.of(steps).reshape(shape)
        return made


def _values(control: Any) -> tuple[Datatype, tuple[float, float]]:
    """The type of a flag, and what stands for false and true."""
    for values, datatype in (
        (control.int32_false_true, INT32),
        (control.fp32_false_true, FP32),
        (control.bool_false_true, BOOL),
    ):
        if values:
            false, true = values
            return datatype, (false, true)
    raise AssertionError("a valid configuration has a pair")


class ControlMerger:
    """A merger that adds the control tensors to what another one makes."""

    def __init__(self, inner: Merger, controls: Controls) -> None:
        self._inner = inner
        self._controls = controls
        self.separate = inner.separate
        self.check = inner.check
        self.split = inner.split

    def merge(self, members: Sequence[Pending]) -> Any:
        """The inputs of one execution."""
        steps = [step for pending in members if (step := pending.request.sequence) is not None]
        inputs: Any = self._inner.merge(members)
        if self.separate:
            return [
                {**each, **self._controls.tensors([step])} for each, step in zip(inputs, steps, strict=True)
            ]
        return {**inputs, **self._controls.tensors(steps)}
