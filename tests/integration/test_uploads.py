"""Loads that bring the model's files along, over both protocols: what is served, where the files lie, and what is left."""

import base64
import json
import os
import signal
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import launch
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import slow_to_load, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, ready
from tests.integration.support import Gate, error_of, wait_until

CONFIG = '{"backend": "python"}'
ALL_VERSIONS = '{"backend": "python", "version_policy": {"all": {}}}'

# Tells where it lies, and what lies beside it, when it is asked.
NOSY = """
import numpy as np
class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"TEXT": ("BYTES", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        path = self.context.model_path
        found = sorted(f"{p.relative_to(path)}:{oct(p.stat().st_mode & 0o777)}" for p in path.rglob("*"))
        texts = [str(path), *(each for each in found if "__pycache__" not in each)]
        return {"TEXT": np.array(["\\n".join(texts)], dtype=np.object_)}
"""

Outcome = tuple[str, str]
"""`OK`, or the name of the gRPC status that an error has or stands for, and its text."""
Upload = Callable[..., Outcome]

STATUS_OF = {
    200: "OK", 400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 500: "INTERNAL",
    501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory for temporary files of all servers here."""
    path = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(path))
        yield path


@pytest.fixture(scope="module")
def uploads_server(
    folder: Path, start_explicit: StartExplicit, tmp_path_factory: pytest.TempPathFactory
) -> ExplicitServer:
    return start_explicit("--allow-file-override", f"--model-cache-dir={tmp_path_factory.mktemp('cache')}")


@pytest.fixture
def uploads(uploads_server: ExplicitServer, folder: Path) -> Iterator[ExplicitServer]:
    """A server that takes files. After each test everything is unloaded, and no file is left."""
    yield uploads_server
    uploads_server.unload_all()
    wait_until(lambda: not kept(folder))


@pytest.fixture(scope="module")
def uploads_channel(uploads_server: ExplicitServer) -> Iterator[Channel]:
    with Channel(uploads_server.server) as made:
        yield made


@pytest.fixture(params=["REST", "gRPC"])
def upload(request: pytest.FixtureRequest, uploads: ExplicitServer, uploads_channel: Channel) -> Upload:
    """Loads a model with files, by their paths; `config` may be None."""

    def over_rest(name: str, files: Mapping[str, bytes], config: str | None = CONFIG) -> Outcome:
        return rest_upload(uploads.server.rest, name, files, config)

    def over_grpc(name: str, files: Mapping[str, bytes], config: str | None = CONFIG) -> Outcome:
        return grpc_upload(uploads_channel, name, files, config)

    return over_rest if request.param == "REST" else over_grpc


def rest_upload(url: str, name: str, files: Mapping[str, bytes], config: str | None = CONFIG) -> Outcome:
    parameters: dict[str, Any] = {
        f"file:{path}": base64.b64encode(content).decode() for path, content in files.items()
    }
    if config is not None:
        parameters["config"] = config
    answer = httpx.post(
        f"{url}/v2/repository/models/{name}/load", json={"parameters": parameters}, timeout=60
    )
    return STATUS_OF[answer.status_code], "" if answer.status_code == 200 else error_of(answer)


def grpc_upload(
    channel: Channel, name: str, files: Mapping[str, bytes], config: str | None = CONFIG
) -> Outcome:
    message = pb.RepositoryModelLoadRequest(model_name=name)
    for path, content in files.items():
        message.parameters[f"file:{path}"].bytes_param = content
    if config is not None:
        message.parameters["config"].string_param = config
    try:
        channel.method("RepositoryModelLoad", pb.RepositoryModelLoadResponse)(message, timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def kept(folder: Path) -> list[Path]:
    """The folders of loads that are there."""
    return sorted(folder.glob("kserve-v2-uploads-*/*"))


def look(uploads: ExplicitServer, model: str) -> list[str]:
    """What the nosy handler tells."""
    answer = uploads.server.infer(model, ASK).json()
    lines: list[str] = answer["outputs"][0]["data"][0].split("\n")
    return lines


# --- what is served -------------------------------------------------------------------------------------------


def test_a_model_that_no_repository_has(uploads: ExplicitServer, upload: Upload, folder: Path) -> None:
    assert upload("made_up", {"5/model.py": versioned(5).encode()}) == ("OK", "")
    assert uploads.index("made_up") == [{"name": "made_up", "version": "5", "state": "READY"}]
    assert answer_of(uploads.server, "made_up") == answer_of(uploads.server, "made_up", "5") == 5
    # A plain load goes to the directory, which there is not; what serves goes on.
    answer = uploads.load("made_up")
    assert (answer.status_code, error_of(answer)) == (
        404, "failed to load 'made_up', failed to poll from model repository: no directory of that name",
    )  # fmt: skip
    assert answer_of(uploads.server, "made_up") == 5
    assert len(kept(folder)) == 1
    assert uploads.unload("made_up").status_code == 200
    # Nothing is left of it, neither its files nor its name: clients make up names without end.
    wait_until(lambda: not kept(folder) and not uploads.index("made_up"))
    answer = uploads.server.infer("made_up", ASK)
    assert (answer.status_code, error_of(answer)) == (
        404,
        "Request for unknown model: 'made_up' is not found",
    )
    assert ready(uploads.server) == 200


def test_the_files_replace_the_whole_directory(uploads: ExplicitServer, upload: Upload) -> None:
    for version in (1, 2):
        uploads.write("whole", versioned(version), "version_policy { all { } }", version)
    assert uploads.load("whole").status_code == 200
    assert upload("whole", {"7/model.py": versioned(70).encode()}, ALL_VERSIONS) == ("OK", "")
    wait_until(lambda: {e["version"]: e["state"] for e in uploads.index("whole")}["2"] == "UNAVAILABLE")
    metadata = uploads.server.get("/v2/models/whole").json()
    assert metadata["versions"] == ["7"]
    assert answer_of(uploads.server, "whole") == 70
    # A plain load goes back to the directory and its configuration.
    assert uploads.load("whole").status_code == 200
    assert uploads.server.get("/v2/models/whole").json()["versions"] == ["1", "2"]
    assert answer_of(uploads.server, "whole") == 2


def test_files_of_a_version_that_exists_are_loaded(uploads: ExplicitServer, upload: Upload) -> None:
    # Triton says that all is well, and ignores them.
    uploads.write("again", versioned(1))
    assert uploads.load("again", json={"parameters": {"config": CONFIG}}).status_code == 200
    for number in (2, 3):
        assert upload("again", {"1/model.py": versioned(number).encode()}) == ("OK", "")
        assert answer_of(uploads.server, "again") == number
    assert uploads.load("again").status_code == 200
    assert answer_of(uploads.server, "again") == 1


def test_several_versions_and_what_lies_beside_them(
    uploads: ExplicitServer, upload: Upload, folder: Path
) -> None:
    files = {
        "1/model.py": NOSY.encode(),
        "2/model.py": versioned(2).encode(),
        "1/deep/er/data.bin": bytes(range(256)) * 1000,
        "1/deep/empty": b"",
        "labels.txt": b"cat\n",
        "1/model\u00e9.txt": b"x",
    }
    assert upload("many", files, ALL_VERSIONS) == ("OK", "")
    assert answer_of(uploads.server, "many", "2") == 2
    path, *found = look(uploads, "many/versions/1")
    assert found == [
        "1/deep/empty:0o600", "1/deep/er/data.bin:0o600", "1/deep/er:0o700", "1/deep:0o700", "1/model.py:0o600",
        "1/model\u00e9.txt:0o600", "1:0o700", "2/model.py:0o600", "2:0o700", "labels.txt:0o600",
    ]  # fmt: skip
    model = Path(path)
    assert model.name == "many"
    assert (model / "1/deep/er/data.bin").read_bytes() == files["1/deep/er/data.bin"]
    # Its folder is the server's own, and nobody else can look into it.
    (root,) = folder.glob("kserve-v2-uploads-*")
    assert model.is_relative_to(root)
    for each in (root, *model.parents[: len(model.relative_to(root).parents) - 1]):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


def test_classes_by_a_label_file_that_came_along(uploads: ExplicitServer, upload: Upload) -> None:
    config = json.dumps({
        "backend": "python", "input": [{"name": "IN", "data_type": "TYPE_INT32", "dims": [1]}],
        "output": [{"name": "VERSION", "data_type": "TYPE_INT32", "dims": [1], "label_filename": "labels.txt"}],
    })  # fmt: skip
    files = {"1/model.py": versioned(3).encode(), "labels.txt": b"cat\n"}
    assert upload("labelled", files, config) == ("OK", "")
    ask = {**ASK, "outputs": [{"name": "VERSION", "parameters": {"classification": 1}}]}
    answer = uploads.server.infer("labelled", ask).json()
    assert answer["outputs"][0]["data"] == ["3:0:cat"]


def test_a_new_upload_answers_as_soon_as_its_load_has_returned(
    uploads: ExplicitServer, upload: Upload, folder: Path
) -> None:
    for number in range(5):
        assert upload("often", {"1/model.py": versioned(number).encode()}) == ("OK", "")
        assert answer_of(uploads.server, "often") == number
    wait_until(lambda: len(kept(folder)) == 1)


def test_files_of_a_model_in_a_process_of_its_own(
    uploads: ExplicitServer, upload: Upload, folder: Path
) -> None:
    config = '{"backend": "python", "parameters": {"isolation": {"string_value": "process"}}}'
    assert upload("apart", {"1/model.py": versioned(4).encode()}, config) == ("OK", "")
    assert answer_of(uploads.server, "apart") == 4
    assert upload("apart", {"1/model.py": versioned(5).encode()}, config) == ("OK", "")
    assert answer_of(uploads.server, "apart") == 5
    wait_until(lambda: len(kept(folder)) == 1)


def test_an_ensemble_and_its_step(uploads: ExplicitServer, upload: Upload, folder: Path) -> None:
    tensor = {"name": "IN", "data_type": "TYPE_INT32", "dims": [1]}
    step = {
        "model_name": "sent_step", "model_version": -1, "input_map": {"IN": "IN"}, "output_map": {"VERSION": "OUT"},
    }  # fmt: skip
    config = json.dumps({
        "platform": "ensemble", "input": [tensor], "output": [{**tensor, "name": "OUT"}],
        "ensemble_scheduling": {"step": [step]},
    })  # fmt: skip
    # A folder cannot be sent, but a file in it.
    ensemble = {"1/.empty": b""}
    code, error = upload("sent_ensemble", ensemble, config)
    assert (code, "sent_step" in error) == ("INVALID_ARGUMENT", True)
    # It comes to life when its step does.
    for number in (6, 7):
        assert upload("sent_step", {"1/model.py": versioned(number).encode()}) == ("OK", "")
        wait_until(lambda: uploads.server.get("/v2/models/sent_ensemble/ready").status_code == 200)
        assert answer_of(uploads.server, "sent_ensemble") == number
    wait_until(lambda: len(kept(folder)) == 2)


CACHING = """
import numpy as np
class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"TEXT": ("BYTES", [1])}
    def load(self, context):
        self.path = str(context.cache_dir)
    def __call__(self, inputs):
        return {"TEXT": np.array([self.path], dtype=np.object_)}
"""


def test_what_a_model_keeps_is_found_by_the_next_upload(uploads: ExplicitServer, upload: Upload) -> None:
    uploads.write("keeping", CACHING)
    assert uploads.load("keeping").status_code == 200
    before = look(uploads, "keeping")
    for _ in range(2):
        assert upload("keeping", {"1/model.py": CACHING.encode()}) == ("OK", "")
        assert look(uploads, "keeping") == before


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_triton_s_clients(uploads: ExplicitServer, folder: Path, protocol: str) -> None:
    package = pytest.importorskip(f"tritonclient.{protocol}")
    url = uploads.server.grpc if protocol == "grpc" else uploads.server.rest.removeprefix("http://")
    with package.InferenceServerClient(url) as client:
        client.load_model("by_client", config=CONFIG, files={"file:3/model.py": versioned(30).encode()})
        assert client.is_model_ready("by_client", "3")
        assert answer_of(uploads.server, "by_client") == 30
        with pytest.raises(package_error(), match="must not contain path traversal characters"):
            client.load_model("by_client", config=CONFIG, files={"file:../model.py": b"x"})
        client.unload_model("by_client")
    wait_until(lambda: not kept(folder))


def package_error() -> type[Exception]:
    error: type[Exception] = pytest.importorskip("tritonclient.utils").InferenceServerException
    return error


# --- what is refused ------------------------------------------------------------------------------------------

GOOD = versioned(1).encode()


@pytest.mark.parametrize(
    ("files", "config", "text"),
    [
        ({"1/model.py": GOOD}, None, "failed to load 'refused', failed to poll from model repository: files were sent "
         "without the parameter 'config'"),
        ({"1/../../x": GOOD}, CONFIG, "load parameter 'file:1/../../x' must not contain path traversal characters"),
        ({"/etc/x": GOOD}, CONFIG, "load parameter 'file:/etc/x' must be a path in the model's directory"),
        ({"1/model.py": GOOD, "1/Model.PY": GOOD}, CONFIG, "load parameter 'file:1/"),
        ({"1/a\0b": GOOD}, CONFIG, "load parameter 'file:1/a\\x00b' has control characters"),
        ({f"1/{'x' * 300}": GOOD}, CONFIG, "load parameter 'file:1/xxx"),
        ({"config.pbtxt": b"", "1/model.py": GOOD}, CONFIG, "load parameter 'file:config.pbtxt' is not read: the "
         "parameter 'config'"),
        ({"1/model.py": GOOD}, "no JSON", "load failed for model 'refused': config override"),
        ({"1/model.py": GOOD}, '{"nosuch": 1}', "load failed for model 'refused': "),
        ({"1/model.py": GOOD}, '{"backend": "python", "name": "other"}', "load failed for model 'refused': "),
        ({"model.py": GOOD}, CONFIG, "load failed for model 'refused': at least one version must be available under the "
         "version policy of model 'refused': model.py lies in refused/, where versions are expected"),
        ({"1/model.py": GOOD}, '{"backend": "python", "version_policy": {"specific": {"versions": [2]}}}',
         "load failed for model 'refused': at least one version must be available under the version policy of model "
         "'refused': it selects none of 1"),
        ({"1/model.py": BROKEN.encode()}, CONFIG, "load failed for model 'refused': version 1 is at UNAVAILABLE state: "
         "Internal: "),
        ({"1/model.onnx": GOOD}, CONFIG, "load failed for model 'refused': version 1 is at UNAVAILABLE state: Invalid "
         "argument: "),
    ],
)  # fmt: skip
def test_uploads_that_are_refused_leave_nothing_behind(
    uploads: ExplicitServer, upload: Upload, folder: Path, files: dict[str, bytes], config: str, text: str
) -> None:
    code, error = upload("refused", files, config)
    assert code == "INVALID_ARGUMENT"
    assert error.startswith(text)
    assert str(folder) not in error
    wait_until(lambda: not kept(folder))


def test_an_upload_that_fails_leaves_what_is_served(
    uploads: ExplicitServer, upload: Upload, folder: Path
) -> None:
    uploads.write("steady", versioned(1))
    assert uploads.load("steady").status_code == 200
    code, error = upload("steady", {"1/model.py": BROKEN.encode()})
    assert code == "INVALID_ARGUMENT"
    assert "broken on purpose" in error
    assert answer_of(uploads.server, "steady") == 1
    assert ready(uploads.server) == 200
    wait_until(lambda: not kept(folder))
    # The same behind an upload that serves: its files stay.
    assert upload("steady", {"1/model.py": versioned(2).encode()}) == ("OK", "")
    assert upload("steady", {"1/model.py": BROKEN.encode()})[0] == "INVALID_ARGUMENT"
    wait_until(lambda: len(kept(folder)) == 1)
    assert answer_of(uploads.server, "steady") == 2


@pytest.mark.parametrize("name", [".hidden", "__pycache__", "lost+found", "x" * 256, "a%01b"])
def test_names_that_no_repository_could_have(uploads: ExplicitServer, folder: Path, name: str) -> None:
    code, error = rest_upload(uploads.server.rest, name, {"1/model.py": GOOD})
    assert code == "INVALID_ARGUMENT"
    assert error.startswith("invalid model name '")
    assert not kept(folder)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("QQ", "load parameter 'file:1/model.py' is not base64 "),
        ("Q Q=", "load parameter 'file:1/model.py' is not base64 "),
        ("QUJD\nREVG", "load parameter 'file:1/model.py' is not base64 "),
        ("Q-_=", "load parameter 'file:1/model.py' is not base64 "),
        ("QQ==QQ==", "load parameter 'file:1/model.py' is not base64 "),
        ("\u00e9\u00e9\u00e9\u00e9", "load parameter 'file:1/model.py' is not base64 "),
        ("QQ==" + "QUJD" * (1 << 20), "load parameter 'file:1/model.py' is not base64 "),
        (None, "invalid value type for load parameter 'file:1/model.py', expected a string"),
        (7, "invalid value type for load parameter 'file:1/model.py', expected a string"),
        ([], "invalid value type for load parameter 'file:1/model.py', expected a string"),
    ],
)  # fmt: skip
def test_what_is_no_base64(uploads: ExplicitServer, folder: Path, value: object, text: str) -> None:
    answer = uploads.load("encoded", json={"parameters": {"config": CONFIG, "file:1/model.py": value}})
    assert (answer.status_code, error_of(answer)[: len(text)]) == (400, text)
    assert uploads.index("encoded") == []
    assert not kept(folder)


def test_a_file_of_another_type(uploads: ExplicitServer, uploads_channel: Channel) -> None:
    message = pb.RepositoryModelLoadRequest(model_name="typed")
    message.parameters["config"].string_param = CONFIG
    message.parameters["file:1/model.py"].string_param = "QQ=="
    assert uploads_channel.fails("RepositoryModelLoad", message, pb.RepositoryModelLoadResponse) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "invalid value type for load parameter 'file:1/model.py', expected bytes_param.",
    )


DISABLED = (
    "load parameter 'file:1/model.py': uploading model files is disabled, because they can be code that runs as the "
    "server's user. Start the server with '--allow-file-override=true' to enable."
)


def test_without_the_flag_files_are_refused(explicit: ExplicitServer, explicit_channel: Channel) -> None:
    files = {"1/model.py": GOOD}
    assert rest_upload(explicit.server.rest, "off", files) == ("UNIMPLEMENTED", DISABLED)
    assert grpc_upload(explicit_channel, "off", files) == ("UNIMPLEMENTED", DISABLED)
    assert explicit.index("off") == []


@pytest.mark.slow
def test_files_that_are_larger_than_a_request_may_be(uploads: ExplicitServer, upload: Upload) -> None:
    assert upload("large", {"1/model.py": GOOD, "1/x": bytes(65 << 20)})[0] == "RESOURCE_EXHAUSTED"
    assert uploads.index("large") == []


@pytest.mark.slow
def test_large_files(uploads: ExplicitServer, upload: Upload) -> None:
    code = NOSY.replace(
        "texts = ", "import zlib; texts = [str(zlib.crc32((path / '1' / 'x').read_bytes()))] or "
    )
    content = os.urandom(1 << 20) * 40
    assert upload("big", {"1/model.py": code.encode(), "1/x": content}) == ("OK", "")
    assert look(uploads, "big") == [str(zlib.crc32(content))]


# --- how long they last ---------------------------------------------------------------------------------------


def test_files_last_until_the_requests_under_way_are_answered(
    uploads: ExplicitServer, upload: Upload, folder: Path, later: Callable[..., Future[Any]]
) -> None:
    with Gate() as gate:
        code = slow_to_load(gate.port).replace(
            "def load(self, context):", "def load(self, context):\n        pass"
        )
        code = code.replace("with socket", "pass\n\n    def wait(self):\n        with socket").replace(
            "return {", "self.wait(); return {"
        )
        assert upload("lasting", {"1/model.py": code.encode()}) == ("OK", "")
        request = later(
            lambda: httpx.post(f"{uploads.server.rest}/v2/models/lasting/infer", json=ASK, timeout=60)
        )
        gate.await_start()
        assert uploads.unload("lasting").status_code == 200
        assert len(kept(folder)) == 1
        gate.open()
        assert request.result().status_code == 200
    wait_until(lambda: not kept(folder))


def test_an_unload_while_files_are_loaded(
    uploads: ExplicitServer, upload: Upload, folder: Path, later: Callable[..., Future[Any]]
) -> None:
    with Gate() as gate:
        load = later(upload, "regretted", {"1/model.py": slow_to_load(gate.port).encode()})
        gate.await_start()
        assert uploads.unload("regretted").status_code == 200
        assert len(kept(folder)) == 1
        gate.open()
        assert load.result() == (
            "UNAVAILABLE", "load failed for model 'regretted': it was unloaded meanwhile",
        )  # fmt: skip
    wait_until(lambda: not kept(folder) and not uploads.index("regretted"))


def test_a_load_whose_caller_leaves_goes_on(
    uploads: ExplicitServer, folder: Path, uploads_channel: Channel
) -> None:
    with Gate() as gate:
        message = pb.RepositoryModelLoadRequest(model_name="left")
        message.parameters["file:1/model.py"].bytes_param = slow_to_load(gate.port).encode()
        message.parameters["config"].string_param = CONFIG
        method = uploads_channel.method("RepositoryModelLoad", pb.RepositoryModelLoadResponse)
        call = method.future(message, timeout=60)
        gate.await_start()
        call.cancel()
        assert len(kept(folder)) == 1
        gate.open()
        wait_until(lambda: uploads.server.get("/v2/models/left/ready").status_code == 200)
    # A request that is refused later tells nobody: it is not reported as an error that nobody has taken.
    assert "never retrieved" not in uploads.server.log


def test_uploads_to_one_model_take_turns(
    uploads: ExplicitServer, upload: Upload, folder: Path, later: Callable[..., Future[Any]]
) -> None:
    loads = [later(upload, "turns", {"1/model.py": versioned(number).encode()}) for number in range(4)]
    assert [load.result() for load in loads] == [("OK", "")] * 4
    assert answer_of(uploads.server, "turns") in range(4)
    wait_until(lambda: len(kept(folder)) == 1)


@pytest.mark.slow
def test_a_server_that_ends_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (tmp_path / "models").mkdir()
    others = set(folder.iterdir())
    server = launch(log, tmp_path / "models", "--model-control-mode=explicit", "--allow-file-override")
    assert rest_upload(server.rest, "short", {"1/model.py": GOOD})[0] == "OK"
    assert len(set(folder.iterdir()) - others) == 1
    assert server.stop() == 0
    assert set(folder.iterdir()) == others


@pytest.mark.slow
def test_what_a_killed_server_has_left_is_removed_at_the_next_start(
    uploads: ExplicitServer, folder: Path, tmp_path: Path
) -> None:
    # One that is alive, and what only looks like a server's, are left alone.
    assert rest_upload(uploads.server.rest, "alive", {"1/model.py": GOOD})[0] == "OK"
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("x")
    (folder / "kserve-v2-uploads-link").symlink_to(own)
    (folder / "kserve-v2-uploads-file").write_text("x")
    others = set(folder.iterdir())
    log = tmp_path / "log"
    log.mkdir()
    (tmp_path / "models").mkdir()
    flags = ("--model-control-mode=explicit", "--allow-file-override")
    server = launch(log, tmp_path / "models", *flags)
    assert rest_upload(server.rest, "short", {"1/model.py": GOOD})[0] == "OK"
    server.stop(signal.SIGKILL)
    (left,) = set(folder.iterdir()) - others
    # Also by a server that takes no files itself.
    following = launch(log, tmp_path / "models")
    assert not left.exists()
    assert following.stop() == 0
    assert set(folder.iterdir()) == others
    assert (own / "file").exists()
    assert answer_of(uploads.server, "alive") == 1
    (folder / "kserve-v2-uploads-link").unlink()
    (folder / "kserve-v2-uploads-file").unlink()
