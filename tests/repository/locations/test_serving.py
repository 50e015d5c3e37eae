"""Servers whose models come from elsewhere, over real sockets."""

from pathlib import Path

import pytest

from kserve_v2.cli import main
from tests.conftest import RunningServer, StartServer, launch
from tests.integration.support import wait_until
from tests.repository.locations.conftest import Pack, config_map
from tests.repository.locations.s3_server import Bucket, Proxy, corrupted, forbidden

pytestmark = pytest.mark.slow

CODE = """
class Model:
    inputs = {{"x": ("INT32", [1])}}
    outputs = {{"y": ("INT32", [1])}}
    max_batch_size = 4

    def __call__(self, inputs):
        return {{"y": inputs["x"] * {factor}}}
"""


def answer(server: RunningServer, model: str) -> int:
    body = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 1], "data": [1]}]}
    response = server.infer(model, body)
    assert response.status_code == 200, response.text
    return int(response.json()["outputs"][0]["data"][0])


def test_models_are_loaded_from_s3_and_loaded_again(
    bucket: Bucket, proxy: Proxy, start_server: StartServer, tmp_path: Path
) -> None:
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    bucket.put("models/unused/1/model.py", CODE.format(factor=0))
    server = start_server(
        f"{bucket.url}/models", "--model-control-mode", "explicit", "--load-model", "double", "--staging-dir",
        str(tmp_path / "staging"),
    )  # fmt: skip
    assert answer(server, "double") == 2
    assert not [path for path in proxy.read if "unused" in path]
    index = {each["name"]: each.get("state") for each in server.post("/v2/repository/index").json()}
    assert index == {"double": "READY", "unused": None}
    # A new version, which comes with the load, beside the old one, which stays.
    bucket.put("models/double/2/model.py", CODE.format(factor=3))
    assert server.post("/v2/repository/models/double/load").status_code == 200
    assert answer(server, "double") == 3
    # What cannot be fetched is no reason to serve nothing.
    bucket.put("models/double/3/model.py", CODE.format(factor=4))
    proxy.faults["3/model.py"] = [corrupted] * 100
    response = server.post("/v2/repository/models/double/load")
    assert response.status_code == 400
    assert "'3/model.py' comes with another checksum" in response.json()["error"]
    assert answer(server, "double") == 3
    proxy.reset()
    assert server.post("/v2/repository/models/double/load").status_code == 200
    assert answer(server, "double") == 4
    # One that is not there any more cannot be loaded; that it is loaded is for the client to end.
    bucket.delete("models/unused/1/model.py")
    assert server.post("/v2/repository/models/unused/load").status_code >= 400


def test_the_first_request_has_a_model_fetched(
    bucket: Bucket, start_server: StartServer, tmp_path: Path
) -> None:
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    server = start_server(
        f"{bucket.url}/models",
        "--model-control-mode",
        "on-demand",
        "--staging-dir",
        str(tmp_path / "staging"),
    )
    assert server.post("/v2/repository/index").json() == [{"name": "double"}]
    assert answer(server, "double") == 2
    # One that is put there later, after what is remembered for a moment.
    bucket.put("models/later/1/model.py", CODE.format(factor=3))
    wait_until(lambda: len(server.post("/v2/repository/index").json()) == 2)
    assert answer(server, "later") == 3
    body = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 1], "data": [1]}]}
    assert server.infer("nobody", body).status_code == 404


def test_models_elsewhere_are_checked(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    bucket.put("models/wrong/1/model.py", CODE.format(factor=2))
    bucket.put("models/wrong/config.pbtxt", "max_batch_size: many")
    flags = ["--model-repository", f"{bucket.url}/models", "--staging-dir", str(tmp_path / "staging")]
    assert main(["check", *flags]) == 1
    said = capsys.readouterr().out
    # Where somebody can mend it.
    assert f"{bucket.url}/models/wrong/config.pbtxt:1:17: error: " in said
    assert "staging" not in said
    assert "double" not in said or "error" not in said.split("double")[1].splitlines()[0]


def test_polling_sees_what_changes_elsewhere(
    bucket: Bucket, start_server: StartServer, tmp_path: Path
) -> None:
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    server = start_server(
        f"{bucket.url}/models", "--model-control-mode", "poll", "--repository-poll-secs", "1",
        "--repository-settle-secs", "0", "--staging-dir", str(tmp_path / "staging"),
    )  # fmt: skip
    assert answer(server, "double") == 2
    bucket.put("models/double/1/model.py", CODE.format(factor=5))
    bucket.put("models/added/1/model.py", CODE.format(factor=6))
    wait_until(lambda: answer(server, "double") == 5)
    wait_until(lambda: server.get("/v2/models/added/ready").status_code == 200)
    assert answer(server, "added") == 6
    bucket.delete("models/added/1/model.py")
    wait_until(lambda: server.get("/v2/models/added/ready").status_code != 200)
    assert answer(server, "double") == 5


def test_a_flat_folder_is_served_under_its_name_and_polled(start_server: StartServer, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    files = {"model.py": CODE.format(factor=7), "config.pbtxt": "max_batch_size: 4"}
    config_map(mounted, "..2026_11_28", files)
    server = start_server(
        mounted, "--model-name", "flowers", "--staging-dir", str(tmp_path / "staging"), "--model-control-mode", "poll",
        "--repository-poll-secs", "1", "--repository-settle-secs", "0",
    )  # fmt: skip
    assert answer(server, "flowers") == 7
    assert server.get("/v2/models/flowers").json()["versions"] == ["1"]
    assert server.get("/v2/models/flowers/config").json()["max_batch_size"] == 4
    config_map(mounted, "..2026_11_29", {**files, "model.py": CODE.format(factor=11)})
    wait_until(lambda: answer(server, "flowers") == 11)


def test_archives_beside_models_and_a_new_one(start_server: StartServer, tmp_path: Path, pack: Pack) -> None:
    models = tmp_path / "models"
    (models / "plain" / "1").mkdir(parents=True)
    (models / "plain" / "1" / "model.py").write_text(CODE.format(factor=2))
    (models / "zipped.zip").write_bytes(pack.zip({"1/model.py": CODE.format(factor=8)}))
    server = start_server(
        models,
        "--model-control-mode",
        "explicit",
        "--load-model=*",
        "--staging-dir",
        str(tmp_path / "staging"),
    )
    assert (answer(server, "plain"), answer(server, "zipped")) == (2, 8)
    (models / "zipped.zip").write_bytes(pack.zip({"1/model.py": CODE.format(factor=9)}))
    (models / "packed.tar.gz").write_bytes(pack.tar({"1/model.py": CODE.format(factor=10)}))
    for name in ("zipped", "packed"):
        assert server.post(f"/v2/repository/models/{name}/load").status_code == 200
    assert (answer(server, "zipped"), answer(server, "packed")) == (9, 10)


def reason(server: RunningServer, model: str) -> str:
    """What the index says of a model that is ready, "" for nothing."""
    entry = next(each for each in server.post("/v2/repository/index").json() if each["name"] == model)
    assert entry["state"] == "READY"
    return str(entry.get("reason", ""))


POLLING = ("--model-control-mode", "poll", "--repository-poll-secs", "1", "--repository-settle-secs", "0")


def test_the_index_says_what_polling_could_not_fetch(
    start_server: StartServer, tmp_path: Path, pack: Pack
) -> None:
    archive = tmp_path / "models" / "zipped.zip"
    archive.parent.mkdir()
    archive.write_bytes(pack.zip({"1/model.py": CODE.format(factor=8)}))
    server = start_server(archive.parent, *POLLING, "--staging-dir", str(tmp_path / "staging"))
    assert reason(server, "zipped") == ""
    archive.write_bytes(b"PK\x03\x04garbage")
    wait_until(lambda: reason(server, "zipped") != "")
    assert reason(server, "zipped") == (
        "not updated: Invalid argument: zipped.zip cannot be unpacked: it is neither a zip nor a tar file, or not whole"
    )
    assert answer(server, "zipped") == 8
    archive.write_bytes(pack.zip({"1/model.py": CODE.format(factor=9)}))
    wait_until(lambda: answer(server, "zipped") == 9)
    assert reason(server, "zipped") == ""


def test_the_index_says_what_went_wrong_last(start_server: StartServer, tmp_path: Path, pack: Pack) -> None:
    archive = tmp_path / "models" / "zipped.zip"
    archive.parent.mkdir()
    archive.write_bytes(pack.zip({"1/model.py": CODE.format(factor=8)}))
    server = start_server(archive.parent, *POLLING, "--staging-dir", str(tmp_path / "staging"))
    archive.write_bytes(pack.zip({"1/model.py": CODE.format(factor=9), "config.pbtxt": "max_batch_size: no"}))
    wait_until(lambda: "max_batch_size" in reason(server, "zipped"))
    archive.write_bytes(b"")
    wait_until(lambda: "it is empty" in reason(server, "zipped"))
    archive.write_bytes(pack.zip({"1/model.py": CODE.format(factor=9)}))
    wait_until(lambda: answer(server, "zipped") == 9)
    assert reason(server, "zipped") == ""


def test_the_index_says_that_a_store_does_not_answer(
    bucket: Bucket, proxy: Proxy, start_server: StartServer, tmp_path: Path
) -> None:
    """Its models answer as before, so the server is ready."""
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    server = start_server(f"{bucket.url}/models", *POLLING, "--staging-dir", str(tmp_path / "staging"))
    proxy.faults[bucket.name] = [forbidden] * 10_000
    wait_until(lambda: reason(server, "double") != "")
    assert reason(server, "double").startswith("not updated: Unavailable: it cannot be fetched: ")
    assert answer(server, "double") == 2
    assert server.get("/v2/health/ready").status_code == 200
    proxy.reset()
    wait_until(lambda: reason(server, "double") == "")


def test_the_index_says_what_polling_could_not_fetch_from_s3(
    bucket: Bucket, proxy: Proxy, start_server: StartServer, tmp_path: Path
) -> None:
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    server = start_server(f"{bucket.url}/models", *POLLING, "--staging-dir", str(tmp_path / "staging"))
    proxy.faults["model.py"] = [corrupted] * 100
    bucket.put("models/double/1/model.py", CODE.format(factor=3))
    wait_until(lambda: "comes with another checksum" in reason(server, "double"))
    assert reason(server, "double").startswith("not updated: Unavailable: ")
    assert answer(server, "double") == 2


def test_the_index_says_of_each_model_that_its_archive_could_not_be_unpacked(
    bucket: Bucket, start_server: StartServer, tmp_path: Path, pack: Pack
) -> None:
    files = {f"{name}/1/model.py": CODE.format(factor=2) for name in ("first", "second")}
    bucket.put("models.zip", pack.zip(files))
    server = start_server(f"{bucket.url}/models.zip", *POLLING, "--staging-dir", str(tmp_path / "staging"))
    bucket.put("models.zip", "garbage")
    for name in ("first", "second"):
        wait_until(lambda name=name: reason(server, name) != "")  # type: ignore[misc]
        assert reason(server, name).startswith("not updated: Invalid argument: models.zip cannot be unpacked")
        assert answer(server, name) == 2
    bucket.put("models.zip", pack.zip(files))
    wait_until(lambda: reason(server, "first") == reason(server, "second") == "")


def test_a_flat_folder_without_its_name_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(AssertionError, match="is one model, not a folder of models: give --model-name NAME"):
        launch(tmp_path, tmp_path)


def test_a_second_server_with_the_same_folder_does_not_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    mounted, staging = tmp_path / "mounted", str(tmp_path / "staging")
    mounted.mkdir()
    (mounted / "model.py").write_text(CODE.format(factor=7))
    first = start_server(mounted, "--model-name", "m", "--staging-dir", staging)
    with pytest.raises(AssertionError, match=f"used by another server \\(process {first.process.pid}\\)"):
        launch(tmp_path, mounted, "--model-name", "m", "--staging-dir", staging)
    assert answer(first, "m") == 7


SCALES = """
from helper import FACTOR
from mlserver import MLModel
from mlserver.codecs import decode_args
import numpy as np

class Scales(MLModel):
    @decode_args
    async def predict(self, x: np.ndarray) -> np.ndarray:
        return x * FACTOR
"""


def scales(factor: int, version: str = "") -> dict[str, str]:
    """The files of a model of MLServer's, which imports a file beside it."""
    said = f', "parameters": {{"version": "{version}"}}' if version else ""
    return {
        "model-settings.json": f'{{"name": "scales", "implementation": "models.Scales"{said}}}',
        "models.py": SCALES,
        "helper.py": f"FACTOR = {factor}\n",
    }


def put_all(bucket: Bucket, folder: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        bucket.put(f"{folder}/{name}", text)


def test_mlservers_models_come_from_elsewhere_beside_others(
    bucket: Bucket, start_server: StartServer, tmp_path: Path
) -> None:
    put_all(bucket, "models/scales", scales(2))
    bucket.put("models/double/1/model.py", CODE.format(factor=2))
    server = start_server(
        f"{bucket.url}/models", "--model-control-mode", "explicit", "--load-model", "*", "--staging-dir",
        str(tmp_path / "staging"),
    )  # fmt: skip
    assert (answer(server, "scales"), answer(server, "double")) == (2, 2)
    index = {each["name"]: each.get("state") for each in server.post("/v2/repository/index").json()}
    assert index == {"scales": "READY", "double": "READY"}
    put_all(bucket, "models/scales", scales(3))
    assert server.post("/v2/repository/models/scales/load").status_code == 200
    assert answer(server, "scales") == 3
    # Its process begins anew with the same files.
    assert server.post("/v2/repository/models/scales/unload").status_code == 200
    assert server.infer("scales", {"inputs": []}).status_code in (400, 404)
    assert server.post("/v2/repository/models/scales/load").status_code == 200
    assert answer(server, "scales") == 3


def test_what_is_not_fetched_of_a_folder_of_mlservers_is_said(
    bucket: Bucket, start_server: StartServer, tmp_path: Path
) -> None:
    put_all(bucket, "models/other", scales(2))
    bucket.put("models/settings.json", '{"parallel_workers": 2}')
    bucket.put("models/shared.py", "A = 1")
    url = f"{bucket.url}/models"
    server = start_server(
        url, "--model-control-mode", "explicit", "--staging-dir", str(tmp_path / "staging"),
    )  # fmt: skip
    found = server.post("/v2/repository/models/other/load")
    assert found.status_code == 400
    assert "it is a model of MLServer's, which has the name that its settings say" in found.json()["error"]
    assert server.post("/v2/repository/models/scales/load").status_code == 200
    assert answer(server, "scales") == 2
    said = [line for line in server.log.splitlines() if "not fetched" in line]
    assert len(said) == 1
    assert f"{url}: settings.json, shared.py beside the models' folders are not fetched: give what" in said[0]


def test_versions_of_mlservers_models_come_from_elsewhere(
    bucket: Bucket, start_server: StartServer, tmp_path: Path
) -> None:
    put_all(bucket, "models/scales/one", scales(2, "v1"))
    put_all(bucket, "models/scales/two", scales(3, "v2"))
    server = start_server(f"{bucket.url}/models", "--staging-dir", str(tmp_path / "staging"))
    assert answer(server, "scales") == 3
    body = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 1], "data": [1]}]}
    assert server.post("/v2/models/scales/versions/v1/infer", json=body).json()["outputs"][0]["data"] == [2]


def test_mlservers_models_come_in_an_archive(
    bucket: Bucket, start_server: StartServer, tmp_path: Path, pack: Pack
) -> None:
    bucket.put("all.zip", pack.zip({f"scales/{name}": text for name, text in scales(5).items()}))
    server = start_server(f"{bucket.url}/all.zip", "--staging-dir", str(tmp_path / "staging"))
    assert answer(server, "scales") == 5
