"""What handlers of images derive from."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from ts.handler_utils.timer import timed
from ts.torch_handler.base_handler import BaseHandler
from ts.torch_handler.transforms import Compose


class VisionHandler(BaseHandler):
    """Its subclasses say in `image_processing` what is done with an image."""

    image_processing: Any = None

    def initialize(self, context: Any) -> None:
        """Load the model."""
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels", True):
            _pillow().MAX_IMAGE_PIXELS = None

    @cached_property
    def ig(self) -> Any:
        """What explains answers; None if that cannot be done."""
        return _integrated_gradients(self.model)

    @timed
    def preprocess(self, data: Sequence[Any]) -> torch.Tensor:
        """From rows to a batch of images. A text is base64; a list has the numbers of a tensor."""
        images: list[torch.Tensor] = []
        steps = self.image_processing
        # Whether there is nothing among them that somebody else may still have.
        own = type(steps) is Compose and steps.makes_tensors
        for row in data:
            image = row.get("data") or row.get("body")
            if isinstance(image, str):
                image = base64.b64decode(image)
            if isinstance(image, (bytearray, bytes)):
                image = steps(_pillow().open(io.BytesIO(image)))
            else:
                image, own = torch.FloatTensor(image), False
            images.append(image)
        if own and len(images) == 1 and images[0].is_contiguous():
            # As it would be stacked, without a copy.
            return images[0].unsqueeze_(0).to(self.device)
        return torch.stack(images).to(self.device)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> list[Any]:
        """How much each value of the images adds to the probability of the class `target`."""
        if self.ig is None:
            raise RuntimeError("to explain answers takes captum, which is not installed: pip install captum")
        if isinstance(target, (bytes, bytearray)):
            target = int(target)
        found: list[Any] = self.ig.attribute(tensor_data, target=target, n_steps=15).tolist()
        return found


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415 - said by name if it is missing
    except ImportError as error:
        raise RuntimeError(
            "handlers of images need Pillow, which is not installed: pip install pillow"
        ) from error
    return Image


def _integrated_gradients(model: Any) -> Any:
    if not isinstance(model, torch.nn.Module):
        return None
    try:
        from captum.attr import IntegratedGradients  # noqa: PLC0415 - only where answers may be explained
    except ImportError:
        return None
    return IntegratedGradients(model)
