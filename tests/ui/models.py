"""Models of every kind that a form is made for: handlers that need nothing but numpy, and Pillow for pictures."""

from pathlib import Path

from tests.conftest import WriteModel
from tests.integration.handlers import identity, versioned

SUM = """
class Model:
    inputs = {"x": ("FP32", [4])}
    outputs = {"total": ("FP32", [1])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"total": inputs["x"].sum(1, keepdims=True)}
"""

SHOUT = """
from kserve_v2 import Text

class Model:
    def __call__(self, text: Text) -> Text:
        return text.upper()
"""

DESCRIBE = """
from typing import TypedDict
from kserve_v2 import Image, Text

class Answer(TypedDict):
    size: Text
    turned: Image

class Model:
    def __call__(self, image: Image) -> Answer:
        height, width, channels = image.shape
        red, green, blue = (int(value) for value in image[0, 0])
        return {"size": f"{width} x {height}, {red} {green} {blue}", "turned": image.transpose(1, 0, 2)}
"""

COLOURS = """
import numpy as np

class Model:
    inputs = {"image": ("FP32", [3, 16, 16])}
    outputs = {"mean": ("FP32", [3]), "edges": ("FP32", [1, 16, 16])}
    max_batch_size = 4

    def __call__(self, inputs):
        image = inputs["image"]
        return {"mean": image.mean((2, 3)), "edges": image[:, :1]}
"""

COUNT = """
from collections.abc import Iterator
from kserve_v2 import Text

class Model:
    def __call__(self, prompt: Text) -> Iterator[Text]:
        for word in prompt.split():
            yield word + " "
"""

# Answers until its client has had enough.
ENDLESS = """
import time
from collections.abc import Iterator
from kserve_v2 import Text

class Model:
    def __call__(self, prompt: Text) -> Iterator[Text]:
        while True:
            time.sleep(0.01)
            yield "again "
"""

LOUDNESS = """
import numpy as np

class Model:
    inputs = {"audio": ("FP32", [-1])}
    outputs = {"loudest": ("FP32", [1]), "samples": ("INT64", [1])}

    def __call__(self, inputs):
        samples = inputs["audio"]
        loudest = np.abs(samples).max(initial=0, keepdims=True)
        yield {"loudest": loudest, "samples": np.array([len(samples)])}
        yield {"loudest": loudest * 2, "samples": np.array([len(samples)])}
"""

LOUDNESS_CONFIG = "model_transaction_policy { decoupled: true }"

STRIP = """
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"strip": ("FP32", [-1]), "empty": ("INT32", [-1]), "odd": ("FP32", [3])}

    def __call__(self, inputs):
        odd = np.array([np.nan, np.inf, -np.inf], np.float32)
        return {"strip": np.arange(inputs["n"][0], dtype=np.float32), "empty": np.zeros(0, np.int32), "odd": odd}
"""

# Bytes that are no text, of which nothing says what they are.
PAINT = """
import io
import numpy as np
import PIL.Image

class Model:
    inputs = {"side": ("INT32", [1])}
    outputs = {"file": ("BYTES", [2])}

    def __call__(self, inputs):
        side = int(inputs["side"][0])
        written = io.BytesIO()
        PIL.Image.new("RGB", (side, side), (0, 128, 0)).save(written, "PNG")
        return {"file": np.array([written.getvalue(), bytes([255, 254, 253, 0])], np.object_)}
"""

BROKEN = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def __call__(self, inputs):
        raise ValueError("the reactor is too hot")
"""

UNLOADABLE = """
raise RuntimeError("no weights <b>here</b>")
"""


def write_models(root: Path, write_model: WriteModel) -> None:
    """All of them into a repository."""
    for name, code in (("sum", SUM), ("shout", SHOUT), ("describe", DESCRIBE), ("colours", COLOURS)):
        write_model(root, name, code)
    for name, code in (
        ("count", COUNT),
        ("endless", ENDLESS),
        ("strip", STRIP),
        ("paint", PAINT),
        ("broken", BROKEN),
    ):
        write_model(root, name, code)
    write_model(root, "loudness", LOUDNESS, LOUDNESS_CONFIG)
    for datatype in ("INT64", "FP16", "BF16", "BOOL", "BYTES"):
        write_model(root, f"same_{datatype.lower()}", identity(datatype, [-1]))
    write_model(root, "flag", identity("BOOL", [1]))
    write_model(root, "odd name/1".replace("/", "-") + " é?", identity("FP32", [2]))
    for number in (1, 2):
        write_model(root, "versions", versioned(number), "version_policy { all { } }", number)
    write_model(root, "unloadable", UNLOADABLE)
