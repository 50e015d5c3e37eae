"""Copies of real models: they are as what they are copies of."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.errors import NotHereError, ServingError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.plugins import BackendRegistry
from kserve_v2.processes.link import Link
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.processes.replicas import ProcessReplicas
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.batching import LargeRequests
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.homes import Spread
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.slices import Slices
from tests.processes.replicated import ROOT, run

DIGITS = ROOT / "model_repository" / "digits_onnx"
EVERYWHERE = 'parameters { key: "home" value { string_value: "replicated" } }'
UNTRIED = 'parameters { key: "try_batching" value { string_value: "false" } }'
HANDLER = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def load(self, context):
        self.seen = context.metrics.counter("seen", "Requests")
        self.newest = context.metrics.gauge("newest", "The last value")

    def __call__(self, inputs):
        self.seen.increment()
        self.newest.set(float(inputs["x"][0]))
        return {"y": inputs["x"]}
"""
CALLER = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        return {"y": self.context.call("handler", {"x": inputs["x"]})["y"]}
"""


class Two:
    """A home, and a worker that is in this process, too."""

    def __init__(self, root: Path) -> None:
        shared = Shared()
        self.metrics = shared.metrics
        self.replicas = ProcessReplicas(shared.metrics, lambda _: False)
        options = RepositoryOptions((root,), spread=Spread(2))
        self.manager = ModelManager(options, BackendRegistry(), 4, shared, self.replicas)
        self.host = ReplicaHost(BackendRegistry(), Shared())

    async def both(self, name: str) -> tuple[LoadedModel, LoadedModel]:
        await self.manager.load(name)
        return self.manager.acquire(name), self.host.acquire(name)

    def shown(self) -> list[str]:
        lines = "".join(family.text() for family in self.metrics.families()).splitlines()
        return [line for line in lines if not line.startswith("#")]


@asynccontextmanager
async def two(root: Path) -> AsyncIterator[Two]:
    made = Two(root)
    ours, theirs = socket.socketpair()
    home, worker = Link(home=True), Link(home=False)
    made.replicas.serve(1, home)
    made.host.serve(worker)
    await home.open(ours)
    await worker.open(theirs)
    await made.replicas.joined(1, home)
    try:
        yield made
    finally:
        await made.manager.drain()
        await made.manager.stop()
        await made.host.close()
        home.close()
        await worker.closed


async def ask(model: LoadedModel, rows: int, name: str, tensor: np.ndarray) -> InferResponse:
    request = InferRequest(model.name, {name: np.repeat(tensor, rows, axis=0)})
    model.check(request)
    return await infer(model, request)


def digits(root: Path, config: str | None) -> None:
    """None: as it is in the repository."""
    directory = root / "digits" / "1"
    directory.mkdir(parents=True)
    shutil.copy(DIGITS / "1" / "model.onnx", directory)
    shutil.copy(DIGITS / "labels.txt", directory.parent)
    written = (DIGITS / "config.pbtxt").read_text() if config is None else config
    (directory.parent / "config.pbtxt").write_text(written.replace("digits_onnx", "digits"))


@pytest.mark.parametrize(
    ("config", "large"),
    [
        (None, LargeRequests.REFUSED),
        # The server chooses what it merges.
        ("", LargeRequests.SPLIT),
        (UNTRIED, LargeRequests.WHOLE),
        ("dynamic_batching { max_queue_delay_microseconds: 100 }", LargeRequests.SPLIT),
        ("max_batch_size: 2", LargeRequests.REFUSED),
        ('parameters { key: "auto_warmup" value { string_value: "true" } }', LargeRequests.SPLIT),
    ],
)
def test_a_copy_is_as_the_model(tmp_path: Path, config: str | None, large: LargeRequests) -> None:
    digits(tmp_path, config)

    async def main() -> None:
        async with two(tmp_path) as server:
            model, copy = await server.both("digits")
            assert isinstance(model, ExecutedModel)
            assert isinstance(copy, ExecutedModel)
            assert model.config == copy.config
            assert model.labels == copy.labels
            assert model.large_requests is copy.large_requests is large
            assert model.warmed_up.executions == copy.warmed_up.executions
            assert model._queue.rules == copy._queue.rules
            assert model.signature.takes_large_requests == copy.signature.takes_large_requests
            [tensor] = model.signature.input_metadata()
            image = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, -1)
            image = image.reshape(1, *tensor.shape[1:])
            for rows in (1, 2, 100):
                outcomes = []
                for each in (model, copy):
                    try:
                        outcomes.append((await ask(each, rows, tensor.name, image)).outputs)
                    except ServingError as error:
                        outcomes.append(error.message)
                if isinstance(outcomes[0], str):
                    assert outcomes[0] == outcomes[1]
                    assert rows > model.config.max_batch_size
                else:
                    assert outcomes[0].keys() == outcomes[1].keys()
                    for name, array in outcomes[0].items():
                        np.testing.assert_array_equal(array, outcomes[1][name])

    run(main)


def handler(root: Path, name: str, code: str) -> None:
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.py").write_text(code)
    (root / name / "config.pbtxt").write_text(EVERYWHERE)


def test_metrics_that_handlers_make(tmp_path: Path) -> None:
    handler(tmp_path, "handler", HANDLER)

    async def main() -> None:
        async with two(tmp_path) as server:
            model, copy = await server.both("handler")
            for each, times in ((model, 2), (copy, 3)):
                for number in range(times):
                    await ask(each, 1, "x", np.array([number], np.float32))
            await server.manager.count()
            labels = 'model="handler",version="1"'
            assert server.shown() == [
                f"seen{{{labels}}} 5",
                f'newest{{process="0",{labels}}} 1',
                f'newest{{process="1",{labels}}} 2',
            ]
            assert model.statistics.success_count == 5
            # A reload makes the new version's before the old one's go: counters count on, in both.
            handler_file = tmp_path / "handler" / "1" / "model.py"
            handler_file.write_text(HANDLER + "\n# changed")
            _, copy = await server.both("handler")
            await ask(copy, 1, "x", np.array([7], np.float32))
            await server.manager.count()
            assert server.shown()[0] == f"seen{{{labels}}} 6"
            managed = server.manager.managed("handler")
            assert managed is not None
            server.manager.unload("handler")
            while any(record.model is not None for record in managed.records):
                await asyncio.wait_for(server.manager.changed.wait(), 60)
            await server.manager.count()
            assert server.shown() == []

    run(main)


def test_a_model_in_every_process_calls_no_others(tmp_path: Path) -> None:
    """In none of them: the answer must not depend on which one is asked."""
    handler(tmp_path, "handler", HANDLER)
    handler(tmp_path, "caller", CALLER)

    async def main() -> None:
        async with two(tmp_path) as server:
            await server.manager.load("handler")
            for each in await server.both("caller"):
                with pytest.raises(
                    ServingError, match="cannot ask for other models there: for that, give it"
                ):
                    await ask(each, 1, "x", np.array([1], np.float32))

    run(main)


def test_a_handler_may_keep_something(tmp_path: Path) -> None:
    handler(tmp_path, "handler", HANDLER)
    (tmp_path / "handler" / "config.pbtxt").write_text("")

    async def main() -> None:
        async with two(tmp_path) as server:
            await server.manager.load("handler")
            home = server.manager.acquire("handler").home
            assert str(home) == (
                "in one process: it may keep something of one request for another, unless the parameter 'home' says "
                "'replicated'"
            )

    run(main)


def test_what_a_worker_is_reading_at_the_exit_keeps_its_model(tmp_path: Path) -> None:
    handler(tmp_path, "handler", HANDLER)
    open_gate = [False]
    found: list[object] = []

    def reading() -> Slices[str]:
        while not open_gate[0]:
            yield
        return "read"

    async def main() -> None:
        async with two(tmp_path) as made:
            _, copy = await made.both("handler")
            host = made.host

            def read(outcome: object) -> None:
                with Carrying(GIVEN):
                    found.append((outcome, host.acquire("handler") is copy))

            host.service.slicer.begin(reading(), read)
            withdrawn = asyncio.ensure_future(made.replicas.withdraw())
            # The link brings it what the home says.
            while host.has("handler"):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            # What comes now is refused, and what has come is waited for.
            with pytest.raises(NotHereError):
                host.acquire("handler")
            assert not withdrawn.done()
            open_gate[0] = True
            await withdrawn
            assert found == [("read", True)]
            with pytest.raises(NotHereError), Carrying(GIVEN):
                host.acquire("handler")

    run(main)
