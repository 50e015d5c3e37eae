"""ResNet-18 with weights at random: what they are makes no difference to how long it takes."""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import nn


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        same = inputs == outputs
        self.past = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.past(x))


def resnet18() -> nn.Module:
    """Takes images of shape [N, 3, H, W], answers 1,000 numbers for each."""
    torch.manual_seed(0)
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [_Block(before, after, 1 if before == after else 2) for before, after in pairwise(widths)]
    first = [_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*first, *blocks, *last).eval()


class Model:
    """The handler: one row is one image."""

    inputs: ClassVar = {"image": ("FP32", [3, 224, 224])}
    outputs: ClassVar = {"scores": ("FP32", [1000])}
    max_batch_size = 32
    tensors = "torch"

    def load(self, context: Any) -> None:
        """Put it where this instance is."""
        self.network = resnet18().to(context.device)

    @torch.inference_mode()
    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Scores of a batch of images."""
        return {"scores": self.network(inputs["image"])}
