"""Whether the rows of a batch are independent of each other, found out by trying when a model is loaded.

Merging the requests of different clients is only right if a model answers two rows together as it answers each of them
alone. No configuration says that, and the shapes of a model file don't prove it: a softmax over the first axis has
a dynamic first dimension, too. So the model is given made-up rows, both ways, and each beside other neighbours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod
from time import monotonic
from typing import Any

import ml_dtypes
import numpy as np

from kserve_v2.errors import describe
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BYTES, Array

Execute = Callable[[Tensors, InferRequest], Tensors]
"""Runs one request on an instance."""

# Sizes to try for variable dimensions, until the model takes one: small ones for text, larger ones for images.
_SIZES = (8, 32, 224, 1)

# What numbers around 0 are multiplied by, round by round, for models that have answered all rows alike so far: those
# of a classifier that scales its inputs first are all of one class until they are as large as what it was trained on.
_LARGER = (1e4, 1e2, 1e3, 1e1, 1e4, 1e2, 1e3)

# What every model is tried with: numbers around 0, and up to 255.
_USUAL_SEEDS = 2

# The most elements that are made up for one tensor.
MAX_ELEMENTS = 2**24

# The most units in the last place by which rounding alone may make answers differ.
_ROUNDINGS = 128

# After this time no further execution begins.
MAX_SECONDS = 20.0

_TEXTS = (b"0", b"1", b"two", b"three words here")

# The dtype kinds of numpy's floats and of those of ml_dtypes.
_KINDS_OF_FLOAT = "fV"


class Verdict(Enum):
    """What a trial has shown."""

    INDEPENDENT = "rows are answered together as they are alone"
    DEPENDENT = "a row's answer depends on the other rows"
    NOT_ROWS = "the first dimension of the tensors is not the batch"
    UNKNOWN = "the model could not be tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one instance, and what it rests on, for the log."""

    verdict: Verdict
    reason: str = ""


class _NotRowsError(Exception):
    """An output has no row for each row of the input."""


class _TooLongError(Exception):
    """The model takes so long that it is tried no further."""


def try_batching(
    execute: Execute, signature: ModelSignature, clock: Callable[[], float] = monotonic
) -> Finding:
    """Ask for two made-up rows together, for each alone, and for each beside another one, with different values each
    time. `clock`: in seconds.

    Whatever the model raises is no verdict: its inputs may have to be more than of the right type and shape.
    """
    deadline = clock() + MAX_SECONDS

    def in_time(tensors: Tensors, request: InferRequest) -> Tensors:
        if clock() > deadline:
            raise _TooLongError
        return execute(tensors, request)

    reason = "it has no inputs" if not signature.inputs else "its inputs are too large"
    for size in _SIZES if not signature.fixed_shapes else _SIZES[:1]:
        if elements_of(signature, size) > MAX_ELEMENTS or not signature.inputs:
            continue
        try:
            return _compare(in_time, signature, size)
        except _TooLongError:
            return Finding(Verdict.UNKNOWN, f"it was not tried for longer than {MAX_SECONDS:.0f} s")
        except BaseException as error:  # noqa: BLE001 - no verdict, whatever a plug-in raises
            reason = f"it does not take made-up inputs: {describe(error)}"
    return Finding(Verdict.UNKNOWN, reason)


def _compare(execute: Execute, signature: ModelSignature, size: int) -> Finding:
    finding: Finding | None = None
    for seed in range(_USUAL_SEEDS + len(_LARGER)):
        if seed >= _USUAL_SEEDS and finding is not None and finding.verdict is not Verdict.UNKNOWN:
            break
        rows = made_up_rows(signature, size, seed)
        try:
            latest = _compare_rows(execute, signature, rows)
        except BaseException:
            # This kind of values may be out of range. The finding of the first ones stands.
            if finding is None:
                raise
            continue
        if finding is None or latest.verdict is not Verdict.UNKNOWN:
            finding = latest
        if finding.verdict in (Verdict.DEPENDENT, Verdict.NOT_ROWS):
            break
    assert finding is not None  # noqa: S101 - the first round has raised otherwise
    return finding


def _compare_rows(execute: Execute, signature: ModelSignature, three: Mapping[str, Array]) -> Finding:
    """Compare two of three rows with each of them alone, and with each beside the third."""
    rows = {name: array[:2] for name, array in three.items()}
    try:
        together = _outputs(execute, signature, rows, 2)
        alone = [
            _outputs(execute, signature, {name: array[n : n + 1] for name, array in rows.items()}, 1)
            for n in range(2)
        ]
        depends = _depends_on_neighbour(execute, signature, three, together)
    except _NotRowsError as error:
        return Finding(Verdict.NOT_ROWS, str(error))
    for name, array in together.items():
        for n in range(2):
            one, row = alone[n][name], array[n : n + 1]
            if one.shape != row.shape:
                reason = (
                    f"output '{name}' has shape {list(array.shape)} for two rows, {list(one.shape)} for one"
                )
                return Finding(Verdict.NOT_ROWS, reason)
            if not same_answer(one, row, array):
                return Finding(
                    Verdict.DEPENDENT,
                    f"output '{name}' of two rows together is not that of each of them alone",
                )
    if depends:
        return Finding(Verdict.DEPENDENT, f"output '{depends}' of a row is another one beside another row")
    if all(same_answer(alone[0][name], alone[1][name], array) for name, array in together.items()):
        # NaN, or the same label for everything, would hide what rows do to each other.
        return Finding(Verdict.UNKNOWN, "it answers all made-up rows alike")
    return Finding(Verdict.INDEPENDENT)


def _depends_on_neighbour(
    execute: Execute, signature: ModelSignature, three: Mapping[str, Array], together: Mapping[str, Array]
) -> str:
    """The name of an output of a row that changes when only the row beside it does; "" if there is none.

    The size of the batch and the place in it being the same, the same kernels do the same, so the answer has to be the
    same but for its very last digits, however small its part in the whole output: unless the model does not even answer
    the same rows alike.
    """
    for kept, order in ((0, [0, 2]), (1, [2, 1])):
        beside = _outputs(execute, signature, {name: array[order] for name, array in three.items()}, 2)
        for name, array in together.items():
            # Not by its index: a row of texts without further dimensions would be no array.
            row = slice(kept, kept + 1)
            if array.shape == beside[name].shape and not _same_but_for_rounding(
                array[row], beside[name][row]
            ):
                again = _outputs(execute, signature, {key: rows[:2] for key, rows in three.items()}, 2)
                return name if _same_but_for_rounding(array, again[name]) else ""
    return ""


def _same_but_for_rounding(one: Array, other: Array) -> bool:
    """Of each element by itself."""
    if one.dtype.kind not in _KINDS_OF_FLOAT:
        return bool(np.all(one == other))
    digits, tiny = _epsilon(one.dtype), float(ml_dtypes.finfo(one.dtype).tiny)  # type: ignore[no-untyped-call]
    with np.errstate(all="ignore"):
        return np.allclose(
            one.astype(np.float64), other.astype(np.float64),
            rtol=_ROUNDINGS * digits, atol=tiny / digits, equal_nan=True,
        )  # fmt: skip


def _outputs(
    execute: Execute, signature: ModelSignature, rows: Mapping[str, Array], count: int
) -> dict[str, Array]:
    # Copies: a model may write to its inputs.
    given = {name: array.copy() for name, array in rows.items()}
    request = InferRequest(signature.model_name, given, checked=True, rows=count)
    inputs = signature.reshape_inputs(request.inputs) if signature.reshapes_inputs else request.inputs
    # Copies: the next execution may use the same memory.
    outputs = {name: np.array(array) for name, array in execute(inputs, request).items()}
    for name in signature.outputs:
        shape = outputs[name].shape
        if shape[:1] != (count,):
            raise _NotRowsError(f"output '{name}' has shape {list(shape)} for {count} row(s)")
    return {name: outputs[name] for name in signature.outputs}


def elements_of(signature: ModelSignature, size: int, rows: int = 2) -> int:
    """How many the largest input has in so many rows. `size`: of the dimensions that vary."""
    return max(
        (prod([rows, *_sized(tensor.dims, size)]) for tensor in signature.inputs.values()),
        default=0,
    )


def _sized(dims: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(size if dim == -1 else dim for dim in dims)


def made_up_rows(signature: ModelSignature, size: int, seed: int) -> dict[str, Array]:
    """Three rows, of which the first two differ, of values that most models take: small integers, so that they can be
    indices, and numbers around 0 (seed 0), up to 255 (seed 1) or larger ones (further seeds).
    """
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, tensor in signature.inputs.items():
        shape = (3, *_sized(tensor.dims, size))
        values = made_up_values(random, tensor.datatype.dtype, shape, seed)
        if (values[0] == values[1]).all():
            values[0], values[1] = _TEXTS[:2] if tensor.datatype is BYTES else (0, 1)
        made[name] = values
    return made


def made_up_values(
    random: np.random.Generator, dtype: "np.dtype[np.generic]", shape: tuple[int, ...], seed: int
) -> Array:
    """Values as in `made_up_rows`."""
    if dtype == BYTES.dtype:
        texts = np.empty(len(_TEXTS), dtype)
        texts[:] = _TEXTS
        drawn: Array = texts[random.integers(0, len(_TEXTS), shape)]
    elif dtype == np.bool_:
        drawn = random.integers(0, 2, shape).astype(dtype)
    elif dtype.kind in _KINDS_OF_FLOAT:
        numbers = random.uniform(0, 255, shape) if seed == 1 else random.standard_normal(shape)
        scale = _LARGER[seed - _USUAL_SEEDS] if seed >= _USUAL_SEEDS else 1
        with np.errstate(over="ignore"):
            drawn = (numbers * scale).astype(dtype)
    else:
        drawn = random.integers(0, (2, 4, 16)[min(seed, 2)], shape).astype(dtype)
    return drawn


def same_answer(one: Array, row: Array, whole: Array) -> bool:
    """Whether two rows are the same: floats in half of their digits, as kernels for other batch sizes add numbers up in
    another order.
    """
    if one.dtype != row.dtype:
        return False
    if one.dtype.kind not in _KINDS_OF_FLOAT:
        return bool((one == row).all())
    digits = _epsilon(one.dtype) ** 0.5
    with np.errstate(all="ignore"):
        finite = np.abs(whole.astype(np.float64))
        largest = float(np.max(finite, initial=0, where=np.isfinite(finite)))
        # Near zero the error is that of the larger numbers that it was computed from.
        return np.allclose(
            one.astype(np.float64), row.astype(np.float64),
            rtol=4 * digits, atol=digits / 8 * largest, equal_nan=True,
        )  # fmt: skip


def _epsilon(dtype: "np.dtype[np.generic]") -> float:
    """The distance from 1 to the next larger number."""
    info: Any = ml_dtypes.finfo  # not typed
    return float(info(dtype).eps)
