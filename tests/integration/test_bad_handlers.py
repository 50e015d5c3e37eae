"""Handlers with every kind of mistake, in a real server: what the load or the request is answered, and that the next good
one is answered as ever.
"""

from typing import Any

import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, json_tensor

HEAD = "from typing import Annotated\nimport numpy as np\nfrom kserve_v2 import FP32, Context, Image, InvalidArgumentError, Text\n"
GOOD = (
    HEAD
    + """
class Model:
    def __call__(self, x: Annotated[np.ndarray, FP32(2)]) -> Annotated[np.ndarray, FP32(2)]:
        return x * 2
"""
)
BODY = {"inputs": [json_tensor("x", "FP32", [2], [1, 2])]}


def check_good(explicit: ExplicitServer, name: str) -> None:
    answer = explicit.server.infer(name, BODY)
    assert answer.json()["outputs"][0]["data"] == [2, 4]


def without(line: str, by: str = "") -> str:
    assert line in GOOD
    return GOOD.replace(line, by)


NOT_LOADED: dict[str, tuple[str, tuple[str, ...]]] = {
    "no class": ("x = 1\n", ("model.py: expected a class named Model",)),
    "an empty file": ("", ("model.py is empty: perhaps it was not copied to its end",)),
    "two classes": (GOOD * 2, ("model.py: there are several classes named Model, in lines ",)),
    "another name": (without("class Model", "class Digits"), ("expected a class named Model", "got Digits")),
    "a syntax error": (GOOD + "\ndef (", ("model.py, line 9: SyntaxError: ",)),
    "an indentation": (without("        return", "      return") + "        pass", ("model.py, line 8: IndentationError: ",)),
    "nul bytes": (GOOD + "\0", ("model.py: SyntaxError: source code string cannot contain null bytes",)),
    "a missing import": ("import nosuch\n" + GOOD, ("model.py, line 1: ModuleNotFoundError: No module named 'nosuch'",)),
    "a missing name": ("from kserve_v2 import Picture\n" + GOOD, ("model.py, line 1: ImportError: cannot import name 'Picture'",)),
    "an error in the file": (GOOD + "\n1 / 0\n", ("model.py, line 9: ZeroDivisionError: division by zero",)),
    "an exit in the file": (GOOD + "\nraise SystemExit(3)\n", ("model.py, line 9: SystemExit: 3",)),
    "an error in __init__": (
        GOOD + "\n    def __init__(self):\n        raise OSError('/srv/models/secret/weights.bin')\n",
        ("model.py, line 10: OSError: weights.bin",),
    ),
    "__init__ with arguments": (GOOD + "\n    def __init__(self, path): ...\n", ("missing 1 required positional argument: 'path'",)),
    "an error in load": (GOOD + "\n    def load(self, context):\n        raise ValueError('no weights')\n", ("ValueError: no weights",)),
    "an error of ours in load": (
        GOOD + "\n    def load(self, context: Context):\n        raise InvalidArgumentError('parameter size is missing')\n",
        ("parameter size is missing",),
    ),
    "an exit in load": (GOOD + "\n    def load(self, context):\n        raise SystemExit\n", ("SystemExit",)),
    "load without a parameter": (GOOD + "\n    def load(self): ...\n", ("Model.load: expected load(self, context), got load(self)",)),
    "load that is async": (GOOD + "\n    async def load(self, context): ...\n", ("Model.load: expected a plain function, got an async one",)),
    "no __call__": (without("__call__", "predict"), ("Model has no method __call__(self, inputs), but predict: rename it",)),
    "no annotation": (without(": Annotated[np.ndarray, FP32(2)])", ", y, z)"), ("Model.__call__: parameter 'x': expected an annotation",)),
    "nothing declared": (
        "class Model:\n    def __call__(self, inputs):\n        return inputs\n",
        ("neither model.py nor config.pbtxt says what the model takes and gives",),
    ),
    "a misspelt attribute": (
        "class Model:\n    input = {'x': ('FP32', [2])}\n    output = {'x': ('FP32', [2])}\n    def __call__(self, inputs): ...\n",
        ("Model.input means nothing to the server: did you mean inputs?",),
    ),
    "a name that is not imported": (
        "from __future__ import annotations\nclass Model:\n    def __call__(self, image: Image) -> Text: ...\n",
        ("the annotation of 'image' means nothing: NameError: name 'Image' is not defined",),
    ),
    "one image for a batch": (
        HEAD + "class Model:\n    max_batch_size = 2\n    def __call__(self, image: Image) -> list[Text]: ...\n",
        ("'image' is Image in model.py, which is one, but max_batch_size is 2: write list[Image]",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_LOADED)
def test_what_is_not_loaded(explicit: ExplicitServer, name: str) -> None:
    code, parts = NOT_LOADED[name]
    explicit.write("bad", code)
    text = error_of(explicit.load("bad"))
    (entry,) = explicit.index("bad")
    assert entry["state"] == "UNAVAILABLE"
    for part in parts:
        assert part in text
        assert part in entry["reason"]
    for secret in ("Traceback", "/srv", "_handler_", str(explicit.root)):
        assert secret not in text
    # Who puts it right loads it again, into the same server.
    explicit.write("bad", GOOD)
    assert explicit.load("bad").status_code == 200
    check_good(explicit, "bad")


# What the handler does for each number that it is sent.
OBEDIENT = (
    HEAD
    + """
class Unfit:
    def __getattr__(self, name):
        raise RuntimeError("unfit")

class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2]), "t": Text}

    def __call__(self, inputs):
        good = {"y": inputs["x"] * 2, "t": "text"}
        x = inputs["x"]
        match int(x[0]):
            %s
        return good

    def close(self):
        raise OSError("it does not close")
"""
)
ACTS: list[tuple[str, str, int]] = [
    ("return None", "the handler returned NoneType, expected a dict of 'y', 't'", 500),
    ("return x", "the handler returned ndarray, expected a dict of 'y', 't'", 500),
    ("return (x, 't')", "the handler returned tuple, expected a dict of 'y', 't'", 500),
    ("return [good]", "the handler returned list, expected a dict of 'y', 't'", 500),
    ("return Unfit()", "the handler returned Unfit, expected a dict of 'y', 't'", 500),
    ("return {}", "the handler did not return its output 'y', 't', got none", 500),
    ("return {'y': x}", "the handler did not return its output 't', got 'y'", 500),
    ("return {**good, 'z': x}", "the handler returned 'z', expected only 'y', 't'", 500),
    ("return {**good, 3: x}", "the handler returned '3', expected only 'y', 't'", 500),
    ("return {**good, 'y': x[:1]}", "output 'y' of model 'obedient' has shape [1], but the model's configuration says [2]", 500),
    ("return {**good, 'y': np.ones(3, np.float32)}", "output 'y' of model 'obedient' has shape [3]", 500),
    ("return {**good, 'y': x.astype(np.float64)}", "output 'y': expected FP32, got FP64: convert it", 500),
    ("return {**good, 'y': 'text'}", "output 'y': expected FP32", 500),
    ("return {**good, 'y': None}", "output 'y': expected FP32", 500),
    ("return {**good, 'y': Unfit()}", "message: RuntimeError: unfit (request_id=", 500),
    ("return {**good, 't': 7}", "output 't': expected str, got int", 500),
    ("return {**good, 't': ['a']}", "output 't': expected str, got list", 500),
    ("return {**good, 't': Unfit()}", "output 't': expected str, got Unfit", 500),
    ("raise ValueError('/srv/secret/file')", "message: ValueError: file (request_id=", 500),
    ("raise SystemExit(2)", "message: SystemExit: 2 (request_id=", 500),
    ("raise InvalidArgumentError('x is too large')", "x is too large", 400),
    ("return ValueError('returned')", "the handler returned ValueError, expected a dict of 'y', 't'", 500),
    ("del inputs['x']; return inputs['x']", "message: KeyError: 'x' (request_id=", 500),
]  # fmt: skip


def test_whatever_a_handler_does_the_next_request_is_answered(explicit: ExplicitServer) -> None:
    acts = "\n            ".join(
        f"case {number}: {act}" for number, (act, _, _) in enumerate(ACTS, start=100)
    )
    explicit.write("obedient", OBEDIENT % acts)
    explicit.write("good", GOOD)
    assert explicit.load("obedient").status_code == explicit.load("good").status_code == 200

    def ask(number: int) -> Any:
        return explicit.server.infer("obedient", {"inputs": [json_tensor("x", "FP32", [2], [number, 1])]})

    for number, (act, text, status) in enumerate(ACTS, start=100):
        bad = ask(number)
        assert text in error_of(bad), act
        assert bad.status_code == status, act
        for secret in ("Traceback", "/srv", "_handler_"):
            assert secret not in error_of(bad), act
        good = ask(1)
        assert [each["data"] for each in good.json()["outputs"]] == [[2, 2], ["text"]], act
    # What fails to close is unloaded all the same.
    assert explicit.unload("obedient").status_code == 200
    check_good(explicit, "good")
