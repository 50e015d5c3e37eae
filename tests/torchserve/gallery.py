"""Models in the style of TorchServe's examples, written anew: small networks with made-up weights."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from onnx import TensorProto, helper

from tests.torchserve.support import archive

torch.manual_seed(7)


def _saved(thing: Any) -> bytes:
    written = io.BytesIO()
    torch.save(thing, written)
    return written.getvalue()


def _scripted(module: torch.nn.Module) -> bytes:
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), written)
    return written.getvalue()


class Pooled(torch.nn.Module):
    """Classes of an image, by its mean colour."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean(dim=[2, 3]))


NAMES = {str(n): [f"n{n:04}", f"class-{n}"] for n in range(6)}


def image_classifier(folder: Path) -> tuple[Path, torch.nn.Module]:
    """TorchScript, with names of classes, and no handler file."""
    model = Pooled(6).eval()
    made = archive(
        folder, "classifier", "image_classifier", model__pt=_scripted(model), serialized_file="model.pt",
        index_to_name__json=NAMES,
    )  # fmt: skip
    return made, model


MNIST_MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2, 10)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean(dim=[2, 3]))
"""
MNIST_HANDLER = """
from ts.torch_handler.image_classifier import ImageClassifier
from ts.torch_handler.transforms import Compose, Normalize, ToTensor

class DigitClassifier(ImageClassifier):
    image_processing = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])

    def postprocess(self, data):
        return data.argmax(1).tolist()
"""


def digits(folder: Path) -> tuple[Path, torch.nn.Module]:
    """An eager model with a state_dict, and a subclass of a built-in handler."""
    space: dict[str, Any] = {}
    exec(MNIST_MODEL, space)  # noqa: S102 - the file itself
    model = space["Net"]().eval()
    made = archive(
        folder, "digits", handler__py=MNIST_HANDLER, model__py=MNIST_MODEL, model_file="model.py",
        weights__pt=_saved(model.state_dict()), serialized_file="weights.pt",
    )  # fmt: skip
    return made, model


class Segments(torch.nn.Module):
    """Three classes of pixels: the strongest colour."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": x * 4.0}


def segmenter(folder: Path) -> Path:
    return archive(
        folder, "segmenter", "image_segmenter", model__pt=_scripted(Segments()), serialized_file="model.pt"
    )


DETECTOR = """
import torch

class Detector(torch.nn.Module):
    def forward(self, x):
        return [{"boxes": torch.tensor([[0., 1., 2., 3.], [4., 5., 6., 7.]]), "labels": torch.tensor([1, 0]),
                 "scores": torch.tensor([0.75, 0.25])} for _ in x]
"""


def detector(folder: Path) -> Path:
    """An eager model without weights."""
    return archive(
        folder, "detector", "object_detector", model__py=DETECTOR, model_file="model.py",
        index_to_name__json={"object_type_names": ["background", "cat"]},
    )  # fmt: skip


TEXT_MODEL = """
import torch
from torch import nn

class TextModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(8, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))
"""
VOCABULARY = {"do": 0, "not": 1, "panic": 2, "do not": 3, "not panic": 4, "cafe": 5, "panic cafe": 6}


def text_classifier(folder: Path) -> tuple[Path, torch.nn.Module]:
    space: dict[str, Any] = {}
    exec(TEXT_MODEL, space)  # noqa: S102 - the file itself
    model = space["TextModel"]().eval()
    made = archive(
        folder, "texts", "text_classifier", model__py=TEXT_MODEL, model_file="model.py",
        weights__pt=_saved(model.state_dict()), serialized_file="weights.pt",
        source_vocab__pt=_saved(VOCABULARY), index_to_name__json={"0": "calm", "1": "alarm"},
    )  # fmt: skip
    return made, model


TABLE_HANDLER = """
import torch
from ts.torch_handler.base_handler import BaseHandler

class Table(BaseHandler):
    def preprocess(self, data):
        rows = [row.get("data") or row.get("body") for row in data]
        return torch.tensor([row["features"] for row in rows], dtype=torch.float32)

    def get_insights(self, tensor_data, raw_data, target):
        gradient = tensor_data.clone().requires_grad_()
        self.model(gradient)[:, target].sum().backward()
        return [{"importances": gradient.grad[0].tolist(), "target": target}]

    def describe_handle(self):
        return {"columns": ["age", "fare", "class"]}
"""
TABLE_MODEL = """
import torch

class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.fc(x)
"""
TABLE_WEIGHTS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def table(folder: Path) -> Path:
    """A handler that explains and describes itself; the weights in a safe file."""
    return archive(
        folder, "table", handler__py=TABLE_HANDLER, model__py=TABLE_MODEL, model_file="model.py",
        w__pt=_saved({"fc.weight": TABLE_WEIGHTS}), serialized_file="w.pt",
    )  # fmt: skip


GENERATOR_HANDLER = """
import io
import json
import torch
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler

class Generator(BaseHandler):
    def __init__(self):
        super().__init__()
        self.initialized = False

    def initialize(self, context):
        directory = context.system_properties["model_dir"]
        with open(f"{directory}/sizes.json") as file:
            self.sizes = json.load(file)
        self.initialized = True

    def preprocess(self, requests):
        return [json.loads(bytes(row.get("body"))) if isinstance(row.get("body"), (bytes, bytearray)) else row.get("body")
                for row in requests]

    def inference(self, data):
        return [torch.full((self.sizes["height"], self.sizes["width"]), each["grey"], dtype=torch.uint8) for each in data]

    def postprocess(self, data):
        images = []
        for each in data:
            written = io.BytesIO()
            Image.fromarray(each.numpy()).save(written, "PNG")
            images.append(written.getvalue())
        return images
"""


def generator(folder: Path) -> Path:
    """Images as answers; a file of settings beside the handler."""
    return archive(folder, "generator", handler__py=GENERATOR_HANDLER, sizes__json={"width": 4, "height": 2})


SIAMESE_HANDLER = """
import io
import numpy as np
from PIL import Image

_service = None

class Comparer:
    def compare(self, row):
        left, right = (np.asarray(Image.open(io.BytesIO(row[name])), float) for name in ("left", "right"))
        return {"distance": float(abs(left - right).mean())}

def handle(data, context):
    global _service
    if _service is None:
        _service = Comparer()
    if data is None:
        return None
    return [_service.compare(row) for row in data]
"""


def siamese(folder: Path) -> Path:
    """Two files in one request; a function, and a global object."""
    return archive(folder, "siamese", "handler:handle", handler__py=SIAMESE_HANDLER)


TRANSLATOR_HANDLER = """
from ts.handler_utils.micro_batching import MicroBatching
from ts.handler_utils.timer import timed
from ts.torch_handler.base_handler import BaseHandler

class Translator(BaseHandler):
    def __init__(self):
        super().__init__()
        self.handle = MicroBatching(self)

    def initialize(self, context):
        settings = context.model_yaml_config["micro_batching"]
        self.handle.micro_batch_size = settings["micro_batch_size"]
        self.words = context.model_yaml_config["handler"]["words"]
        self.sizes = []

    @timed
    def preprocess(self, data):
        self.sizes.append(len(data))
        return [row.get("data") or row.get("body") for row in data]

    @timed
    def inference(self, texts):
        return [" ".join(self.words.get(word, word) for word in text.split()) for text in texts]

    @timed
    def postprocess(self, texts):
        return [{"translation": text, "pieces": list(self.sizes)} for text in texts]
"""
TRANSLATOR_YAML = """
batchSize: 5
micro_batching:
  micro_batch_size: 2
handler:
  profile: true
  words: {hello: hallo, world: welt}
"""


def translator(folder: Path) -> Path:
    """Micro-batches, with settings in the YAML."""
    return archive(
        folder, "translator", handler__py=TRANSLATOR_HANDLER, model_config__yaml=TRANSLATOR_YAML,
        config_file="model_config.yaml",
    )  # fmt: skip


FORECAST_HANDLER = """
import numpy as np
import torch
from ts.torch_handler.base_handler import BaseHandler

class Forecast(BaseHandler):
    def preprocess(self, data):
        return torch.tensor([instance["data"] for instance in data], dtype=torch.float32)
"""


def onnx_regressor(folder: Path) -> Path:
    """A file of ONNX, behind an envelope."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return archive(
        folder, "double", handler__py=FORECAST_HANDLER, model__onnx=model.SerializeToString(),
        serialized_file="model.onnx",
    )  # fmt: skip
