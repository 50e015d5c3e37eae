"""Ensembles for the tests, and the models of their steps."""

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

from examples.source import MODEL_REPOSITORY
from tests.conftest import WriteModel

# x + N; fails for negative numbers.
ADD = """
import numpy as np
class Model:
    inputs = {{"x": ("INT32", [1])}}
    outputs = {{"y": ("INT32", [1])}}
    max_batch_size = {max_batch_size}
    def __call__(self, inputs):
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {{"y": inputs["x"] + {number}}}
"""

# a * b, or a if there is no b; the product's sign as scores of three classes.
MULTIPLY = """
import numpy as np
class Model:
    inputs = {"a": ("INT32", [1]), "b": ("INT32", [1])}
    outputs = {"product": ("INT32", [1]), "signs": ("FP32", [3])}
    max_batch_size = 4
    def __call__(self, inputs):
        product = inputs["a"] * inputs.get("b", 1)
        signs = np.concatenate([product < 0, product == 0, product > 0], axis=1)
        return {"product": product, "signs": signs.astype(np.float32)}
"""
MULTIPLY_CONFIG = """
max_batch_size: 4
input [
  { name: "a" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "b" data_type: TYPE_INT32 dims: [ 1 ] optional: true }
]
output [
  { name: "product" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "signs" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "signs.txt" }
]
"""

# Tells who asks: id, parameters, and its own batch.
WHO = """
import numpy as np
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"who": ("BYTES", [1])}
    def __call__(self, inputs, requests):
        [request] = requests
        inputs["x"] += 1
        told = f"{request.id} {sorted(request.parameters.items())}".encode()
        return {"who": np.array([told], dtype=object)}
"""

# Waits at the gate of the port that it is given, if it is one, and gives 0.
GATED = """
import socket
import numpy as np
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}
    def __call__(self, inputs):
        port = int(inputs["x"][0])
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        return {"y": np.zeros(1, np.int32)}
"""

# 0 … n-1, and an error after n if n > 5.
COUNT = """
import numpy as np
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"i": ("INT32", [1])}
    def __call__(self, inputs):
        for i in range(int(inputs["n"][0])):
            if i == 5:
                raise ValueError("too many")
            yield {"i": np.array([i], np.int32)}
"""


def ensemble(
    name: str,
    steps: list[tuple[str, dict[str, str], dict[str, str]]],
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    more: str = "",
    versions: Mapping[str, int] | None = None,
) -> str:
    """The configuration of an ensemble. Tensors are `name: "TYPE_INT32 [ 1 ]"`."""

    def tensors(kind: str, of: Mapping[str, str]) -> str:
        return "".join(
            f'{kind} {{ name: "{tensor}" data_type: {spec.split(" ", 1)[0]} dims: {spec.split(" ", 1)[1]} }}\n'
            for tensor, spec in of.items()
        )

    def mapping(kind: str, of: Mapping[str, str]) -> str:
        return "".join(f'{kind} {{ key: "{key}" value: "{value}" }}\n' for key, value in of.items())

    text = (
        f'name: "{name}"\nplatform: "ensemble"\n{more}\n'
        + tensors("input", inputs)
        + tensors("output", outputs)
    )
    text += "ensemble_scheduling {\n"
    for model, fed, written in steps:
        version = (versions or {}).get(model, -1)
        text += f'step {{ model_name: "{model}" model_version: {version}\n'
        text += mapping("input_map", fed) + mapping("output_map", written) + "}\n"
    return text + "}\n"


INT, ONE_INT = "TYPE_INT32 [ 1 ]", {"X": "TYPE_INT32 [ 1 ]"}


def write_ensemble(root: Path, config: str, version: int = 1) -> Path:
    """Put an ensemble into a repository."""
    name = config.split('"')[1]
    directory = root / name
    (directory / str(version)).mkdir(parents=True, exist_ok=True)
    (directory / "config.pbtxt").write_text(config)
    return directory


def add(number: int, max_batch_size: int = 4) -> str:
    """A model that adds a number."""
    return ADD.format(number=number, max_batch_size=max_batch_size)


def write_models(root: Path, write_model: WriteModel) -> None:
    """Everything that the tests of requests need."""
    for version in (1, 2):
        write_model(root, "plus", add(10 * version), "version_policy { all { } }", version)
    write_model(root, "alone", add(1, 0))
    write_model(root, "times", MULTIPLY, MULTIPLY_CONFIG)
    (root / "times" / "signs.txt").write_text("minus\nnone\nplus\n")
    write_model(root, "who", WHO)
    write_model(root, "count", COUNT)
    # y = (x + 10) * (x + 20), made of two versions of one model.
    steps = [
        ("times", {"a": "low", "b": "high"}, {"product": "Y", "signs": "S"}),
        ("plus", {"x": "X"}, {"y": "high"}),
        ("plus", {"x": "X"}, {"y": "low"}),
    ]
    text = ensemble("both", steps, ONE_INT, {"Y": INT, "S": "TYPE_FP32 [ 3 ]"}, "max_batch_size: 4")
    first, last = text.rsplit("model_version: -1", 1)
    write_ensemble(root, f"{first}model_version: 1{last}")
    write_ensemble(
        root,
        ensemble("outer", [("both", {"X": "X"}, {"Y": "t"}), ("plus", {"x": "t"}, {"y": "Z"})], ONE_INT, {"Z": INT},
                 "max_batch_size: 4"),
    )  # fmt: skip
    write_ensemble(
        root,
        ensemble("inner_tensors",
                 [("plus", {"x": "X"}, {"y": "A"}), ("plus", {"x": "A"}, {"y": "B"}), ("plus", {"x": "B"}, {"y": "C"})],
                 ONE_INT, {"C": INT, "A": INT, "B": INT}, "max_batch_size: 4"),
    )  # fmt: skip
    write_ensemble(
        root, ensemble("mixed", [("alone", {"x": "X"}, {"y": "t"}), ("plus", {"x": "t"}, {"y": "Y"})], ONE_INT,
                       {"Y": INT}, "max_batch_size: 4")
    )  # fmt: skip
    row = [("plus", {"x": "X"}, {"y": "Y"})]
    write_ensemble(root, ensemble("unbatched", row, ONE_INT, {"Y": INT}))
    rows = "TYPE_INT32 [ -1, 1 ]"
    write_ensemble(root, ensemble("rows", row, {"X": rows}, {"Y": rows}))
    write_ensemble(
        root, ensemble("asked", [("who", {"x": "X"}, {"who": "A"}), ("who", {"x": "X"}, {"who": "B"})], ONE_INT,
                       {"A": "TYPE_STRING [ 1 ]", "B": "TYPE_STRING [ 1 ]"})
    )  # fmt: skip
    optional = ensemble("maybe", [("times", {"a": "X", "b": "B"}, {"product": "Y"})],
                        {**ONE_INT, "B": INT}, {"Y": INT}, "max_batch_size: 4")  # fmt: skip
    write_ensemble(root, optional.replace('name: "B" data_type', 'name: "B" optional: true data_type'))
    write_ensemble(
        root, ensemble("lack", [("alone", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT})
        .replace('name: "X" data_type', 'name: "X" optional: true data_type')
    )  # fmt: skip
    write_ensemble(
        root, ensemble("counted", [("count", {"n": "X"}, {"i": "t"}), ("alone", {"x": "t"}, {"y": "Y"})], ONE_INT,
                       {"Y": INT})
    )  # fmt: skip
    write_model(root, "gated", GATED)
    write_ensemble(
        root, ensemble("held", [("gated", {"x": "X"}, {"y": "t"}), ("alone", {"x": "t"}, {"y": "Y"})], ONE_INT,
                       {"Y": INT})
    )  # fmt: skip
    pairs = [("INPUT0", "INPUT1"), ("s1", "d1"), ("s2", "d2"), ("OUTPUT0", "OUTPUT1")]
    for number in range(3):
        shutil.copytree(MODEL_REPOSITORY / "add_sub", root / f"add_sub_{number}")
        config = root / f"add_sub_{number}" / "config.pbtxt"
        config.write_text(config.read_text().replace('name: "add_sub"', f'name: "add_sub_{number}"'))
    steps = [
        (
            f"add_sub_{number}",
            {"INPUT0": before[0], "INPUT1": before[1]},
            {"OUTPUT0": after[0], "OUTPUT1": after[1]},
        )
        for number, (before, after) in enumerate(itertools.pairwise(pairs))
    ]
    sixteen = "TYPE_INT32 [ 16 ]"
    quick = ensemble(
        "quick",
        steps,
        dict.fromkeys(pairs[0], sixteen),
        dict.fromkeys(pairs[-1], sixteen),
        "max_batch_size: 4",
    )
    write_ensemble(root, quick)
