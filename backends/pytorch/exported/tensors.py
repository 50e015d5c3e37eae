"""The tensors of a `.pt2` file: parameters, buffers and constants, without unpickling.

torch writes plain tensors as bytes. What else there may be, it pickles: tensors of other classes, objects, and in files
from before torch 2.9 all of the tensors. A pickle is read by torch's restricted unpickler, which makes tensors and
nothing else, unless the operator trusts it to be run.
"""

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kserve_v2.errors import InvalidArgumentError, without_directories

from .archive import ExportArchive, Payload

ALLOW_PICKLES = "allow-pickles"
"""The backend setting by which pickles in `.pt2` files are unpickled as Python does it, which runs what is in them."""

_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
    28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2, 31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz, 33: torch.float8_e8m0fnu, 34: torch.uint32, 35: torch.uint64,
}  # fmt: skip
_STRIDED = 7
# How torch calls members that are objects and no tensors.
_OBJECTS = ("custom_obj_", "opaque_obj_")

Tensors = dict[str, Any]


class TensorReader:
    """Reads the tensors of an open archive to one device."""

    def __init__(self, archive: ExportArchive, device: torch.device, *, allow_pickles: bool) -> None:
        self._archive = archive
        self._device = device
        self._allow_pickles = allow_pickles

    def read(self, payload: Payload) -> Tensors:
        """All tensors of a payload, by name; those that share memory in the model share it here.

        Raises InvalidArgumentError where the file is damaged, and for a pickle that has more than tensors.
        """
        if payload.whole:
            loaded = self._unpickled(payload.whole)
            if not isinstance(loaded, dict):
                raise InvalidArgumentError(
                    f"{self._archive.file.name} is damaged: member {payload.whole} holds no tensors by name"
                )
            return {name: self._moved(value) for name, value in loaded.items()}
        memory: dict[str, torch.Tensor] = {}
        try:
            return {
                name: self._entry(folder, entry, memory) for name, (folder, entry) in payload.entries.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InvalidArgumentError(
                f"{self._archive.file.name} is damaged: its tensors are not as torch.export.save writes them "
                f"({type(error).__name__}: {without_directories(str(error))}); export the model again"
            ) from error

    def _entry(self, folder: str, entry: Mapping[str, Any], memory: dict[str, torch.Tensor]) -> Any:
        path, meta = entry["path_name"], entry["tensor_meta"]
        if "/" in path:
            raise ValueError(f"member {path!r}")
        member = folder + path
        if path.startswith(_OBJECTS):
            raise InvalidArgumentError(
                f"{self._archive.file.name}: the program holds an object, {path}, which is not served: load the model "
                "in a handler, model.py"
            )
        if entry["use_pickle"]:
            return self._moved(self._unpickled(member))
        if meta["layout"] != _STRIDED:
            raise ValueError(f"layout {meta['layout']}")
        dtype = _DTYPES[meta["dtype"]]
        sizes, strides, (offset,) = (
            [size["as_int"] for size in sizes]
            for sizes in (meta["sizes"], meta["strides"], [meta["storage_offset"]])
        )
        if member not in memory:
            content = self._archive.read_into(member)
            flat = (
                torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            )
            # A copy in memory of torch's own, which is aligned as its kernels want it.
            memory[member] = flat.to(self._device, copy=True)
        flat = memory[member]
        if not flat.numel():
            # A tensor without elements has no bytes; one with elements has them, or the file was not written by torch.
            if 0 not in sizes:
                raise ValueError(f"member {member} is empty")
            tensor = torch.empty(sizes, dtype=dtype, device=self._device)
        else:
            # Raises where the tensor would reach beyond its bytes.
            tensor = torch.as_strided(flat.view(dtype), sizes, strides, offset)
        return nn.Parameter(tensor, requires_grad=False) if entry["is_param"] else tensor

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            raise InvalidArgumentError(
                f"{self._archive.file.name}: the program holds an object of class '{type(value).__name__}' in place of "
                "a tensor, which is not served: load the model in a handler, model.py"
            )
        moved = value.detach().to(self._device)
        return nn.Parameter(moved, requires_grad=False) if isinstance(value, nn.Parameter) else moved

    def _unpickled(self, member: str) -> Any:
        content = self._archive.read(member)
        if self._allow_pickles:
            return self._unpickled_as_python_does(member, content)
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:
            raise InvalidArgumentError(
                f"{self._archive.file.name}: member {member} is a pickle that has more in it than tensors, and to "
                "unpickle it is to run what is in it. If you trust the file as you trust a program, allow it with "
                f"--backend-config=pytorch,{ALLOW_PICKLES}=true; if not, load the model in a handler, model.py"
            ) from error

    def _unpickled_as_python_does(self, member: str, content: bytes) -> Any:
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
        except Exception as error:
            raise InvalidArgumentError(
                f"{self._archive.file.name}: member {member} cannot be unpickled: {type(error).__name__}: "
                f"{without_directories(str(error))}"
            ) from error
