"""The batch dimension: added where a value lacks exactly that, and taken off the outputs again."""

from collections.abc import Mapping
from dataclasses import dataclass

from kserve_v2.client.description import TensorInfo
from kserve_v2.errors import InvalidArgumentError, shape_text
from kserve_v2.tensors.datatypes import Array


@dataclass(frozen=True, slots=True)
class Fitted:
    """An array as it is sent. `added`: whether it has got its batch dimension here. `either`: a caller who wants the
    dimension back, and one who does not, would have given the same.
    """

    array: Array
    added: bool = False
    either: bool = False


def fit(array: Array, info: TensorInfo, batched: bool | None) -> Fitted:
    """An array in the shape that the model takes. `batched`: whether its axis 0 is the batch, None if nobody knows.

    A single value stands for a tensor of one element. Where a row is one element (dims are [1]), a flat list is as many
    rows. Raises InvalidArgumentError for what does not fit.
    """
    shape = info.shape
    if array.ndim == 0 and shape:
        if all(size in (1, -1) for size in shape):
            return Fitted(array.reshape((1,) * len(shape)), added=batched is True)
        raise _unfit(array, info, batched)
    if array.ndim == len(shape):
        if _matches(array.shape, shape):
            return Fitted(array)
    elif batched and array.ndim == len(shape) - 1:
        if shape[1:] == (1,):
            return Fitted(array[:, None], either=len(array) == 1)
        if _matches(array.shape, shape[1:]):
            return Fitted(array[None], added=True)
    raise _unfit(array, info, batched)


def _matches(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(size in (-1, got) for size, got in zip(wanted, shape, strict=True))


def _unfit(array: Array, info: TensorInfo, batched: bool | None) -> InvalidArgumentError:
    got = f"shape {shape_text(array.shape)}" if array.ndim else "a single value"
    shape = info.shape
    note = ""
    if batched:
        note = f" ({shape_text(shape[1:])} without the batch)"
    elif array.ndim == len(shape) - 1 and shape[0] in (1, -1):
        why = (
            "the model does not batch"
            if batched is False
            else "the server does not say that the model batches"
        )
        if _matches(array.shape, shape[1:]):
            note = f" ({why}: if that is the missing dimension, give array[None], or [VALUE] in JSON)"
        elif shape[1:] == (1,):
            note = f" ({why}: for several rows, give array[:, None], or [[…], […]] in JSON)"
    return InvalidArgumentError(f"input '{info.name}' takes shape {shape_text(shape)}{note}, got {got}")


def take_off(fitted: Mapping[str, Fitted]) -> bool:
    """Whether the caller has given one row without the batch dimension, and so gets it without. Raises
    InvalidArgumentError if some inputs are one row, and others several.
    """
    added = [name for name, each in fitted.items() if each.added]
    given = {
        name: each for name, each in fitted.items() if not each.added and not each.either and each.array.ndim
    }
    if added:
        for name, each in given.items():
            if len(each.array) != 1:
                raise InvalidArgumentError(
                    f"input '{added[0]}' is one row, without a batch dimension, and input '{name}' has "
                    f"{len(each.array)} rows: give all inputs with the batch dimension, or all without"
                )
    return bool(added) and not given
