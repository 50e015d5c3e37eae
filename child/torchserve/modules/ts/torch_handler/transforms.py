"""The steps from an image to a tensor that built-in handlers take: those that torchvision calls by the same names, with
Pillow and torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np
import torch

Step = Callable[[Any], Any]


class Compose:
    """One step after the other."""

    def __init__(self, transforms: Sequence[Step]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        """All of them."""
        made = False
        for step in self.transforms:
            # Nobody has seen a tensor that was just made: it is normalized where it is.
            image = step.change(image) if made and type(step) is Normalize else step(image)
            made = type(step) is ToTensor
        return image

    @property
    def makes_tensors(self) -> bool:
        """Whether each call returns a tensor that nobody else has."""
        return bool(self.transforms) and type(self.transforms[-1]) in (ToTensor, Normalize)


class Resize:
    """An image whose shorter side has that many pixels; the other one in proportion."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Any) -> Any:
        """Of an image of Pillow's."""
        width, height = image.size
        short, long = min(width, height), max(width, height)
        if short == self.size:
            return image
        longer = int(self.size * long / short)
        size = (self.size, longer) if width <= height else (longer, self.size)
        return image.resize(size, _bilinear())


class CenterCrop:
    """The middle of an image, in that many pixels in both directions; what lies beyond it is black."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Any) -> Any:
        """Of an image of Pillow's."""
        from PIL import ImageOps  # noqa: PLC0415 - it is there, as the image is its

        width, height = image.size
        wide, high = max(self.size - width, 0), max(self.size - height, 0)
        if wide or high:
            border = (wide // 2, high // 2, (wide + 1) // 2, (high + 1) // 2)
            image = ImageOps.expand(image, border, 0)
            width, height = image.size
        left, top = round((width - self.size) / 2.0), round((height - self.size) / 2.0)
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """An image as a tensor [channels, height, width], from 0 to 1."""

    def __call__(self, image: Any) -> torch.Tensor:
        """Of an image of Pillow's."""
        whole = {"I": np.int32, "I;16": np.int16, "F": np.float32}.get(image.mode)
        array = np.array(image, whole or np.uint8, copy=True)
        if image.mode == "1":
            array = 255 * array
        if array.ndim == 2:
            array = array[:, :, None]
        tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
        # In place, as below: each further tensor of that size is memory that the caches have to hold as well.
        return tensor if whole else tensor.to(torch.float32).div_(255)


class Normalize:
    """Each channel less its mean, by its deviation."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Of a tensor [channels, height, width]. Raises ValueError for another number of channels."""
        mean, std = self._for(tensor)
        difference = tensor - mean
        return difference.div_(std) if difference.is_floating_point() else difference / std

    def change(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same, of a tensor that is not needed any more: it may be the one that is returned."""
        if not tensor.is_floating_point():
            return self(tensor)
        mean, std = self._for(tensor)
        return tensor.sub_(mean).div_(std)

    def _for(self, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if tensor.shape[0] != len(self.mean):
            raise ValueError(
                f"expected an image with {len(self.mean)} channels, got {tensor.shape[0]}: convert it to RGB"
            )
        return tuple(torch.tensor(each, dtype=tensor.dtype).view(-1, 1, 1) for each in (self.mean, self.std))


def _bilinear() -> Any:
    from PIL import Image  # noqa: PLC0415 - as above

    return Image.Resampling.BILINEAR
