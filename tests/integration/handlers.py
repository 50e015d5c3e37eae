"""Handler files of the models that the integration tests serve."""

IDENTITY = """
class Model:
    inputs = {{"IN": ("{datatype}", {dims})}}
    outputs = {{"OUT": ("{datatype}", {dims})}}
    max_batch_size = {max_batch_size}

    def __call__(self, inputs):
        return {{"OUT": inputs["IN"]}}
"""


def identity(datatype: str, dims: list[int], max_batch_size: int = 0) -> str:
    """A handler that gives back its one input `IN` as `OUT`."""
    return IDENTITY.format(datatype=datatype, dims=dims, max_batch_size=max_batch_size)


# X = A + B, Y = A - B.
TWO = """
class Model:
    inputs = {"A": ("INT32", [2]), "B": ("INT32", [2])}
    outputs = {"X": ("INT32", [2]), "Y": ("INT32", [2])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"X": inputs["A"] + inputs["B"], "Y": inputs["A"] - inputs["B"]}
"""

# Adds B, which need not be there, to A.
OPTIONAL = """
class Model:
    def __call__(self, inputs):
        return {"OUT": inputs["A"] + inputs["B"] if "B" in inputs else inputs["A"]}
"""

OPTIONAL_CONFIG = """
max_batch_size: 4
input [
  { name: "A" data_type: TYPE_FP32 dims: [ 1 ] },
  { name: "B" data_type: TYPE_FP32 dims: [ 1 ] optional: true }
]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""

# One output to classify of each kind of datatype, all with the values of the input.
CLASSES = """
import numpy as np

class Model:
    inputs = {"IN": ("FP32", [3])}
    outputs = {"SCORES": ("FP32", [3]), "COUNTS": ("INT32", [3]), "FLAGS": ("BOOL", [3])}
    max_batch_size = 4

    def __call__(self, inputs):
        scores = inputs["IN"]
        return {"SCORES": scores, "COUNTS": scores.astype(np.int32), "FLAGS": scores > 0}
"""

CLASSES_CONFIG = """
output [
  { name: "SCORES" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" },
  { name: "COUNTS" data_type: TYPE_INT32 dims: [ 3 ] },
  { name: "FLAGS" data_type: TYPE_BOOL dims: [ 3 ] }
]
"""

# Does what it is told to, mistakes above all.
FAILING = """
import numpy as np
from kserve_v2.errors import InvalidArgumentError

class Model:
    inputs = {"COMMAND": ("BYTES", [1])}
    outputs = {"OUT": ("FP32", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        commands = inputs["COMMAND"].ravel().tolist()
        answer = np.ones((len(commands), 1), np.float32)
        for command in commands:
            if command == b"raise":
                raise ValueError("boom in /srv/models/secret/weights.bin")
            if command == b"exit":
                raise SystemExit(3)
            if command == b"surrogate":
                raise ValueError("no text: \\udc80")
            if command == b"refuse":
                raise InvalidArgumentError("COMMAND must not be 'refuse'")
            if command == b"rows":
                return {"OUT": np.ones((len(commands) + 1, 1), np.float32)}
            if command == b"names":
                return {"OTHER": answer}
            if command == b"datatype":
                return {"OUT": answer.astype(np.float64)}
            if command == b"none":
                return None
        return {"OUT": answer}
"""

# Connects to PORT, if there is one, and goes on when it is told to; gives the tags of all it has executed.
GATED = """
import json
import socket

class Model:
    inputs = {"PORT": ("INT32", [1]), "TAG": ("INT64", [1])}
    outputs = {"TAGS": ("BYTES", [1])}
    max_batch_size = 1

    def load(self, context):
        self.tags = []

    def __call__(self, inputs):
        self.tags.append(inputs["TAG"].item())
        port = inputs["PORT"].item()
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        return {"TAGS": [[json.dumps(self.tags)]]}
"""

# Says which version it is.
VERSIONED = """
class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"VERSION": ("INT32", [1])}}

    def __call__(self, inputs):
        return {{"VERSION": [{number}]}}
"""


def versioned(number: int) -> str:
    """A handler that answers with `number`."""
    return VERSIONED.format(number=number)


# Connects to the port of its configuration while it is loaded, and goes on when it is told to.
SLOW_TO_LOAD = """
import socket

class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"VERSION": ("INT32", [1])}}

    def load(self, context):
        with socket.create_connection(("127.0.0.1", {port}), timeout=120) as gate:
            gate.recv(1)

    def __call__(self, inputs):
        return {{"VERSION": [{number}]}}
"""


def slow_to_load(port: int, number: int = 1) -> str:
    """A handler whose `load` waits at a gate, and that answers with `number`."""
    return SLOW_TO_LOAD.format(port=port, number=number)


# Connects to a port while it is closed, and goes on when it is told to.
SLOW_TO_CLOSE = """
import socket

class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"OUT": ("INT32", [1])}}

    def __call__(self, inputs):
        return {{"OUT": inputs["IN"]}}

    def close(self):
        with socket.create_connection(("127.0.0.1", {port}), timeout=120) as gate:
            gate.recv(1)
"""


def slow_to_close(port: int) -> str:
    """A handler whose `close` waits at a gate."""
    return SLOW_TO_CLOSE.format(port=port)


# Gives back however many numbers it gets.
ECHO = """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [-1])}
    def __call__(self, inputs):
        return {"Y": inputs["X"]}
"""
