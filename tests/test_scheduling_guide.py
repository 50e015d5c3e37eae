"""What docs/guides/scheduling.md shows is served as it stands there."""

import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/guides/scheduling.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```", GUIDE, re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.slow

DOUBLE = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 32
    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}
"""
TAGGER = """
class Model:
    inputs = {"ids": ("INT64", [-1]), "mask": ("INT64", [-1])}
    outputs = {"tags": ("INT64", [-1])}
    max_batch_size = 32
    def __call__(self, inputs):
        return {"tags": inputs["ids"] * inputs["mask"]}
"""
COUNTER = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 32
    def __call__(self, inputs):
        assert inputs["START"].shape == inputs["x"].shape
        state = inputs["state_in"] + inputs["x"]
        return {"y": state[:, :1], "state_out": state}
"""
ENCODER = """
import numpy as np
class Model:
    inputs = {"text": ("BYTES", [1])}
    outputs = {"vector": ("FP32", [1])}
    def __call__(self, inputs):
        return {"vector": np.array([len(inputs["text"][0])], np.float32)}
"""
CLASSIFIER = """
import numpy as np
class Model:
    inputs = {"vector": ("FP32", [1])}
    outputs = {"label": ("BYTES", [1])}
    def __call__(self, inputs):
        return {"label": np.array([b"long" if inputs["vector"][0] > 4 else b"short"], object)}
"""


def config(text: str) -> str:
    """The configuration of the guide that contains `text`."""
    (found,) = [block for language, block in BLOCKS if text in block and not language]
    return found


def write(root: Path, name: str, handler: str, text: str = "") -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(handler)
    (root / name / "config.pbtxt").write_text('backend: "python"\n' + text)


def infer(server, model: str, **tensors: np.ndarray) -> triton.InferResult:  # type: ignore[no-untyped-def]
    datatypes = {"f": "FP32", "i": "INT64", "O": "BYTES"}
    inputs = []
    for name, array in tensors.items():
        tensor = triton.InferInput(name, list(array.shape), datatypes[array.dtype.kind])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    with triton.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        return client.infer(model, inputs)


def test_every_configuration_and_the_handler(start_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, "sizes", DOUBLE, config("preferred_batch_size"))
    write(tmp_path, "budget", DOUBLE, config("latency_budget_ms"))
    write(tmp_path, "levels", DOUBLE, config("priority_levels"))
    write(tmp_path, "limited", DOUBLE, config("rate_limiter"))
    write(tmp_path, "tagger", TAGGER, config("pad_variable_dims") + "dynamic_batching { }")
    write(tmp_path, "counter", COUNTER, config("sequence_batching"))
    write(tmp_path, "encoder", ENCODER)
    write(tmp_path, "classifier", CLASSIFIER)
    (handler,) = [block for language, block in BLOCKS if language == "python"]
    write(tmp_path, "asking", handler)
    server = start_server(tmp_path, "--rate-limit", "execution_count")

    one = np.array([[3]], np.float32)
    for model in ("sizes", "budget", "levels", "limited"):
        assert infer(server, model, x=one).as_numpy("y").tolist() == [[6]]
    ids = np.array([[5, 6, 7]])
    assert infer(server, "tagger", ids=ids, mask=np.array([[1, 0, 1]])).as_numpy("tags").tolist() == [
        [5, 0, 7]
    ]
    texts = np.array([b"a long text"], object)
    assert infer(server, "asking", text=texts).as_numpy("label").tolist() == [b"long"]

    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(one)
    with triton.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        answers = [
            client.infer("counter", [tensor], sequence_id=7, sequence_start=n == 0, sequence_end=n == 2)
            for n in range(3)
        ]
    assert [answer.as_numpy("y").item() for answer in answers] == [3, 6, 9]
    with urllib.request.urlopen(server.metrics, timeout=60) as answer:
        metrics = answer.read().decode()
    for name in set(re.findall(r"`(kserve_v2_\w+)`", GUIDE)):
        assert name in metrics
