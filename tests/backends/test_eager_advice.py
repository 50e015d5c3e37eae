"""What a handler's author may have meant: advice where it can be served, and errors where it cannot."""

import logging
from typing import Any

import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from kserve_v2.errors import InvalidArgumentError

RIGHT = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
%s
    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""


def advice(loader: Any, caplog: pytest.LogCaptureFixture, code: str) -> list[str]:
    """What is said of a handler that can be served."""
    with caplog.at_level(logging.WARNING):
        loader.serve(EagerBackend(), loader.source({"model.py": code}))
    return [record.getMessage() for record in caplog.records]


def failure(loader: Any, code: str) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        loader.serve(EagerBackend(), loader.source({"model.py": code}))
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("    max_batchsize = 8", "Model.max_batchsize means nothing to the server: did you mean max_batch_size?"),
        ("    batch_size = 8", "did you mean max_batch_size?"),
        ("    maxBatchSize = 8", "did you mean max_batch_size?"),
        ("    MAX_BATCH_SIZE = 8", "did you mean max_batch_size?"),
        ("    threadsafe = True", "did you mean thread_safe?"),
        ("    tensor = 'torch'", "did you mean tensors?"),
        ("    raged = True", "did you mean ragged?"),
        ("    concurrency = 2", "did you mean max_concurrency?"),
        ("    def initialize(self, args): ...", "Model.initialize is not called by the server: did you mean load(self, context)?"),
        ("    def setup(self): ...", "Model.setup is not called by the server: did you mean load(self, context)?"),
        ("    def finalize(self): ...", "Model.finalize is not called by the server: did you mean close(self)?"),
        ("    def unload(self): ...", "Model.unload is not called by the server: did you mean close(self)?"),
    ],
)  # fmt: skip
def test_what_is_served_and_may_be_meant_otherwise(
    loader: Any, caplog: pytest.LogCaptureFixture, body: str, text: str
) -> None:
    (said,) = advice(loader, caplog, RIGHT % body)
    assert said.startswith("model 'm': model.py: ")
    assert text in said


@pytest.mark.parametrize(
    "body",
    [
        "",
        "    names = ['a']\n    labels = {}\n    size = 3\n    device = 'cpu'\n    output_names = ['y']\n    input_size = 224",
        "    def load(self, context): ...\n    def initialize(self): ...\n    def setup(self): ...",
        "    def close(self): ...\n    def finalize(self): ...",
        "    def predict(self, x): ...\n    def forward(self, x): ...",
        "    max_batch_size = 8\n    batch_size = 4",
        "    _input = 3\n    __output = 4",
        "    @property\n    def tensor(self): ...",
    ],
)
def test_nothing_is_said_of_what_is_usual(loader: Any, caplog: pytest.LogCaptureFixture, body: str) -> None:
    assert advice(loader, caplog, RIGHT % body) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "class Model:\n    input = {'x': ('FP32', [1])}\n    output = {'y': ('FP32', [1])}\n    def __call__(self, inputs): ...\n",
            "model.py: Model.input means nothing to the server: did you mean inputs?; Model.output means nothing to the "
            "server: did you mean outputs?",
        ),
        (
            "class Model:\n    inputs = {'x': ('FP32', [1])}\n    output = {'y': ('FP32', [1])}\n    def __call__(self, inputs): ...\n",
            "model.py: Model.output means nothing to the server: did you mean outputs?",
        ),
        (
            "class Model:\n    def __call__(self, image: 'Image') -> 'Text': ...\n",
            "Model.__call__: the annotation of 'image' means nothing: NameError: name 'Image' is not defined; "
            "Model.__call__: the annotation of 'return' means nothing: NameError: name 'Text' is not defined",
        ),
        (RIGHT % "    def load(self): ...", "model.py: Model.load: expected load(self, context), got load(self)"),
        (RIGHT % "    def load(self, context, more): ...", "expected load(self, context), got load(self, context, more)"),
        (RIGHT % "    def load(self, *, context): ...", "expected load(self, context), got load(self, *, context)"),
        (RIGHT % "    @staticmethod\n    def load(): ...", "expected load(self, context), got load()"),
        (RIGHT % "    def load(self, context): yield", "Model.load: expected a plain function, got a generator"),
        (RIGHT % "    load = 3", "Model.load: expected a method load(self, context), got 3"),
        (RIGHT % "    def close(self, context): ...", "Model.close: expected close(self), got close(self, context)"),
        (RIGHT % "    async def close(self): ...", "Model.close: expected a plain function, got an async one"),
        (
            (RIGHT % "").replace("__call__", "predict"),
            "model.py: Model has no method __call__(self, inputs), but predict: rename it",
        ),
        ((RIGHT % "").replace("__call__", "execute"), "Model has no method __call__(self, inputs), but execute: rename it"),
        ((RIGHT % "") * 2, "model.py: there are several classes named Model, in lines 2, 9: leave one"),
        ((RIGHT % "").replace("Model", "Digits"), "model.py: expected a class named Model, or TritonPythonModel, got Digits"),
        ("from kserve_v2 import Model\n", "model.py: expected a class named Model, or TritonPythonModel"),
        (
            "from kserve_v2 import Model\nclass Digits(Model):\n    def __call__(self, inputs): ...\n",
            "expected a class named Model, or TritonPythonModel, got Digits",
        ),
        ("def Model(inputs):\n    return inputs\n", "expected a class named Model"),
        (
            "import torch\nclass Model(torch.nn.Linear): ...\n",
            "model.py: Model is a torch module, and would be called with one dict of all inputs: export it with",
        ),
        (
            "import torch\nclass Net(torch.nn.Module): ...\n",
            "expected a class named Model, or TritonPythonModel, got the torch module Net: export it with torch.export.save",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_served(loader: Any, code: str, text: str) -> None:
    assert text in failure(loader, code)


@pytest.mark.parametrize(
    "body",
    [
        "    def load(self, context, more=None): ...",
        "    def load(self, *everything): ...",
        "    @staticmethod\n    def load(context): ...",
        "    @classmethod\n    def load(cls, context): ...",
        "    load = staticmethod(print)",
        "    close = print",
        "    def close(self, now=True): ...",
    ],
)
def test_whatever_can_be_called_is_right(loader: Any, caplog: pytest.LogCaptureFixture, body: str) -> None:
    assert advice(loader, caplog, RIGHT % body) == []


def test_one_of_two_classes_may_be_chosen_while_the_file_is_imported(
    loader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import sys\nif sys.maxsize:"
        + (RIGHT % "").replace("\n", "\n    ")
        + "\nelse:\n    class Model: ...\n"
    )
    assert advice(loader, caplog, code) == []
