"""What the `forward` of a TorchScript file takes and returns, as far as the file says."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["tensor", "scalar", "list", "tuple", "dict", "other"]

_SCALARS = {"IntType": "int", "FloatType": "float", "BoolType": "bool", "StringType": "str"}


@dataclass(frozen=True, slots=True)
class Value:
    """A type. `text`: in TorchScript's spelling. `parts`: of a tuple its elements; of a list or a dict with strings as
    keys, what it is a list or dict of. `scalar`: of a scalar `int`, `float`, `bool` or `str`. `named`: a named tuple.
    """

    kind: Kind
    text: str
    parts: tuple["Value", ...] = ()
    optional: bool = False
    scalar: str = ""
    named: bool = False

    @property
    def elements(self) -> str:
        """Of a scalar or a list of scalars, what these are; otherwise ""."""
        return self.parts[0].scalar if self.kind == "list" and not self.parts[0].optional else self.scalar

    @property
    def is_leaf(self) -> bool:
        """Whether one tensor of the protocol stands for it."""
        return self.kind == "tensor" or self.elements != ""

    @property
    def is_tensor_list(self) -> bool:
        """Whether any number of tensors stands for it."""
        return self.kind == "list" and self.parts[0].kind == "tensor" and not self.parts[0].optional


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of `forward`."""

    name: str
    value: Value
    has_default: bool

    @property
    def required(self) -> bool:
        """Whether a request without it cannot be executed."""
        return not (self.has_default or self.value.optional)


@dataclass(frozen=True, slots=True)
class ForwardSchema:
    """Arguments and result of `forward`."""

    arguments: tuple[Argument, ...]
    returns: Value

    @property
    def takes_dict(self) -> bool:
        """Whether all inputs go into one dictionary."""
        if len(self.arguments) != 1 or self.arguments[0].value.kind != "dict":
            return False
        return self.arguments[0].value.parts[0].kind == "tensor"

    def __str__(self) -> str:
        arguments = ", ".join(f"{argument.name}: {argument.value.text}" for argument in self.arguments)
        return f"forward({arguments}) -> {self.returns.text}"


def read_schema(module: Any) -> ForwardSchema:
    """The schema of a loaded ScriptModule."""
    schema = module.forward.schema
    arguments = (
        Argument(argument.name, _read(argument.type), argument.has_default_value())
        for argument in schema.arguments[1:]
    )
    return ForwardSchema(tuple(arguments), _read(schema.returns[0].type))


def _read(of: Any) -> Value:
    text = str(of)
    match of.kind():
        case "TensorType":
            value = Value("tensor", text)
        case "IntType" | "FloatType" | "BoolType" | "StringType" as kind:
            value = Value("scalar", text, scalar=_SCALARS[kind])
        case "OptionalType":
            value = replace(_read(of.getElementType()), text=text, optional=True)
        case "ListType":
            value = Value("list", text, (_read(of.getElementType()),))
        case "TupleType":
            # The type of a named tuple is spelled as its class; the names of its fields are not in it.
            named = not text.startswith("Tuple[")
            value = Value("tuple", text, tuple(map(_read, of.elements())), named=named)
        case "DictType" if of.getKeyType().kind() == "StringType":
            value = Value("dict", text, (_read(of.getValueType()),))
        case _:
            value = Value("other", text)
    return value


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part of an argument that one input stands for. `name`: the argument's, or of a part `<argument>__<index>`."""

    name: str
    value: Value
    required: bool


def leaves_of(name: str, value: Value, *, required: bool, list_size: int = 0) -> Iterator[Leaf]:
    """The parts of an argument, in order. `list_size`: how many tensors there are in a list of them."""
    if value.kind == "tuple":
        for index, part in enumerate(value.parts):
            yield from leaves_of(f"{name}__{index}", part, required=required and not part.optional)
    elif value.is_tensor_list:
        for index in range(list_size):
            yield Leaf(f"{name}__{index}", value.parts[0], required)
    else:
        yield Leaf(name, value, required)
