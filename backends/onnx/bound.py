"""Runs of small models, whose tensors are copied to where the session expects them.

For each tensor of each run, a session looks its name up, makes a value of the array, allocates the output and makes an
array of that. For a model of a few numbers this takes longer than its execution. An I/O binding does it once.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from kserve_v2.backend import ModelConfig
from kserve_v2.tensors.datatypes import BF16, BY_CONFIG_ENUM, BYTES, Array

# The tensors of a run together: larger ones take longer to copy than to convert.
_MAX_BYTES = 16 * 1024

# Batch sizes with buffers of their own.
_MAX_BINDINGS = 64


class _Tensor(NamedTuple):
    """An input or output of the model file. `dims` are without the batch dimension, if there is one."""

    name: str
    dtype: "np.dtype[np.generic]"
    dims: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Of one row, or of the whole tensor."""
        return prod(self.dims) * self.dtype.itemsize


class _Bound(NamedTuple):
    """A binding for one batch size: `run` reads the arrays of `inputs` and fills those of `outputs`."""

    inputs: tuple[tuple[str, Array], ...]
    outputs: tuple[tuple[str, Array], ...]
    run: Callable[[], None]


class BoundRuns:
    """Runs a session on the CPU. One run at a time."""

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Sequence[_Tensor],
        outputs: Sequence[_Tensor],
        run_options: ort.RunOptions,
    ) -> None:
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._run_options = run_options
        self._first = inputs[0].name
        self._max_rows = _MAX_BYTES // sum(each.row_bytes for each in (*inputs, *outputs))
        # By the shape of the first input, which says the batch size.
        self._bound: dict[tuple[int, ...], _Bound | None] = {}

    @classmethod
    def of(
        cls, session: ort.InferenceSession, config: ModelConfig, run_options: ort.RunOptions
    ) -> "BoundRuns | None":
        """None for a model whose tensors vary in more than the batch size, or are not plain numbers."""
        tensors: list[Any] = [*config.input, *config.output]
        names = {tensor.name for tensor in tensors}
        # An output that is an input is not written anywhere; an input that may be missing cannot be bound.
        if len(names) < len(tensors) or any(tensor.optional for tensor in config.input):
            return None
        if not config.input or len(config.input) != len(session.get_inputs()):
            return None
        # The tensors of such a batch are as long as its requests, not as its rows.
        if any(tensor.allow_ragged_batch for tensor in config.input) or config.batch_output:
            return None
        batched = config.max_batch_size > 0
        in_file = {tensor.name: tensor.shape for tensor in (*session.get_inputs(), *session.get_outputs())}
        inputs = [_tensor(tensor, in_file, batched) for tensor in config.input]
        outputs = [_tensor(tensor, in_file, batched) for tensor in config.output]
        if None in inputs or None in outputs:
            return None
        return cls(
            session, [each for each in inputs if each], [each for each in outputs if each], run_options
        )

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array] | None:
        """The outputs; None if the session has to do it itself. Raises what the session raises, but less clearly."""
        bound = self._bound.get(feed[self._first].shape) or self._bind(feed[self._first].shape)
        if bound is None:
            return None
        for name, buffer in bound.inputs:
            array = feed[name]
            if array.shape != buffer.shape:
                return None
            buffer[...] = array
        bound.run()
        return {name: buffer.copy() for name, buffer in bound.outputs}

    def forget(self, feed: Mapping[str, Array]) -> None:
        """Leave batches of this size to the session from now on: it can do what did not work here."""
        self._bound[feed[self._first].shape] = None

    def _bind(self, shape: tuple[int, ...]) -> _Bound | None:
        """Buffers for a batch size, unless it is too large, or there are too many."""
        batch = shape[: len(shape) - len(self._inputs[0].dims)]
        if not 0 < prod(batch) <= self._max_rows or shape in self._bound or len(self._bound) >= _MAX_BINDINGS:
            return None
        inputs, outputs = (
            tuple((each.name, np.zeros(batch + each.dims, each.dtype)) for each in tensors)
            for tensors in (self._inputs, self._outputs)
        )
        binding = self._session.io_binding()
        for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, buffer in tensors:
                bind(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)
        bound = self._bound[shape] = _Bound(inputs, outputs, self._runner(binding))
        return bound

    def _runner(self, binding: ort.IOBinding) -> Callable[[], None]:
        # Without the wrapper, where that is possible.
        native = getattr(self._session, "_sess", None)
        native_binding = getattr(binding, "_iobinding", None)
        if native is None or native_binding is None:
            return partial(self._session.run_with_iobinding, binding, self._run_options)
        return partial(native.run_with_iobinding, native_binding, self._run_options)


def _tensor(tensor: Any, in_file: Mapping[str, Sequence[Any]], batched: bool) -> _Tensor | None:
    """A tensor of the configuration, if the file fixes its shape but for the batch size."""
    # Without dimensions the rank is unknown, or it is a scalar.
    shape = in_file.get(tensor.name)
    datatype = BY_CONFIG_ENUM[tensor.data_type]
    if not shape or datatype in (BYTES, BF16):
        return None
    dims = shape[1:] if batched else shape
    if not all(isinstance(dim, int) and dim > 0 for dim in dims):
        return None
    return _Tensor(tensor.name, datatype.dtype, tuple(dims))
