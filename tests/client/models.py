"""Handler files of the models that the tests of the client ask, beside those of `tests.integration.handlers`."""

SHORT_QUEUE = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"
SEQUENCES = "sequence_batching { oldest { max_candidate_sequences: 4 } }"

_PIXELS = """
class Model:
    inputs = {{"image": ("{datatype}", {dims})}}
    outputs = {{"image": ("{datatype}", {dims})}}
    max_batch_size = {max_batch_size}

    def __call__(self, inputs):
        return {{"image": inputs["image"]}}
"""


def pixels(datatype: str, dims: list[int], max_batch_size: int = 0) -> str:
    """A handler that gives back an image."""
    return _PIXELS.format(datatype=datatype, dims=dims, max_batch_size=max_batch_size)


# The length and the first bytes of a file.
FILE = """
import numpy as np

class Model:
    inputs = {"file": ("BYTES", [1])}
    outputs = {"file": ("BYTES", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"file": inputs["file"]}
"""

# Decodes a picture, and refuses what is none.
PICTURE = """
from kserve_v2 import Image, Text

class Model:
    def __call__(self, image: Image) -> Text:
        return "x".join(map(str, image.shape))
"""

# Counts to `to`, one number a response.
COUNT = """
import numpy as np

class Model:
    inputs = {"to": ("INT32", [1]), "text": ("BYTES", [1])}
    outputs = {"number": ("INT32", [1]), "word": ("BYTES", [-1])}

    def __call__(self, inputs):
        for number in range(int(inputs["to"][0])):
            words = np.array([b"%d" % number] * (number + 1), np.object_)
            yield {"number": np.array([number], np.int32), "word": words}
"""

# Counts until nobody listens; `PATH` is written then.
ENDLESS = """
import numpy as np
import pathlib
import time

class Model:
    inputs = {"path": ("BYTES", [1])}
    outputs = {"number": ("INT64", [1])}

    def __call__(self, inputs):
        path = pathlib.Path(inputs["path"][0].decode())
        number = 0
        try:
            while True:
                yield {"number": np.array([number])}
                number += 1
                time.sleep(0.01)
        finally:
            path.write_text("left")
"""

ENDS_BADLY = """
import numpy as np
from kserve_v2 import InvalidArgumentError

class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}

    def __call__(self, inputs):
        if inputs["x"][0] < 0:
            raise InvalidArgumentError("x must not be below 0")
        yield {"y": inputs["x"]}
        raise InvalidArgumentError("there is no second one")
"""

ODD_NAMES = """
class Model:
    inputs = {"model": ("INT32", [1]), "time out": ("INT32", [1]), "timeout": ("INT32", [1])}
    outputs = {"self": ("INT32", [1])}

    def __call__(self, inputs):
        return {"self": inputs["model"] * 100 + inputs["time out"] * 10 + inputs["timeout"]}
"""

# What the request says beside its tensors.
PARAMETERS = """
import json
import numpy as np

class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"said": ("BYTES", [1])}

    def __call__(self, inputs, requests):
        [request] = requests
        request.response_parameters["answered"] = True
        said = {"id": request.id, "parameters": request.parameters}
        return {"said": np.array([json.dumps(said, sort_keys=True).encode()], np.object_)}
"""

# Refuses each request so often as it says, with the words of the protocol; gives how often it was asked.
REFUSES = """
import numpy as np
from kserve_v2 import InvalidArgumentError, UnavailableError

class Model:
    inputs = {"key": ("BYTES", [1]), "times": ("INT32", [1])}
    outputs = {"asked": ("INT32", [1])}
    asked = {}

    def __call__(self, inputs):
        key = inputs["key"][0]
        count = self.asked[key] = self.asked.get(key, 0) + 1
        if count <= inputs["times"][0]:
            raise UnavailableError("not now")
        return {"asked": np.array([count], np.int32)}
"""

# The sum of what a sequence has said.
SUMS = """
import numpy as np

class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"sum": ("INT32", [1])}
    max_batch_size = 4

    def load(self, context):
        self.sums = {}

    def __call__(self, inputs, requests):
        sums = []
        for row, request in zip(inputs["x"], requests, strict=True):
            step = request.sequence
            before = 0 if step.start else self.sums[step.id]
            self.sums[step.id] = before + int(row[0])
            sums.append([self.sums[step.id]])
        return {"sum": np.array(sums, np.int32)}
"""
