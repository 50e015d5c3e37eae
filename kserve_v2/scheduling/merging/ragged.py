"""Batches of requests of different shapes, as `allow_ragged_batch`, `batch_input` and `batch_output` have it."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.errors import InternalError, UnsupportedError, request_prefix
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.merging.batch_inputs import made_inputs
from kserve_v2.scheduling.merging.outputs import finish_outputs, plain_output
from kserve_v2.scheduling.merging.rows import concatenate, split_rows
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array


class RaggedMerger:
    """Joins ragged inputs, flat, all elements of one request behind those of another; adds the `batch_input`s; and cuts
    each output either by rows, or where `batch_output` says so, by the shape of an input.
    """

    separate = False

    def __init__(self, config: ModelConfig, signature: ModelSignature) -> None:
        self._signature = signature
        self._ragged = frozenset(tensor.name for tensor in config.input if tensor.allow_ragged_batch)
        self._made = made_inputs(config)
        # By output, the input whose shape it is cut by.
        self._sources: dict[str, str] = {
            target: each.source_input[0] for each in config.batch_output for target in each.target_name
        }
        self._by_rows = ModelSignature(_with_outputs(config, self._sources, scattered=False))
        self._scattered = ModelSignature(_with_outputs(config, self._sources, scattered=True))

    def merge(self, members: Sequence[Pending]) -> dict[str, Array]:
        """The inputs of one execution. The tensors that were made come last."""
        requests = [self._as_backend_sees(pending) for pending in members]
        rows = [pending.rows for pending in members]
        first = requests[0]
        for tensors in requests:
            if tensors.keys() != first.keys():
                raise InternalError(
                    f"requests with inputs {sorted(first)} and {sorted(tensors)} cannot be merged"
                )
        by_rows = concatenate(
            [{name: tensors[name] for name in first if name not in self._ragged} for tensors in requests],
            rows,
        )
        merged = {
            name: _joined(name, [tensors[name] for tensors in requests], rows)
            if name in self._ragged
            else by_rows[name]
            for name in first
        }
        for made in self._made:
            merged[made.target] = made.value([tensors[made.source].shape for tensors in requests])
        return merged

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The declared outputs. Raises UnsupportedError, with Triton's text, for an output that
        has fewer rows than the requests have together, and thus cannot be split.
        """
        rows = sum([pending.rows for pending in members])
        for name in self._by_rows.outputs:
            array = outputs.get(name) if issubclass(type(outputs), Mapping) else None
            if not isinstance(array, np.ndarray) or not array.ndim:
                continue
            if array.shape[0] > rows:
                raise InternalError(
                    f"output '{name}' of model '{self._signature.model_name}' has shape {list(array.shape)}, expected "
                    f"a batch of {rows} in its first dimension; one that is as long as a ragged input needs a "
                    "batch_output of kind BATCH_SCATTER_WITH_INPUT_SHAPE in the configuration"
                )
            if array.shape[0] < rows:
                raise UnsupportedError(
                    f"{request_prefix(members[0].request.id)}failed to split the output tensor '{name}' in responses: "
                    f"expected batch size of at least {rows} in model output, got {array.shape[0]}"
                )
        checked = finish_outputs(outputs, self._by_rows, rows)
        for name in self._sources:
            checked[name] = self._flat(name, outputs, members)
        return {name: checked[name] for name in self._signature.outputs}

    def _flat(self, name: str, outputs: Tensors, members: Sequence[Pending]) -> Array:
        tensor = self._signature.outputs[name]
        array = plain_output(outputs, tensor, self._signature).reshape(-1)
        expected = sum([prod(self._shape(name, pending)) for pending in members])
        if array.size != expected:
            raise InternalError(
                f"output '{name}' of model '{self._signature.model_name}' has {array.size} elements, but by the shapes "
                f"of input '{self._sources[name]}' it should have {expected}"
            )
        return array

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The outputs of each request."""
        by_rows = {name: array for name, array in outputs.items() if name not in self._sources}
        parts = split_rows(by_rows, [pending.rows for pending in members])
        starts = dict.fromkeys(self._sources, 0)
        found: list[Outputs] = []
        for pending, part in zip(members, parts, strict=True):
            cut: Outputs = {}
            for name in self._sources:
                shape = self._shape(name, pending)
                stop = starts[name] + prod(shape)
                cut[name] = outputs[name][starts[name] : stop].reshape(shape)
                starts[name] = stop
            if self._scattered.reshapes_outputs:
                cut = self._scattered.reshape_outputs(cut)
            found.append({name: cut[name] if name in cut else part[name] for name in outputs})
        return found

    def _shape(self, name: str, pending: Pending) -> tuple[int, ...]:
        """That of one request's part of an output: what varies in it is as in the same dimension of its input."""
        source = self._as_backend_sees(pending)[self._sources[name]].shape
        dims = self._signature.outputs[name].backend_dims
        return (source[0], *(source[1 + axis] if dim == -1 else dim for axis, dim in enumerate(dims)))

    def _as_backend_sees(self, pending: Pending) -> Tensors:
        inputs = pending.request.inputs
        return self._signature.reshape_inputs(inputs) if self._signature.reshapes_inputs else inputs


def _joined(name: str, arrays: Sequence[Array], rows: Sequence[int]) -> Array:
    for array, expected in zip(arrays, rows, strict=True):
        if array.shape[:1] != (expected,) or array.dtype != arrays[0].dtype:
            raise InternalError(
                f"input '{name}' of {array.dtype} with shape {list(array.shape)} cannot be merged: expected "
                f"{arrays[0].dtype} with {expected} rows"
            )
    flat = [array.reshape(-1) for array in arrays]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def _with_outputs(config: ModelConfig, sources: Mapping[str, str], *, scattered: bool) -> ModelConfig:
    """The configuration with only those outputs that are cut by an input, or only the others."""
    kept = ModelConfig()
    kept.CopyFrom(config)
    outputs = [output for output in config.output if (output.name in sources) is scattered]
    del kept.output[:]
    kept.output.extend(outputs)
    return kept
