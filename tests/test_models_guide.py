"""What docs/guides/models.md shows is served as it stands there."""

import base64
import io
import json
import re
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.options import TorchOptions, read_options
from PIL import Image

from kserve_v2.config import parse_config
from tests.conftest import RunningServer, StartServer
from tests.integration.support import wait_until

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/guides/models.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.slow

DYING = """
import os
import sys
import numpy as np
class Model:
    inputs = {"how": ("BYTES", [1])}
    outputs = {"pid": ("INT64", [1])}
    def __call__(self, inputs):
        match inputs["how"][0]:
            case b"exit": sys.exit("enough")
            case b"die": os._exit(3)
            case b"hang": __import__("threading").Event().wait()
        return {"pid": np.array([os.getpid()])}
"""


def block(text: str, language: str = "python") -> str:
    """The block of the guide that contains `text`."""
    (found,) = [code for kind, code in BLOCKS if kind == language and text in code]
    return found


def write(root: Path, name: str, code: str, config: str = "") -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(code)
    if config:
        (root / name / "config.pbtxt").write_text(config)


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    root = tmp_path_factory.mktemp("my_models")
    (root / "flowers" / "1").mkdir(parents=True)
    exec(block("torch.export.save").replace("my_models", str(root)), {})  # noqa: S102 - it is what is tested
    (root / "script" / "1").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Softmax(-1)).save(str(root / "script" / "1" / "model.pt"))
    config = block('output { name: "scores"', "")
    (root / "script" / "config.pbtxt").write_text(
        config.replace("[ 3 ]", "[ 4 ]").replace('"x"  ', '"INPUT__0"')
    )
    write(root, "sums", block("thread_safe"), 'parameters { key: "factor" value { string_value: "3" } }')
    write(root, "captions", block("class Answer"))
    write(root, "lengths", block("InvalidArgumentError("))
    write(root, "counting", block("yield"))
    write(root, "measuring", block("cache_dir"))
    write(root, "triton", block("TritonPythonModel"))
    write(root, "isolated", DYING, block("count: 4", ""))
    timeout = 'parameters { key: "execution_timeout" value { string_value: "1" } }'
    write(root, "single", DYING, block("count: 4", "").replace("count: 4", "count: 1") + timeout)
    write(root, "packed", DYING, block("EXECUTION_ENV_PATH", ""))
    return start_server(root, "--model-cache-dir", str(tmp_path_factory.mktemp("kept")))


def tensor(name: str, datatype: str, shape: list[int], data: list[Any], **parameters: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, "parameters": parameters}


def outputs(server: RunningServer, model: str, *inputs: dict[str, Any]) -> dict[str, Any]:
    answer = server.infer(model, {"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def metrics(server: RunningServer) -> str:
    with urllib.request.urlopen(server.metrics, timeout=60) as answer:
        return str(answer.read().decode())


def test_a_program_of_torch_export(server: RunningServer) -> None:
    answer = outputs(server, "flowers", tensor("input", "FP32", [3, 5, 4], [0.5] * 60))
    assert np.array(answer["OUTPUT__0"]).reshape(15, 3).sum(-1) == pytest.approx([1] * 15)
    assert "dynamic_batching" in server.get("/v2/models/flowers/config").json()
    long = server.infer("flowers", {"inputs": [tensor("input", "FP32", [1, 513, 4], [0.5] * 2052)]})
    assert (long.status_code, long.json()["error"]) == (
        400, "input 'input': dimension 1 is 513, but the program takes at most 512"
    )  # fmt: skip


def test_torchscript(server: RunningServer) -> None:
    answer = outputs(server, "script", tensor("INPUT__0", "FP32", [1, 4], [1.0] * 4))
    assert answer["scores"] == [0.25] * 4


def test_handlers(server: RunningServer) -> None:
    assert outputs(server, "sums", tensor("x", "FP32", [2, 4], [1.0] * 8)) == {"y": [12, 12]}
    assert outputs(server, "lengths", tensor("text", "BYTES", [2, 1], ["one", "four"])) == {"length": [3, 4]}
    empty = server.infer("lengths", {"inputs": [tensor("text", "BYTES", [2, 1], ["one", ""])]})
    assert (empty.status_code, empty.json()) == (400, {"error": "'text' is empty"})


def test_images_and_texts(server: RunningServer) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (10, 20, 30)).save(file, "PNG")
    shown = json.loads(block("iVBOR", "json"))["inputs"][0]
    shown["data"] = [base64.b64encode(file.getvalue()).decode()]
    assert outputs(server, "captions", shown) == {"caption": ["4 by 3"], "brightness": [20]}
    german = tensor("language", "BYTES", [1], ["de"])
    assert outputs(server, "captions", shown, german)["caption"] == ["4 mal 3"]
    contents = server.get("/v2/models/captions/config").json()["parameters"]["content_types"]["string_value"]
    assert json.loads(contents)["inputs"] == {"image": "image", "language": "text"}


def test_a_stream(server: RunningServer) -> None:
    command = block("generate_stream", "sh")
    assert "models/counting/generate_stream" in command
    answer = server.post("/v2/models/counting/generate_stream", content=command.split("'")[1])
    assert re.findall(r'"number":(\d)', answer.text) == ["0", "1", "2"]
    refused = server.infer("counting", {"inputs": [tensor("count", "INT32", [1], [3])]})
    assert refused.status_code == 501


def test_the_context(server: RunningServer) -> None:
    assert outputs(server, "measuring", tensor("text", "BYTES", [1], ["four"])) == {"length": [4]}
    assert "measures characters" in server.log
    assert 'texts_total{kind="asked",model="measuring",version="1"} 1' in metrics(server)


def test_the_parameters_of_torch_modules() -> None:
    config = parse_config(block("compile_batch_sizes", ""), "docs/guides/models.md")
    parameters = {name: each.string_value for name, each in config.parameters.items()}
    assert read_options(parameters, 8) == TorchOptions("default", (1, 8), "bf16", channels_last=True)


def test_a_triton_model(server: RunningServer) -> None:
    assert outputs(server, "triton", tensor("x", "FP32", [1, 4], [1.0, 2.0, 3.0, 4.0])) == {"y": [2, 4, 6, 8]}


def test_processes(server: RunningServer) -> None:
    text = metrics(server)
    assert 'kserve_v2_model_processes{model="isolated",version="1"} 4' in text
    for name in set(re.findall(r"`(kserve_v2_\w+)`", GUIDE)):
        assert name in text
    assert "ready: isolated version 1" in server.log
    assert "4 instance(s) on cpu in 4 process(es) of their own" in server.log


def ask(server: RunningServer, how: str) -> tuple[int, str]:
    answer = server.infer("single", {"inputs": [tensor("how", "BYTES", [1], [how])]})
    return answer.status_code, answer.text


def test_what_the_death_of_a_process_means(server: RunningServer) -> None:
    for how, status, text in (
        ("exit", 500, "SystemExit: enough"),
        ("die", 503, "the process of model 'single' exited with status 3"),
        ("hang", 503, "did not finish within execution_timeout of 1 s and was killed"),
    ):
        wait_until(lambda: ask(server, "nothing")[0] == 200)
        got, answer = ask(server, how)
        assert (got, text in answer) == (status, True), answer
    wait_until(lambda: ask(server, "nothing")[0] == 200)
    assert 'kserve_v2_model_process_deaths{model="single",version="1"} 2' in metrics(server)


def test_an_environment_that_is_not_there(server: RunningServer) -> None:
    (entry,) = [each for each in server.post("/v2/repository/index").json() if each["name"] == "packed"]
    assert "Failed to get the canonical path for packed/env.tar.gz." in entry["reason"]


def test_the_line_to_paste_is_for_a_model_that_can_answer_it(server: RunningServer) -> None:
    # `captions` takes an image, and `counting` answers a stream: they would come first.
    wait_until(lambda: any(line.startswith("curl") for line in server.output))
    (line,) = [line for line in server.output if line.startswith("curl")]
    assert "/v2/models/flowers/infer" in line
