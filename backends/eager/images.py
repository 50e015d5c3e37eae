"""JPEG and PNG to arrays and back, by Pillow, which is there if somebody has installed it."""

from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np

from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import Array

MAX_PIXELS = 50_000_000
"""How many an image may have, unless the configuration says another number: 50 MB of one come to 150 MB decoded."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_BASE64 = (b"/9j/", b"iVBORw0KGgo", b"data:image")
_SHAPES = "[height, width, 3], [height, width, 4], [height, width, 1] or [height, width]"


def require_pillow() -> None:
    """Raise InvalidArgumentError if there is no Pillow."""
    if find_spec("PIL") is None:
        raise InvalidArgumentError("images need Pillow, which is not installed: pip install pillow")


def decode_image(data: bytes, max_pixels: int) -> Array:
    """The image as an array [height, width, 3] of UINT8. Raises InvalidArgumentError, before anything is decoded for
    one that has more than `max_pixels`.
    """
    # The two formats by name: PIL.Image.open would also try others, and has a limit of its own.
    from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - only where a handler has images
    from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415

    if not data.startswith((_JPEG, _PNG)):
        raise InvalidArgumentError(_what_else(data))
    kind: Any = JpegImageFile if data.startswith(_JPEG) else PngImageFile
    name = "JPEG" if kind is JpegImageFile else "PNG"
    try:
        with kind(BytesIO(data)) as image:
            _check_size(image.width, image.height, max_pixels)
            return _rgb(image)
    except (InvalidArgumentError, MemoryError):
        raise
    except Exception as error:
        raise InvalidArgumentError(f"it cannot be decoded as {name}: {error}") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InvalidArgumentError(
            f"an image of {width} x {height} has {width * height} pixels, and this model takes up to {max_pixels}; its "
            "parameter max_image_pixels says so"
        )


def _rgb(image: Any) -> Array:
    if image.mode.startswith("I"):
        # 16 bits of grey, which `convert` would cut off at 255.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    # A copy, because what Pillow gives cannot be written to.
    return np.array(image.convert("RGB"))


def _what_else(data: bytes) -> str:
    if not data:
        return "it is empty, expected a JPEG or PNG image"
    hint = ""
    if data.startswith(_BASE64):
        hint = '; if it is base64, say so in the parameters of the input, "content_type": "base64"'
    return f"it is neither JPEG nor PNG: it begins with {data[:12]!r}{hint}"


def encode_image(value: object, where: str) -> bytes:
    """An array of UINT8 as PNG. Raises InternalError, which says `where` it is."""
    from PIL import Image  # noqa: PLC0415 - only where a handler has images

    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not right or 0 in array.shape:
        raise InternalError(
            f"{where}: expected an image, an array of UINT8 of shape {_SHAPES}, got {array.dtype} of shape "
            f"{list(array.shape)}"
        )
    written = BytesIO()
    # Quick: a client that wants small ones has better formats.
    Image.fromarray(np.ascontiguousarray(array)).save(written, "PNG", compress_level=1)
    return written.getvalue()
