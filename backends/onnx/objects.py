"""Objects of a program that are ONNX models: sessions of ONNX Runtime, and models as protobuf messages or bytes."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from kserve_v2.backend import Described, LiveModel
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.live import ONE_INSTANCE

from .metadata import DATATYPES

# It begins with the version of the format, and the name of who has made it or a later field.
_ONNX = re.compile(rb"\x08[\x03-\x20][\x12\x1a\x22\x28\x32\x3a\x42]")


def wrap(thing: object, described: Described) -> LiveModel | None:
    """See `WrapsObjects.wrap`."""
    if isinstance(thing, bytes | bytearray | memoryview):
        content = bytes(thing)
        if _ONNX.match(content) is None:
            raise InvalidArgumentError(
                f"these {len(content)} bytes are no ONNX model: give the model itself, or the path of its file"
            )
        return LiveModel(files={"model.onnx": content})
    if _is_of(thing, "onnx", "ModelProto"):
        return LiveModel(files={"model.onnx": thing.SerializeToString()})  # type: ignore[attr-defined]
    runtime = sys.modules.get("onnxruntime")
    if runtime is None or not isinstance(thing, runtime.InferenceSession):
        return None
    return LiveModel(_Session(thing, described.max_batch_size), config=ONE_INSTANCE)


def _is_of(thing: object, package: str, name: str) -> bool:
    return any(
        each.__name__ == name and each.__module__.partition(".")[0] == package for each in type(thing).__mro__
    )


class _Session:
    """A session as a handler. The session takes calls of several threads."""

    thread_safe: Literal[True] = True

    def __init__(self, session: Any, max_batch_size: int | None) -> None:
        self._session = session
        self.max_batch_size = max_batch_size or 0
        self.inputs = {each.name: self._declared(each) for each in session.get_inputs()}
        self.outputs = {each.name: self._declared(each) for each in session.get_outputs()}
        self._names = list(self.outputs)
        self._texts = [name for name, (datatype, _) in self.inputs.items() if datatype == "BYTES"]

    def _declared(self, argument: Any) -> tuple[str, list[int]]:
        """Raises InvalidArgumentError for what is no tensor, and for a scalar."""
        datatype = DATATYPES.get(argument.type)
        if datatype is None:
            raise InvalidArgumentError(
                f"'{argument.name}' of the session is {argument.type}: only tensors can be sent"
            )
        dims = [size if isinstance(size, int) and size > 0 else -1 for size in argument.shape]
        if self.max_batch_size:
            if not dims or dims[0] != -1:
                raise InvalidArgumentError(
                    f"max_batch_size is {self.max_batch_size}, but '{argument.name}' of the session has the shape "
                    f"{argument.shape}, whose first dimension does not vary"
                )
            dims = dims[1:] or [1]
        if not dims:
            raise InvalidArgumentError(
                f"'{argument.name}' of the session is a scalar: serve the model's file; scalars have the shape [1] then"
            )
        return datatype, dims

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(inputs)
        for name in self._texts:
            texts = [each.decode() for each in given[name].ravel().tolist()]
            given[name] = np.array(texts, object).reshape(given[name].shape)
        return dict(zip(self._names, self._session.run(self._names, given), strict=True))
