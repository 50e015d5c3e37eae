"""digits: a small convolutional network trained on the handwritten digits that come with scikit-learn.

The data set is the test part of UCI's "Optical Recognition of Handwritten Digits": 1,797 images of 8 x 8
pixels with values 0 to 16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_weights
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from examples.digits_export import exported_bytes, onnx_bytes, torchscript_bytes
from examples.sample_request import classified_output, input_tensor, sample_request
from examples.source import handler_module

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Network = Any
"""`DigitsNet` of the handler, which is imported by its path: a type checker cannot see it."""
Report = Callable[[str], None]

WEIGHTS = "1/weights.safetensors"
SEED = 20
EPOCHS = 40
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
MAX_SHIFT_PIXELS = 1
SAMPLE_DIGIT = 7


@dataclass(frozen=True)
class Digits:
    """The data, split once and for all: images FP32 [n, 1, 8, 8], 0 to 1, and labels 0 to 9."""

    train_images: Images
    train_labels: Labels
    held_out_images: Images
    held_out_labels: Labels


def load_data() -> Digits:
    """The data set, a quarter of each digit held out."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, np.newaxis]
    labels = data.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=SEED)
    return Digits(
        train_images=parts[0], held_out_images=parts[1], train_labels=parts[2], held_out_labels=parts[3]
    )


def make_eager(_repository: Path, report: Report) -> dict[str, bytes]:
    """Train; the files of the model `digits_eager`."""
    torch.set_num_threads(1)  # so that sums are always added in the same order
    data = load_data()
    network = train(data.train_images, data.train_labels, epochs=EPOCHS, report=report)
    report(f"held-out accuracy {accuracy(network, data.held_out_images, data.held_out_labels):.3f}")
    return {WEIGHTS: weights_bytes(network), "sample_request.json": digit_request(data)}


def make_onnx(repository: Path, _report: Report) -> dict[str, bytes]:
    """The files of the model `digits_onnx`, with the weights of `digits_eager`."""
    model = onnx_bytes(load_network(repository / "digits_eager" / WEIGHTS))
    return {"1/model.onnx": model, "sample_request.json": digit_request(load_data())}


def make_exported(repository: Path, _report: Report) -> dict[str, bytes]:
    """The files of the model `digits_export`, with the weights of `digits_eager`."""
    model = exported_bytes(load_network(repository / "digits_eager" / WEIGHTS))
    return {"1/model.pt2": model, "sample_request.json": digit_request(load_data())}


def make_torchscript(repository: Path, _report: Report) -> dict[str, bytes]:
    """The files of the model `digits_torchscript`, with the weights of `digits_eager`."""
    model = torchscript_bytes(load_network(repository / "digits_eager" / WEIGHTS))
    return {"1/model.pt": model, "sample_request.json": digit_request(load_data())}


def train(images: Images, labels: Labels, *, epochs: int, report: Report, seed: int = SEED) -> Network:
    """Train a new network.

    The same data, seed and number of epochs give the same weights on the same machine.
    """
    generator = torch.Generator().manual_seed(seed)
    network = new_network(seed)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        losses = []
        for rows in torch.split(torch.randperm(len(x), generator=generator), BATCH_SIZE):
            loss = nn.functional.cross_entropy(network.logits(shifted(x[rows], generator)), y[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        if epoch % 10 == 0 or epoch == epochs:
            report(f"epoch {epoch}/{epochs}, loss {np.mean(losses):.4f}")
    network.eval()
    return network


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images moved by at most one pixel each way, so that the network does not learn exact positions."""
    pad = MAX_SHIFT_PIXELS
    row, column = torch.randint(0, 2 * pad + 1, (2,), generator=generator).tolist()
    height, width = images.shape[-2:]
    return nn.functional.pad(images, (pad,) * 4)[..., row : row + height, column : column + width]


def accuracy(network: Network, images: Images, labels: Labels) -> float:
    """The part of the images, 0 to 1, whose most probable digit is the right one."""
    with torch.inference_mode():
        best = network(torch.from_numpy(images)).argmax(dim=1).numpy()
    return float((best == labels).mean())


def new_network(seed: int) -> Network:
    """An untrained network, as the handler defines it. Torch's global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return handler_module("digits_eager").DigitsNet()


def load_network(weights: Path) -> Network:
    """The network with trained weights."""
    network = new_network(SEED)
    network.load_state_dict(load_file(weights))
    network.eval()
    return network


def weights_bytes(network: Network) -> bytes:
    """The network's weights as a safetensors file."""
    return bytes(save_weights(network.state_dict()))


def digit_request(data: Digits) -> bytes:
    """A request with a held-out image of `SAMPLE_DIGIT`, which asks for the three most probable labels."""
    sample = data.held_out_images[data.held_out_labels == SAMPLE_DIGIT][0]
    image = input_tensor("image", "FP32", [1, 1, 8, 8], sample)
    return sample_request([image], [classified_output("probabilities", 3)])
