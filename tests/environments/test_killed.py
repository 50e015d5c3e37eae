"""Servers that end while an installer works: nothing of it is left that the next one would take for whole."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer, WriteModel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the installer on Linux"),
]

HANDLER = """
import colour, numpy as np
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"found": ("BYTES", [1])}
    def __call__(self, inputs):
        return {"found": np.array([colour.NAME], dtype=object)}
"""
# Called as `uv pip install --python PYTHON -r FILE`: waits for ever the first time, installs the second.
UV = """#!/bin/sh
packages=$(echo "${4%/bin/python}"/lib/*/site-packages)
echo "NAME = 'half'" > "$packages/half.py"
if [ -e "$0.again" ]; then
    echo "NAME = 'whole'" > "$packages/colour.py"
    exit
fi
: > "$0.again"
echo "started $$"
exec sleep 3600
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_leaves_neither_an_installer_nor_half_an_environment(
    tmp_path: Path,
    start_server: StartServer,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PATH", str(uv.parent), prepend=os.pathsep)
    models, kept = tmp_path / "models", tmp_path / "kept"
    directory = write_model(models, "m", HANDLER)
    (directory / "requirements.txt").write_text("colour")

    command = [sys.executable, "-m", "kserve_v2", "serve", "--model-repository", str(models), "--http-port", "0",
               "--grpc-port", "0", "--metrics-port", "0", "--model-environments", str(kept)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        started = next(line for line in server.stderr if "uv: started" in line)
        installer = os.pidfd_open(int(started.split()[-1]))
        server.send_signal(number)
    # Readable when it has ended; the time is a limit, not a measure.
    ended = select.select([installer], [], [], 60)[0]
    os.close(installer)
    assert ended
    [half] = kept.glob("venv-*/lib/*/site-packages/half.py")

    again = start_server(models, "--model-environments", str(kept))
    ask = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]}
    assert again.infer("m", ask).json()["outputs"][0]["data"] == ["whole"]
    assert half.exists()
