"""What a handler's inputs and outputs are, written as annotations:

def __call__(self, image: Image, mask: Annotated[np.ndarray, FP32(224, 224)]) -> Text: ...
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

__all__ = [
    "BF16",
    "BOOL",
    "BYTES",
    "FP16",
    "FP32",
    "FP64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "ContentType",
    "Image",
    "Json",
    "TensorType",
    "Text",
]


class TensorType:
    """An array of a datatype: its dims, without the batch dimension, -1 where one varies.

    One of the subclasses stands in an annotation, behind the type of what the handler works with:
    `Annotated[np.ndarray, FP32(3, -1, -1)]`, or `Annotated[torch.Tensor, FP32(3, -1, -1)]` for tensors on the
    instance's device.
    """

    datatype: ClassVar[str] = ""

    def __init__(self, *dims: int) -> None:
        self.dims = dims

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.dims))})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, TensorType) and other.dims == self.dims

    def __hash__(self) -> int:
        return hash((self.datatype, self.dims))


class BOOL(TensorType):
    """Truth values."""

    datatype = "BOOL"


class UINT8(TensorType):
    """Unsigned integers of 8 bits."""

    datatype = "UINT8"


class UINT16(TensorType):
    """Unsigned integers of 16 bits."""

    datatype = "UINT16"


class UINT32(TensorType):
    """Unsigned integers of 32 bits."""

    datatype = "UINT32"


class UINT64(TensorType):
    """Unsigned integers of 64 bits."""

    datatype = "UINT64"


class INT8(TensorType):
    """Integers of 8 bits."""

    datatype = "INT8"


class INT16(TensorType):
    """Integers of 16 bits."""

    datatype = "INT16"


class INT32(TensorType):
    """Integers of 32 bits."""

    datatype = "INT32"


class INT64(TensorType):
    """Integers of 64 bits."""

    datatype = "INT64"


class FP16(TensorType):
    """Floating-point numbers of 16 bits."""

    datatype = "FP16"


class BF16(TensorType):
    """Floating-point numbers of 16 bits, of which 8 are the exponent."""

    datatype = "BF16"


class FP32(TensorType):
    """Floating-point numbers of 32 bits."""

    datatype = "FP32"


class FP64(TensorType):
    """Floating-point numbers of 64 bits."""

    datatype = "FP64"


class BYTES(TensorType):
    """Strings of bytes: object arrays of `bytes`. `Text`, `Json` and `Image` are BYTES as well, decoded."""

    datatype = "BYTES"


@dataclass(frozen=True, slots=True)
class ContentType:
    """What the elements of a BYTES tensor are, of which each is decoded and encoded by itself."""

    name: Literal["image", "text", "json"]


Image = Annotated[np.ndarray[Any, np.dtype[np.uint8]], ContentType("image")]
"""An image. As an input it comes as JPEG or PNG, and is an array [height, width, 3] of UINT8, RGB; it is not turned,
whatever its EXIF data says. As an output it is such an array, or [height, width] or [height, width, 1] in grey, or
[height, width, 4] with transparency, and goes as PNG.
"""

Text = Annotated[str, ContentType("text")]
"""A text, in UTF-8 on the wire."""

Json = Annotated[Any, ContentType("json")]
"""What a JSON text means. As an output, whatever `json.dumps` takes, and arrays and scalars of numpy's."""
