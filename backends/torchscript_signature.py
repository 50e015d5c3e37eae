"""How the configuration's inputs and outputs map to the arguments and results of a TorchScript `forward`.

The naming rules are those of Triton's PyTorch backend: a tensor is named after the argument or dictionary
key, or ends with its index as in `INPUT__0`; outputs that follow neither rule are taken in the order of the
configuration.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.datatypes import BY_CONFIG_ENUM, BYTES
from kserve_v2.errors import InternalError, InvalidArgumentError

_INDEX = re.compile(r".*__(\d+)")
_TENSOR_TYPES = ("Tensor", "Optional[Tensor]")
_STRINGS_TYPE = "List[str]"
_DICT_TYPE = "Dict[str, Tensor]"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of `forward`; `type` in TorchScript's spelling."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class ForwardSchema:
    """Arguments and result of `forward`. `results` is how many tensors it returns, None where its type leaves
    it open."""

    arguments: tuple[Argument, ...]
    returns: str
    results: int | None

    @property
    def takes_dict(self) -> bool:
        """Whether all inputs go into one dictionary."""
        return len(self.arguments) == 1 and self.arguments[0].type == _DICT_TYPE

    def __str__(self) -> str:
        arguments = ", ".join(f"{argument.name}: {argument.type}" for argument in self.arguments)
        return f"forward({arguments}) -> {self.returns}"


def read_schema(module: Any) -> ForwardSchema:
    """The schema of a loaded ScriptModule."""
    schema = module.forward.schema
    arguments = [
        Argument(argument.name, str(argument.type), _is_required(argument))
        for argument in schema.arguments[1:]
    ]
    returned = schema.returns[0].type
    return ForwardSchema(tuple(arguments), str(returned), _result_count(returned))


def _is_required(argument: Any) -> bool:
    return not argument.has_default_value() and not str(argument.type).startswith("Optional")


def _result_count(returned: Any) -> int | None:
    match returned.kind():
        case "TensorType":
            return 1
        case "TupleType" if str(returned).startswith("Tuple["):  # the others are named tuples
            return len(returned.elements())
        case _:
            return None


def fill_names(config: ModelConfig, schema: ForwardSchema) -> None:
    """Name inputs and outputs where the configuration has none. Their datatypes and dims are in no
    TorchScript file.

    Raises InvalidArgumentError where the file does not say how many there are.
    """
    if not config.input:
        if schema.takes_dict:
            raise InvalidArgumentError(f"input: {schema} takes its inputs by key; name them in config.pbtxt")
        for argument in schema.arguments:
            if argument.type in (*_TENSOR_TYPES, _STRINGS_TYPE):
                config.input.add(name=argument.name, optional=not argument.required)
    if not config.output:
        if schema.results is None:
            raise InvalidArgumentError(
                f"output: {schema} does not say what it returns; name the outputs in config.pbtxt"
            )
        for index in range(schema.results):
            config.output.add(name=f"OUTPUT__{index}")


def bind_inputs(config: ModelConfig, schema: ForwardSchema) -> dict[str, str]:
    """Name of the argument for each input of the configuration.

    Raises InvalidArgumentError, with all problems, where they do not fit together.
    """
    if schema.takes_dict:
        return _bind_keys(config)
    bound: dict[str, str] = {}
    problems: list[str] = []
    for index, tensor in enumerate(config.input):
        argument = _find_argument(tensor.name, schema.arguments)
        problem = _binding_problem(tensor, argument, bound.values())
        if problem or argument is None:
            problems.append(f"input[{index}]: '{tensor.name}' {problem}")
        else:
            bound[tensor.name] = argument.name
    if not problems:
        problems = [
            f"argument '{argument.name}' has no input"
            for argument in schema.arguments
            if argument.required and argument.name not in bound.values()
        ]
    if problems:
        raise InvalidArgumentError(f"{'; '.join(problems)}. The file has {schema}")
    return bound


def _bind_keys(config: ModelConfig) -> dict[str, str]:
    strings = [tensor.name for tensor in config.input if tensor.data_type == BYTES.config_enum]
    if strings:
        raise InvalidArgumentError(
            f"input '{strings[0]}' is TYPE_STRING, but forward takes a dict of tensors"
        )
    return {tensor.name: tensor.name for tensor in config.input}


def _find_argument(name: str, arguments: Sequence[Argument]) -> Argument | None:
    for argument in arguments:
        if argument.name == name:
            return argument
    indexed = _INDEX.fullmatch(name)
    if indexed and int(indexed[1]) < len(arguments):
        return arguments[int(indexed[1])]
    return None


def _binding_problem(tensor: Any, argument: Argument | None, taken: Collection[str]) -> str | None:
    if argument is None:
        return "is neither the name of an argument nor an index as in INPUT__0"
    if argument.name in taken:
        return f"and another input both mean the argument '{argument.name}'"
    expected = (_STRINGS_TYPE,) if tensor.data_type == BYTES.config_enum else _TENSOR_TYPES
    if argument.type not in expected:
        given = BY_CONFIG_ENUM[tensor.data_type].config_name
        return f"is {given}, for an argument of type {expected[0]}, but '{argument.name}' is {argument.type}"
    return None


class OutputPicker:
    """Finds the configuration's outputs in what `forward` returned."""

    def __init__(self, config: ModelConfig, schema: ForwardSchema) -> None:
        """Raises InvalidArgumentError where the result cannot have these outputs."""
        self._names = [output.name for output in config.output]
        self._one_string_list = schema.returns == _STRINGS_TYPE
        indexed = [_INDEX.fullmatch(name) for name in self._names]
        self._by_index = all(indexed)
        self._indexes = (
            [int(match[1]) for match in indexed if match] if self._by_index else range(len(self._names))
        )
        if schema.results is not None:
            self._check_count(schema.results, str(schema), InvalidArgumentError)

    def pick(self, returned: Any) -> dict[str, Any]:
        """The value of each output. Raises InternalError where one is missing."""
        fields = returned._asdict() if hasattr(returned, "_asdict") else returned
        if isinstance(fields, Mapping) and all(name in fields for name in self._names):
            return {name: fields[name] for name in self._names}
        if isinstance(returned, Mapping):
            keys = ", ".join(f"'{key}'" for key in returned)
            missing = ", ".join(f"'{name}'" for name in self._names if name not in returned)
            raise InternalError(f"forward returned a dict without {missing}; it has: {keys}")
        single = self._one_string_list or not isinstance(returned, tuple | list)
        values = [returned] if single else returned
        self._check_count(len(values), "forward", InternalError)
        return {name: values[index] for name, index in zip(self._names, self._indexes, strict=True)}

    def _check_count(
        self, count: int, what: str, error: type[InternalError] | type[InvalidArgumentError]
    ) -> None:
        if self._by_index:
            wrong = [name for name, index in zip(self._names, self._indexes, strict=True) if index >= count]
            if wrong:
                raise error(f"{what}: {count} value(s) are returned, so there is no output '{wrong[0]}'")
        elif len(self._names) != count:
            raise error(
                f"{what}: {count} value(s) are returned, but {len(self._names)} output(s) are configured; "
                "name them all, or by index as in OUTPUT__0"
            )
