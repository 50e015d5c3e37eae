"""What an ONNX file says about its inputs and outputs, merged into a model's configuration."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from kserve_v2.backend import ModelConfig, hidden_inputs, hidden_outputs

from ..completion import TensorKind, TensorSpec, enable_dynamic_batching, fill_tensors
from .header import Header
from .structure import OnnxStructure

logger = logging.getLogger(__name__)

DATATYPES = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(string)": "BYTES", "tensor(bfloat16)": "BF16",
}  # fmt: skip
"""By the types of ONNX Runtime."""

_OF_NO_OUTPUTS_SHAPE = re.compile(r"input\b|output\[\d+\]\.(?:name|data_type): ")
_OPTIONAL = re.compile(r"optional\((.*)\)")
# As ONNX Runtime makes them.
_MAPS = frozenset({"seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"})

# A graph may list its weights as inputs with default values, as old exporters did. A default with more elements than
# this is taken for one, and no input of that graph is offered by the server on its own account.
_MAX_DEFAULT_ELEMENTS = 16


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """An input or output of the graph. `type` is ONNX Runtime's; `shape` is empty for a scalar or an unknown
    rank. `symbols`: the names of its dimensions, "" for one that has a size or no name. `optional`: an input that need
    not be sent.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    symbols: tuple[str, ...] = ()
    optional: bool = False

    @property
    def datatype(self) -> str | None:
        """The protocol's datatype, None where it has none."""
        return DATATYPES.get(self.type)


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """Inputs and outputs of a model file, as they are served. `defaults`: inputs that have a value in the file."""

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    defaults: tuple[OnnxTensor, ...] = ()


def read_graph(session: Any, structure: OnnxStructure, header: Header | None = None) -> OnnxGraph:
    """The graph of an InferenceSession. Symbolic and unknown dimensions become -1. `header`: whose session it is."""
    header = header or Header()
    inputs = _tensors(session.get_inputs())
    outputs = [_as_served(tensor, structure) for tensor in _tensors(session.get_outputs())]
    defaults = [
        *_tensors(session.get_overridable_initializers()),
        *(tensor for tensor in inputs if tensor.name in header.defaults),
    ]
    return OnnxGraph(
        tuple(tensor for tensor in inputs if tensor.name not in header.weights),
        tuple(outputs),
        tuple(replace(tensor, optional=True) for tensor in defaults),
    )


def complete_config(
    config: ModelConfig, graph: OnnxGraph, file: str, default_max_batch_size: int
) -> list[str]:
    """Fill `config` from the graph; returns the contradictions.

    Where the first dimension of every tensor varies, and their names don't speak against it, it is taken for the batch,
    and a configuration without `max_batch_size` gets the default one. It does not where its dims show that the first
    dimension is meant to be the model's own, nor for sequences, whose batches nobody can try out. As in Triton, a
    configuration that names inputs and outputs gets no `dynamic_batching`.
    """
    described = bool(config.input and config.output)
    served = _served(config, graph)
    _report(config, graph, served)
    tensors = [*served.inputs, *served.outputs]
    # The first dimensions of what is joined otherwise than by rows are different ones.
    objection = "" if _joined_inputs(config) or config.batch_input else objection_to_batching(tensors)
    if not (config.max_batch_size or config.HasField("sequence_batching")) and (
        served.inputs
        and all(tensor.shape[:1] == (-1,) for tensor in tensors)
        and _dims_leave_room(config, tensors)
    ):
        if objection:
            logger.warning("model '%s': served without a batch dimension: %s", config.name, objection)
        else:
            config.max_batch_size = default_max_batch_size
    problems = _merge(config, graph, served, file)
    if problems or described:
        return problems
    if not objection:
        enable_dynamic_batching(config)
    elif config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
        logger.warning(
            "model '%s': requests are not merged: %s; write dynamic_batching { } into config.pbtxt if they may be",
            config.name,
            objection,
        )
    return problems


def contradictions(config: ModelConfig, graph: OnnxGraph, file: str) -> list[str]:
    """What a configuration says that the file does not, where `complete_config` has not seen it."""
    copy = ModelConfig()
    copy.CopyFrom(config)
    return _merge(copy, graph, _served(copy, graph), file)


def are_certain(
    problems: Sequence[str], config: ModelConfig, graph: OnnxGraph, file: str, default_max_batch_size: int
) -> bool:
    """Whether contradictions, as `complete_config` returns them for a graph as a file declares it, are so whatever ONNX
    Runtime works out of the outputs' shapes. These also decide whether a configuration without `max_batch_size` gets
    one, and with it what dims of inputs have to be. `config`: as it was before.
    """
    sizes = {config.max_batch_size} if config.max_batch_size else {0, default_max_batch_size}
    paths: list[set[str]] = []
    for size in sizes:
        copy = ModelConfig()
        copy.CopyFrom(config)
        copy.max_batch_size = size
        paths.append({_path(problem) for problem in contradictions(copy, graph, file)})
    fixed = {f"max_batch_size: tensor '{tensor.name}'" for tensor in graph.inputs}
    return all(
        _path(problem) in set.intersection(*paths)
        and (_OF_NO_OUTPUTS_SHAPE.match(problem) or ": ".join(problem.split(": ")[:2]) in fixed)
        for problem in problems
    )


def _path(problem: str) -> str:
    return problem.partition(": ")[0]


def _merge(config: ModelConfig, graph: OnnxGraph, served: OnnxGraph, file: str) -> list[str]:
    """Fill the tensors of a configuration whose batch size is settled."""
    problems = [*_unsupported(served), *_joining_problems(config, served, file)]
    if not served.outputs and not config.output:
        problems.append(f"{file} has no output that the v2 protocol can carry")
    if config.max_batch_size:
        problems += _fixed_batch([*served.inputs, *served.outputs], file)
    if problems:
        return problems
    skip = 1 if config.max_batch_size else 0
    # Of a ragged input, and of an output that is cut by the shape of one, the file says nothing about a request's own.
    joined, cut = _joined_inputs(config), _cut_outputs(config)
    inputs = [replace(each, shape=()) if each.name in joined else each for each in served.inputs]
    problems += fill_tensors(config, "input", [_spec(tensor, skip) for tensor in inputs], file)
    carried = [tensor for tensor in graph.outputs if tensor.datatype]
    outputs = [replace(each, shape=()) if each.name in cut else each for each in carried]
    specs = [_output_spec(tensor, skip, served.inputs) for tensor in outputs]
    return problems + fill_tensors(config, "output", specs, file)


def _joined_inputs(config: ModelConfig) -> frozenset[str]:
    return frozenset(tensor.name for tensor in config.input if tensor.allow_ragged_batch)


def _cut_outputs(config: ModelConfig) -> frozenset[str]:
    return frozenset(name for each in config.batch_output for name in each.target_name)


def _joining_problems(config: ModelConfig, served: OnnxGraph, file: str) -> Iterator[str]:
    """What is wrong with inputs that are joined otherwise than by rows, and with those that tell how."""
    shapes = {tensor.name: tensor.shape for tensor in served.inputs}
    for tensor in config.input:
        if not tensor.allow_ragged_batch:
            continue
        if not tensor.dims:
            tensor.dims.append(-1)
        if shapes.get(tensor.name, (-1,)) != (-1,):
            yield (
                f"unable to load model '{config.name}', configuration expects model provides input with shape [-1]  "
                f"for ragged input '{tensor.name}', model provides {_triton_shape(shapes[tensor.name])}"
            )
    for batch_input in config.batch_input:
        for name in batch_input.target_name:
            if name not in shapes:
                yield f"batch_input: {file} has no input '{name}'; it has: {', '.join(map(repr, shapes)) or 'none'}"
    given = {output.name for output in config.output if output.dims}
    for name in sorted(_cut_outputs(config) - given):
        yield f"batch_output: output '{name}' is cut by the shape of an input: its dims have to be given"


def _triton_shape(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _served(config: ModelConfig, graph: OnnxGraph) -> OnnxGraph:
    """The tensors to serve: without what the protocol cannot carry, if the configuration does not name it and the model
    runs without it.
    """
    named_inputs = {tensor.name for tensor in config.input}
    named_outputs = {tensor.name for tensor in config.output}
    if named_outputs:
        named_outputs |= {tensor.name for tensor in hidden_outputs(config)}
    inputs = [*graph.inputs, *_offered_defaults(config, graph.defaults)]
    return OnnxGraph(
        tuple(each for each in inputs if each.datatype or not each.optional or each.name in named_inputs),
        tuple(
            each
            for each in graph.outputs
            if (each.name in named_outputs if named_outputs else each.datatype is not None)
        ),
    )


def _offered_defaults(config: ModelConfig, defaults: Sequence[OnnxTensor]) -> list[OnnxTensor]:
    """Those that the configuration names; all, if it says nothing of inputs and batches, and none looks like a weight.

    They have no batch dimension as a rule, so a model that is to batch has them only if it is told so.
    """
    named = {tensor.name for tensor in (*config.input, *hidden_inputs(config))}
    silent = not named and not config.max_batch_size and not any(output.dims for output in config.output)
    weights = any(prod(tensor.shape) > _MAX_DEFAULT_ELEMENTS for tensor in defaults)
    return [tensor for tensor in defaults if tensor.name in named or (silent and not weights)]


def _report(config: ModelConfig, graph: OnnxGraph, served: OnnxGraph) -> None:
    """Say what becomes of tensors that are not simply served."""
    for tensor in (*graph.inputs, *(() if config.output else graph.outputs)):
        if tensor not in served.inputs and tensor not in served.outputs:
            logger.warning(
                "model '%s': '%s' is left out: it is %s, which the v2 protocol cannot carry",
                config.name,
                tensor.name,
                tensor.type,
            )
    hidden = [tensor.name for tensor in graph.defaults if tensor not in served.inputs]
    if hidden:
        logger.info(
            "model '%s': %d inputs have values in the file and are not offered, '%s' is one; to have one sent, name it "
            "in config.pbtxt, with optional: true",
            config.name,
            len(hidden),
            hidden[0],
        )


# Names that exporters give dimensions which have none: torch.export (s77, u0), torch.onnx (x_dynamic_axes_1,
# Gemmy_dim_0), tf2onnx (unk__12), and what is computed from others. They differ even where the dimension is one and the
# same, so they say nothing.
_INVENTED = re.compile(r"[su]\d+|.*_dynamic_axes_\d+|.*_dim_\d+|unk(nown)?(_*\d+)?|dim_?\d+|\d+|\?|.*\W.*")


def objection_to_batching(tensors: Sequence[OnnxTensor]) -> str:
    """What the names of the dimensions say against the first one being the batch: that there are several names, or that
    it stands elsewhere, too. "" if nothing.
    """
    chosen = {
        tensor.symbols[0]: tensor.name
        for tensor in reversed(tensors)
        if tensor.symbols and tensor.symbols[0] and not _INVENTED.fullmatch(tensor.symbols[0])
    }
    for tensor in tensors:
        for axis, symbol in enumerate(tensor.symbols[1:], start=1):
            if symbol in chosen:
                return (
                    f"its first dimension is no batch: '{symbol}', the first of '{chosen[symbol]}', is dimension "
                    f"{axis} of '{tensor.name}'"
                )
    if len(chosen) > 1:
        names = ", ".join(f"'{symbol}' ('{tensor}')" for symbol, tensor in reversed(chosen.items()))
        return f"its first dimensions are different ones: {names}"
    return ""


def _tensors(arguments: Iterable[Any]) -> tuple[OnnxTensor, ...]:
    return tuple(_tensor(argument) for argument in arguments)


def _tensor(argument: Any) -> OnnxTensor:
    optional = _OPTIONAL.fullmatch(argument.type)
    return OnnxTensor(
        argument.name,
        optional[1] if optional else argument.type,
        tuple(dim if isinstance(dim, int) else -1 for dim in argument.shape),
        tuple(dim if isinstance(dim, str) else "" for dim in argument.shape),
        optional is not None,
    )


def _as_served(output: OnnxTensor, structure: OnnxStructure) -> OnnxTensor:
    """A sequence of maps whose classes are known becomes a tensor with a column for each; what holds the class of each
    row has as many.
    """
    classes = structure.classes.get(output.name)
    if classes and output.type in _MAPS:
        return OnnxTensor(output.name, "tensor(float)", (-1, len(classes)), ("", ""))
    if output.name in structure.class_outputs and len(output.shape) == 1:
        return replace(output, shape=(-1,))
    return output


def _spec(tensor: OnnxTensor, skip: int) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype or "", tensor.shape[skip:], tensor.optional)


def _output_spec(tensor: OnnxTensor, skip: int, inputs: Sequence[OnnxTensor]) -> TensorSpec:
    """An output without a dimension that varies, of a model whose inputs have some, varies along the same axes, for all
    that is known: an exporter writes down the sizes of its one example, and ONNX Runtime answers all the same.
    """
    if skip or -1 in tensor.shape:
        return _spec(tensor, skip)
    varying = {axis for each in inputs for axis, size in enumerate(each.shape) if size == -1}
    dims = tuple(-1 if axis in varying else size for axis, size in enumerate(tensor.shape))
    return TensorSpec(tensor.name, tensor.datatype or "", dims)


def _unsupported(graph: OnnxGraph) -> list[str]:
    """What is wrong with tensors that the protocol cannot carry."""
    kinds: tuple[tuple[TensorKind, tuple[OnnxTensor, ...], str], ...] = (
        ("input", graph.inputs, ""),
        ("output", graph.outputs, "; the configuration must not name it"),
    )
    return [
        f"{kind} '{tensor.name}' is {tensor.type}, which the v2 protocol cannot carry{advice}"
        for kind, tensors, advice in kinds
        for tensor in tensors
        if tensor.datatype is None
    ]


def _fixed_batch(tensors: Sequence[OnnxTensor], file: str) -> list[str]:
    return [
        f"max_batch_size: tensor '{tensor.name}': for the model to support batching the shape should have at least 1 "
        "dimension and the first dimension must be -1; but shape expected by the model is "
        f"{_triton_shape(tensor.shape)}. The first dimension is fixed in {file}, so the model cannot batch: set "
        "max_batch_size to 0, or export the model with a dynamic first dimension"
        for tensor in tensors
        if tensor.shape and tensor.shape[0] != -1
    ]


def _dims_leave_room(config: ModelConfig, tensors: Sequence[OnnxTensor]) -> bool:
    """Whether all dims that the configuration gives have one dimension less than the file's."""
    ranks = {tensor.name: len(tensor.shape) for tensor in tensors}
    entries: list[Any] = [*config.input, *config.output]
    return all(
        len(entry.reshape.shape if entry.HasField("reshape") else entry.dims) == ranks.get(entry.name, 0) - 1
        for entry in entries
        if entry.dims
    )
