"""Sends requests at a steady rate over both protocols while the models that they ask are reloaded, upgraded and broken.

    python -m tests.soak.updates --reloads 500 --upgrades 50 --broken 20 --rate 200 --seed 1

Everything behind `--` goes to the server. The exit status is 0 if no request has failed, no answer came from an older
model than the last one whose load had been answered when the request was sent, none from one that was broken, and
nothing is left: descriptors of any process, threads and memory of the first one.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from grpc import aio
from onnx import TensorProto, helper, numpy_helper

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, launch
from tests.integration.support import wait_until
from tests.isolation.conftest import workers
from tests.soak.http1 import Connection, post
from tests.soak.ledger import Ledger
from tests.soak.named_threads import NAMED_THREADS, ROOT
from tests.soak.outcome import State, carried_out, report

_HANDLER = """
from pathlib import Path

class Model:
    inputs = {{"IN": ("INT64", [1])}}
    outputs = {{"NUMBER": ("INT64", [1])}}

    def load(self, context):
        if {broken}:
            raise RuntimeError("broken on purpose")

    def __call__(self, inputs):
        return {{"NUMBER": [{number}]}}
"""

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
# Versions that are left in the directory behind the one that is served.
_KEPT_VERSIONS = 2
_MOST_AT_A_TIME = 200
_CONNECTIONS = 8
# Some 0.5 MiB were seen. What each of 500 updates leaves adds up.
_MAX_GROWTH_BYTES = 8 * 1024 * 1024
_BODY = b'{"inputs": [{"name": "IN", "datatype": "INT64", "shape": [1], "data": [1]}]}'


def _write_handler(directory: Path, number: int, *, broken: bool) -> None:
    text = _HANDLER.format(number=number, broken=broken)
    (directory / "model.py").write_text(text)


def _write_onnx(directory: Path, number: int, *, broken: bool) -> None:
    if broken:
        (directory / "model.onnx").write_bytes(b"broken on purpose")
        return
    # NUMBER = 0 * IN + number
    constants = {"zero": 0, "number": number}
    graph = helper.make_graph(
        [helper.make_node("Mul", ["IN", "zero"], ["none"]), helper.make_node("Add", ["none", "number"], ["NUMBER"])],
        "g",
        [helper.make_tensor_value_info("IN", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("NUMBER", TensorProto.INT64, [1])],
        [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        directory / "model.onnx",
    )


class Updated:
    """One model: what was written of it last, and what clients may see of it."""

    def __init__(self, directory: Path, write: Callable[..., None]) -> None:
        self.name = directory.name
        self.floor = 0
        """The number of the last load that was answered: nothing older may answer a request that is sent from now on."""
        self.number = 0
        """The last number that was written."""
        self.broken: set[int] = set()
        """The numbers that no answer may have."""
        self._directory = directory
        self._write = write
        self._version = 0

    def upgrade(self, *, broken: bool = False) -> None:
        """Write the next version."""
        self._version += 1
        (self._directory / str(self._version)).mkdir(parents=True)
        self.rewrite(broken=broken)
        shutil.rmtree(self._directory / str(self._version - _KEPT_VERSIONS), ignore_errors=True)

    def rewrite(self, *, broken: bool = False) -> None:
        """Write the version that is the highest anew."""
        self.number += 1
        if broken:
            self.broken.add(self.number)
        self._write(self._directory / str(self._version), self.number, broken=broken)

    def take_away(self) -> None:
        """Remove the highest version."""
        shutil.rmtree(self._directory / str(self._version))
        self._version -= 1


class Soak:
    """Clients that ask all the time, and one who changes what they ask."""

    def __init__(
        self, server: RunningServer, repository: Path, ledger: Ledger, options: argparse.Namespace
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._options = options
        self._chance = random.Random(options.seed)  # noqa: S311 - repeatable
        self._models = [
            Updated(repository / "handler", _write_handler),
            Updated(repository / "graph", _write_onnx),
        ]
        # For loads alone: they must not wait for requests.
        self._http = httpx.AsyncClient(timeout=60)
        self._connections: asyncio.Queue[Connection] = asyncio.Queue()
        self._infer: Any = None
        self.sent = 0
        self.steps = {"reload": options.reloads, "upgrade": options.upgrades, "broken": options.broken}

    async def run(self) -> tuple[State, State]:
        """Load, look, change all that there is to change while clients ask, look again."""
        for model in self._models:
            model.upgrade()
            await self._load(model)
        steps = [name for name, count in self.steps.items() for _ in range(count)]
        self._chance.shuffle(steps)
        tenth = max(1, len(steps) // 10)
        await self._take_all(steps[:tenth])
        before = await self._calm(None)
        await self._take_all(steps[tenth:])
        after = await self._calm(before)
        await self._check_index()
        await self._http.aclose()
        return before, after

    async def _take_all(self, steps: Sequence[str]) -> None:
        """Change what there is to change while clients ask, who come before and leave afterwards."""
        address = self._server.rest.removeprefix("http://")
        for _ in range(_CONNECTIONS):
            self._connections.put_nowait(await Connection.open(address))
        async with aio.insecure_channel(self._server.grpc) as channel:
            self._infer = channel.unary_unary(
                _METHOD,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            done = asyncio.Event()
            clients = asyncio.create_task(self._ask(done))
            for step in steps:
                await self._take(step)
            done.set()
            await clients
        while not self._connections.empty():
            await self._connections.get_nowait().close()

    # --- who asks ---------------------------------------------------------------------------------------------------

    async def _ask(self, done: asyncio.Event) -> None:
        """Send requests at the rate, whatever becomes of those before; but no more at a time than a server has to bear."""
        began, under_way = time.monotonic(), set[asyncio.Task[None]]()
        sent = self.sent
        while not done.is_set():
            due = sent + int((time.monotonic() - began) * self._options.rate)
            while self.sent < due and len(under_way) < _MOST_AT_A_TIME:
                task = asyncio.create_task(self._ask_one(self.sent))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                self.sent += 1
            await asyncio.sleep(1 / self._options.rate)
        await asyncio.gather(*under_way)

    async def _ask_one(self, number: int) -> None:
        model, over_rest = self._models[number // 2 % 2], number % 2
        kind = f"{model.name} over {'REST' if over_rest else 'gRPC'}"
        self._ledger.kinds[kind] += 1
        floor = model.floor
        try:
            answer = await (self._ask_rest if over_rest else self._ask_grpc)(model.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, a request has failed
            self._ledger.expect(False, f"{kind}: {error!r}")
            return
        self._ledger.expect(
            floor <= answer <= model.number and answer not in model.broken,
            f"{kind}: answered by {answer}, expected {floor} to {model.number}",
        )

    async def _ask_rest(self, name: str) -> int:
        connection = await self._connections.get()
        await connection.send(post(f"/v2/models/{name}/infer", _BODY))
        status, _, body = await connection.answer()
        self._connections.put_nowait(connection)
        if status != 200:
            raise RuntimeError(f"{status}: {body.decode()}")
        return int(json.loads(body)["outputs"][0]["data"][0])

    async def _ask_grpc(self, name: str) -> int:
        request = pb.ModelInferRequest(model_name=name)
        request.inputs.add(name="IN", datatype="INT64", shape=[1])
        request.raw_input_contents.append(np.ones(1, np.int64).tobytes())
        answer = await self._infer(request, timeout=60)
        return int(np.frombuffer(answer.raw_output_contents[0], np.int64)[0])

    # --- what happens meanwhile -------------------------------------------------------------------------------------

    async def _take(self, step: str) -> None:
        model = self._chance.choice(self._models)
        if step == "reload":
            model.rewrite()
            await self._load(model)
        elif step == "upgrade":
            model.upgrade()
            await self._load(model)
        elif self._chance.random() < 0.5:
            model.rewrite(broken=True)
            await self._load(model, broken=True)
            model.rewrite()
            await self._load(model)
        else:
            model.upgrade(broken=True)
            await self._load(model, broken=True)
            model.take_away()
            await self._load(model)

    async def _load(self, model: Updated, *, broken: bool = False) -> None:
        good = model.number
        answer = await self._http.post(f"{self._server.rest}/v2/repository/models/{model.name}/load")
        if broken:
            self._ledger.expect(answer.status_code == 400, f"a broken {model.name}: {answer.status_code}")
            return
        self._ledger.expect(answer.status_code == 200, f"load {model.name}: {answer.text}")
        if good not in model.broken:
            model.floor = good
        ready = await self._http.get(f"{self._server.rest}/v2/health/ready")
        self._ledger.expect(ready.status_code == 200, "the server is not ready")

    async def _check_index(self) -> None:
        answer = await self._http.post(f"{self._server.rest}/v2/repository/index")
        for model in self._models:
            ready = [
                each for each in answer.json() if each["name"] == model.name and each["state"] == "READY"
            ]
            self._ledger.expect(
                [each.get("reason", "") for each in ready] == [""], f"the index: {answer.text}"
            )

    async def _calm(self, before: State | None) -> State:
        """The state once what was replaced has gone, and with it what clients had, or after a while."""

        def gone() -> bool:
            return all(
                entry["state"] in ("READY", "UNAVAILABLE")
                for entry in self._server.post("/v2/repository/index").json()
            )

        await asyncio.to_thread(wait_until, gone, 60)
        await self._http.aclose()
        self._http = httpx.AsyncClient(timeout=60)
        # Memory is given back a second after the last of them.
        await asyncio.sleep(self._options.rest)
        found = [self._state()]

        def settled() -> bool:
            found.append(self._state())
            if before is None:
                return found[-1].descriptors == found[-2].descriptors
            return not found[-1].left_over(before)

        # A process notices by and by that a connection was left.
        with suppress(AssertionError):
            await asyncio.to_thread(wait_until, settled, 20)
        return found[-1]

    def _state(self) -> State:
        """Of all processes: each has the models, and connections."""
        return State(self._server, workers(self._server.process.pid), _MAX_GROWTH_BYTES)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.updates")
    parser.add_argument("--reloads", type=int, default=500, metavar="N", help="of changed files [500]")
    parser.add_argument("--upgrades", type=int, default=50, metavar="N", help="to a new version [50]")
    parser.add_argument("--broken", type=int, default=20, metavar="N", help="updates that fail [20]")
    parser.add_argument("--rate", type=float, default=200, metavar="N", help="requests a second [200]")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of what happens [1]")
    parser.add_argument(
        "--rest", type=float, default=3, metavar="S", help="seconds before it is looked what is left [3]"
    )
    parser.add_argument("flags", nargs="*", help="for the server, behind --")
    return parser.parse_args()


def main() -> int:
    """Run; returns the exit status."""
    options = arguments()
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        repository.mkdir()
        server = launch(
            Path(folder),
            repository,
            "--model-control-mode=explicit",
            *options.flags,
            cwd=ROOT,
            program=NAMED_THREADS,
        )
        soak = Soak(server, repository, ledger, options)
        outcome = carried_out(server, ledger, lambda: asyncio.run(soak.run()))
    happened = ", ".join(f"{count} {name}" for name, count in soak.steps.items())
    return report(outcome, ledger, sent=soak.sent, happened=happened, since="a tenth")


if __name__ == "__main__":
    sys.exit(main())
