"""Triton models that cannot be loaded, or closed, and which files are such models at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from kserve_v2_backends.eager.backend import EagerBackend
from kserve_v2_backends.triton.recognition import is_triton_model

from kserve_v2.errors import InvalidArgumentError
from tests.conftest import StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, wait_until
from tests.triton.conftest import isolated
from tests.triton.lab import CONFIG

GOOD = """
import numpy as np
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        out = pb_utils.Tensor("OUT", np.array(["good"], np.object_))
        return [pb_utils.InferenceResponse([out, pb_utils.Tensor("NUMBER", np.ones(1, np.int32))]) for _ in requests]
"""

COMPLETES = GOOD + "    @staticmethod\n    def auto_complete_config(config):\n        "

NO_EXECUTE = "Python model model.py does not implement `execute` method."

# What is in the file, and what is said of it.
BROKEN = {
    "a syntax error": ("class TritonPythonModel\n    pass", "model.py, line 1: SyntaxError: expected ':'"),
    "no class": (
        "import triton_python_backend_utils as pb_utils\nclass TritonPythonModell: ...",
        "imports triton_python_backend_utils, but has no class TritonPythonModel: module '1.model' has no attribute "
        "'TritonPythonModel'",
    ),
    "no class, but a name": ("TritonPythonModel = 3", "AttributeError: module '1.model' has no attribute 'TritonPythonModel'"),
    "two classes": (GOOD + "class TritonPythonModel: ...", "model.py has more than one class TritonPythonModel"),
    "both kinds": (GOOD + "class Model: ...", "a class TritonPythonModel, as Triton's Python models have, and a class Model"),
    "a missing import": ("import nosuchmodule\n" + GOOD, "model.py, line 1: ModuleNotFoundError: No module named 'nosuchmodule'"),
    "a misspelt method": (GOOD.replace("def execute", "def excecute"), NO_EXECUTE),
    "no method, though there is talk of it": ("class TritonPythonModel:\n    'It should execute.'", NO_EXECUTE),
    "an exception": (GOOD + "raise RuntimeError('module boom')", "model.py, line 8: RuntimeError: module boom"),
    "an exit": (GOOD + "raise SystemExit(3)", "model.py, line 8: SystemExit: 3"),
    "an exception in __init__": (
        GOOD + "    def __init__(self):\n        raise ValueError('made boom')", "model.py, line 9: ValueError: made boom"
    ),
    "an exception in initialize": (
        GOOD + "    def initialize(self, args):\n        raise pb_utils.TritonModelException('init boom')",
        "model.py, line 9: TritonModelException: init boom",
    ),
    "an exit in initialize": (
        GOOD + "    def initialize(self, args):\n        raise SystemExit(3)", "model.py, line 9: SystemExit: 3"
    ),
    "an async initialize": (
        GOOD + "    async def initialize(self, args): ...", "initialize: expected a plain function, got an async one"
    ),
    "other models when there are none": (
        GOOD + "    def initialize(self, args):\n        pb_utils.InferenceRequest(model_name='x', inputs=[], "
        "requested_output_names=[]).exec()",
        "TritonModelException: BLS is only supported during the 'execute' function.",
    ),
    "an exception in auto_complete_config": (COMPLETES + "raise ValueError('auto boom')", "model.py, line 10: ValueError: auto boom"),
    "nothing completed": (
        COMPLETES + "pass", "auto_complete_config function in model 'broken' must return a valid pb.ModelConfig object."
    ),
    "something else completed": (
        COMPLETES + "return config.as_dict()",
        "auto_complete_config function in model 'broken' must return a valid pb.ModelConfig object.",
    ),
    "a contradiction": (
        COMPLETES + "config.add_input({'name': 'CODE', 'data_type': 'TYPE_FP32', 'dims': [1]})\n        return config",
        "ValueError: unable to load model 'broken', configuration expects datatype TYPE_STRING for input 'CODE', model "
        "provides TYPE_FP32",
    ),
    "a datatype that there is not": (
        COMPLETES + "config.add_input({'name': 'NEW', 'data_type': 'TYPE_X', 'dims': [1]})\n        return config", "TYPE_X"
    ),
    "an input without a datatype": (
        COMPLETES + "config.add_input({'name': 'NEW', 'dims': [1]})\n        return config",
        "ValueError: input 'NEW' in auto-complete-config function for model 'broken' is missing 'data_type' property.",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loading_server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> ExplicitServer:
    root = tmp_path_factory.mktemp("loading")
    return ExplicitServer(start_server(root, "--model-control-mode=explicit"), root, write_model)


@pytest.fixture
def explicit(loading_server: ExplicitServer) -> Iterator[ExplicitServer]:
    yield loading_server
    loading_server.unload_all()


def ask(explicit: ExplicitServer, model: str) -> str:
    """The text that a model answers with, or its error."""
    tensor = {"name": "CODE", "datatype": "BYTES", "shape": [1], "data": ["x"]}
    answer = explicit.server.infer(model, {"inputs": [tensor]})
    if answer.status_code != 200:
        return f"{answer.status_code} {error_of(answer)}"
    text: str = answer.json()["outputs"][0]["data"][0]
    return text


@pytest.mark.parametrize("case", BROKEN)
def test_a_model_that_cannot_be_loaded(explicit: ExplicitServer, isolation: str, case: str) -> None:
    code, text = BROKEN[case]
    directory = explicit.write("broken", code, CONFIG)
    isolated(directory, isolation)
    told = error_of(explicit.load("broken"))
    assert text in told
    [entry] = explicit.index("broken")
    assert entry["state"] == "UNAVAILABLE"
    assert text in entry["reason"]
    for secret in ("Traceback", str(explicit.root)):
        assert secret not in told + entry["reason"]
    (directory / "1" / "model.py").write_text(GOOD)
    assert explicit.load("broken").status_code == 200
    assert ask(explicit, "broken") == "good"


def test_no_file_at_all(explicit: ExplicitServer, isolation: str) -> None:
    """In Triton the load never answers, and neither does any after it."""
    directory = explicit.write("broken", GOOD, CONFIG)
    isolated(directory, isolation)
    (directory / "1" / "model.py").unlink()
    assert "version 1 has no file model.py" in error_of(explicit.load("broken"))


def test_execute_may_be_put_there(explicit: ExplicitServer, isolation: str) -> None:
    code = (
        GOOD.replace("def execute", "def answer")
        + "    def initialize(self, args):\n        self.execute = self.answer"
    )
    isolated(explicit.write("given", code, CONFIG), isolation)
    assert explicit.load("given").status_code == 200
    assert ask(explicit, "given") == "good"


def test_an_exception_in_finalize_is_logged(explicit: ExplicitServer, isolation: str) -> None:
    code = GOOD + "    def finalize(self):\n        raise ValueError('end boom')"
    isolated(explicit.write("ending", code, CONFIG), isolation)
    assert explicit.load("ending").status_code == 200
    assert ask(explicit, "ending") == "good"
    assert explicit.unload("ending").status_code == 200
    wait_until(lambda: "ValueError: end boom" in explicit.server.log)
    assert explicit.load("ending").status_code == 200
    assert ask(explicit, "ending") == "good"


def test_a_configuration_that_nobody_has_written(explicit: ExplicitServer, isolation: str) -> None:
    isolated(explicit.write("bare", GOOD, 'backend: "python"'), isolation)
    assert "of a TritonPythonModel, auto_complete_config says it" in error_of(explicit.load("bare"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("class TritonPythonModel: ...", True),
        ("from somewhere import TritonPythonModel", True),
        ("from somewhere import Model as TritonPythonModel", True),
        ("if True:\n    class TritonPythonModel: ...\nelse:\n    class TritonPythonModel: ...", True),
        ("try:\n    import x\nexcept ImportError:\n    class TritonPythonModel: ...", True),
        ("TritonPythonModel = make()", True),
        ("import triton_python_backend_utils\nfrom elsewhere import *", True),
        ("import triton_python_backend_utils as pb_utils\nclass Model: ...", False),
        ("class Model: ...", False),
        ("class TritonPythonModell: ...", False),
        ("def f():\n    class TritonPythonModel: ...", False),
        ("'''class TritonPythonModel'''", False),
        # Perhaps that is newer Python than the server's. Whoever imports it says what is wrong.
        ("class TritonPythonModel[T]: ...\nlater than python 3.13", True),
        ("class TritonPythonModell", False),
        ("# class TritonPythonModel\nnot Python", False),
        ("\0", False),
        ("", False),
    ],
)
def test_which_files_are_triton_models(tmp_path: Path, code: str, expected: bool) -> None:
    file = tmp_path / "model.py"
    file.write_text(code)
    assert is_triton_model(file) is expected


def test_which_of_two(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("from a import TritonPythonModel, Model")
    with pytest.raises(InvalidArgumentError, match="which one is to be served"):
        is_triton_model(file)
    assert not is_triton_model(tmp_path / "nosuch.py")


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("def is_ready(self): return True", 200),
        ("def is_ready(self): return False", 400),
        ("async def is_ready(self): return False", 400),
        ("async def is_ready(self): return True", 200),
        ("def is_ready(self): raise ValueError('no idea')", 400),
        ("def is_ready(self): return pb_utils.is_model_ready('nosuch')", 400),
    ],
)
def test_a_model_that_says_whether_it_is_ready(
    explicit: ExplicitServer, isolation: str, function: str, status: int
) -> None:
    isolated(explicit.write("saying", f"{GOOD}\n    {function}\n", CONFIG), isolation)
    assert explicit.load("saying").status_code == 200
    assert explicit.server.get("/v2/models/saying/ready").status_code == status
    assert explicit.server.get("/v2/models/saying/versions/1/ready").status_code == status
    with grpcclient.InferenceServerClient(explicit.server.grpc) as client:
        assert client.is_model_ready("saying") is (status == 200)
    # It answers all the same, and whether the server is ready is not its to say.
    assert ask(explicit, "saying") == "good"
    assert explicit.server.get("/v2/health/ready").status_code == 200
    if "no idea" in function:
        wait_until(lambda: "no idea" in explicit.server.log)


def test_an_interpreter_that_is_triton_s_own_is_not_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = tmp_path / "flowers" / "1"
    version.mkdir(parents=True)
    file = version / "model.py"
    file.write_text("class TritonPythonModel: ...")
    (version.parent / "triton_python_backend_stub").write_bytes(b"\x7fELF")
    assert EagerBackend().isolated_host(file) == "triton"
    assert "model 'flowers': its triton_python_backend_stub is not run" in caplog.text
