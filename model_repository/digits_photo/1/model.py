"""Reads a digit in a photo or drawing: finds it, makes of it what `digits_onnx` reads, and asks that.

The digit may be dark on light or light on dark, of any size and anywhere in the picture, with nothing beside it.
"""

from typing import Annotated, Any, TypedDict

import numpy as np
import PIL.Image
import PIL.ImageFilter

from kserve_v2 import FP32, INT64, Image, InvalidArgumentError

SIDE = 8
"""Of the images that the network reads."""

FINE_SIDE = 4 * SIDE
"""Of those that its data was made of: each of its pixels is how much of 4 x 4 was ink."""

INK = 0.45
"""What is at least so far from the paper is ink; the farthest is 1."""

LEAST_CONTRAST = 40
"""How far the ink has to be from the paper, of 255."""

INKED = 0.25
"""How much of an image is ink at the least, on average 0.3 in the data: thinner lines are made thicker."""


class Answer(TypedDict):
    """What clients get for each image; `config.pbtxt` names the classes of `probabilities`."""

    digit: Annotated[np.ndarray, INT64(1)]
    probabilities: Annotated[np.ndarray, FP32(10)]


class Model:
    """The handler: its annotations say that an `image` is a JPEG or PNG, which the server decodes."""

    max_batch_size = 16

    def load(self, context: Any) -> None:
        """The context is what asks other models."""
        self.context = context

    def __call__(self, image: list[Image]) -> Answer:
        """One batch: arrays [height, width, 3], each of its own size."""
        small = np.stack([digit_in(each) for each in image])[:, None]
        probabilities = self.context.call("digits_onnx", {"image": small})["probabilities"]
        return {"digit": probabilities.argmax(axis=1, keepdims=True), "probabilities": probabilities}


def digit_in(image: np.ndarray) -> np.ndarray:
    """The digit in an image [height, width, 3] as the network's data has it: [8, 8], 0 for paper to 1 for ink."""
    ink = ink_in(image)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # In the middle of a square that it just fits into.
    (height, width), side = ink.shape, max(ink.shape)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), np.uint8)
    square[top : top + height, left : left + width] = 255 * ink
    fine = PIL.Image.fromarray(square).resize((FINE_SIDE, FINE_SIDE), PIL.Image.Resampling.BOX)
    while np.asarray(fine).mean() < INKED * 255:
        fine = fine.filter(PIL.ImageFilter.MaxFilter(3))
    pixels = np.asarray(fine, np.float32).reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    return pixels / pixels.max()


def ink_in(image: np.ndarray) -> np.ndarray:
    """Where an image [height, width, 3] has ink: what is far from the colour of its edge, on one side of it."""
    grey = image.astype(np.float32).mean(axis=2)
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    darker, lighter = paper - grey, grey - paper
    distance = darker if darker.max() >= lighter.max() else lighter
    if distance.max() < LEAST_CONTRAST:
        raise InvalidArgumentError(
            f"input 'image': there is no digit to be seen: its greatest contrast is {distance.max():.0f} of 255, "
            f"expected {LEAST_CONTRAST} at least"
        )
    return distance > INK * distance.max()
