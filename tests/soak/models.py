"""The models that the requests go to. Every answer carries its request's tag, or is one of a kind, so a mix-up shows."""

import shutil
from pathlib import Path

_ADD_SUB = Path(__file__).resolve().parent.parent.parent / "model_repository" / "add_sub"

# Y = 2 X. Remembers which tags it has executed; the tag -1 asks how many it has executed more than once.
TAGGED = """
import numpy as np

class Model:
    inputs = {{"TAG": ("INT64", [1]), "X": ("FP32", [4])}}
    outputs = {{"TAG": ("INT64", [1]), "Y": ("FP32", [4])}}
    max_batch_size = 16

    def load(self, context):
        self.executed = bytearray({tags})
        self.repeated = 0

    def __call__(self, inputs):
        tags = inputs["TAG"]
        answer = 2 * inputs["X"]
        for row, tag in enumerate(tags.ravel().tolist()):
            if tag < 0:
                answer[row] = self.repeated
            else:
                self.repeated += self.executed[tag]
                self.executed[tag] = 1
        return {{"TAG": tags, "Y": answer}}
"""

# Fails for odd tags, which must not harm the even ones that share a batch with them.
MOODY = """
from kserve_v2.errors import InvalidArgumentError

class Model:
    inputs = {"TAG": ("INT64", [1]), "X": ("FP32", [4])}
    outputs = {"TAG": ("INT64", [1]), "Y": ("FP32", [4])}
    max_batch_size = 16

    def __call__(self, inputs):
        if inputs["TAG"].ravel()[0] % 2:
            raise InvalidArgumentError("an odd tag")
        if (inputs["TAG"] % 2).any():
            raise ValueError("an odd tag in a batch")
        return {"TAG": inputs["TAG"], "Y": 2 * inputs["X"]}
"""

# Yields the numbers 0 … N-1.
COUNT = """
import numpy as np

class Model:
    inputs = {"TAG": ("INT64", [1]), "N": ("INT32", [1])}
    outputs = {"TAG": ("INT64", [1]), "I": ("INT32", [1])}

    def __call__(self, inputs):
        for number in range(inputs["N"].item()):
            yield {"TAG": inputs["TAG"], "I": np.array([number], np.int32)}
"""

# Gives back what it gets, of any size.
BULK = """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [-1])}

    def __call__(self, inputs):
        return {"Y": inputs["X"]}
"""

# What the server's process holds: asyncio's tasks that are not done, and objects that the collector follows.
CENSUS = """
import asyncio
import gc
import numpy as np
from kserve_v2_child.freed_memory import return_freed_memory

class Model:
    inputs = {"ASK": ("INT64", [1])}
    outputs = {"TASKS": ("INT64", [1]), "OBJECTS": ("INT64", [1])}

    def __call__(self, inputs):
        gc.collect()
        # What is free already is kept by the server, as much as there was at its busiest moment.
        return_freed_memory()
        objects = gc.get_objects()
        tasks = sum(type(each) is asyncio.Task and not each.done() for each in objects)
        return {"TASKS": np.array([tasks]), "OBJECTS": np.array([len(objects)])}
"""

# Whether each request is executed once is what the soak is about, so no made-up ones.
_BATCHING = """dynamic_batching { }
parameters { key: "try_batching" value { string_value: "false" } }
"""

COUNTED_MODELS = ("tagged", "moody", "count", "bulk", "add_sub")
"""Those whose statistics are compared with what was sent."""


def write_models(repository: Path, tags: int) -> None:
    """Write all models; `tags` is above every tag. Those here run in threads; `add_sub`, by ONNX Runtime, also in place."""
    write_add_sub(repository)
    for name, code, config in (
        ("tagged", TAGGED.format(tags=tags), _BATCHING),
        ("moody", MOODY, _BATCHING),
        ("count", COUNT, ""),
        ("bulk", BULK, ""),
        ("census", CENSUS, ""),
    ):
        write_handler(repository, name, code, config)


def write_add_sub(repository: Path) -> None:
    """The example: sum and difference of two tensors of 16 numbers."""
    shutil.copytree(_ADD_SUB, repository / "add_sub")


def write_handler(repository: Path, name: str, code: str, config: str = "") -> None:
    """A model that is a handler."""
    directory = repository / name
    (directory / "1").mkdir(parents=True)
    (directory / "1" / "model.py").write_text(code)
    if config:
        (directory / "config.pbtxt").write_text(config)
