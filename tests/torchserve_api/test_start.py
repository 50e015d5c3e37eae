"""A start with all of a model store, whatever lies in it."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from tests.conftest import launch
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import ECHO, PROPERTIES, mar

pytestmark = pytest.mark.slow


def test_no_archive_keeps_the_others_from_being_served(tmp_path: Path) -> None:
    store = tmp_path / "store"
    mar(store, "good")
    mar(store, "batched", yaml="batchSize: 99999999999\nmaxBatchDelay: 99999999999\n")
    mar(store, "device", yaml="minWorkers: 1\ndeviceType: gpu\ndeviceIds: [0, 1]\nparallelType: none\n")
    aliases = (f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
    mar(store, "bomb", yaml=f"a: &a0 [x]\n{''.join(aliases)}")
    mar(store, "named", file="..%2f.mar").rename(store / "un named.mar")
    (store / "empty.mar").touch()
    (store / "folder" / "MAR-INF" / "MANIFEST.json").mkdir(parents=True)
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        for size in (20, 60):
            # Whatever it is called, it is looked at.
            (store / f"cut-{name}-{size}.tgz").write_bytes(pack(ECHO.encode() * 9)[:size])
    properties = tmp_path / "config.properties"
    properties.write_text(f"{PROPERTIES}\ndefault_workers_per_model=1\n")
    flags = ("--torchserve", "--model-store", str(store), "--ts-config", str(properties), "--models", "all")
    server = Server.of(launch(tmp_path, None, *flags))
    try:
        listed = [each["modelName"] for each in server.management.get("/models").json()["models"]]
        assert listed == ["batched", "device", "good", "named"]
        assert server.inference.post("/predictions/good", content=b"x").json() == {"body": "x"}
        [found] = server.management.get("/models/batched").json()
        assert (found["batchSize"], found["maxBatchDelay"]) == (1, 100)
        [found] = server.management.get("/models/device").json()
        assert found["parallelType"] == ""
        if found["deviceType"] == "cpu":
            # TorchServe serves it there, too.
            assert "deviceIds" not in found
            assert "there is no GPU that the server can use: it is served on CPUs" in server.running.log
        assert server.inference.post("/predictions/device", content=b"x").json() == {"body": "x"}
        log = server.running.log
        for name in (
            "bomb",
            "empty.mar",
            "folder",
            "cut-gz-20.tgz",
            "cut-bz2-60.tgz",
            "cut-xz-60.tgz",
        ):
            assert f"not registered: {name}" in log
        assert "Traceback" not in log
    finally:
        assert server.close() == 0
