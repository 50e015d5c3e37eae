"""What in a file is the handler: marked, named, or the only class."""

from typing import Any

import numpy as np
import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from kserve_v2.errors import InvalidArgumentError

TENSORS = """
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
"""
CALL = """
    def __call__(self, inputs):
        return {"y": inputs["x"] + %d}
"""
PLUS_1 = f"class One:{TENSORS}{CALL % 1}"
PLUS_2 = f"class Two:{TENSORS}{CALL % 2}"
MARKED = """
import kserve_v2
@kserve_v2.model(inputs={"x": ("FP32", [1])}, outputs={"y": ("FP32", [1])})
"""
FUNCTION = f"{MARKED}def three(x):\n    return x + 3\n"
FILE = 'default_model_filename: "handler.py"'


def named(text: str) -> str:
    return f'{FILE} parameters {{ key: "handler" value {{ string_value: "{text}" }} }}'


@pytest.mark.parametrize(
    ("files", "config", "added"),
    [
        ({"handler.py": PLUS_1}, FILE, 1),
        ({"handler.py": f"{PLUS_1}\nclass Data:\n    pass\nclass _Two:{CALL % 2}"}, FILE, 1),
        ({"handler.py": f"from helper import Two\n{PLUS_1}", "helper.py": PLUS_2}, FILE, 1),
        ({"handler.py": FUNCTION}, FILE, 3),
        ({"model.py": FUNCTION}, "", 3),
        # What is marked is meant, whatever else could be.
        ({"handler.py": f"{PLUS_1}{FUNCTION}"}, FILE, 3),
        ({"model.py": f"from helper import three\n{PLUS_1}", "helper.py": FUNCTION}, "", 3),
        ({"model.py": f"{MARKED}class Model:{CALL % 4}"}, "", 4),
        ({"model.py": f"{MARKED}class Other:{CALL % 4}"}, "", 4),
        ({"handler.py": PLUS_1 + PLUS_2}, named("handler:Two"), 2),
        ({"handler.py": f"{PLUS_1}{FUNCTION}"}, named("handler:three"), 3),
        (
            {"shop/__init__.py": "", "shop/models.py": f"from . import tools\n{PLUS_2}", "shop/tools.py": ""},
            named("shop.models:Two").replace("handler.py", "shop/models.py"),
            2,
        ),
        (
            {"shop/__init__.py": f"import shop.tools\n{PLUS_2}", "shop/tools.py": ""},
            named("shop:Two").replace("handler.py", "shop/__init__.py"),
            2,
        ),
    ],
)
def test_what_is_the_handler(loader: Any, files: dict[str, str], config: str, added: int) -> None:
    served = loader.serve(EagerBackend(), loader.source(files), config)
    assert served.execute({"x": np.float32([1])})["y"].tolist() == [1 + added]


@pytest.mark.parametrize(
    ("files", "config", "text"),
    [
        ({"model.py": PLUS_1}, "", "model.py: expected a class named Model, or TritonPythonModel, got One"),
        ({"handler.py": "x = 1"}, FILE, "handler.py: expected a class named Model, or one with __call__, or a function"),
        ({"handler.py": PLUS_1 + PLUS_2}, FILE, "One and Two could each be the handler: leave one, or name it, as in"),
        ({"model.py": FUNCTION + PLUS_1.replace("One", "Model")}, "", "Model and three could each be the handler"),
        ({"model.py": FUNCTION + FUNCTION.replace("three", "four")}, "", "three and four could each be the handler"),
        ({"handler.py": PLUS_1}, named("handler:Two"), "handler.py: expected a class or function named Two, got One"),
        ({"handler.py": "from os import system"}, named("handler:system"), "expected a class or function named system"),
        ({"handler.py": "from subprocess import Popen"}, named("handler:Popen"), "Popen has no method __call__"),
        ({"handler.py": PLUS_1, "other.py": PLUS_1}, named("other:One"), "module other is other.py, but default_model_"),
        ({"handler.py": PLUS_1}, named("handler.One"), "parameters['handler']: expected a class of a module, such as"),
        ({"model.py": FUNCTION.replace("(x)", "(x, /)")}, "", "three: parameter 'x': it is passed by its name"),
        ({"model.py": FUNCTION.replace("FP32", "FP99")}, "", "expected a datatype out of BOOL"),
        ({"model.py": FUNCTION.replace("(x)", "(x, z)")}, "", "three: parameter 'z': expected an annotation such as"),
    ],
)  # fmt: skip
def test_what_is_none(loader: Any, files: dict[str, str], config: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        loader.serve(EagerBackend(), loader.source(files), config)
    assert text in str(caught.value)
