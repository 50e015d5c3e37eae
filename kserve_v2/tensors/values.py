"""Values of Python as arrays of a datatype of the protocol: exactly, or not at all.

Numbers become what the model takes: whole numbers any type that holds them, others a floating point type, in which
they are rounded. What would be changed otherwise (a fraction to an integer, a number that is out of range) is an error.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BF16, BOOL, BY_DTYPE, BYTES, FP32, Array, Datatype

_BUFFERS = (bytes, bytearray, memoryview)
_TEXTS = (str, *_BUFFERS)


def is_torch(value: Any) -> bool:
    """Whether a value is a tensor of torch, which nothing can be where torch is not imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_image(value: Any) -> bool:
    """Whether a value is an image of Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def first_leaf(value: Any) -> Any:
    """The first element of a list nested in any way."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


def torch_array(tensor: Any) -> Array:
    """The values of a tensor of torch, wherever it is."""
    torch = sys.modules["torch"]
    if tensor.layout != torch.strided:
        raise InvalidArgumentError(f"a tensor of torch of layout {tensor.layout}: give tensor.to_dense()")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        array: Array = tensor.contiguous().view(torch.int16).numpy()
        return array.view(BF16.dtype)
    return np.asarray(tensor.numpy())


def to_array(value: Any, datatype: Datatype | None, name: str) -> Array:
    """A value as an array of a datatype, or where that is None, of the one that the value has. `name`: of the input,
    for errors. Raises InvalidArgumentError.
    """
    leaf = first_leaf(value)
    if is_torch(leaf):
        value = _without_tensors(value)
    elif value is None or isinstance(value, dict | set | os.PathLike):
        hint = (
            "; give what is in the file, as path.read_bytes() has it"
            if isinstance(value, os.PathLike)
            else ""
        )
        raise InvalidArgumentError(f"input '{name}': a {type(value).__name__} is no tensor{hint}")
    if datatype is None:
        datatype = _own_datatype(value, name)
    return _texts(value, name) if datatype is BYTES else _numbers(value, datatype, name)


def _without_tensors(value: Any) -> Any:
    if is_torch(value):
        return torch_array(value)
    return [_without_tensors(each) for each in value] if isinstance(value, list | tuple) else value


def _own_datatype(value: Any, name: str) -> Datatype:
    if isinstance(first_leaf(value), _TEXTS):
        return BYTES
    array = _plain(value, name)
    if array.dtype.kind in "SUT" or (array.dtype.kind == "O" and isinstance(next(array.flat, ""), _TEXTS)):
        return BYTES
    datatype = BY_DTYPE.get(array.dtype.newbyteorder("="))
    if datatype is None or datatype is BYTES:
        raise InvalidArgumentError(
            f"input '{name}': the protocol has no datatype for values of {array.dtype}"
        )
    return datatype


def _plain(value: Any, name: str) -> Array:
    """As numpy has it."""
    try:
        return np.asarray(value)
    except ValueError:
        raise InvalidArgumentError(
            f"input '{name}': the lists in it have different lengths, which no tensor has"
        ) from None
    except (TypeError, RuntimeError) as error:
        raise InvalidArgumentError(
            f"input '{name}': a {type(value).__name__} is no tensor: {error}"
        ) from None


# --- texts -------------------------------------------------------------------------------------------------------


def _texts(value: Any, name: str) -> Array:
    """An array of `bytes`. By way of lists: numpy's own arrays of texts lose the zeros at their ends."""
    if isinstance(value, list | tuple):
        shape = _shape(value, name)
        elements: Iterator[Any] = leaves(value)
    elif isinstance(value, _TEXTS):
        shape, elements = (), iter((value,))
    else:
        array = _plain(value, name)
        shape, elements = array.shape, iter(array.astype(np.object_).flat)
    found = np.empty(shape, np.object_)
    flat = found.reshape(-1)
    for index, element in enumerate(elements):
        flat[index] = _bytes(element, name)
    return flat.reshape(shape)


def _bytes(element: Any, name: str) -> bytes:
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(
                f"input '{name}': the text {element[:40]!r} has no form in UTF-8; give bytes"
            ) from None
    if isinstance(element, _BUFFERS):
        return bytes(element)
    raise InvalidArgumentError(
        f"input '{name}' takes BYTES, which are str or bytes, got {element!r:.60} ({type(element).__name__})"
    )


def _shape(value: Any, name: str) -> tuple[int, ...]:
    """Of a list of lists, which has to be the same all over."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    if not isinstance(value, list | tuple):
        return ()
    shapes = {_shape(each, name) for each in value}
    if len(shapes) > 1:
        raise InvalidArgumentError(
            f"input '{name}': the lists in it have different lengths, which no tensor has"
        )
    return (len(value), *(shapes.pop() if shapes else ()))


def leaves(value: Any) -> Iterator[Any]:
    """The elements of lists nested in any way, in order."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, np.ndarray):
        yield from value.astype(np.object_).flat
    else:
        yield value


# --- numbers -----------------------------------------------------------------------------------------------------


def _numbers(value: Any, datatype: Datatype, name: str) -> Array:
    leaf = first_leaf(value)
    if isinstance(leaf, _TEXTS):
        raise _unlike(datatype, f"{leaf!r:.60}", type(leaf).__name__, name)
    source = _plain(value, name)
    if source.dtype == datatype.dtype:
        return source
    if (
        source.dtype.kind == "f"
        and not isinstance(value, np.ndarray | np.generic)
        and datatype.dtype.kind in "iu"
    ):
        # Large integers of different signs become floats with numpy.
        source = np.asarray(value, np.object_)
    if source.size == 0:
        return np.zeros(source.shape, datatype.dtype)
    if source.dtype == BF16.dtype:
        source = source.astype(FP32.dtype)
    if source.dtype.kind == "O":
        return _of_objects(source, datatype, name)
    if source.dtype.kind not in "biuf":
        raise _unlike(datatype, f"values of {source.dtype}", "", name)
    return _cast(source, datatype, name)


def _of_objects(source: Array, datatype: Datatype, name: str) -> Array:
    """Numbers of Python that numpy has no type for, in one array."""
    whole = datatype.dtype.kind in "iub"
    for element in source.flat:
        if not isinstance(element, int | np.integer | np.bool_) and (
            whole or not isinstance(element, float | np.floating)
        ):
            raise _unlike(datatype, f"{element!r:.60}", type(element).__name__, name)
    if not whole:
        try:
            return _cast(source.astype(np.float64), datatype, name)
        except OverflowError:
            raise _out_of_range(datatype, max(source.flat, key=abs), name) from None
    _check_range(int(min(source.flat)), int(max(source.flat)), datatype, name)
    return source.astype(datatype.dtype)


def _cast(source: Array, datatype: Datatype, name: str) -> Array:
    if datatype.dtype.kind in "iub":
        if source.dtype.kind == "f":
            raise _unlike(
                datatype, f"values of {source.dtype}", "", name, "; round them yourself if that is meant"
            )
        _check_range(int(source.min()), int(source.max()), datatype, name)
        return source.astype(datatype.dtype)
    with np.errstate(over="ignore"):
        cast = source.astype(datatype.dtype)
    if source.dtype.itemsize >= datatype.item_size or source.dtype.kind != "f":
        lost = np.isfinite(source) & ~np.isfinite(cast)
        if lost.any():
            raise _out_of_range(datatype, source[lost].flat[0], name)
    return cast


def _check_range(least: int, most: int, datatype: Datatype, name: str) -> None:
    lower, upper = (0, 1) if datatype is BOOL else _limits(datatype)
    if least < lower or most > upper:
        raise _out_of_range(datatype, least if least < lower else most, name)


def _limits(datatype: Datatype) -> tuple[int, int]:
    limits = np.iinfo(datatype.dtype)
    return int(limits.min), int(limits.max)


def _out_of_range(datatype: Datatype, value: Any, name: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"input '{name}' takes {datatype.name}, in which {value} has no place")


def _unlike(datatype: Datatype, what: str, kind: str, name: str, hint: str = "") -> InvalidArgumentError:
    shown = f"{what} ({kind})" if kind else what
    return InvalidArgumentError(f"input '{name}' takes {datatype.name}, got {shown}{hint}")
