"""What an ONNX file says about its inputs and outputs, merged into a model's configuration."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_v2.backend import ModelConfig

from .completion import TensorKind, TensorSpec, enable_dynamic_batching, fill_tensors

logger = logging.getLogger(__name__)

_DATATYPES = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(string)": "BYTES", "tensor(bfloat16)": "BF16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """An input or output of the graph. `type` is ONNX Runtime's; `shape` is empty for a scalar or an unknown
    rank. `symbols`: the names of its dimensions, "" for one that has a size or no name."""

    name: str
    type: str
    shape: tuple[int, ...]
    symbols: tuple[str, ...] = ()

    @property
    def datatype(self) -> str | None:
        """The protocol's datatype, None where it has none."""
        return _DATATYPES.get(self.type)


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """Inputs and outputs of a model file."""

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]


def read_graph(session: Any) -> OnnxGraph:
    """The graph of an InferenceSession. Symbolic and unknown dimensions become -1."""
    return OnnxGraph(_tensors(session.get_inputs()), _tensors(session.get_outputs()))


def complete_config(
    config: ModelConfig, graph: OnnxGraph, file: str, default_max_batch_size: int
) -> list[str]:
    """Fill `config` from the graph; returns the contradictions.

    Where the first dimension of every tensor varies, and their names don't speak against it, it is taken for the batch,
    and a configuration without `max_batch_size` gets the default one. It does not where its dims show that the first
    dimension is meant to be the model's own. As in Triton, a configuration that names inputs and outputs gets no
    `dynamic_batching`.
    """
    named = {output.name for output in config.output}
    described = bool(config.input and config.output)
    outputs = [output for output in graph.outputs if not named or output.name in named]
    tensors = [*graph.inputs, *outputs]
    problems = [*_unsupported("input", graph.inputs), *_unsupported("output", outputs)]
    objection = objection_to_batching(tensors)
    if config.max_batch_size:
        problems += _fixed_batch(tensors, file)
    elif (
        graph.inputs
        and all(tensor.shape[:1] == (-1,) for tensor in tensors)
        and _dims_leave_room(config, tensors)
    ):
        if objection:
            logger.warning("model '%s': served without a batch dimension: %s", config.name, objection)
        else:
            config.max_batch_size = default_max_batch_size
    if problems:
        return problems
    skip = 1 if config.max_batch_size else 0
    problems += fill_tensors(config, "input", [_spec(tensor, skip) for tensor in graph.inputs], file)
    known_outputs = [tensor for tensor in graph.outputs if tensor.datatype]
    problems += fill_tensors(
        config, "output", [_output_spec(tensor, skip, graph.inputs) for tensor in known_outputs], file
    )
    if described:
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
    return tuple(
        OnnxTensor(
            argument.name,
            argument.type,
            tuple(dim if isinstance(dim, int) else -1 for dim in argument.shape),
            tuple(dim if isinstance(dim, str) else "" for dim in argument.shape),
        )
        for argument in arguments
    )


def _spec(tensor: OnnxTensor, skip: int) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype or "", tensor.shape[skip:])


def _output_spec(tensor: OnnxTensor, skip: int, inputs: Sequence[OnnxTensor]) -> TensorSpec:
    """An output without a dimension that varies, of a model whose inputs have some, varies along the same axes, for all
    that is known: an exporter writes down the sizes of its one example. LightGBM's `label` is [1] for any number of
    rows; ONNX Runtime warns of that, and answers.
    """
    if skip or -1 in tensor.shape:
        return _spec(tensor, skip)
    varying = {axis for each in inputs for axis, size in enumerate(each.shape) if size == -1}
    dims = tuple(-1 if axis in varying else size for axis, size in enumerate(tensor.shape))
    return TensorSpec(tensor.name, tensor.datatype or "", dims)


def _unsupported(kind: TensorKind, tensors: Sequence[OnnxTensor]) -> list[str]:
    advice = "; name the outputs to serve in config.pbtxt to leave it out" if kind == "output" else ""
    return [
        f"{kind} '{tensor.name}' is {tensor.type}, which the v2 protocol cannot carry{advice}"
        for tensor in tensors
        if tensor.datatype is None
    ]


def _fixed_batch(tensors: Sequence[OnnxTensor], file: str) -> list[str]:
    return [
        f"max_batch_size: the first dimension of '{tensor.name}' is fixed to {tensor.shape[0]} in {file}, "
        "so the model cannot batch; set it to 0, or export the model with a dynamic first dimension"
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
