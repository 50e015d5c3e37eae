"""Fill a configuration from what a model file says about itself, and find where the two contradict each
other.

Every function changes only fields that are empty and returns the contradictions as texts that begin with the
path of the field, so that a plug-in can report all of them at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kserve_v2.backend import ModelConfig, hidden_inputs, hidden_outputs
from kserve_v2.errors import ContradictionError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BY_NAME

TensorKind = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output as the model file declares it.

    `datatype`: the protocol's name. `dims`: as in the configuration, so without the batch dimension where
    `max_batch_size` is positive; -1 where a dimension varies; empty for a scalar, or where the file does not
    say. `optional`: the model runs without it.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False


def raise_contradictions(model: str, problems: Sequence[str]) -> None:
    """Raise ContradictionError with all `problems`, if there are any."""
    if problems:
        text = f"model '{model}' contradicts its configuration: " + "; ".join(problems)
        raise ContradictionError(text, problems)


def fill_tensors(config: ModelConfig, kind: TensorKind, specs: Sequence[TensorSpec], file: str) -> list[str]:
    """Merge the inputs or outputs that `file` declares into `config`, field by field.

    Inputs that the configuration does not name are added, since the model cannot run without them. Outputs
    are added only where the configuration names none: to name some is to choose them. Hidden ones are only compared.
    """
    declared = {spec.name: spec for spec in specs}
    entries: Any = config.input if kind == "input" else config.output
    hidden: list[Any] = hidden_inputs(config) if kind == "input" else hidden_outputs(config)
    named = {entry.name for entry in entries}
    not_added = named | {entry.name for entry in hidden}
    problems: list[str] = []
    for index, entry in enumerate(entries):
        path = f"{kind}[{index}]"
        if entry.name in declared:
            problems += _fill_entry(entry, declared[entry.name], config.max_batch_size > 0, path, file)
        else:
            names = ", ".join(f"'{name}'" for name in declared) or "none"
            problems.append(f"{path}.name: {file} has no {kind} '{entry.name}'; it has: {names}")
    if kind == "input" or not named:
        for spec in specs:
            if spec.name not in not_added:
                entry = entries.add(name=spec.name)
                if spec.optional:
                    entry.optional = True
                _fill_entry(entry, spec, config.max_batch_size > 0, kind, file)
    for entry in hidden:
        if entry.name in declared:
            spec, path = declared[entry.name], f"{kind}['{entry.name}']"
            problems += _fill_entry(entry, spec, config.max_batch_size > 0, path, file)
    return problems


def enable_dynamic_batching(config: ModelConfig) -> None:
    """Give a model that batches, and whose configuration chooses no scheduler, `dynamic_batching {}`."""
    if config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
        config.dynamic_batching.SetInParent()


def format_dims(dims: Iterable[int]) -> str:
    """`[1, -1, 3]`."""
    return "[" + ", ".join(str(dim) for dim in dims) + "]"


def _fill_entry(entry: Any, spec: TensorSpec, batching: bool, path: str, file: str) -> list[str]:
    """Merge one tensor. `entry` is a ModelInput or ModelOutput."""
    problems: list[str] = []
    datatype = BY_NAME[spec.datatype]
    if not entry.data_type:
        entry.data_type = datatype.config_enum
    elif entry.data_type != datatype.config_enum:
        known = BY_CONFIG_ENUM.get(entry.data_type)
        given = known.config_name if known else entry.data_type
        problems.append(
            f"{path}.data_type: '{entry.name}' is {datatype.config_name} in {file}, "
            f"the configuration says {given}"
        )
    if not entry.dims:
        _fill_dims(entry, spec.dims, batching)
    elif not _dims_agree(entry, spec.dims):
        problems.append(f"{path}.dims: {_dims_contradiction(entry, spec, batching, file)}")
    return problems


def _fill_dims(entry: Any, dims: tuple[int, ...], batching: bool) -> None:
    """Scalars become dims [1], since `dims` may not be empty: with a reshape to [] behind a batch
    dimension."""
    entry.dims.extend(dims or (1,))
    if batching and not dims:
        entry.reshape.SetInParent()


def _dims_contradiction(entry: Any, spec: TensorSpec, batching: bool, file: str) -> str:
    """Say how dims differ, and if all that is too much, or missing, is the batch dimension."""
    configured = tuple(entry.reshape.shape if entry.HasField("reshape") else entry.dims)
    place, advice = f"in {file}", ""
    if batching:
        place = f"behind the batch dimension in {file}"
        if _sizes_agree(configured[1:], spec.dims):
            advice = f"; with max_batch_size, dims leave the batch dimension out: write {format_dims(configured[1:])}"
    elif spec.dims[0] == -1 and _sizes_agree(configured, spec.dims[1:]):
        advice = (
            "; without max_batch_size, dims are the whole shape: set max_batch_size if the first dimension is the "
            f"batch, or write {format_dims((-1, *configured))}"
        )
    found, given = format_dims(spec.dims), format_dims(configured)
    return f"'{entry.name}' has dims {found} {place}, the configuration says {given}{advice}"


def _dims_agree(entry: Any, declared: tuple[int, ...]) -> bool:
    """Equal rank, and equal sizes wherever the file fixes one. A file without dims agrees with anything."""
    if not declared:
        return True
    given = tuple(entry.reshape.shape) if entry.HasField("reshape") else tuple(entry.dims)
    return _sizes_agree(given, declared)


def _sizes_agree(given: Sequence[int], declared: Sequence[int]) -> bool:
    return len(given) == len(declared) and all(
        have in (-1, want) for want, have in zip(given, declared, strict=True)
    )
