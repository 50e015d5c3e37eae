"""The servers that the cases are sent to: this project's, or with WIRE_TARGET=triton the real tritonserver.

Both serve the same models: those of `models/` and `states/`, whose `model.py` are handlers of this project. For
tritonserver each is wrapped by `triton/model.py`.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.conftest import RunningServer, launch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET_IS_TRITON = os.environ.get("WIRE_TARGET") == "triton"

DATATYPES = (
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
)  # fmt: skip

_IDENTITY_CONFIG = """
backend: "python"
input {{ name: "IN" data_type: TYPE_{type} dims: -1 }}
output {{ name: "OUT" data_type: TYPE_{type} dims: -1 }}
instance_group {{ kind: KIND_CPU }}
"""

# Models that differ from another one in their configuration alone: they get its handler.
_HANDLER_OF = {
    **dict.fromkeys(("class_row", "pairs", "plane", "text"), "bat"),
    **dict.fromkeys(("gated_short", "levels_short", "patient"), "gated"),
    "levels": "delayed",
    **dict.fromkeys(("steps_bare", "steps_narrow", "steps_none", "steps_single", "steps_text"), "steps"),
}

# Limits that single cases are about; see the flag of tritonserver's documentation.
MAX_INPUT_BYTES = 1024 * 1024
# Models that ask for it have a response cache.
CACHE = "--cache-config=local,size=1048576"


def make_repository(source: Path, root: Path, *, identities: bool = False) -> Path:
    """Copy the models of `source`, and add an identity model `id_<datatype>` for each datatype if asked for."""
    repository = root / source.name
    shutil.copytree(source, repository)
    if identities:
        named = {f"id_{each.lower()}": each for each in DATATYPES}
        if not TARGET_IS_TRITON:
            named["a b"] = (
                "INT32"  # tritonserver's Python backend waits for ever for a model with such a path
            )
        for name, datatype in named.items():
            version = repository / name / "1"
            version.mkdir(parents=True)
            shutil.copy(source / "bat" / "1" / "model.py", version)
            config = _IDENTITY_CONFIG.format(type="STRING" if datatype == "BYTES" else datatype)
            (repository / name / "config.pbtxt").write_text(config)
    for name, other in _HANDLER_OF.items():
        if (repository / name).exists():
            shutil.copytree(repository / other / "1", repository / name / "1")
    for config in repository.glob("*/config.pbtxt"):
        if "ensemble_scheduling" in config.read_text():
            (config.parent / "1").mkdir()  # empty, as all that an ensemble is
    if TARGET_IS_TRITON:
        for handler in repository.glob("*/*/model.py"):
            handler.rename(handler.with_name("handler.py"))
            shutil.copy(HERE / "triton" / "model.py", handler)
    return repository


def start(root: Path, repository: Path, *flags: str) -> RunningServer:
    """Start the server that the cases are sent to. Both take the same flags."""
    return _launch_triton(root, repository, *flags) if TARGET_IS_TRITON else launch(root, repository, *flags)


def _launch_triton(root: Path, repository: Path, *flags: str) -> RunningServer:
    ports = [_free_port() for _ in range(3)]
    log_path = root / "server.log"
    command = [
        sys.executable, str(ROOT / "tools" / "tritonserver.py"), "run", "--model-repository", str(repository),
        *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
        *(f"--{name}-port={port}" for name, port in zip(("http", "grpc", "metrics"), ports, strict=True)),
        "--allow-gpu-metrics=false", "--exit-timeout-secs=1", *flags,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output: list[str] = []
    for line in process.stdout:
        output.append(line)
        if "Started Metrics Service" in line:
            reader = threading.Thread(target=output.extend, args=(process.stdout,), daemon=True)
            reader.start()
            http, grpc, metrics = (f"127.0.0.1:{port}" for port in ports)
            urls = {"REST": f"http://{http}", "gRPC": grpc, "Metrics": f"http://{metrics}/metrics"}
            return RunningServer(process, output, log_path, urls, reader)
    raise AssertionError(f"tritonserver ended with {process.wait()}:\n{''.join(output)}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
