"""Batches of requests of different lengths, padded to the longest; see `config.padding`."""

from collections.abc import Sequence
from math import prod

import numpy as np

from kserve_v2.config.padding import AddedLengths, DimOf, Padding
from kserve_v2.errors import InternalError
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.merging.outputs import finish_outputs
from kserve_v2.scheduling.merging.rows import concatenate, split_rows
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import PaddedElements
from kserve_v2.tensors.datatypes import Array

_MAX_WASTE_BYTES = 64 * 1024 * 1024
"""A padded batch may take so much more than what was sent. Beyond it the requests are executed one by one: a single
very long one must not make all others of its batch as large.
"""


class PaddedMerger:
    """Pads inputs, adds lengths and masks, and cuts outputs to each request's own length."""

    separate = False

    def __init__(self, signature: ModelSignature, padding: Padding) -> None:
        self._signature = signature
        self._padding = padding
        self.padded = frozenset(padding.values)
        """The inputs that are padded."""
        self.elements = PaddedElements()

    def uncounted(self) -> "PaddedMerger":
        """One that does the same, but counts for itself."""
        return PaddedMerger(self._signature, self._padding)

    def merge(self, members: Sequence[Pending]) -> dict[str, Array]:
        """The inputs of one execution. Lengths and masks come last."""
        requests = [pending.request.inputs for pending in members]
        rows = [pending.rows for pending in members]
        padded = self._padded(requests, rows) if len(members) > 1 else dict(requests[0])
        self._count(requests, padded)
        signature = self._signature
        merged = signature.reshape_inputs(padded) if signature.reshapes_inputs else padded
        for added in self._padding.added:
            merged[added.target] = _lengths(added, requests, rows)
        return merged

    def _count(self, requests: Sequence[Tensors], padded: Tensors) -> None:
        given = sum(padded[name].size for name in padded if name in self.padded)
        sent = sum(
            array.size for tensors in requests for name, array in tensors.items() if name in self.padded
        )
        self.elements.add(given, given - sent)

    def _padded(self, requests: Sequence[Tensors], rows: Sequence[int]) -> dict[str, Array]:
        values = self._padding.values
        longest = {
            name: tuple(
                max(sizes) for sizes in zip(*(_shape(tensors, name) for tensors in requests), strict=True)
            )
            for name in requests[0]
            if name in values
        }
        total = sum(rows)
        waste = sum(
            total * prod(shape) * requests[0][name].itemsize
            - sum(tensors[name].nbytes for tensors in requests)
            for name, shape in longest.items()
        )
        if waste > _MAX_WASTE_BYTES:
            raise InternalError(f"a batch of these requests would be {waste} bytes of padding")
        return concatenate(
            [
                {
                    name: _pad(array, longest[name], values[name]) if name in longest else array
                    for name, array in tensors.items()
                }
                for tensors in requests
            ],
            rows,
        )

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The declared outputs. One that is to be cut has to be as long as the padded input."""
        rows = sum([pending.rows for pending in members])
        checked = finish_outputs(outputs, self._signature, rows)
        for name, cuts in self._padding.cuts.items():
            for dim, of in cuts.items():
                longest = max(_length(pending, of) for pending in members)
                if checked[name].shape[1 + dim] != longest:
                    raise InternalError(
                        f"output '{name}' of model '{self._signature.model_name}' has size "
                        f"{checked[name].shape[1 + dim]} in dimension {dim}, but input '{of.input}', which it follows "
                        f"by pad_variable_dims, has {longest} in its dimension {of.dim}"
                    )
        return checked

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The outputs of each request."""
        parts = split_rows(outputs, [pending.rows for pending in members])
        for pending, part in zip(members, parts, strict=True):
            for name, cuts in self._padding.cuts.items():
                whole = part[name]
                index = [slice(None)] * whole.ndim
                for dim, of in cuts.items():
                    index[1 + dim] = slice(_length(pending, of))
                part[name] = np.ascontiguousarray(whole[tuple(index)])
        return parts


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    """Without the batch. Raises InternalError where a request has no such input."""
    if name not in tensors:
        raise InternalError(f"requests with and without input '{name}' cannot be merged")
    return tensors[name].shape[1:]


def _pad(array: Array, shape: tuple[int, ...], value: object) -> Array:
    if array.shape[1:] == shape:
        return array
    padded = np.full((array.shape[0], *shape), value, array.dtype)
    padded[(slice(None), *(slice(size) for size in array.shape[1:]))] = array
    return padded


def _length(pending: Pending, of: DimOf) -> int:
    size: int = pending.request.inputs[of.input].shape[1 + of.dim]
    return size


def _lengths(added: AddedLengths, requests: Sequence[Tensors], rows: Sequence[int]) -> Array:
    lengths = [tensors[added.of.input].shape[1 + added.of.dim] for tensors in requests]
    dtype = added.datatype.dtype
    if not added.mask:
        return np.repeat(np.array(lengths, dtype), rows).reshape(-1, *added.dims)
    mask = np.zeros((sum(rows), max(lengths)), dtype)
    start = 0
    for length, count in zip(lengths, rows, strict=True):
        mask[start : start + count, :length] = 1
        start += count
    return mask
