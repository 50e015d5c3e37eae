"""What of a program of `torch.export` is handed to torch: only what describes the computation, and only in a form that
cannot become anything else.

torch evaluates what such a file says: sizes are expressions that sympy evaluates as Python, names of values become
source code, operators are looked up by any dotted name, and containers import the modules of their classes. So each
string is held against what torch writes in its place, and what is not needed to run the program is left out: stack
traces, guards, the containers of arguments and results, example inputs.
"""

import re
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any

from kserve_v2.errors import InvalidArgumentError

from .expressions import SYMBOL, check_expression
from .trees import flat_call, flat_tree

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_OPERATOR = re.compile(
    r"torch\.ops\.(?!__)\w+\.(?!__)\w+(?:\.(?!__)\w+)?"
    r"|_operator\.(?:getitem|eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift)"
    r"|math\.(?:trunc|ceil|floor|sqrt)"
    r"|torch\.(?:sym_\w+|_sym_\w+)"
    r"|torch\._functorch\.predispatch\.(?:_add_batch_dim|_remove_batch_dim|_vmap_increment_nesting|"
    r"_vmap_decrement_nesting|lazy_load_decompositions)",
    re.ASCII,
)
# These reach beyond the tensors that a program is given: the one maps a file of this machine.
_REFUSED_OPERATORS = re.compile(
    r"torch\.ops\.(?:aten\.from_file\b|[a-z]*c10d|rpc\b|profiler\b|mkldnn_prepacked\b)"
)

# Strings that are values, or keys of tables and nothing else.
_FREE = frozenset({
    "as_string", "as_strings", "parameter_name", "buffer_name", "tensor_constant_name", "user_input_name",
})  # fmt: skip
_TABLES = frozenset(
    {"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "as_string_to_argument"}
)


def vetted(
    program: Mapping[str, Any], device: Mapping[str, Any], inputs: int, outputs: int
) -> dict[str, Any]:
    """The program, as it is in the file, on this device, with arguments and results that are in no container.

    `device`: as torch writes it. Raises InvalidArgumentError for what torch does not write, and for what is not served.
    """
    module = program["graph_module"]
    vet = _Vetting(device)
    call = {
        "fqn": "",
        "signature": {
            "inputs": [],
            "outputs": [],
            "in_spec": flat_call(inputs),
            "out_spec": flat_tree(outputs),
            "forward_arg_names": None,
        },
    }
    return {
        "graph_module": {
            "graph": vet.value("graph", module["graph"]),
            "signature": vet.value("signature", module["signature"]),
            "module_call_graph": [call],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": program.get("opset_version", {}),
        "range_constraints": vet.ranges(program.get("range_constraints", {})),
        "schema_version": program["schema_version"],
        "verifiers": [name for name in program.get("verifiers", []) if name in ("TRAINING", "ATEN")],
        "torch_version": str(program.get("torch_version", "")),
        "guards_code": [],
    }


class _Vetting:
    """Copies a program as JSON, looking at every string."""

    def __init__(self, device: Mapping[str, Any]) -> None:
        self._device = dict(device)

    def value(self, key: str, value: Any) -> Any:
        """What stands under this key."""
        if key in ("metadata",):
            return {}
        if key in ("device", "as_device"):
            return self._device
        if key in ("as_custom_obj", "custom_obj", "custom_obj_values", "token") and value:
            kind = (
                "a side effect that is kept in order" if key == "token" else "an object of a class of its own"
            )
            raise InvalidArgumentError(f"the program holds {kind}, which is not served")
        if isinstance(value, dict):
            if key not in _TABLES:
                return {name: self.value(_name(name), part) for name, part in value.items()}
            # Under a name of the program's own there is no string, but a description.
            return {_name(name): self.value("", part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.value(key, part) for part in value]
        if isinstance(value, str) and key not in _FREE:
            _RULES.get(key, _field)(value)
        return value

    def ranges(self, ranges: Mapping[str, Any]) -> dict[str, Any]:
        """The bounds of sizes, but not of what is computed from sizes."""
        return {
            name: self.value("range", bounds) for name, bounds in ranges.items() if SYMBOL.fullmatch(name)
        }


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or iskeyword(text):
        raise InvalidArgumentError(f"a value of the program is called {text[:80]!r}, which is no name")
    return text


def _name_or_none(text: str) -> None:
    if text:
        _name(text)


def _expression(text: str) -> None:
    try:
        check_expression(text)
    except ValueError as error:
        raise InvalidArgumentError(f"a size of the program is no expression of sizes: {error}") from error


def _operator(text: str) -> None:
    if not _OPERATOR.fullmatch(text) or _REFUSED_OPERATORS.match(text):
        raise InvalidArgumentError(f"the program calls {text[:120]!r}, which is no operator that is served")


def _field(text: str) -> None:
    raise InvalidArgumentError(f"the program says {text[:80]!r} where torch writes no text")


_RULES: Mapping[str, Callable[[str], Any]] = {
    "expr_str": _expression,
    "name": _name_or_none,
    "as_name": _name,
    "target": _operator,
    "as_operator": _operator,
    # Infinities and what is no number are texts in JSON.
    "as_float": lambda text: _field(text) if text not in ("Infinity", "-Infinity", "NaN") else None,
    "as_floats": lambda text: _field(text) if text not in ("Infinity", "-Infinity", "NaN") else None,
}
