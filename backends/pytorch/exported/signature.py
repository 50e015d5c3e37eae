"""What a program of `torch.export` takes and returns, read from its file without torch.

Inputs are the tensors, and the sizes, that the program was exported with as inputs: an argument that is a tensor by its
own name; parts of a tuple or list as `<argument>__<index>`, of a dictionary or dataclass as `<argument>__<key>`; where
one dictionary is the only argument, its keys. Numbers, strings and None were compiled into the program: they are
constants and no inputs. Outputs have the name of their key or field, or `OUTPUT__<index>`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_v2.errors import InvalidArgumentError

from .expressions import readable
from .trees import Path, input_names, input_paths, output_names, read_tree
from .writes import written_inputs

_DATATYPES = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64", 12: "BOOL", 13: "BF16",
    28: "UINT16", 34: "UINT32", 35: "UINT64",
}  # fmt: skip
_OTHER_DATATYPES = {
    9: "complex32", 10: "complex64", 11: "complex128", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
}  # fmt: skip

Size = int | str
"""A dimension: fixed, or an expression of sizes."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output. `inner`: the program's own name for it; `path`: where it is in the arguments, joined by `_`.
    `place`: which of the values of the program it is, constants included. `datatype`: the protocol's, or torch's if the
    protocol has none. A `number` is no tensor but one of Python's, `symbol` the size that it stands for.
    """

    name: str
    inner: str
    path: str
    place: int
    datatype: str
    sizes: tuple[Size, ...] = ()
    number: bool = False
    symbol: str = ""

    @property
    def carried(self) -> bool:
        """Whether the protocol has its datatype."""
        return self.datatype in _DATATYPES.values()

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as a configuration has it: -1 where it varies."""
        if self.number:
            return (1,)
        return tuple(size if isinstance(size, int) else -1 for size in self.sizes)


@dataclass(frozen=True, slots=True)
class Constant:
    """An argument, or a result, that is the same for all requests. `value`: as Python writes it."""

    name: str
    place: int
    value: Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which values a size is; None where there is no bound."""

    least: int | None
    most: int | None


@dataclass(frozen=True, slots=True)
class ProgramSignature:
    """All of it. `takes` and `returns`: how many values, constants included. `writes`: the names of the buffers and
    parameters that the program writes to. `bounds`: of sizes.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    constant_inputs: tuple[Constant, ...]
    constant_outputs: tuple[Constant, ...]
    takes: int
    returns: int
    writes: Mapping[str, str]
    bounds: Mapping[str, Bounds]
    guards: tuple[str, ...]
    torch_version: str


def read_signature(program: Any, file: str) -> ProgramSignature:
    """The signature of a program, as it is in its file. Raises InvalidArgumentError where that is none."""
    try:
        return _read(program)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: {error.message}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{file} is damaged: its program is not as torch.export.save writes it "
            f"({type(error).__name__}: {error}); export the model again"
        ) from error


def _read(program: Any) -> ProgramSignature:
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    (call,) = (entry["signature"] for entry in module["module_call_graph"] if entry["fqn"] == "")
    fields = {
        name: definition["field_names"]
        for name, definition in module.get("treespec_namedtuple_fields", {}).items()
    }
    specs_in = [
        spec for spec in map(_only, signature["input_specs"]) if spec[0] in ("user_input", "constant_input")
    ]
    specs_out = [_only(spec) for spec in signature["output_specs"]]
    paths_in = input_paths(read_tree(call["in_spec"], fields), call.get("forward_arg_names"))
    paths_out = [*read_tree(call["out_spec"], fields).leaves()]
    user_outputs = [spec["arg"] for kind, spec in specs_out if kind == "user_output"]
    if len(paths_in) != len(specs_in) or len(paths_out) != len(user_outputs):
        raise ValueError(
            f"{len(paths_in)} arguments for {len(specs_in)} inputs, {len(paths_out)} results for "
            f"{len(user_outputs)} outputs"
        )
    names_in = [*input_names(paths_in)]
    inputs = [
        _constant(names_in[place], place, spec["value"])
        if kind == "constant_input"
        else _value(names_in[place], paths_in[place], place, spec["arg"], graph)
        for place, (kind, spec) in enumerate(specs_in)
    ]
    names_out = [*output_names(paths_out, [_is_constant(argument) for argument in user_outputs])]
    outputs = [
        _value(names_out[place], paths_out[place], place, argument, graph)
        for place, argument in enumerate(user_outputs)
    ]
    updated = {
        spec.get("buffer_name") or spec.get("parameter_name")
        for kind, spec in specs_out
        if kind in ("buffer_mutation", "parameter_mutation")
    }
    written = written_inputs(graph)
    # By the name that it has in the program, and by that which its author knows.
    writes = {
        inner: name for inner, name in _held(signature["input_specs"]) if inner in written or name in updated
    }
    return ProgramSignature(
        tuple(value for value in inputs if isinstance(value, Value)),
        tuple(value for value in outputs if isinstance(value, Value)),
        tuple(value for value in inputs if isinstance(value, Constant)),
        tuple(value for value in outputs if isinstance(value, Constant)),
        len(inputs),
        len(outputs),
        writes,
        {
            name: Bounds(bounds.get("min_val"), bounds.get("max_val"))
            for name, bounds in program.get("range_constraints", {}).items()
        },
        tuple(map(str, program.get("guards_code", []))),
        str(program.get("torch_version", "")),
    )


# --- values -----------------------------------------------------------------------------------------------------------


def _held(specs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the program holds: its name in the graph, and in the module."""
    for kind, spec in map(_only, specs):
        name = spec.get("parameter_name") or spec.get("buffer_name") or spec.get("tensor_constant_name")
        if name and kind in ("parameter", "buffer", "tensor_constant"):
            yield spec["arg"]["name"], name


def _only(union: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, value),) = union.items()
    return kind, value


def _constant(name: str, place: int, value: Mapping[str, Any]) -> Constant:
    kind, content = _only(value)
    return Constant(name, place, None if kind == "as_none" else content)


def _value(
    name: str, path: Path, place: int, argument: Mapping[str, Any], graph: Mapping[str, Any]
) -> Value | Constant:
    kind, content = _only(argument)
    joined = "_".join(map(str, path))
    if kind == "as_tensor":
        inner = content["name"]
        meta = graph["tensor_values"][inner]
        number = meta["dtype"]
        datatype = _DATATYPES.get(number) or _OTHER_DATATYPES.get(number) or f"datatype {number}"
        return Value(name, inner, joined, place, datatype, tuple(map(_size, meta["sizes"])))
    if kind in _NUMBERS and "as_name" in content:
        inner = content["as_name"]
        symbol = str(_size(graph["sym_int_values"][inner])) if kind == "as_sym_int" else ""
        return Value(name, inner, joined, place, _NUMBERS[kind], number=True, symbol=symbol)
    if _is_constant(argument):
        return _constant(name, place, next(iter(argument.values())) if kind in _NUMBERS else argument)
    if kind == "as_custom_obj":
        raise InvalidArgumentError(
            "the program takes or holds an object of a class of its own, which is not served"
        )
    raise ValueError(f"'{name}' is {kind}")


def _is_constant(argument: Mapping[str, Any]) -> bool:
    kind, content = _only(argument)
    return kind in ("as_int", "as_float", "as_bool", "as_string", "as_none") or (
        kind in _NUMBERS and "as_name" not in content
    )


_NUMBERS = {"as_sym_int": "INT64", "as_sym_float": "FP64", "as_sym_bool": "BOOL"}


def _size(size: Mapping[str, Any]) -> Size:
    kind, content = _only(size)
    return int(content) if kind == "as_int" else readable(content["expr_str"])
