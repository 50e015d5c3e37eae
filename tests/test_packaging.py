"""The wheel: what is in it, and that it serves in an environment with nothing but its own requirements."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from tools.build_dist import PACKAGES, DistError, build, check_wheel, metadata_of

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow

HANDLER = """
class Model:
    inputs = {"x": ("INT32", [2])}
    outputs = {"y": ("INT32", [2])}

    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist, as `make dist` builds and checks them: the sdist builds the same wheel."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(dist: tuple[Path, Path]) -> Path:
    return dist[0]


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    return metadata_of(wheel)


def test_the_wheel_is_for_every_platform(wheel: Path, names: set[str]) -> None:
    assert wheel.name == "kserve_v2-0.1.0-py3-none-any.whl"
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]


def test_the_wheel_installs_two_packages_and_nothing_else(names: set[str]) -> None:
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "kserve_v2-0.1.0.dist-info"}


def test_what_is_no_python_is_in_the_wheel(names: set[str]) -> None:
    for name in (
        "kserve_v2/py.typed",
        "kserve_v2/rest/openapi.json",
        "kserve_v2/v1/openapi.json",
        "kserve_v2/ui/static/index.html",
        "kserve_v2/ui/static/vendor/preact.js",
        "kserve_v2/templates/onnx/1/model.onnx",
        "kserve_v2/templates/ensemble/1/gitkeep",
        "kserve_v2/templates/test.py.in",
    ):
        assert name in names


def test_a_wheel_that_lacks_a_file_is_refused(wheel: Path, tmp_path: Path) -> None:
    damaged = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(damaged, "w") as copy:
        for name in archive.namelist():
            if name != "kserve_v2/ui/static/index.html":
                copy.writestr(name, archive.read(name))
    with pytest.raises(DistError, match=r"missing \['kserve_v2/ui/static/index.html'\]"):
        check_wheel(damaged)


def test_the_sdist_has_what_it_is_built_from_and_no_tests(dist: tuple[Path, Path]) -> None:
    with tarfile.open(dist[1]) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "protos/model_config.proto"} <= found
    assert {name.partition("/")[0] for name in found} & {
        "tests",
        "docs",
        "benchmarks",
        "model_repository",
    } == set()


def test_nobody_is_told_to_install_what_no_index_has() -> None:
    """There is no release: what is missing is named by the packages that bring it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in PACKAGES.values()
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"install +['\"]?kserve[-_]v2", line)
    ]
    assert wrong == []


def test_the_entry_points_are_the_command_and_the_backends(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("kserve_v2-0.1.0.dist-info/entry_points.txt").decode()
    assert text.split() == [
        "[console_scripts]",
        *("kserve-v2", "=", "kserve_v2.__main__:run"),
        "[kserve_v2.backends]",
        *("mlserver", "=", "kserve_v2_backends.mlserver.backend:MLServerBackend"),
        *("onnxruntime", "=", "kserve_v2_backends.onnx.backend:OnnxBackend"),
        *("python", "=", "kserve_v2_backends.eager.backend:EagerBackend"),
        *("pytorch", "=", "kserve_v2_backends.pytorch.backend:PytorchBackend"),
        *("torchserve", "=", "kserve_v2_backends.torchserve.backend:TorchServeBackend"),
    ]


def test_frameworks_are_extras(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist") or []
    core = " ".join(line for line in requirements if "extra ==" not in line)
    assert "grpcio" in core
    for framework in ("torch", "onnx", "pillow", "tritonclient", "scikit"):
        assert framework not in core
    # Which others there are is for pyproject.toml to say, and for the check of the wheel to compare.
    assert {"torch", "onnx", "onnx-cpu", "all"} <= set(metadata.get_all("Provides-Extra") or [])
    assert metadata["License-Expression"] == "Apache-2.0"


class Environment(NamedTuple):
    """A virtual environment in which only the wheel and its own requirements are installed."""

    scripts: Path

    def run(self, name: str, *arguments: str) -> str:
        ran = subprocess.run(
            [self.scripts / name, *arguments], capture_output=True, text=True, check=True, env=bare()
        )
        return ran.stdout


def bare() -> dict[str, str]:
    """The environment without what would let Python find this checkout."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "KSERVE_V2_"))}


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    environment = Environment(folder / ("Scripts" if sys.platform == "win32" else "bin"))
    environment.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    return environment


def test_the_requirements_bring_no_framework(clean: Environment) -> None:
    installed = {
        entry["name"].lower()
        for entry in json.loads(clean.run("python", "-m", "pip", "list", "--format=json"))
    }
    assert "grpcio" in installed
    assert not installed & {"torch", "onnx", "onnxruntime", "onnxruntime-gpu", "safetensors", "tritonclient"}


def test_the_command_says_its_version(clean: Environment) -> None:
    assert clean.run("kserve-v2", "--version") == "kserve-v2 0.1.0\n"


def test_the_templates_are_installed(clean: Environment, tmp_path: Path) -> None:
    for template in ("handler", "text", "ensemble"):
        clean.run("kserve-v2", "init", template, "--template", template, "--model-repository", str(tmp_path))
    said = clean.run("kserve-v2", "check", str(tmp_path), "--strict")
    assert said.endswith("5 models checked: 0 errors, 0 warnings\n")


class Served(NamedTuple):
    """A server in the clean environment: its REST URL, its gRPC address, and its log so far."""

    url: str
    grpc: str
    log: Path

    def post(self, path: str, body: object) -> object:
        request = Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def served(clean: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for one model of each backend, which ends with status 0 when it is told to."""
    repository = tmp_path_factory.mktemp("repository")
    for model, file, text in (
        ("doubled", "model.py", HANDLER),
        ("scripted", "model.pt", "any"),
        ("exported", "model.onnx", "any"),
    ):
        (repository / model / "1").mkdir(parents=True)
        (repository / model / "1" / file).write_text(text)
    log = repository.parent / "server.log"
    ports = [f"--{protocol}-port=0" for protocol in ("http", "grpc", "metrics")]
    options = ["--model-repository", str(repository), "--exit-on-error=false", *ports]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [clean.scripts / "kserve-v2", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=bare(),
        ) as process,
    ):
        assert process.stdout is not None
        addresses: dict[str, str] = {}
        for line in process.stdout:
            name, _, address = line.partition(" ")
            addresses[name] = address.strip()
            if name == "gRPC":
                break
        assert "gRPC" in addresses, log.read_text()
        yield Served(addresses["REST"], addresses["gRPC"], log)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait() == 0, log.read_text()


@pytest.mark.parametrize(
    ("model", "packages"), [("scripted", "torch safetensors"), ("exported", "onnxruntime-gpu (or")]
)
def test_a_missing_backend_is_said_in_the_index_and_in_the_log(
    model: str, packages: str, served: Served
) -> None:
    index = served.post("/v2/repository/index", {})
    assert isinstance(index, list)
    [entry] = [entry for entry in index if entry["name"] == model]
    assert entry["state"] == "UNAVAILABLE"
    assert f"which is not installed: pip install {packages}" in entry["reason"]
    assert f"which is not installed: pip install {packages}" in served.log.read_text()


def test_the_page_is_served(served: Served) -> None:
    with urlopen(Request(served.url, headers={"Accept": "text/html"})) as answer:
        page = answer.read().decode()
    assert "<!doctype html>" in page.lower()


def test_a_handler_that_needs_only_numpy_is_served(served: Served) -> None:
    tensor = {"name": "x", "datatype": "INT32", "shape": [2], "data": [3, -4]}
    answer = served.post("/v2/models/doubled/infer", {"inputs": [tensor]})
    assert isinstance(answer, dict)
    assert answer["outputs"] == [{"name": "y", "datatype": "INT32", "shape": [2], "data": [6, -8]}]


def test_grpc_works_with_the_newest_grpcio_and_protobuf(clean: Environment, served: Served) -> None:
    code = f"""
import grpc
with grpc.insecure_channel({served.grpc!r}) as channel:
    print(channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"").hex())
"""
    # ServerLiveResponse: field 1, a boolean, is true.
    assert clean.run("python", "-c", code) == "0801\n"
