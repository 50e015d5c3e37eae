"""Which class each pixel of an image is likely to be of."""

from __future__ import annotations

from typing import Any

import torch

from ts.handler_utils.timer import timed
from ts.torch_handler.image_classifier import DEVIATION, MEAN
from ts.torch_handler.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from ts.torch_handler.vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """For each pixel the number of its class, and its probability."""

    image_processing = Compose([Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, DEVIATION)])

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Of the model's output `out`, as [height][width][class, probability] for each image."""
        probability, number = torch.max(torch.nn.functional.softmax(data["out"], dim=1), dim=1)
        return torch.stack((number.type(probability.dtype), probability), dim=3).tolist()
