"""A server of ours for trials: on free ports, with the one model loaded as each candidate says, in turn."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, NamedTuple
from urllib.parse import quote

from google.protobuf import json_format

from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.bench.control import NotToldError, RestControl
from kserve_v2.bench.errors import BenchError
from kserve_v2.bench.target import Target, parse_target

_URL_LINE = re.compile(r"^(REST|gRPC) +(\S+)$")
_LOAD_S = 600
_STOP_S = 60
_LOG_SHOWN = 2000


class TrialServer(NamedTuple):
    """One that runs. `targets`: by `REST` and `gRPC`."""

    process: "subprocess.Popen[str]"
    targets: dict[str, Target]
    model: str

    def load(self, config: ModelConfig | None) -> None:
        """Load the model with a configuration in place of its own; None for its own. Raises BenchError with the
        server's reason if it cannot be.
        """
        parameters = {}
        if config is not None:
            parameters["config"] = json_format.MessageToJson(
                config, preserving_proto_field_name=True, descriptor_pool=POOL
            )
        path = f"/v2/repository/models/{quote(self.model, safe='')}"
        # One after the other: a model that is replaced is cleared away while the new one is measured already.
        self.control.post(f"{path}/unload", {}, _LOAD_S)
        self.control.post(f"{path}/load", {"parameters": parameters}, _LOAD_S)

    @property
    def control(self) -> RestControl:
        """Asks it."""
        return RestControl(self.targets["REST"], self.model)

    def effective_config(self) -> ModelConfig:
        """What the model is served with now."""
        return self.control.config()


@contextmanager
def trial_server(model: str, flags: Sequence[str]) -> Iterator[TrialServer]:
    """Until the end of the block. `flags`: of `serve`, without those of ports and of what is loaded. Raises BenchError
    with its log if it ends instead.
    """
    command = [
        sys.executable, "-m", "kserve_v2", "serve", *flags, "--model-control-mode=explicit", "--allow-metrics=false",
        "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--http-port=0", "--grpc-port=0",
    ]  # fmt: skip
    with (
        TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,  # noqa: S603 - ourselves
    ):
        try:
            targets = _targets(process, log)
            # A pipe that nobody reads would block the server in the end.
            threading.Thread(target=_read_on, args=(process,), daemon=True).start()
            yield TrialServer(process, targets, model)
        finally:
            _stop(process)


def _targets(process: "subprocess.Popen[str]", log: IO[str]) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for line in process.stdout or ():
        if match := _URL_LINE.match(line):
            scheme = "" if match[1] == "REST" else "grpc://"
            found[match[1]] = parse_target(scheme + match[2])
        if len(found) == 2:
            return found
    log.seek(0)
    raise BenchError(f"the server for the trials did not start: {log.read()[-_LOG_SHOWN:].strip()}")


def _read_on(process: "subprocess.Popen[str]") -> None:
    for _ in process.stdout or ():
        pass


def _stop(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def refused(error: BenchError) -> bool:
    """Whether the server has answered, if only that something cannot be."""
    return isinstance(error, NotToldError)
