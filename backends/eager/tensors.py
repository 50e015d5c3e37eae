"""The server's tensors as a handler gets them: those of its requests, and those that other models answer it with."""

from typing import Any

from kserve_v2.messages import Tensors
from kserve_v2.tensors.datatypes import BYTES


def handler_tensors(tensors: Tensors, device: str, *, as_torch: bool) -> dict[str, Any]:
    """Tensors to write to as well: what is read-only, such as a client's shared memory, is copied. `as_torch`: all but
    texts are torch's, on `device`.
    """
    if not as_torch:
        return {name: array if array.flags.writeable else array.copy() for name, array in tensors.items()}
    import torch  # noqa: PLC0415 - only where the handler uses torch

    from ..pytorch.tensors import to_torch  # noqa: PLC0415

    place = torch.device(device)
    found: dict[str, Any] = {}
    for name, array in tensors.items():
        if array.dtype != BYTES.dtype:
            found[name] = to_torch(array, place)
        else:
            found[name] = array if array.flags.writeable else array.copy()
    return found
