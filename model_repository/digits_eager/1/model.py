"""Reads a handwritten digit: a small convolutional network in plain PyTorch, and the class that serves it.

A handler is a plain class called `Model`; it need not import anything of the server. `weights.safetensors`
lies beside this file. `examples/digits.py` takes `DigitsNet` from here to train it, and exports the same
weights to `digits_onnx` and `digits_torchscript`.
"""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Images [n, 1, 8, 8], 0 for paper to 1 for ink, to the probabilities [n, 10] of the digits 0 to 9."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(32, 32, kernel_size=3, padding=1)
        self.dense = nn.Linear(32 * 2 * 2, 10)

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.logits(image), dim=1)

    def logits(self, image: Tensor) -> Tensor:
        """The scores [n, 10] before the softmax: what the training's loss wants."""
        features = torch.relu(self.conv1(image))
        features = torch.max_pool2d(torch.relu(self.conv2(features)), kernel_size=2)
        features = torch.max_pool2d(torch.relu(self.conv3(features)), kernel_size=2)
        return self.dense(features.flatten(1))


class Model:
    """The handler. The server asks it for its tensors, loads it, and calls it with one batch at a time."""

    # What clients send and get: datatype and shape, without the batch dimension.
    inputs = {"image": ("FP32", [1, 8, 8])}
    outputs = {"probabilities": ("FP32", [10])}
    max_batch_size = 64
    tensors = "torch"  # take and return torch tensors; the default is numpy
    thread_safe = True  # nothing changes after `load`, so one copy of the weights serves all instances

    def load(self, context: Any) -> None:
        """`context.path` is the version's directory, `context.device` where this model shall run."""
        network = DigitsNet()
        network.load_state_dict(load_file(context.path / "weights.safetensors"))
        self.network = network.eval().to(context.device)

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """One batch: `image` [n, 1, 8, 8], n up to `max_batch_size`."""
        with torch.inference_mode():
            return {"probabilities": self.network(inputs["image"])}
