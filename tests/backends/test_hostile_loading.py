"""Whatever a plug-in raises or returns while it is loaded: the load fails with a text that says so; nothing hangs, and
other models are served.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_v2._generated.model_config_pb2 import TYPE_INT64
from kserve_v2.backend import AnyInstance, Model, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.scheduling.replies import infer
from tests.backends.hostile import MOST_TEXT, RAISED, Act, Unasked, check_text, fine, raised, raising, run


@dataclass
class HostileBackend:
    """Does at each of its calls what the test says; and is a sane one where that is nothing."""

    acts: dict[str, Act] = field(default_factory=dict)
    default_filename: str = "model.any"
    platform: str = ""
    open_instances: int = 0

    def act(self, place: str, otherwise: Act = fine) -> Any:
        return self.acts[place]() if place in self.acts else otherwise()

    def gpu_count(self) -> int:
        return int(self.act("gpu_count", int))

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        self.act("complete")
        for tensors in (config.input, config.output):
            if not tensors:
                tensors.add(name="x", data_type=TYPE_INT64, dims=[1])

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        return self.act("load", lambda: HostileModel(self))  # type: ignore[no-any-return]


@dataclass
class HostileModel:
    backend: HostileBackend

    def instance(self, placement: Placement) -> AnyInstance:
        return self.backend.act("instance", lambda: HostileInstance(self.backend))  # type: ignore[no-any-return]

    def close(self) -> None:
        self.backend.act("close")


class HostileInstance:
    def __init__(self, backend: HostileBackend) -> None:
        self.backend = backend
        backend.open_instances += 1

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.backend.act("execute")
        return tensors

    def close(self) -> None:
        self.backend.open_instances -= 1
        self.backend.act("close instance")


class Registry(BackendRegistry):
    """Of these backends alone: to look for others takes longer than a test."""

    def __init__(self, **backends: HostileBackend) -> None:
        self._entry_points = {}
        self._backends = dict(backends)  # type: ignore[arg-type]


@asynccontextmanager
async def managing(root: Path, hostile: HostileBackend) -> AsyncIterator[ModelManager]:
    """A manager of one model of the hostile backend, and one of a sane one."""
    for name in ("hostile", "sane"):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(f'backend: "{name}" instance_group {{ count: 2 }}')
    manager = ModelManager(
        RepositoryOptions((root,)), Registry(hostile=hostile, sane=HostileBackend()), load_threads=1
    )
    yield manager
    await check_serves(manager, "sane")
    await manager.stop()


async def check_serves(manager: ModelManager, name: str) -> None:
    await manager.load(name)
    answer = await infer(manager.acquire(name), InferRequest(name, {"x": np.array([7])}))
    assert answer.outputs["x"].tolist() == [7]


async def check_does_not_load(manager: ModelManager, hostile: HostileBackend) -> str:
    """Loading fails, with a reason that can be shown; the next time, when it behaves, it does not."""
    with pytest.raises(InvalidArgumentError) as caught:
        await manager.load("hostile")
    check_text(caught.value)
    [entry] = [entry for entry in await manager.index() if entry.name == "hostile"]
    assert entry.state == "UNAVAILABLE"
    assert 0 < len(entry.reason) < MOST_TEXT
    hostile.acts.clear()
    await check_serves(manager, "hostile")
    return entry.reason


@raised
@pytest.mark.parametrize("place", ["gpu_count", "complete", "load", "instance"])
def test_whatever_is_raised_while_a_model_is_loaded(tmp_path: Path, place: str, name: str) -> None:
    async def main() -> None:
        hostile = HostileBackend({place: raising(name)})
        async with managing(tmp_path, hostile) as manager:
            await check_does_not_load(manager, hostile)

    run(main)


@raised
def test_whatever_is_raised_while_a_model_is_closed(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        hostile = HostileBackend({"close": raising(name), "close instance": raising(name)})
        async with managing(tmp_path, hostile) as manager:
            await check_serves(manager, "hostile")
            manager.unload("hostile")
            while (await manager.index())[0].state == "UNLOADING":
                await manager.changed.wait()
            assert (await manager.index())[0].reason == "unloaded"
            assert hostile.open_instances == 0
            await check_serves(manager, "hostile")

    run(main)


@raised
def test_one_of_several_instances_that_fails_and_all_that_fail_to_close(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        hostile = HostileBackend({"close instance": raising(name)})
        made: list[HostileInstance] = []

        def second_fails() -> HostileInstance:
            if made:
                raise RAISED[name]()
            made.append(HostileInstance(hostile))
            return made[0]

        hostile.acts["instance"] = second_fails
        async with managing(tmp_path, hostile) as manager:
            await check_does_not_load(manager, hostile)

    run(main)


class NoClose:
    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        return tensors


class Both:
    """Of use for a decoupled model alone."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        yield tensors

    def close(self) -> None:
        pass


def concurrent(number: object) -> object:
    class Concurrent:
        max_concurrency = number

        async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
            return tensors

        def close(self) -> None:
            pass

    return Concurrent()


@pytest.mark.parametrize(
    ("place", "given", "reason"),
    [
        ("load", fine, "NoneType"),
        ("load", object, "object"),
        ("instance", fine, "NoneType"),
        ("instance", object, "object"),
        ("instance", NoClose, "NoClose for a model, which needs 'execute'"),
        ("instance", Both, "Both for a model, which needs 'execute'"),
        ("instance", Unasked, "SystemExit: 9"),
        ("instance", lambda: concurrent(0), "max_concurrency 0, expected an integer >= 1"),
        ("instance", lambda: concurrent(-1), "max_concurrency -1, expected an integer >= 1"),
        ("instance", lambda: concurrent(None), "max_concurrency None, expected an integer >= 1"),
        ("instance", lambda: concurrent(2.5), "max_concurrency 2.5, expected an integer >= 1"),
        ("instance", lambda: concurrent(True), "max_concurrency True, expected an integer >= 1"),
        ("gpu_count", fine, "NoneType"),
    ],
)
def test_what_is_no_model_and_no_instance(tmp_path: Path, place: str, given: Act, reason: str) -> None:
    async def main() -> None:
        hostile = HostileBackend({place: given})
        async with managing(tmp_path, hostile) as manager:
            assert reason in await check_does_not_load(manager, hostile)

    run(main)


class Answers:
    """What is asked of a model or an instance beside its work. Which question fails is said by `question`."""

    question = ""

    @property
    def output_labels(self) -> object:
        return self.answer("output_labels", {})

    @property
    def movable(self) -> object:
        return self.answer("movable", True)

    @property
    def fresh_outputs(self) -> object:
        return self.answer("fresh_outputs", True)

    def answer(self, question: str, otherwise: object) -> object:
        if question == self.question:
            raise SystemExit(10)
        return otherwise


class AnsweringModel(HostileModel, Answers):
    question = "output_labels"


class AnsweringInstance(HostileInstance, Answers):
    pass


@pytest.mark.parametrize("question", ["output_labels", "movable", "fresh_outputs"])
def test_questions_that_fail(tmp_path: Path, question: str) -> None:
    """Whatever else a plug-in is asked, it is not on the event loop."""

    async def main() -> None:
        hostile = HostileBackend()

        def instance() -> AnsweringInstance:
            made = AnsweringInstance(hostile)
            made.question = question
            return made

        if question == "output_labels":
            hostile.acts["load"] = lambda: AnsweringModel(hostile)
        else:
            hostile.acts["instance"] = instance
        async with managing(tmp_path, hostile) as manager:
            assert "SystemExit: 10" in await check_does_not_load(manager, hostile)
            assert hostile.open_instances == 2

    run(main)


@pytest.mark.parametrize(
    "labels", [{"x": [1]}, {"x": 3}, {3: ["a"]}, {"x": [b"a"]}, [], None, {"x": ["a", None]}]
)
def test_labels_that_are_none(tmp_path: Path, labels: object) -> None:
    class Labelled(HostileModel):
        pass

    async def main() -> None:
        hostile = HostileBackend()

        def load() -> Labelled:
            model = Labelled(hostile)
            model.output_labels = labels  # type: ignore[attr-defined]
            return model

        hostile.acts["load"] = load
        async with managing(tmp_path, hostile) as manager:
            await check_does_not_load(manager, hostile)

    run(main)


def test_an_instance_that_cannot_stream_is_none_of_a_decoupled_model(tmp_path: Path) -> None:
    async def main() -> None:
        hostile = HostileBackend()
        async with managing(tmp_path, hostile) as manager:
            config = tmp_path / "hostile" / "config.pbtxt"
            config.write_text(config.read_text() + "model_transaction_policy { decoupled: true }")
            with pytest.raises(InvalidArgumentError, match="decoupled model, which needs 'stream'"):
                await manager.load("hostile")

    run(main)
