"""Images of Pillow as what a model takes, if its metadata leaves no doubt of what that is.

* BYTES: the image as a PNG file, with its pixels as they are. It is one element.
* An integer datatype: an array of the pixels. Of two dimensions it is rows and columns of grey values; of three, the
  one with 1, 3 or 4 channels is the last (HWC) or the first (CHW). Channels decide on the mode: 1 is L, 3 RGB, 4 RGBA.
* A floating point datatype: only for images of floating point numbers (mode F), because nothing says how the model
  wants others scaled.

Nothing is resized, and no transparency is dropped.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError, shape_text
from kserve_v2.tensors.datatypes import Array

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Of one channel, with more bits than eight.
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


def as_png(image: Any, name: str) -> bytes:
    """The image as a file."""
    if image.mode not in _PNG_MODES:
        raise InvalidArgumentError(
            f"input '{name}': a PNG cannot hold an image of mode {image.mode}; give image.convert('RGB'), or the bytes "
            "of a file"
        )
    file = io.BytesIO()
    # Whoever reads the file must not turn what is shown as it is.
    image.save(file, "PNG", exif=b"")
    return file.getvalue()


def as_pixels(image: Any, dims: Sequence[int], dtype: "np.dtype[Any]", name: str) -> Array:
    """The image as an array of `dims`, which are those of the input without the batch. Raises InvalidArgumentError."""
    if len(dims) == 4 and dims[0] in (1, -1):
        return as_pixels(image, dims[1:], dtype, name)[np.newaxis]
    channels, last = _channels(dims, name)
    if dtype.kind not in "iu" and image.mode != "F":
        raise InvalidArgumentError(
            f"input '{name}' takes floating point numbers, and the metadata does not say how pixels are scaled: give "
            "an array, as np.asarray(image, np.float32) / 255 makes one"
        )
    height, width = dims[:2] if last else dims[-2:]
    if (height not in (-1, image.height)) or (width not in (-1, image.width)):
        raise InvalidArgumentError(
            f"input '{name}' takes images of {_side(width)} x {_side(height)} pixels (width x height), got "
            f"{image.width} x {image.height}: image.resize(...) makes it fit"
        )
    pixels = np.asarray(_in_mode(image, channels, name))
    if len(dims) == 2:
        return pixels
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    return pixels if last else pixels.transpose(2, 0, 1)


def _side(size: int) -> str:
    return "any" if size == -1 else str(size)


def _channels(dims: Sequence[int], name: str) -> tuple[int, bool]:
    """How many there are, and whether they are the last dimension."""
    if len(dims) == 2:
        return 1, True
    if len(dims) == 3:
        first, last = dims[0] in _MODES, dims[2] in _MODES
        if first != last:
            return (dims[2], True) if last else (dims[0], False)
    raise InvalidArgumentError(
        f"input '{name}' takes shape {shape_text(dims)}, which does not say where the channels of an image are: give "
        "an array"
    )


def _in_mode(image: Any, channels: int, name: str) -> Any:
    wanted = _MODES[channels]
    if image.mode == wanted or (channels == 1 and image.mode in _DEEP):
        return image
    if image.mode in _DEEP:
        raise InvalidArgumentError(
            f"input '{name}' takes {channels} channels of 8 bits, got an image of mode {image.mode}: give an array"
        )
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if transparent and channels != 4 and image.convert("RGBA").getextrema()[3][0] < 255:
        raise InvalidArgumentError(
            f"input '{name}' takes {channels} channels, and the image is transparent in places: paste it onto a "
            "background first"
        )
    return image.convert("RGBA").convert(wanted) if transparent else image.convert(wanted)
