"""What a handler returned, checked and made into arrays."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.memory.own import copy_shared
from kserve_v2.tensors.datatypes import BF16, BY_DTYPE, BYTES, FP16, FP32, Array, Datatype, largest_number


def convert_outputs(
    returned: object, declared: Mapping[str, Datatype], *, partial: bool = False
) -> dict[str, Array]:
    """The outputs in declared order; a `partial` answer may leave some out.

    A value may be a numpy array, a torch tensor on any device, or a list or scalar of Python numbers, strings
    or bytes. Only the last kind is converted to the declared datatype: an array of another one is an error,
    never cast.

    Raises InternalError, naming the output, with what was expected and what came.
    """
    if not isinstance(returned, Mapping):
        raise InternalError(
            f"the handler returned {type(returned).__name__}, expected a dict of {_names(declared)}"
        )
    missing = [name for name in declared if name not in returned]
    if missing and not partial:
        raise InternalError(
            f"the handler did not return its output {_names(missing)}, got {_names(returned)}"
        )
    if unknown := [name for name in returned if name not in declared]:
        raise InternalError(f"the handler returned {_names(unknown)}, expected only {_names(declared)}")
    present = {name: datatype for name, datatype in declared.items() if name in returned}
    return {
        name: convert_tensor(f"output '{name}'", returned[name], datatype)
        for name, datatype in present.items()
    }


def own(outputs: dict[str, Array], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, without memory that anybody else has: the handler, its weights, or a client. For when the handler
    has returned, and nothing is left of what it has returned but these arrays.
    """
    copy_shared(outputs, _owner_is_alone, inputs=inputs)
    return outputs


def _owner_is_alone(owner: object) -> bool:
    if not is_torch_tensor(owner):
        return False
    from ..pytorch.tensors import memory_is_alone  # noqa: PLC0415 - only where the handler uses torch

    return memory_is_alone(owner)


def convert_tensor(what: str, value: object, datatype: Datatype) -> Array:
    """One value as an array, which may share its memory. `what` it is called in errors. Raises InternalError."""
    if is_torch_tensor(value):
        value = _from_torch(what, value)
    elif not isinstance(value, np.ndarray | np.generic):
        return _from_python(what, value, datatype)
    elif is_torch_tensor(_owner(value)):
        # Of a tensor that an array was made of already, torch cannot tell whose memory it has.
        value = np.array(value)
    array = np.asarray(value)
    if datatype is BYTES and array.dtype.kind in "OSU":
        return encode_strings(what, array)
    if array.dtype != datatype.dtype:
        got = BY_DTYPE.get(array.dtype)
        declare = f", or declare {got.name}" if got else ""
        raise InternalError(
            f"{what}: expected {datatype.name}, got {got.name if got else array.dtype}: "
            f"convert it, as .astype(...) does for arrays and .to(...) for tensors{declare}"
        )
    return array if array.flags.c_contiguous else array.copy()


def _owner(value: Any) -> object:
    """What an array's memory belongs to."""
    while isinstance(value, np.ndarray) and value.base is not None:
        value = value.base
    return value


def is_torch_tensor(value: object) -> bool:
    """Whether it is a tensor of torch's."""
    # A handler without torch must not be made to import it: where torch is not loaded, nothing is a tensor.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _from_torch(what: str, tensor: Any) -> Array:
    from ..pytorch.tensors import to_numpy  # noqa: PLC0415 - only where the handler uses torch

    try:
        return to_numpy(tensor)
    except TypeError as error:
        raise InternalError(f"{what}: {error}") from error


def _from_python(what: str, value: object, datatype: Datatype) -> Array:
    """Python numbers, strings or bytes, nested in lists to any depth of equal lengths."""
    try:
        if datatype is BYTES:
            return encode_strings(what, np.array(value, dtype=np.object_))
        return _numbers(value, datatype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InternalError(f"{what}: expected {datatype.name}: {error}") from error


def _numbers(value: object, datatype: Datatype) -> Array:
    natural = np.array(value)
    if natural.size and natural.dtype.kind not in "biuf":
        raise TypeError(f"got {type(value).__name__} with elements that are not numbers")
    if natural.size and natural.dtype.kind == "f" and datatype.dtype.kind in "iub":
        raise TypeError("the fractions of floating-point numbers would be lost")
    with np.errstate(over="ignore"):
        array = np.array(value, dtype=datatype.dtype)
    if datatype in (FP16, FP32, BF16):
        lost = np.isfinite(natural) & np.isinf(array)
        if lost.any():
            most = largest_number(datatype)
            raise OverflowError(f"{natural[lost][0]} is out of range [{-most:.8g}, {most:.8g}]")
    return array


def encode_strings(where: str, array: Array) -> Array:
    """An object array of bytes with the same shape; `str` is encoded as UTF-8. `where`: it is, for the error."""
    encoded = np.empty(array.size, dtype=np.object_)
    for index, element in enumerate(array.ravel().tolist()):
        if isinstance(element, str):
            encoded[index] = element.encode()
        elif isinstance(element, bytes):
            encoded[index] = element
        else:
            raise InternalError(
                f"{where}: expected str or bytes as elements of BYTES, got {type(element).__name__}"
            )
    return encoded.reshape(array.shape)


def _names(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
