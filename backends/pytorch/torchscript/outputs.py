"""How the result of a TorchScript `forward` becomes the configuration's outputs.

Of a dictionary, and of a named tuple, outputs are found by name. Otherwise the result is taken apart: the elements of
tuples, tuples in them included, and of a list of tensors. An output whose name ends with an index, as in `OUTPUT__0`,
is the element in that place; others are taken in the order of the configuration. An `int`, `float`, `bool` or `str` is
an output of one element, and a list of those has as many elements. What has no such form fails the load.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from kserve_v2.backend import ModelConfig, hidden_outputs
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BYTES, Array, Datatype

from ..tensors import to_numpy
from .signature import ForwardSchema, Value

_INDEX = re.compile(r".*__(\d+)")

# The kinds of numpy's datatypes that hold each without loss.
_KINDS = {"int": "iu", "float": "f", "bool": "b", "str": "O"}
_TYPES = {"int": "TYPE_INT64", "float": "TYPE_FP64", "bool": "TYPE_BOOL", "str": "TYPE_STRING"}


def fill_outputs(config: ModelConfig, schema: ForwardSchema) -> None:
    """Name the outputs where the configuration has none. The datatypes and dims of tensors are in no TorchScript file.

    Raises InvalidArgumentError where the file does not say how many there are.
    """
    leaves = [*_leaves(schema.returns)]
    if schema.returns.kind == "dict" or any(not leaf.is_leaf for leaf in leaves):
        raise InvalidArgumentError(
            f"output: {schema} does not say what it returns; name the outputs in config.pbtxt"
        )
    hidden = {match[1] for tensor in hidden_outputs(config) if (match := _INDEX.fullmatch(tensor.name))}
    for index, leaf in enumerate(leaves):
        if str(index) in hidden:
            continue
        output: Any = config.output.add(name=f"OUTPUT__{index}")
        if leaf.kind == "scalar":
            output.data_type = _TYPES[leaf.scalar]
            output.dims.append(1)


class OutputPicker:
    """Finds the configuration's outputs in what `forward` returned."""

    def __init__(self, config: ModelConfig, schema: ForwardSchema) -> None:
        """Raises InvalidArgumentError where the result cannot have these outputs."""
        self._returns = schema.returns
        self._names = [output.name for output in config.output]
        self._datatypes = {output.name: BY_CONFIG_ENUM[output.data_type] for output in config.output}
        # A string or number of a batch is a row of its own: dims [1] behind the batch dimension.
        self._row_dims = {o.name: (1,) * len(o.dims) if config.max_batch_size else () for o in config.output}
        indexed = [_INDEX.fullmatch(name) for name in self._names]
        self._by_index = all(indexed)
        self._indexes = (
            [int(match[1]) for match in indexed if match] if self._by_index else range(len(self._names))
        )
        problems = [*self._problems(config)]
        if problems:
            raise InvalidArgumentError(f"{'; '.join(problems)}. The file has {schema}")

    # --- when the model is loaded ----------------------------------------------------------------------------------

    def _problems(self, config: ModelConfig) -> Iterator[str]:
        leaves = [*_leaves(self._returns)]
        if problem := next(_form_problems(self._returns, leaves), None):
            yield problem
            return
        if self._returns.kind == "dict":
            for name in self._names:
                yield from self._type_problems(name, self._returns.parts[0], config)
            return
        open_ended = any(leaf.is_tensor_list for leaf in leaves)
        known = leaves[:-1] if open_ended else leaves
        # Which field of a named tuple an output is, if it is one, only a result shows.
        if self._returns.named and not self._by_index:
            return
        if not open_ended and (problem := self._count_problem(len(known))):
            yield problem
            return
        for name, index in zip(self._names, self._indexes, strict=True):
            yield from self._type_problems(name, known[index] if index < len(known) else _TENSOR, config)

    def _type_problems(self, name: str, value: Value, config: ModelConfig) -> Iterator[str]:
        given = self._datatypes[name]
        elements = value.elements
        if value.kind == "tensor":
            if given is BYTES:
                yield f"output '{name}' is TYPE_STRING, but what forward returns for it is a tensor"
        elif given.dtype.kind not in _KINDS[elements]:
            yield (
                f"output '{name}' is {given.config_name}, but forward returns {value.text} for it: "
                f"expected {_TYPES[elements]}"
            )
        elif value.kind == "scalar" and config.max_batch_size:
            yield f"output '{name}' is one {value.scalar} for all rows of a batch: set max_batch_size to 0"

    def _count_problem(self, count: int) -> str | None:
        if self._by_index:
            wrong = [name for name, index in zip(self._names, self._indexes, strict=True) if index >= count]
            return f"{count} value(s) are returned, so there is no output '{wrong[0]}'" if wrong else None
        if len(self._names) == count:
            return None
        return (
            f"{count} value(s) are returned, but {len(self._names)} output(s) are configured; "
            "name them all, or by index as in OUTPUT__0"
        )

    # --- when it is executed ----------------------------------------------------------------------------------------

    def outputs(self, returned: Any) -> dict[str, Array]:
        """The outputs as arrays. Raises InternalError where one is missing or is none of the configured type."""
        return {
            name: self._decode(name, value, self._datatypes[name])
            for name, value in self._pick(returned).items()
        }

    def _pick(self, returned: Any) -> dict[str, Any]:
        if self._returns.is_leaf and len(self._names) == 1:
            return {self._names[0]: returned}
        if self._returns.kind == "dict":
            missing = ", ".join(f"'{name}'" for name in self._names if name not in returned)
            if missing:
                keys = ", ".join(f"'{key}'" for key in returned)
                raise InternalError(f"forward returned a dict without {missing}; it has: {keys}")
            return {name: returned[name] for name in self._names}
        if self._returns.named and all(part.is_leaf for part in self._returns.parts):
            fields: Mapping[str, Any] = returned._asdict()
            if all(name in fields for name in self._names):
                return {name: fields[name] for name in self._names}
        values = [*_taken_apart(returned, self._returns)]
        if problem := self._count_problem(len(values)):
            raise InternalError(f"forward: {problem}")
        return {name: values[index] for name, index in zip(self._names, self._indexes, strict=True)}

    def _decode(self, name: str, value: Any, datatype: Datatype) -> Array:
        if isinstance(value, torch.Tensor):
            return to_numpy(value)
        if value is None:
            raise InternalError(f"output '{name}': forward returned None")
        is_list = isinstance(value, list)
        array = _array(name, value if is_list else [value], datatype)
        return array.reshape(len(value), *self._row_dims[name]) if is_list else array


_TENSOR = Value("tensor", "Tensor")


def _leaves(value: Value) -> Iterator[Value]:
    """What a result consists of, in order; a list of tensors, whose length is not known, is one of them."""
    if value.kind == "tuple":
        for part in value.parts:
            yield from _leaves(part)
    else:
        yield value


def _form_problems(returned: Value, leaves: Sequence[Value]) -> Iterator[str]:
    if returned.kind == "dict":
        if not returned.parts[0].is_leaf:
            yield f"forward returns a dict of {returned.parts[0].text}, which are no outputs"
        return
    for position, leaf in enumerate(leaves):
        if leaf.is_tensor_list:
            if position < len(leaves) - 1:
                yield f"forward returns {leaf.text} of any length before others, so that these have no fixed place"
        elif not leaf.is_leaf:
            yield f"forward returns {leaf.text}, which is no output"


def _taken_apart(returned: Any, value: Value) -> Iterator[Any]:
    if value.kind == "tuple" and returned is not None:
        for element, part in zip(returned, value.parts, strict=True):
            yield from _taken_apart(element, part)
    elif value.is_tensor_list and returned is not None:
        yield from returned
    else:
        yield returned


def _array(name: str, values: Sequence[Any], datatype: Datatype) -> Array:
    if datatype is BYTES and all(isinstance(value, str) for value in values):
        strings = np.empty(len(values), dtype=np.object_)
        strings[:] = [value.encode() for value in values]
        return strings
    if datatype is BYTES or any(isinstance(value, str) for value in values):
        raise InternalError(f"output '{name}' is {type(values[0]).__name__}, expected {datatype.name}")
    natural = np.array(values)
    if values and natural.dtype.kind not in {"i": "iu", "u": "iu"}.get(
        datatype.dtype.kind, datatype.dtype.kind
    ):
        raise InternalError(f"output '{name}' is {type(values[0]).__name__}, expected {datatype.name}")
    return np.array(values, dtype=datatype.dtype)
