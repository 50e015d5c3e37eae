"""The server speaks to nobody who has not asked it, and leaves nothing behind: nor do the libraries that it loads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.conftest import WriteModel
from tests.integration import watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.*deprecated:DeprecationWarning"),
]

# A handler may import what it likes, also what another backend uses.
HANDLER = """
import onnxruntime
import torch

class Model:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""


class Negate(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def run_watch(home: Path, *arguments: str) -> dict[str, Any]:
    """Run watch.py with empty directories, and without the variables of a CI system, which silence some libraries."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home / "home"), "TMPDIR": str(home / "tmp")}
    for variable in ("HOME", "TMPDIR"):
        Path(environment[variable]).mkdir(exist_ok=True)
    namespace = ["unshare", "--map-root-user", "--net"]
    try:
        possible = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    command = [sys.executable, str(Path(watch.__file__)), *arguments]
    ran = subprocess.run(
        [*namespace, *command, "--namespace"] if possible else command,
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    found["files"] = sorted(
        str(path.relative_to(home))
        for folder in ("home", "tmp")
        for path in (home / folder).rglob("*")
        if not path.is_dir()
    )
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> dict[str, Any]:
    """What a server with a model of each backend did in its life."""
    root = tmp_path_factory.mktemp("models")
    for name in ("by_onnx", "by_torch"):
        (root / name / "1").mkdir(parents=True)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, [1, 1])],
        [info("y", TensorProto.FLOAT, [1, 1])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        root / "by_onnx/1/model.onnx",
    )
    torch.jit.script(Negate()).save(root / "by_torch/1/model.pt")
    (root / "by_torch/config.pbtxt").write_text(
        'input { name: "x" data_type: TYPE_FP32 dims: [-1, 1] } '
        'output { name: "y" data_type: TYPE_FP32 dims: [-1, 1] }'
    )
    write_model(root, "by_hand", HANDLER)
    return run_watch(tmp_path_factory.mktemp("watched"), str(root), "by_hand", "by_onnx", "by_torch")


def test_it_answers(watched: dict[str, Any]) -> None:
    assert (watched["statuses"], watched["ended"]) == ([200, 200, 200], 0)


def test_no_file_is_left_in_the_home_or_temporary_directory(watched: dict[str, Any]) -> None:
    assert watched["files"] == []


def test_nobody_is_spoken_to(watched: dict[str, Any]) -> None:
    if watched["left"] is None:
        pytest.skip("no network namespace can be made here")
    # The one connection is ours.
    assert watched["left"].pop("Tcp.ActiveOpens") == 1
    assert watched["left"] == dict.fromkeys(watched["left"], 0)


def test_the_watch_sees_who_speaks(tmp_path: Path) -> None:
    left = run_watch(tmp_path)["left"]
    if left is None:
        pytest.skip("no network namespace can be made here")
    assert left["Ip.OutNoRoutes"] + left["Udp.OutDatagrams"] >= 2
    assert left["Ip6OutNoRoutes"] >= 1
