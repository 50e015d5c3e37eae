"""The parameter `pad_variable_dims`: requests of different lengths share a batch, each padded to the longest.

Its value is a JSON object. `dims` are numbered as in the configuration, from 0, without the batch:

    parameters { key: "pad_variable_dims" value { string_value:
        '{"inputs": {"ids": 0, "mask": 0}, "lengths": {"LENGTH": "ids"}, "outputs": {"tags": "ids"}}' } }

- `inputs`: each input to pad, in all of its variable dimensions, with the value that it is padded with.
- `lengths`: inputs of the model that clients do not send, and the configuration does not list: how long each row is
  without its padding. The value is the padded input, if it has one variable dimension, else
  `{"input": "ids", "dim": 0, "data_type": "INT32", "dims": [1]}`: INT64 and `[]` are the defaults of the last two, that
  is, one number for each row.
- `masks`: the same, but a row of ones, and zeros where it is padded.
- `outputs`: every output that has variable dimensions, with the input that these follow, by which they are cut again:
  an input, or `{"0": "ids", "1": ["image", 2]}` by dimension of the output, or null where the output's size has nothing
  to do with the length of an input. Nothing is guessed: the wrong guess would be a wrong answer.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem
from kserve_v2.tensors.datatypes import BOOL, BY_CONFIG_ENUM, BY_NAME, BYTES, Datatype

PAD_VARIABLE_DIMS = "pad_variable_dims"

_PATH = f"parameters['{PAD_VARIABLE_DIMS}']"
_SECTIONS = ("inputs", "lengths", "masks", "outputs")
_LENGTH_TYPES = ("INT32", "INT64", "FP32", "FP64")
_MASK_TYPES = ("BOOL", "UINT8", *_LENGTH_TYPES)


@dataclass(frozen=True, slots=True)
class DimOf:
    """A dimension of an input, without the batch."""

    input: str
    dim: int


@dataclass(frozen=True, slots=True)
class AddedLengths:
    """An input that tells the lengths of `of`: a number for each row, in a tensor of `dims` behind the batch; or a
    `mask` of ones and zeros.
    """

    target: str
    of: DimOf
    datatype: Datatype
    dims: tuple[int, ...] = ()
    mask: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """As the model has to take it; -1 where it varies."""
        return (-1, -1) if self.mask else (-1, *self.dims)


@dataclass(frozen=True, slots=True)
class Padding:
    """`values`: what each input is padded with. `cuts`: by output and its dimension, the one of an input that it is as
    long as.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    added: tuple[AddedLengths, ...] = ()
    cuts: Mapping[str, Mapping[int, DimOf]] = field(default_factory=dict)


def padding_of(config: ModelConfig) -> Padding | None:
    """What a valid configuration says; None if it says nothing of padding. Of a wrong one, what can be understood."""
    return _Reader(config).padding if PAD_VARIABLE_DIMS in config.parameters else None


def padding_problems(config: ModelConfig) -> list[Problem]:
    """Whatever is wrong with the parameter."""
    if PAD_VARIABLE_DIMS not in config.parameters:
        return []
    problems = _Reader(config).problems
    if config.model_transaction_policy.decoupled:
        problems.append(Problem(_PATH, "there are no batches: the model is decoupled"))
    elif config.max_batch_size == 0:
        problems.append(Problem(_PATH, "there are no batches: max_batch_size is 0", incomplete=True))
    if config.HasField("sequence_batching"):
        problems.append(
            Problem(_PATH, "requests of sequences are not padded: leave out sequence_batching, or this")
        )
    for index, tensor in enumerate(config.input):
        if tensor.allow_ragged_batch:
            problems.append(Problem(_PATH, f"input[{index}] is ragged: requests are either padded or joined"))
    problems += [
        Problem(_PATH, f"requests are either padded or joined: leave out {name}")
        for name in ("batch_input", "batch_output")
        if getattr(config, name)
    ]
    return problems


class _Reader:
    """Reads the parameter of one configuration. Never raises: what is wrong is in `problems`."""

    def __init__(self, config: ModelConfig) -> None:
        self.problems: list[Problem] = []
        self._inputs = {tensor.name: tensor for tensor in config.input}
        self._outputs = {tensor.name: tensor for tensor in config.output}
        sections = self._sections(config.parameters[PAD_VARIABLE_DIMS].string_value)
        values = self._values(sections.get("inputs", {}))
        self._padded = frozenset(sections.get("inputs", {}))
        added = [
            *self._added("lengths", sections.get("lengths", {})),
            *self._added("masks", sections.get("masks", {})),
        ]
        self._check_targets(added)
        self.padding = Padding(values, tuple(added), self._cuts(sections.get("outputs", {})))

    def _wrong(self, path: str, message: str, *, incomplete: bool = False) -> None:
        self.problems.append(Problem(f"{_PATH}{path}", message, incomplete))

    def _sections(self, text: str) -> dict[str, dict[str, Any]]:
        try:
            whole = json.loads(text, object_pairs_hook=_without_duplicates)
        except ValueError as error:
            self._wrong(
                "", f'expected a JSON object like {{"inputs": {{"ids": 0}}}} as string_value: {error}'
            )
            return {}
        if not isinstance(whole, dict):
            self._wrong("", f'expected a JSON object like {{"inputs": {{"ids": 0}}}}, got {text}')
            return {}
        for name, section in whole.items():
            if name not in _SECTIONS:
                self._wrong("", f"has no option '{name}'; expected {', '.join(_SECTIONS)}")
            elif not isinstance(section, dict):
                self._wrong(f".{name}", f"expected an object, got {json.dumps(section)}")
        sections = {name: section for name, section in whole.items() if isinstance(section, dict)}
        if not sections.get("inputs"):
            self._wrong(".inputs", "names no input to pad")
        return sections

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _values(self, section: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in section.items():
            path = f".inputs['{name}']"
            tensor = self._inputs.get(name)
            if tensor is None:
                self._wrong(path, f"the model has no input of that name{self._known()}", incomplete=True)
                continue
            if tensor.dims and -1 not in tensor.dims:
                self._wrong(path, f"has no variable dimension: its dims are {list(tensor.dims)}")
            datatype = BY_CONFIG_ENUM.get(tensor.data_type)
            if datatype is None:
                continue  # which is said elsewhere
            try:
                values[name] = _pad_value(value, datatype)
            except ValueError as error:
                self._wrong(path, f"cannot be padded with {json.dumps(value)}: {error}")
        return values

    def _known(self) -> str:
        return f"; it has {', '.join(self._inputs)}" if self._inputs else ""

    def _dim_of(self, path: str, name: object, dim: object = None) -> DimOf | None:
        """A variable dimension of a padded input; without `dim` the only one."""
        if not isinstance(name, str):
            self._wrong(path, f"expected the name of an input, got {json.dumps(name)}")
            return None
        tensor = self._inputs.get(name)
        if name not in self._padded:
            self._wrong(path, f"'{name}' is not padded: name it in 'inputs'")
        elif tensor is not None and tensor.optional:
            self._wrong(path, f"'{name}' is optional: where it is missing nothing is known of its length")
        elif tensor is None or not tensor.dims:
            # Which of its dimensions vary, the model's file may still say.
            return DimOf(name, dim if type(dim) is int else 0)
        else:
            variable = [index for index, size in enumerate(tensor.dims) if size == -1]
            if dim is None and len(variable) == 1:
                return DimOf(name, variable[0])
            if type(dim) is int and dim in variable:
                return DimOf(name, dim)
            if dim is not None:
                text = (
                    f"dimension {json.dumps(dim)} of '{name}' does not vary: its dims are {list(tensor.dims)}"
                )
                self._wrong(path, text)
            elif variable:
                self._wrong(path, f"'{name}' has {len(variable)} variable dimensions: say which one is meant")
        return None

    # --- lengths and masks ------------------------------------------------------------------------------------------

    def _added(self, section: str, entries: Mapping[str, Any]) -> list[AddedLengths]:
        found: list[AddedLengths] = []
        mask = section == "masks"
        options = ("input", "dim", "data_type") if mask else ("input", "dim", "data_type", "dims")
        for target, given in entries.items():
            path = f".{section}['{target}']"
            spec = given if isinstance(given, dict) else {"input": given}
            for unknown in [name for name in spec if name not in options]:
                self._wrong(path, f"has no option '{unknown}'; expected {', '.join(options)}")
            of = self._dim_of(path, spec.get("input"), spec.get("dim"))
            allowed = _MASK_TYPES if mask else _LENGTH_TYPES
            datatype = spec.get("data_type", "INT64")
            if datatype not in allowed:
                self._wrong(
                    path, f"expected a data_type out of {', '.join(allowed)}, got {json.dumps(datatype)}"
                )
                continue
            dims = spec.get("dims", [])
            if dims not in ([], [1]):
                self._wrong(path, f"expected dims [] or [1], got {json.dumps(dims)}")
                continue
            if of is not None:
                found.append(AddedLengths(target, of, BY_NAME[datatype], tuple(dims), mask))
        return found

    def _check_targets(self, added: list[AddedLengths]) -> None:
        seen: set[str] = set()
        for each in added:
            path = f".{'masks' if each.mask else 'lengths'}['{each.target}']"
            if not each.target:
                self._wrong(path, "is the name of an input of the model: it must not be empty")
            elif each.target in self._inputs:
                self._wrong(path, "clients send that input: remove it from the configuration's, or from here")
            elif each.target in seen:
                self._wrong(path, "is there twice")
            seen.add(each.target)

    # --- outputs ----------------------------------------------------------------------------------------------------

    def _cuts(self, section: Mapping[str, Any]) -> dict[str, dict[int, DimOf]]:
        for name in section:
            if name not in self._outputs:
                known = f"; it has {', '.join(self._outputs)}" if self._outputs else ""
                self._wrong(
                    f".outputs['{name}']", f"the model has no output of that name{known}", incomplete=True
                )
        cuts: dict[str, dict[int, DimOf]] = {}
        for name, tensor in self._outputs.items():
            variable = [index for index, size in enumerate(tensor.dims) if size == -1]
            path = f".outputs['{name}']"
            if name not in section:
                if variable:
                    self._wrong(
                        path,
                        f"is missing: name the input that dimension {variable[0]} is as long as, or write null if it "
                        "has nothing to do with the length of an input",
                        incomplete=True,
                    )
            elif section[name] is not None and tensor.dims:
                cuts[name] = self._cut(path, section[name], variable, list(tensor.dims))
        return {name: found for name, found in cuts.items() if found}

    def _cut(self, path: str, given: Any, variable: list[int], dims: list[int]) -> dict[int, DimOf]:
        if not isinstance(given, dict):
            if len(variable) != 1:
                text = f"has {len(variable) or 'no'} variable dimensions, its dims are {dims}"
                self._wrong(path, f'{text}: expected an object like {{"0": "ids"}}')
                return {}
            given = {str(variable[0]): given}
        found: dict[int, DimOf] = {}
        for index in variable:
            if str(index) not in given:
                self._wrong(path, f"does not say what dimension {index} is as long as; null if no input")
        for key, value in given.items():
            if key not in map(str, variable):
                self._wrong(path, f"dimension {json.dumps(key)} does not vary: its dims are {dims}")
            elif value is not None:
                pair = value if isinstance(value, list) and len(value) == 2 else [value]
                of = self._dim_of(path, *pair)
                if of is not None:
                    found[int(key)] = of
        return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"'{key}' is there twice")
        found[key] = value
    return found


def _pad_value(value: Any, datatype: Datatype) -> Any:
    """`value` as an element of an array. Raises ValueError where it is none."""
    dtype = datatype.dtype
    if datatype is BYTES:
        if not isinstance(value, str):
            raise ValueError("expected a string")
        return value.encode()
    if datatype is BOOL:
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")  # noqa: TRY004 - as all that is wrong here
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not isinstance(value, int) or not limits.min <= value <= limits.max:
            raise ValueError(f"expected an integer from {limits.min} to {limits.max}")
        return value
    try:
        number = float(value)
        with np.errstate(over="ignore"):
            stored = float(np.asarray(number).astype(dtype))
    except OverflowError:
        raise ValueError(f"it is too large for {datatype.name}") from None
    if math.isfinite(number) and not math.isfinite(stored):
        raise ValueError(f"it is too large for {datatype.name}")
    return number
