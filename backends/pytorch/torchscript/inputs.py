"""How the configuration's inputs become the arguments of a TorchScript `forward`.

The naming rules are those of Triton's PyTorch backend: an input is named after its argument, or after a key where
`forward` takes one dictionary; or it ends with its position, as in `INPUT__0`; or if none of the inputs follows
either rule, they are taken in the order of the configuration.

Beyond Triton: of an argument that is a tuple, or a list of tensors, each element is an input, in order, or by name
as `<argument>__<index>`. An `int`, `float`, `bool` or `str` is an input of one element, and a list of numbers one
with the list's elements. Those are for all rows, so that requests for a model that takes them cannot be merged.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kserve_v2.backend import ModelConfig, hidden_inputs
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BYTES, Array

from .signature import Argument, ForwardSchema, Leaf, Value, leaves_of

_INDEX = re.compile(r".*__(\d+)")

Encode = Callable[[Array], Any]

# The kinds of numpy's datatypes that an element may come from.
_KINDS = {"int": "iu", "float": "fiuV", "bool": "b", "str": "O"}
_TYPES = {"int": "TYPE_INT64", "float": "TYPE_FP64", "bool": "TYPE_BOOL", "str": "TYPE_STRING"}
_PYTHON: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool, "str": bytes.decode}


def fill_inputs(config: ModelConfig, schema: ForwardSchema) -> None:
    """Name the inputs where the configuration has none. The datatypes and dims of tensors are in no TorchScript file.

    Raises InvalidArgumentError where the file does not say how many there are.
    """
    if schema.takes_dict or any(argument.value.is_tensor_list for argument in schema.arguments):
        how = "by key" if schema.takes_dict else "in a list"
        raise InvalidArgumentError(f"input: {schema} takes its inputs {how}; name them in config.pbtxt")
    hidden = {tensor.name for tensor in hidden_inputs(config)}
    for argument in schema.arguments:
        for leaf in leaves_of(argument.name, argument.value, required=argument.required):
            if leaf.name in hidden:
                continue
            if leaf.value.kind == "tensor" or leaf.value.text == "List[str]":
                config.input.add(name=leaf.name, optional=not leaf.required)
            elif leaf.required and leaf.value.kind == "scalar":
                config.input.add(name=leaf.name, data_type=_TYPES[leaf.value.scalar], dims=[1])


class InputBinder:
    """Makes the arguments of a call from the inputs of a request."""

    def __init__(self, config: ModelConfig, schema: ForwardSchema, to_tensor: Encode) -> None:
        """Raises InvalidArgumentError, with all problems, where inputs and arguments do not fit together."""
        self._encode: dict[str, Encode] = {}
        # Where each argument is one input, which is usual, all that is left to do.
        self._arguments: dict[str, str] = {}
        self._defaults: dict[str, None] = {}
        self._built: list[tuple[Argument, Any]] = []
        self._takes_dict = schema.takes_dict
        if self._takes_dict:
            self._arguments = _bind_keys(config)
            self._encode = dict.fromkeys(self._arguments, to_tensor)
            return
        bound = _bind(config, schema)
        for name, leaf in bound.items():
            self._encode[name] = _encoder(name, leaf.value, to_tensor, batched=config.max_batch_size > 0)
        inputs = {leaf.name: name for name, leaf in bound.items()}
        for argument in schema.arguments:
            if argument.value.optional and not argument.has_default:
                self._defaults[argument.name] = None
            if argument.value.is_leaf and argument.name in inputs:
                self._arguments[inputs[argument.name]] = argument.name
            elif not argument.value.is_leaf:
                shape = _shape(argument.name, argument.value, inputs)
                if _inputs_in(shape):
                    if _has_gaps(shape, argument.value):
                        raise InvalidArgumentError(
                            f"argument '{argument.name}' has inputs for some of its parts only. The file has {schema}"
                        )
                    self._built.append((argument, shape))

    def call(self, forward: Callable[..., Any], tensors: Mapping[str, Array]) -> Any:
        """Call `forward`. Raises InvalidArgumentError where an input has no form as its argument."""
        encode, names = self._encode, self._arguments
        if self._takes_dict:
            return forward({names[name]: encode[name](array) for name, array in tensors.items()})
        if not self._built:
            arguments = {names[name]: encode[name](array) for name, array in tensors.items()}
            return forward(**{**self._defaults, **arguments} if self._defaults else arguments)
        values = {name: encode[name](array) for name, array in tensors.items()}
        arguments = {names[name]: value for name, value in values.items() if name in names}
        for argument, shape in self._built:
            if any(name in values for name in _inputs_in(shape)):
                arguments[argument.name] = _build(shape, argument.value, values)
        return forward(**{**self._defaults, **arguments})


def _bind_keys(config: ModelConfig) -> dict[str, str]:
    strings = [tensor.name for tensor in config.input if tensor.data_type == BYTES.config_enum]
    if strings:
        raise InvalidArgumentError(
            f"input '{strings[0]}' is TYPE_STRING, but forward takes a dict of tensors"
        )
    return {tensor.name: tensor.name for tensor in config.input}


# --- which input is which part ---------------------------------------------------------------------------------------


def _bind(config: ModelConfig, schema: ForwardSchema) -> dict[str, Leaf]:
    """The part of an argument for each input of the configuration."""
    leaves = _all_leaves(config, schema)
    found = _find(config, leaves)
    problems: list[str] = []
    bound: dict[str, Leaf] = {}
    for index, (tensor, leaf) in enumerate(zip(config.input, found, strict=True)):
        taken = leaf in bound.values()
        found_here = _binding_problems(config, tensor, leaf, taken=taken)
        problems += [f"input[{index}]: '{tensor.name}' {problem}" for problem in found_here]
        if leaf is not None:
            bound[tensor.name] = leaf
    if not problems:
        problems = [
            f"argument '{leaf.name}' has no input"
            for leaf in leaves
            if leaf.required and leaf not in bound.values()
        ]
    if problems:
        raise InvalidArgumentError(f"{'; '.join(problems)}. The file has {schema}")
    return bound


def _all_leaves(config: ModelConfig, schema: ForwardSchema) -> list[Leaf]:
    """What inputs can stand for, in order; how long a list is, the configuration says."""
    names = {tensor.name for tensor in config.input}
    fixed = [
        leaf
        for argument in schema.arguments
        if not argument.value.is_tensor_list
        for leaf in leaves_of(argument.name, argument.value, required=argument.required)
    ]
    lists = [argument for argument in schema.arguments if argument.value.is_tensor_list]
    sizes = {argument.name: _named_elements(argument.name, names) for argument in lists}
    open_lists = [argument for argument in lists if not sizes[argument.name]]
    if len(open_lists) == 1 and open_lists[0].name not in names:
        elsewhere = sum(leaf.required or leaf.name in names for leaf in fixed) + sum(sizes.values())
        sizes[open_lists[0].name] = max(0, len(names) - elsewhere)
    found: list[Leaf] = []
    for argument in schema.arguments:
        size = sizes.get(argument.name, 0)
        if argument.value.is_tensor_list and not size:
            # A list of one, if there is such an input; needed in any case, if the argument is.
            found.append(Leaf(argument.name, argument.value, argument.required))
        else:
            found += leaves_of(argument.name, argument.value, required=argument.required, list_size=size)
    return found


def _named_elements(argument: str, names: set[str]) -> int:
    """How many inputs are called `<argument>__0`, `<argument>__1`, and so on."""
    count = 0
    while f"{argument}__{count}" in names:
        count += 1
    return count


def _find(config: ModelConfig, leaves: Sequence[Leaf]) -> list[Leaf | None]:
    by_name = {leaf.name: leaf for leaf in leaves}
    names = [tensor.name for tensor in config.input]
    if any(name in by_name or _INDEX.fullmatch(name) for name in names):
        return [by_name.get(name) or _at_index(name, leaves) for name in names]
    return [leaves[index] if index < len(leaves) else None for index in range(len(names))]


def _at_index(name: str, leaves: Sequence[Leaf]) -> Leaf | None:
    indexed = _INDEX.fullmatch(name)
    return leaves[int(indexed[1])] if indexed and int(indexed[1]) < len(leaves) else None


def _binding_problems(config: ModelConfig, tensor: Any, leaf: Leaf | None, *, taken: bool) -> Iterator[str]:
    if leaf is None:
        yield (
            "is neither the name of an argument nor an index as in INPUT__0; inputs are taken in their order only "
            "where no name is either, and where there are as many arguments"
        )
        return
    if taken:
        yield f"and another input both mean the argument '{leaf.name}'"
        return
    if tensor.optional and leaf.required:
        yield f"is optional, but forward needs its argument '{leaf.name}'"
    given = BY_CONFIG_ENUM[tensor.data_type]
    elements = leaf.value.elements
    if leaf.value.is_tensor_list or leaf.value.kind == "tensor":
        if given is BYTES:
            yield f"is TYPE_STRING, but '{leaf.name}' is {leaf.value.text}"
    elif not elements:
        yield f"cannot be made into its argument '{leaf.name}', which is {leaf.value.text}"
    elif given.dtype.kind not in _KINDS[elements]:
        wanted = "a number" if elements == "float" else _TYPES[elements]
        yield f"is {given.config_name}, but '{leaf.name}' is {leaf.value.text}, which is made from {wanted}"
    else:
        yield from _scalar_problems(config, tensor, leaf)


def _scalar_problems(config: ModelConfig, tensor: Any, leaf: Leaf) -> Iterator[str]:
    if leaf.value.kind == "scalar" and any(dim > 1 for dim in tensor.dims):
        yield f"has dims {list(tensor.dims)}, but '{leaf.name}' is one {leaf.value.scalar}: dims are [1]"
    if _is_for_all_rows(leaf.value) and config.HasField("dynamic_batching"):
        yield (
            f"is for all rows of a batch, as '{leaf.name}' is {leaf.value.text}: requests with different values "
            "cannot be merged, so leave out dynamic_batching"
        )


def _is_for_all_rows(value: Value) -> bool:
    """Strings in a list are one for each row; all else that is no tensor does not depend on the row."""
    return value.elements != "" and not (value.kind == "list" and value.elements == "str")


# --- from an input to a value ----------------------------------------------------------------------------------------


def _encoder(name: str, value: Value, to_tensor: Encode, *, batched: bool) -> Encode:
    if value.is_tensor_list:
        return lambda array: [to_tensor(array)]
    if value.kind == "tensor":
        return to_tensor
    convert, is_list = _PYTHON[value.elements], value.kind == "list"
    for_all_rows = batched and _is_for_all_rows(value)

    def encode(array: Array) -> Any:
        if for_all_rows:
            array = _of_all_rows(name, array, value)
        try:
            elements = [convert(element) for element in array.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(f"input '{name}': TorchScript strings must be UTF-8") from error
        if value.scalar == "int" or (is_list and value.elements == "int"):
            _check_range(name, elements)
        if is_list:
            return elements
        if len(elements) != 1:
            raise InvalidArgumentError(
                f"input '{name}' is one {value.scalar}: expected 1 element, got {len(elements)}"
            )
        return elements[0]

    return encode


def _of_all_rows(name: str, array: Array, value: Value) -> Array:
    if not all(np.array_equal(array[0], row, equal_nan=array.dtype.kind == "f") for row in array[1:]):
        raise InvalidArgumentError(
            f"input '{name}' is {value.text} for all rows of a request: expected equal rows, got different ones"
        )
    return array[:1]


def _check_range(name: str, elements: Sequence[int]) -> None:
    if any(element >= 2**63 for element in elements):
        raise InvalidArgumentError(f"input '{name}': TorchScript integers must be below 2^63")


# --- arguments that consist of several inputs -----------------------------------------------------------------------


def _shape(name: str, value: Value, inputs: Mapping[str, str]) -> Any:
    """The argument with the name of an input, or None, in the place of each part. A list of one is made by its
    encoder.
    """
    if value.kind == "tuple":
        return tuple(_shape(f"{name}__{index}", part, inputs) for index, part in enumerate(value.parts))
    if value.is_tensor_list and name not in inputs:
        elements: list[str] = []
        while f"{name}__{len(elements)}" in inputs:
            elements.append(inputs[f"{name}__{len(elements)}"])
        return elements
    return inputs.get(name)


def _inputs_in(shape: Any) -> list[str]:
    if isinstance(shape, tuple | list):
        return [name for part in shape for name in _inputs_in(part)]
    return [] if shape is None else [shape]


def _has_gaps(shape: Any, value: Value) -> bool:
    """Whether a part has no input that cannot be missing where there are others."""
    if isinstance(shape, tuple) and _inputs_in(shape):
        return any(_has_gaps(part, of) for part, of in zip(shape, value.parts, strict=True))
    return not _inputs_in(shape) and not value.optional


def _build(shape: Any, value: Value, values: Mapping[str, Any]) -> Any:
    """The argument. Raises InvalidArgumentError where a part is missing of which there are others."""
    if isinstance(shape, tuple):
        if value.optional and not any(name in values for name in _inputs_in(shape)):
            return None
        return tuple(_build(part, of, values) for part, of in zip(shape, value.parts, strict=True))
    if isinstance(shape, list):
        return [_build(part, value.parts[0], values) for part in shape]
    # Without this, torch makes a tensor of nothing from None.
    if shape not in values and not value.optional:
        raise InvalidArgumentError(f"input '{shape}' is missing: other parts of the same argument are there")
    return values.get(shape)
