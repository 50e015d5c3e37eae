"""What the README, and the guides that it begins with, show is run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OWN_MODEL = (ROOT / "docs" / "guides" / "own-model.md").read_text()
BACKENDS = (ROOT / "docs" / "guides" / "backends.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README + OWN_MODEL + BACKENDS, re.DOTALL)

pytestmark = pytest.mark.slow


def block(text: str) -> str:
    """The Python block that contains `text`."""
    (found,) = [code for code in PYTHON_BLOCKS if text in code]
    return found


@pytest.fixture(scope="module")
def examples(start_server):  # type: ignore[no-untyped-def]
    return start_server(ROOT / "model_repository")


@pytest.mark.parametrize(
    ("package", "shown"),
    [
        ("import tritonclient.http", "[["),
        ("import tritonclient.grpc", "alarm"),
        ("import Client", "7"),
        ("import kserve_v2\n", "[[3.]]"),
    ],
)
def test_python_examples(examples, package: str, shown: str) -> None:  # type: ignore[no-untyped-def]
    code = block(package)
    code = code.replace("127.0.0.1:8000", examples.rest.removeprefix("http://"))
    code = code.replace("127.0.0.1:8001", examples.grpc)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    assert shown in result.stdout


CURLS = [line for line in README.splitlines() if line.startswith("curl ")]


@pytest.mark.parametrize("line", CURLS, ids=lambda line: line.split()[2].rsplit("/models/")[-1])
def test_curl_examples(examples, line: str) -> None:  # type: ignore[no-untyped-def]
    line = line.replace("http://127.0.0.1:8000", examples.rest)
    answer = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    ).stdout
    assert "error" not in answer
    for model, expected in (
        ("digits_photo", "7"),
        ("intent", '"alarm"'),
        ("digits_onnx", '"name":"probabilities"'),
    ):
        if f"/{model}/" in line:
            assert expected in answer


def test_handler_example(start_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    version = tmp_path / "flowers" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(block("torch.nn.Linear(4, 3)"))
    weights = {"weight": np.zeros((3, 4), np.float32), "bias": np.log(np.array([1, 2, 1], np.float32))}
    save_file(weights, version / "weights.safetensors")
    server = start_server(tmp_path)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    (output,) = server.infer("flowers", body).json()["outputs"]
    assert output["data"] == pytest.approx([0.25, 0.5, 0.25])


def test_torch_export_example(start_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "my_models" / "flowers" / "1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    exec(block("torch.export.save"), {})  # noqa: S102 - it is what is tested
    server = start_server(tmp_path / "my_models")
    body = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [3, 4], "data": [*range(12)]}]}
    (output,) = server.infer("flowers", body).json()["outputs"]
    assert (output["name"], output["shape"]) == ("OUTPUT__0", [3, 3])
    assert np.array(output["data"]).reshape(3, 3).sum(-1) == pytest.approx([1, 1, 1])
    assert "dynamic_batching" in server.get("/v2/models/flowers/config").json()


def test_torchscript_example(start_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    version = tmp_path / "flowers" / "1"
    version.mkdir(parents=True)
    script = (
        "import sys, torch; model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3));"
        "torch.nn.init.ones_(model[1].weight); torch.nn.init.zeros_(model[1].bias);"
        "torch.jit.trace(model, torch.zeros(1, 4)).save(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, version / "model.pt"], check=True, timeout=60
    )
    (config,) = re.findall(r"```\n(max_batch_size: 32\ninput.*?)```", OWN_MODEL, re.DOTALL)
    # A traced Sequential calls its argument `input`; the position works whatever the name is.
    (tmp_path / "flowers" / "config.pbtxt").write_text(config.replace('"x"  ', '"INPUT__0"'))
    server = start_server(tmp_path)
    body = {"inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    (output,) = server.infer("flowers", body).json()["outputs"]
    assert output["data"] == [10, 10, 10]


def test_a_third_party_backend_is_found_by_its_entry_point(
    start_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    project = tmp_path / "project"
    project.mkdir()
    (project / "kserve_v2_npz.py").write_text(block("class NpzBackend"))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "kserve-v2-npz"\nversion = "1"\n'
        '[project.entry-points."kserve_v2.backends"]\nnpz = "kserve_v2_npz:NpzBackend"\n'
        '[tool.setuptools]\npy-modules = ["kserve_v2_npz"]\n'
    )
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site,
    ]
    subprocess.run([*install, project], check=True, timeout=120)
    repository = tmp_path / "repository"
    (repository / "affine" / "1").mkdir(parents=True)
    np.savez(
        repository / "affine" / "1" / "model.npz", weight=np.eye(2, dtype=np.float32) * 2, bias=np.float32(1)
    )
    (repository / "affine" / "config.pbtxt").write_text(
        "max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: [2] }"
        " output { name: 'y' data_type: TYPE_FP32 dims: [2] }"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    server = start_server(repository)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [3, 4]}]}
    (output,) = server.infer("affine", body).json()["outputs"]
    assert output["data"] == [7, 9]
    assert server.get("/v2/models/affine/config").json()["backend"] == "npz"
