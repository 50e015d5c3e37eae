"""What a program of `torch.export` says about its inputs and outputs, merged into a model's configuration."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kserve_v2.backend import ModelConfig, hidden_inputs, hidden_outputs

from ...completion import TensorKind, TensorSpec, enable_dynamic_batching, fill_tensors, format_dims
from .shapes import row_bounds
from .signature import Constant, ProgramSignature, Value

logger = logging.getLogger(__name__)

_INDEX = re.compile(r".*__(\d+)")
_SIZE = re.compile(r"[a-z]{1,4}\d+", re.ASCII)

_HINT = "write dynamic_batching { } into config.pbtxt if they may be"


def bind(names: Sequence[str], values: Sequence[Value]) -> dict[str, Value]:
    """The value that each name of a configuration stands for, where it stands for one: it is that of the value, or the
    program's own for it; or ends with its place, as `INPUT__0`; or if no name does either, they stand in order.
    """
    known = {value.inner: value for value in values} | {value.name: value for value in values}
    if not any(name in known or _INDEX.fullmatch(name) for name in names):
        return dict(zip(names, values, strict=True)) if len(names) == len(values) else {}
    found = {name: known.get(name) or _at_index(name, values) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _at_index(name: str, values: Sequence[Value]) -> Value | None:
    index = _INDEX.fullmatch(name)
    return values[int(index[1])] if index and int(index[1]) < len(values) else None


def bound_inputs(config: ModelConfig, signature: ProgramSignature) -> dict[str, Value]:
    """The inputs of a program by the names that a configuration gives them, hidden ones included."""
    return bind(_names(config.input, hidden_inputs(config)), signature.inputs)


def bound_outputs(config: ModelConfig, signature: ProgramSignature) -> dict[str, Value]:
    """The outputs that a configuration chooses, by the names that it gives them."""
    return bind(_names(config.output, hidden_outputs(config)), signature.outputs)


def _names(shown: Iterable[Any], hidden: Iterable[Any]) -> list[str]:
    return [*dict.fromkeys(tensor.name for tensor in (*shown, *hidden))]


def complete_config(
    config: ModelConfig, signature: ProgramSignature, file: str, default_max_batch_size: int
) -> list[str]:
    """Fill `config` from the signature; returns the contradictions.

    Where the first dimension of every tensor is one and the same size, it is taken for the batch, and a configuration
    without `max_batch_size` gets the default one. As in Triton, a configuration that names inputs and outputs gets no
    `dynamic_batching`.
    """
    described = bool(config.input and config.output)
    inputs, outputs = _served(config, signature)
    objection = _objection(signature, [*inputs.values()], [*outputs.values()])
    tensors = {**inputs, **outputs}
    if not (config.max_batch_size or config.HasField("sequence_batching")) and (
        inputs
        and all(value.dims[:1] == (-1,) for value in tensors.values())
        and _dims_leave_room(config, tensors)
    ):
        if objection:
            logger.warning("model '%s': served without a batch dimension: %s", config.name, objection)
        else:
            _, most = row_bounds([*inputs.values()], signature.bounds)
            config.max_batch_size = (
                default_max_batch_size if most is None else min(default_max_batch_size, most)
            )
    problems = _merge(config, signature, inputs, outputs, file)
    if problems or described:
        return problems
    if not objection:
        enable_dynamic_batching(config)
    elif config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
        logger.warning("model '%s': requests are not merged: %s; %s", config.name, objection, _HINT)
    return problems


def contradictions(config: ModelConfig, signature: ProgramSignature, file: str) -> list[str]:
    """What a complete configuration says that the file does not."""
    copy = ModelConfig()
    copy.CopyFrom(config)
    return _merge(copy, signature, *_served(copy, signature), file)


def _served(config: ModelConfig, signature: ProgramSignature) -> tuple[dict[str, Value], dict[str, Value]]:
    """All inputs, and the outputs to serve, by the names that the configuration gives them or else by their own.
    Outputs that the protocol cannot carry are left out if the configuration does not name them.
    """
    inputs = _named(signature.inputs, bound_inputs(config, signature))
    chosen = bound_outputs(config, signature)
    if config.output:
        return inputs, chosen
    outputs = _named(signature.outputs, chosen)
    for name, value in outputs.items():
        if not value.carried:
            logger.warning(
                "model '%s': output '%s' is left out: it is %s, which the v2 protocol cannot carry",
                config.name,
                name,
                value.datatype,
            )
    return inputs, {name: value for name, value in outputs.items() if value.carried}


def _named(values: Sequence[Value], bound: Mapping[str, Value]) -> dict[str, Value]:
    names = {value: name for name, value in bound.items()}
    return {names.get(value, value.name): value for value in values}


# --- the batch --------------------------------------------------------------------------------------------------------


def _objection(signature: ProgramSignature, inputs: Sequence[Value], outputs: Sequence[Value]) -> str:
    """What speaks against the first dimension of the tensors being a batch whose rows are of different requests; ""
    where nothing does.
    """
    if signature.writes:
        written = _listed(signature.writes.values())
        return f"an answer depends on the requests before it, as the program writes to {written}"
    for value in (*inputs, *outputs):
        if value.number:
            return f"'{value.name}' is one number for all rows"
    tensors = [value for value in (*inputs, *outputs) if value.sizes]
    firsts = {str(value.sizes[0]): value.name for value in reversed(tensors)}
    if len(firsts) > 1:
        names = ", ".join(f"{size} ('{name}')" for size, name in reversed(firsts.items()))
        return f"its first dimensions are different ones: {names}"
    for size, first in firsts.items():
        for value in tensors:
            for axis, other in enumerate(value.sizes[1:], start=1):
                if size in _SIZE.findall(str(other)):
                    return (
                        f"its first dimension is no batch: that of '{first}', {size}, is also in dimension {axis} of "
                        f"'{value.name}'"
                    )
    least, _ = row_bounds(inputs, signature.bounds)
    return f"it takes no fewer than {least} rows" if least > 1 else ""


def _listed(names: Iterable[str]) -> str:
    first, *more = sorted(names)
    return f"'{first}'" + (f" and {len(more)} more" if more else "")


def _dims_leave_room(config: ModelConfig, tensors: Mapping[str, Value]) -> bool:
    """Whether all dims that the configuration gives have one dimension less than the file's."""
    ranks = {name: len(value.dims) for name, value in tensors.items()}
    entries: list[Any] = [*config.input, *config.output]
    return all(
        len(entry.reshape.shape if entry.HasField("reshape") else entry.dims) == ranks.get(entry.name, 0) - 1
        for entry in entries
        if entry.dims
    )


# --- the tensors ------------------------------------------------------------------------------------------------------


def _merge(
    config: ModelConfig,
    signature: ProgramSignature,
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Value],
    file: str,
) -> list[str]:
    problems = [
        *_unsupported("input", inputs),
        *_unsupported("output", outputs),
        *_constants(config, signature, file),
        *_optional(config, inputs),
    ]
    if not outputs and not config.output:
        problems.append(f"{file} has no output that the v2 protocol can carry")
    if config.max_batch_size:
        problems += _batch_problems(config, signature, inputs, outputs, file)
    if problems:
        return problems
    free = {tensor.name for tensor in config.input if tensor.allow_ragged_batch} | {
        name for each in config.batch_output for name in each.target_name
    }
    skip = 1 if config.max_batch_size else 0
    kinds: tuple[tuple[TensorKind, Mapping[str, Value]], ...] = (("input", inputs), ("output", outputs))
    for kind, values in kinds:
        specs = [_spec(name, value, skip, known=name not in free) for name, value in values.items()]
        if kind == "output":
            named = bound_outputs(config, signature)
            more = [value for value in signature.outputs if value not in named.values() and value.carried]
            specs += [_spec(value.name, value, skip) for value in more if config.output]
        problems += fill_tensors(config, kind, specs, file)
    return problems


def _spec(name: str, value: Value, skip: int, *, known: bool = True) -> TensorSpec:
    dims = value.dims if value.number else value.dims[skip:]
    return TensorSpec(name, value.datatype, dims if known else ())


def _unsupported(kind: TensorKind, values: Mapping[str, Value]) -> list[str]:
    return [
        f"{kind} '{name}' is {value.datatype}, which the v2 protocol cannot carry"
        for name, value in values.items()
        if not value.carried
    ]


def _constants(config: ModelConfig, signature: ProgramSignature, file: str) -> Iterator[str]:
    """Names of the configuration that stand for what the program does not let a request choose."""
    kinds: tuple[tuple[Iterable[Any], Sequence[Constant], Sequence[Value]], ...] = (
        (config.input, signature.constant_inputs, signature.inputs),
        (config.output, signature.constant_outputs, signature.outputs),
    )
    for entries, constants, values in kinds:
        known = {constant.name: constant for constant in constants}
        served = {value.name for value in values}
        for entry in entries:
            if entry.name in known and entry.name not in served:
                yield (
                    f"'{entry.name}' is no tensor in {file} but {known[entry.name].value!r}, for every request: it was "
                    "exported with that; to have it sent, export the model with a tensor in its place"
                )


def _optional(config: ModelConfig, inputs: Mapping[str, Value]) -> Iterator[str]:
    for entry in config.input:
        if entry.optional and entry.name in inputs:
            yield (
                f"input '{entry.name}' is optional in the configuration, but a program of torch.export takes all of "
                "its inputs: export it without this one, as a model of its own, or remove optional"
            )


def _batch_problems(
    config: ModelConfig,
    signature: ProgramSignature,
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Value],
    file: str,
) -> Iterator[str]:
    for name, value in {**inputs, **outputs}.items():
        if value.number:
            if name in outputs:
                yield f"max_batch_size: output '{name}' is one number for all rows: set max_batch_size to 0"
            elif config.HasField("dynamic_batching"):
                yield (
                    f"input '{name}' is one number for all rows of a batch: requests with different values cannot be "
                    "merged, so leave out dynamic_batching"
                )
        elif value.dims[:1] != (-1,):
            shape = format_dims(value.dims).replace(" ", "")
            yield (
                f"max_batch_size: tensor '{name}': for the model to support batching the shape should have at least 1 "
                f"dimension and the first dimension must be -1; but shape expected by the model is {shape}. The first "
                f"dimension is fixed in {file}, so the model cannot batch: set max_batch_size to 0, or export the "
                'model with dynamic_shapes={"' + f'{value.inner}": {{0: torch.export.Dim("batch")}}' + "}"
            )
    _, most = row_bounds([*inputs.values()], signature.bounds)
    if most is not None and config.max_batch_size > most:
        yield (
            f"max_batch_size: {file} takes at most {most} rows, the configuration says {config.max_batch_size}"
        )
