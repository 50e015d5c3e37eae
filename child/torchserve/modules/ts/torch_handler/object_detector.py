"""Which objects are on an image, and where."""

from __future__ import annotations

from typing import Any

from ts.handler_utils.timer import timed
from ts.torch_handler.transforms import Compose, ToTensor
from ts.torch_handler.vision_handler import VisionHandler
from ts.utils.util import map_class_to_label


class ObjectDetector(VisionHandler):
    """Boxes, with names and scores."""

    threshold = 0.5
    image_processing = Compose([ToTensor()])

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Of what the model gives for each image, those boxes whose score reaches the threshold."""
        answers = []
        for found in data:
            wanted = found["scores"] >= self.threshold
            boxes, labels, scores = (found[name][wanted].tolist() for name in ("boxes", "labels", "scores"))
            named = map_class_to_label([[box] for box in boxes], self.mapping, [[label] for label in labels])
            answers.append([{**box, "score": score} for box, score in zip(named, scores)])
        return answers
