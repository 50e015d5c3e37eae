"""Which of its classes an image is likely to be of."""

from __future__ import annotations

from typing import Any

import torch

from ts.handler_utils.timer import timed
from ts.torch_handler.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from ts.torch_handler.vision_handler import VisionHandler
from ts.utils.util import map_class_to_label

# Of the images of ImageNet.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageClassifier(VisionHandler):
    """The most likely classes of an image, and their probabilities."""

    topk = 5
    image_processing = Compose([Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, DEVIATION)])

    def set_max_result_classes(self, topk: int) -> None:
        """How many classes are told."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """How many classes are told."""
        return self.topk

    @timed
    def postprocess(self, data: torch.Tensor) -> list[Any]:
        """The most likely first."""
        probabilities, classes = torch.topk(torch.nn.functional.softmax(data, dim=1), self.topk, dim=1)
        return map_class_to_label(probabilities.tolist(), self.mapping, classes.tolist())
