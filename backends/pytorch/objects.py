"""Modules of a program as handlers: what they take and give is found with an example, by torch.export where it can
export them, and else by calling them.
"""

import inspect
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kserve_v2.backend import Described, LiveModel
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.live import ONE_INSTANCE
from kserve_v2.tensors.datatypes import BY_DTYPE

logger = logging.getLogger(__name__)

_HOW = "give example=, what the module would be called with, such as example=torch.zeros(1, 3, 224, 224)"


def wrap(thing: object, described: Described) -> LiveModel | None:
    """See `WrapsObjects.wrap`."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(thing, torch.nn.Module):
        return None
    if described.example is None:
        raise InvalidArgumentError(
            f"{type(thing).__name__} is a torch module, which does not say what its tensors are: {_HOW}"
        )
    return LiveModel(_Module(thing, described), config=ONE_INSTANCE)


@dataclass(frozen=True, slots=True)
class _Example:
    """Arguments of a call, by name. `positional`: how many are passed by their places."""

    tensors: dict[str, Any]
    positional: int

    def arguments(self, tensors: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Those of a call with these tensors."""
        names = list(self.tensors)
        first, rest = names[: self.positional], names[self.positional :]
        return tuple(tensors[name] for name in first), {name: tensors[name] for name in rest}


class _Module:
    """A module as a handler. It stays on its device, and is in evaluation mode from now on."""

    tensors: Literal["torch"] = "torch"

    def __init__(self, module: Any, described: Described) -> None:
        import torch  # noqa: PLC0415 - the program has it

        self._torch = torch
        self._module = module.eval()
        self._device = next((each.device for each in (*module.parameters(), *module.buffers())), None)
        self.max_batch_size = described.max_batch_size or 0
        self._example = self._read(described.example)
        given = {name: self._place(value) for name, value in self._example.tensors.items()}
        try:
            returned = self._call(given)
        except Exception as error:
            raise InvalidArgumentError(
                f"{type(module).__name__} cannot be called with the example, "
                f"{', '.join(f'{name} of {each.dtype} {list(each.shape)}' for name, each in given.items())}: {error}"
            ) from error
        found = self._named(returned)
        self._names = list(found)
        if not self._names:
            raise InvalidArgumentError(f"{type(module).__name__} returns no tensor")
        inputs, outputs = self._exported(given) or (_sizes(given.values()), _sizes(found.values()))
        self.inputs = self._declared(given, inputs)
        self.outputs = self._declared(found, outputs)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._named(self._call({name: self._place(value) for name, value in inputs.items()}))

    def _call(self, tensors: Mapping[str, Any]) -> Any:
        positional, named = self._example.arguments(tensors)
        with self._torch.inference_mode():
            return self._module(*positional, **named)

    def _place(self, value: Any) -> Any:
        return value if self._device is None else value.to(self._device)

    def _read(self, example: object) -> _Example:
        """The example's tensors, by the names of the parameters of `forward`."""
        torch = self._torch
        if isinstance(example, Mapping):
            tensors = {str(name): value for name, value in example.items()}
            positional = 0
        else:
            values = list(example) if isinstance(example, tuple | list) else [example]
            tensors, positional = dict(zip(self._parameters(len(values)), values, strict=True)), len(values)
        if not tensors:
            raise InvalidArgumentError(f"the example has nothing in it: {_HOW}")
        for name, value in tensors.items():
            try:
                tensors[name] = torch.as_tensor(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise InvalidArgumentError(
                    f"the example of '{name}' is {type(value).__name__}, expected a tensor: {_HOW}"
                ) from error
        return _Example(tensors, positional)

    def _parameters(self, number: int) -> list[str]:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            parameters = inspect.signature(self._module.forward).parameters.values()
            names = [each.name for each in parameters if each.kind in kinds]
        except (TypeError, ValueError):
            names = []
        return [*names, *(f"input_{index}" for index in range(len(names), number))][:number]

    def _named(self, returned: Any) -> dict[str, Any]:
        """What the module has returned, by name. Raises InvalidArgumentError for what are no tensors."""
        if isinstance(returned, self._torch.Tensor):
            return {"output": returned}
        if isinstance(returned, Mapping):
            found = {str(name): value for name, value in returned.items() if value is not None}
        elif isinstance(returned, tuple | list):
            names = getattr(returned, "_fields", [f"output_{index}" for index in range(len(returned))])
            found = dict(zip(names, returned, strict=True))
        else:
            found = {"output": returned}
        for name, value in found.items():
            if not isinstance(value, self._torch.Tensor):
                raise InvalidArgumentError(
                    f"{type(self._module).__name__} returns {type(value).__name__} as '{name}', expected tensors: "
                    "write a handler around it"
                )
        return found

    def _declared(
        self, tensors: Mapping[str, Any], sizes: Sequence[list[int]]
    ) -> dict[str, tuple[str, list[int]]]:
        from .tensors import to_numpy  # noqa: PLC0415 - where there is torch

        declared = {}
        for (name, tensor), dims in zip(tensors.items(), sizes, strict=True):
            datatype = BY_DTYPE.get(to_numpy(tensor.detach()).dtype)
            if datatype is None:
                raise InvalidArgumentError(f"'{name}' is {tensor.dtype}, for which there is no datatype")
            if not dims or (self.max_batch_size and dims[0] != -1):
                raise InvalidArgumentError(
                    f"'{name}' has the shape {list(tensor.shape)}: expected at least one dimension"
                    + (", and rows, as max_batch_size is given" if self.max_batch_size else "")
                )
            declared[name] = (datatype.name, (dims[1:] or [1]) if self.max_batch_size else dims)
        return declared

    def _exported(self, given: Mapping[str, Any]) -> tuple[list[list[int]], list[list[int]]] | None:
        """The dimensions of inputs and outputs, as torch.export knows them, -1 where one varies; None if it cannot
        export the module.
        """
        torch = self._torch
        if isinstance(self._module, torch.jit.ScriptModule) or not all(each.ndim for each in given.values()):
            return None
        # A size of 1 would be taken for one that never changes.
        doubled = {name: torch.cat([each, each]) for name, each in given.items()}
        positional, named = self._example.arguments(doubled)
        variable = {name: {0: torch.export.Dim.AUTO} for name in doubled}
        first, rest = self._example.arguments(variable)
        shapes: Any = rest if not first else first if not rest else None
        try:
            with torch.no_grad():
                program = torch.export.export(self._module, positional, named, dynamic_shapes=shapes)
            nodes = {node.name: node.meta.get("val") for node in program.graph.nodes}
            signature = program.graph_signature
            inputs = [_symbolic(nodes[name]) for name in signature.user_inputs]
            outputs = [_symbolic(nodes[name]) for name in signature.user_outputs]
        except Exception as error:  # noqa: BLE001 - whatever it is, the module runs as it is
            logger.info("torch.export cannot export %s: %s", type(self._module).__name__, error)
            return None
        if len(inputs) != len(given) or len(outputs) != len(self._names):
            return None
        return inputs, outputs


def _symbolic(value: Any) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in value.shape]


def _sizes(tensors: Any) -> list[list[int]]:
    """As they are in the example, but for the first dimension."""
    return [[-1, *each.shape[1:]] if each.ndim else [] for each in tensors]
