"""What a model accepts and gives, prepared at load so that a request is checked in one pass.

The texts of the errors are Triton's: clients match on them.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInput, ModelOutput
from kserve_v2.config.padding import padding_of
from kserve_v2.errors import InvalidArgumentError, request_prefix, shape_text
from kserve_v2.messages import InferRequest, TensorMetadata
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BY_DTYPE, Array, Datatype

# To decode more tensors than this, and than a model has, would take long for nothing.
_MANY_TENSORS = 256

# How many names of inputs or outputs an error lists.
_MAX_NAMES = 64

_BATCH_HINT = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each"
    " input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting"
    " max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)

# Batch sizes whose outputs are remembered.
_MAX_REMEMBERED_ROWS = 256


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """One input or output. `dims` is without the batch dimension, -1 where it varies; `reshape` is what the
    backend sees.
    """

    name: str
    datatype: Datatype
    dims: tuple[int, ...]
    optional: bool = False
    reshape: tuple[int, ...] | None = None

    @property
    def backend_dims(self) -> tuple[int, ...]:
        """The shape that the backend sees, without the batch dimension."""
        return self.dims if self.reshape is None else self.reshape

    @property
    def fixed(self) -> bool:
        """Whether every row has the same shape."""
        return -1 not in self.dims

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape`, without the batch dimension, fits `dims`."""
        return shape == self.dims or (
            len(shape) == len(self.dims)
            and all(dim in (size, -1) for size, dim in zip(shape, self.dims, strict=True))
        )


class FixedInput(NamedTuple):
    """An input of a model of fixed shapes: its datatype, and its shape of `ndim` dimensions. Those from `first` on are
    `dims`; the one before, if there is one, is the batch.
    """

    name: str
    datatype: str
    first: int
    ndim: int
    dims: tuple[int, ...]


class ExpectedOutput(NamedTuple):
    """An output of a batch, as a backend gives it. `shapes` that are known to be right: of fixed dims the only one, of
    others those that have come. The elements of texts are looked at each time all the same.
    """

    name: str
    dtype: "np.dtype[Any]"
    shapes: set[tuple[int, ...]]


class ModelSignature:
    """Inputs and outputs of one model version. Read-only once the model is loaded, but for `expected_outputs`."""

    verbatim = False
    """Whether the model reads requests itself, so that nothing is known of its tensors; see `kserve_v2.verbatim`."""

    def __init__(self, config: ModelConfig) -> None:
        self.model_name = config.name
        self.max_batch_size = config.max_batch_size
        # The most rows of a request. If the model does not batch, each request counts as one row.
        self.max_rows = config.max_batch_size or 1
        # Whether a request may have more rows than a batch. Set when the model is loaded, before the first request.
        self.takes_large_requests = False
        self.platform = config.platform or config.backend
        self.inputs = {tensor.name: _tensor(tensor) for tensor in config.input}
        self.outputs = {tensor.name: _tensor(tensor) for tensor in config.output}
        self.required = frozenset(name for name, tensor in self.inputs.items() if not tensor.optional)
        self.fixed_shapes = all(tensor.fixed for tensor in self.inputs.values())
        # Inputs whose shapes may differ within a batch; see `scheduling.merging`.
        padding = padding_of(config)
        self._any_shape = frozenset(
            tensor.name for tensor in config.input if tensor.allow_ragged_batch
        ).union(padding.values if padding else ())
        # Rows of such a model always fit together, so its requests need no key.
        self._uniform = not config.max_batch_size or all(
            not tensor.optional and (tensor.fixed or tensor.name in self._any_shape)
            for tensor in self.inputs.values()
        )
        self.fixed_inputs = self._fixed_inputs()
        self._checklist = tuple((t.name, t.datatype.dtype, t.dims) for t in self.inputs.values())
        self.reshapes_inputs = any(tensor.reshape is not None for tensor in self.inputs.values())
        self.reshapes_outputs = any(tensor.reshape is not None for tensor in self.outputs.values())
        # The outputs that a backend has to return, by the rows of the batch; see `expect_outputs`.
        self.expected_outputs: dict[int, tuple[ExpectedOutput, ...]] = {}

    def _fixed_inputs(self) -> dict[str, FixedInput]:
        if not self._uniform or not self.fixed_shapes or len(self.required) != len(self.inputs):
            return {}
        first = 1 if self.max_batch_size else 0
        return {
            tensor.name: FixedInput(
                tensor.name, tensor.datatype.name, first, first + len(tensor.dims), tensor.dims
            )
            for tensor in self.inputs.values()
        }

    def expect_outputs(self, rows: int) -> tuple[ExpectedOutput, ...]:
        """What a backend has to answer to a batch of so many rows; remembered in `expected_outputs`."""
        if len(self.expected_outputs) >= _MAX_REMEMBERED_ROWS:
            self.expected_outputs.clear()
        batch = (rows,) if self.max_batch_size else ()
        expected = self.expected_outputs[rows] = tuple(
            ExpectedOutput(
                name,
                tensor.datatype.dtype,
                set() if -1 in tensor.backend_dims else {batch + tensor.backend_dims},
            )
            for name, tensor in self.outputs.items()
        )
        return expected

    def input_metadata(self) -> tuple[TensorMetadata, ...]:
        """The inputs as the metadata call shows them."""
        return self._metadata(self.inputs.values())

    def output_metadata(self) -> tuple[TensorMetadata, ...]:
        """The outputs as the metadata call shows them."""
        return self._metadata(self.outputs.values())

    def _metadata(self, tensors: Iterable[TensorSignature]) -> tuple[TensorMetadata, ...]:
        batch = (-1,) if self.max_batch_size else ()
        return tuple(
            TensorMetadata(tensor.name, tensor.datatype.name, batch + tensor.dims) for tensor in tensors
        )

    def check_counts(self, inputs: int, outputs: int) -> None:
        """Raise InvalidArgumentError for very many tensors, more than the model has, before they are decoded. What is
        wrong with fewer, `check` says better.
        """
        if max(inputs, outputs) <= _MANY_TENSORS or self.verbatim:
            return
        for kind, got, most in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if got > max(_MANY_TENSORS, len(most)):
                raise InvalidArgumentError(
                    f"expected at most {len(most)} {kind} but got {got} {kind} for model '{self.model_name}'. "
                    f"The model has {kind[:-1]}(s) {_name_list(most)}"
                )

    def check(self, request: InferRequest) -> tuple[int, Hashable]:
        """Check a request; returns its rows and its batch key: requests with equal keys can share a batch.

        Raises InvalidArgumentError that names the tensor, with what was expected and what came.
        """
        for name in request.requested_outputs:
            if name not in self.outputs:
                raise InvalidArgumentError(
                    f"unexpected inference output '{name}' for model '{self.model_name}'. The model has output(s) "
                    f"{_name_list(self.outputs)}"
                )
        if self.max_batch_size and self._uniform:
            rows = self._usual_rows(request.inputs)
            if rows:
                return rows, None
        inputs = request.inputs
        if len(inputs) != len(self.inputs) or not self.required.issubset(inputs):
            self._check_input_names(request)
        rows = self._check_batch(request) if self.max_batch_size else 1
        for name, array in inputs.items():
            self._check_input(name, array, request)
        if self._uniform:
            return rows, None
        return rows, tuple(
            sorted(
                (name, () if name in self._any_shape else array.shape[1:]) for name, array in inputs.items()
            )
        )

    def _usual_rows(self, inputs: Mapping[str, Array]) -> int:
        """The rows of a request to a model of fixed shapes in which nothing is wrong; 0 for one that needs a
        closer look, which finds the words for what is wrong with it.
        """
        rows = 0
        for name, dtype, dims in self._checklist:
            array = inputs.get(name)
            if array is None or array.dtype != dtype:
                return 0
            shape = array.shape
            # An input without rows does not qualify: here 0 means "not known yet".
            if shape[1:] != dims or not shape or not shape[0] or (rows and shape[0] != rows):
                return 0
            rows = shape[0]
        return rows if rows <= self.max_batch_size and len(inputs) == len(self._checklist) else 0

    def _check_input_names(self, request: InferRequest) -> None:
        got, least, most = request.inputs, len(self.required), len(self.inputs)
        for name in got:
            if len(got) <= most and name not in self.inputs:
                raise self._unexpected_input(name)
        missing = [name for name in self.inputs if name in self.required and name not in got]
        if missing or len(got) > most:
            expected = f"expected {most} inputs" if least == most else (
                f"expected number of inputs between {least} and {most}"
            )  # fmt: skip
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}{expected} but got {len(got)} inputs for model '{self.model_name}'. "
                f"Got input(s) {_name_list(got)}, but missing required input(s) {_name_list(missing)}. "
                "Please provide all required input(s)."
                + (f" The model has input(s) {_name_list(self.inputs)}" if len(got) > most else "")
            )

    def _unexpected_input(self, name: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"unexpected inference input '{name}' for model '{self.model_name}'. The model has input(s) "
            f"{_name_list(self.inputs)}"
        )

    def _check_batch(self, request: InferRequest) -> int:
        rows = -1
        for name, array in request.inputs.items():
            if array.ndim == 0:
                raise InvalidArgumentError(
                    f"{request_prefix(request.id)}input '{name}' has no shape but model requires batch dimension "
                    f"for '{self.model_name}'"
                )
            if rows not in (-1, array.shape[0]):
                raise InvalidArgumentError(
                    f"{request_prefix(request.id)}input '{name}' batch size does not match other inputs "
                    f"for '{self.model_name}'"
                )
            rows = array.shape[0]
        if rows > self.max_batch_size and not self.takes_large_requests:
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}inference request batch-size must be <= {self.max_batch_size} "
                f"for '{self.model_name}'"
            )
        if rows < 1:
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}inference request batch-size must be >= 1 for '{self.model_name}'"
            )
        return rows

    def _check_input(self, name: str, array: Array, request: InferRequest) -> None:
        expected = self.inputs.get(name)
        if expected is None:
            raise self._unexpected_input(name)
        if array.dtype != expected.datatype.dtype:
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}inference input '{name}' data-type is '{BY_DTYPE[array.dtype].name}', "
                f"but model '{self.model_name}' expects '{expected.datatype.name}'"
            )
        shape = array.shape[1:] if self.max_batch_size else array.shape
        if not expected.accepts(shape):
            dims = (-1, *expected.dims) if self.max_batch_size else expected.dims
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}unexpected shape for input '{name}' for model '{self.model_name}'. "
                f"Expected {shape_text(dims)}, got {shape_text(array.shape)}."
                f"{_BATCH_HINT if self.max_batch_size else ' '}"
            )

    def reshape_inputs(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Give the inputs the shapes of the configuration's `reshape`, after the merge and before the
        backend.
        """
        return {
            name: self._reshaped(array, self.inputs[name], to_backend=True) for name, array in inputs.items()
        }

    def reshape_outputs(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Give the outputs the shapes of the configuration's `dims` again."""
        return {
            name: self._reshaped(array, self.outputs[name], to_backend=False)
            for name, array in outputs.items()
        }

    def _reshaped(self, array: Array, tensor: TensorSignature, *, to_backend: bool) -> Array:
        if tensor.reshape is None:
            return array
        batch = array.shape[:1] if self.max_batch_size else ()
        source, target = (tensor.dims, tensor.reshape) if to_backend else (tensor.reshape, tensor.dims)
        return array.reshape(batch + _fill_variable(array.shape[len(batch) :], source, target))


def _fill_variable(shape: tuple[int, ...], source: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """`target` with each -1 replaced by the size that the -1 at the same rank among the -1s of `source` has
    in `shape`.
    """
    sizes = iter([size for size, dim in zip(shape, source, strict=True) if dim == -1])
    return tuple(next(sizes) if dim == -1 else dim for dim in target)


def _tensor(tensor: ModelInput | ModelOutput) -> TensorSignature:
    return TensorSignature(
        name=tensor.name,
        datatype=BY_CONFIG_ENUM[tensor.data_type],
        dims=tuple(tensor.dims),
        optional=isinstance(tensor, ModelInput) and tensor.optional,
        reshape=tuple(tensor.reshape.shape) if tensor.HasField("reshape") else None,
    )


def _name_list(names: Collection[str]) -> str:
    """Names as Triton lists them; of very many, the first ones."""
    listed = [repr(name) for name in islice(names, _MAX_NAMES)]
    if len(names) > _MAX_NAMES:
        listed.append(f"… {len(names) - _MAX_NAMES} more")
    return f"[{','.join(listed)}]"
