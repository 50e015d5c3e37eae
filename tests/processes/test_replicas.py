"""Copies of models in several processes: loaded together, answered by together, counted together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.errors import InvalidArgumentError, NotFoundError, NotHereError, UnavailableError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import RegionsElsewhere
from kserve_v2.processes.kinds import Kind
from kserve_v2.repository.lifecycle.load_request import LoadRequest
from kserve_v2.repository.residency.residency import Budget
from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.settings import TraceChanges
from kserve_v2.tracing.tracer import Tracer
from tests.processes.replica_worker import BROKEN_ELSEWHERE, DEADLY_ELSEWHERE, VouchedBackend, WorkerBackend
from tests.processes.replicated import House, house, run
from tests.repository.text_models import SizedBackend, TextModel, answer, is_set, write

SINGLE = 'parameters { key: "home" value { string_value: "single" } }'
TWO_VERSIONS = "version_policy { latest { num_versions: 2 } }"


def test_all_processes_answer(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")
    write(tmp_path, "alone", "alone", config=SINGLE)

    async def main() -> None:
        async with house(tmp_path) as server:
            await server.manager.load("m")
            await server.manager.load("alone")
            assert await server.ask_all("m") == await server.ask_all("m", "1") == ["one"] * 3
            assert await server.ask_all("alone") == ["alone", "", ""]
            notes = [entry.note.rpartition("memory, ")[2] for entry in await server.manager.index()]
            assert notes == ["in one process: its configuration says 'single'", "in every process"]
            # What is not there is for the home to say.
            for asked in (("m", "2"), ("m", "PROD"), ("n", "")):
                assert await server.workers[1].ask(*asked) == ""
            write(tmp_path, "m", "two...")
            await server.manager.load("m")
            assert await server.ask_all("m") == ["two..."] * 3
            server.manager.unload("m")
            await server.replicas.acknowledged()
            assert await server.workers[1].ask("m") == await server.workers[2].ask("m") == ""
            with pytest.raises(NotFoundError):
                await answer(server.manager, "m")

    run(main)


def test_a_load_that_fails_in_one_process_is_undone_in_all(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            good, bad = server.workers[1], await server.join(2, backend=WorkerBackend())
            await server.manager.load("m")
            write(tmp_path, "m", f"{BROKEN_ELSEWHERE}...")
            with pytest.raises(InvalidArgumentError, match="process 2: no room for it here"):
                await server.manager.load("m")
            assert await server.ask_all("m") == ["one"] * 3
            [entry] = await server.manager.index()
            assert (entry.state, "process 2: no room for it here" in entry.reason) == ("READY", True)
            # The copy that was made for nothing is closed; what a model has left, too.
            for worker in (good, bad):
                assert worker.host is not None
                assert len(worker.host._copies) == 1
            write(tmp_path, "m", "three....")
            await server.manager.load("m")
            assert await server.ask_all("m") == ["three...."] * 3

    run(main)


def test_a_first_load_that_fails_elsewhere_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, "m", BROKEN_ELSEWHERE)

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.join(2, backend=WorkerBackend())
            with pytest.raises(InvalidArgumentError, match="process 2: no room for it here"):
                await server.manager.load("m")
            with pytest.raises(NotFoundError, match="process 2: no room for it here"):
                await answer(server.manager, "m")
            assert await server.workers[1].ask("m") == ""

    run(main)


def test_files_that_change_meanwhile(tmp_path: Path) -> None:
    """The home has read one text, and a worker another one: neither is served."""
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=0) as server:
            backend = VouchedBackend()
            await server.join(1, backend=backend)
            await server.manager.load("m")
            write(tmp_path, "m", "two...")
            backend.load_gate.clear()
            backend.loading.clear()
            load = asyncio.ensure_future(server.manager.load("m"))
            await is_set(backend.loading)
            write(tmp_path, "m", "three....")
            backend.load_gate.set()
            with pytest.raises(InvalidArgumentError, match="its files have changed since it was loaded"):
                await load
            assert await server.ask_all("m") == ["one"] * 2

    run(main)


def test_a_load_is_answered_when_all_processes_go_by_it(tmp_path: Path) -> None:
    """And until then, what was there before answers in all of them."""
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            slow = VouchedBackend()
            await server.join(2, backend=slow)
            await server.manager.load("m")
            write(tmp_path, "m", "two...")
            slow.load_gate.clear()
            slow.loading.clear()
            load = asyncio.ensure_future(server.manager.load("m"))
            await is_set(slow.loading)
            assert await server.ask_all("m") == ["one"] * 3
            assert not load.done()
            slow.load_gate.set()
            await load
            assert await server.ask_all("m") == ["two..."] * 3

    run(main)


CALLS: dict[str, Callable[[InferenceService], Awaitable[object]]] = {
    "load": lambda service: service.load("m"),
    "unload": lambda service: service.unload("m"),
    "release": lambda service: service.change_release("m", {"split": {"shares": {"1": 100}}}, "test"),
    "trace": lambda service: service.update_trace_settings("m", TraceChanges({"levels": ("TIMESTAMPS",)})),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_answered_when_all_processes_go_by_what_it_says(tmp_path: Path, call: str) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            tracer = Tracer(TraceConfig(file=str(tmp_path / "trace.json")))
            server.is_traced = tracer.traces
            service = InferenceService(server.manager, tracer, server_id="", explicit=True)
            await server.manager.load("m")
            write(tmp_path, "m", "two...")
            told, goes_by_it = asyncio.Event(), asyncio.Event()
            worker = server.workers[1]
            assert worker.host is not None
            route = worker.host._route

            async def later(payload: bytes | memoryview) -> bytes:
                told.set()
                await goes_by_it.wait()
                route(payload)
                return b""

            worker.others[0].on(Kind.REPLICA_ROUTE, later)
            calling = asyncio.ensure_future(CALLS[call](service))
            await told.wait()
            assert await worker.ask("m") == "one"
            done, _ = await asyncio.wait({calling}, timeout=0.05)
            assert not done
            goes_by_it.set()
            await calling
            assert await worker.ask("m") == ("two..." if call == "load" else "")

    run(main)


def test_a_worker_that_comes_later(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")
    write(tmp_path, "bad", BROKEN_ELSEWHERE)

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            await server.manager.load("bad")
            await server.end(1)
            assert await server.ask_all("m") == ["one"]
            await server.join(1, backend=WorkerBackend())
            assert await server.ask_all("m") == ["one"] * 2
            # What it cannot load is answered by the home.
            assert await server.ask_all("bad") == [BROKEN_ELSEWHERE, ""]
            # And one that begins while a model is being loaded gets that, too.
            write(tmp_path, "m", "two...")
            server.backend.load_gate.clear()
            server.backend.loading.clear()
            load = asyncio.ensure_future(server.manager.load("m"))
            await is_set(server.backend.loading)
            await server.join(2)
            server.backend.load_gate.set()
            await load
            assert await server.ask_all("m") == ["two..."] * 3

    run(main)


class Reluctant(VouchedBackend):
    """Has no room for so many loads. `loads` are all that were tried."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self._failures = failures

    def load(self, source: ModelSource, config: ModelConfig) -> TextModel:
        if self._failures:
            self._failures -= 1
            self.loads.append((source.name, source.version))
            raise InvalidArgumentError("no room for it here")
        return super().load(source, config)


def test_a_worker_that_comes_later_tries_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "m", "one")
    write(tmp_path, "n", "n")

    async def main() -> None:
        async with house(tmp_path, workers=0, try_again_s=(0.01, 0.02)) as server:
            await server.manager.load("m")
            worker = await server.join(1, backend=Reluctant(2))
            assert await server.ask_all("m") == ["one", ""]
            while await worker.ask("m") != "one":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            # It is as any other again.
            await server.manager.load("n")
            assert await server.ask_all("n") == ["n", "n"]
            await server.end(1)
            hopeless = Reluctant(100)
            worker = await server.join(1, backend=hopeless)
            while "which the others answer for: no room" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert hopeless.loads.count(("m", 1)) == 3
            # Somebody else's load is none of it, and that model is not in its way, either.
            write(tmp_path, "m", "two...")
            with pytest.raises(InvalidArgumentError, match="process 1: no room for it here"):
                await server.manager.load("m")
            assert await server.ask_all("m") == ["one", ""]

    run(main)
    assert "which the others answer for, and tries again in 0.02 s: no room for it here" in caplog.text


def test_a_worker_that_comes_later_takes_no_other_files(tmp_path: Path) -> None:
    """What lies there by then was not loaded by anybody."""
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            await server.end(1)
            write(tmp_path, "m", "two...")
            backend = VouchedBackend()
            await server.join(1, backend=backend)
            assert await server.ask_all("m") == ["one", ""]
            assert backend.open == 0
            await server.manager.load("m")
            assert await server.ask_all("m") == ["two..."] * 2

    run(main)


def test_the_end_of_a_worker_holds_nothing_up(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            slow = VouchedBackend()
            await server.join(2, backend=slow)
            slow.load_gate.clear()
            load = asyncio.ensure_future(server.manager.load("m"))
            await is_set(slow.loading)
            server.workers[2].link.abort()
            await load
            slow.load_gate.set()
            await server.end(2)
            assert await server.ask_all("m") == ["one"] * 2
            # What is under way there is somebody's, and he is told.
            slow = VouchedBackend()
            worker = await server.join(2, backend=slow)
            slow.execution_gate.clear()
            asked = asyncio.ensure_future(worker.ask("m"))
            await is_set(slow.entered)
            closing = asyncio.ensure_future(server.manager.stop())
            await asyncio.sleep(0)
            for link in worker.others:
                link.abort()
            with pytest.raises(UnavailableError):
                await asked
            slow.execution_gate.set()
            await closing

    run(main)


def test_what_is_under_way_ends_where_it_began(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=0) as server:
            slow = VouchedBackend()
            worker = await server.join(1, backend=slow)
            await server.manager.load("m")
            [old] = server.manager.ready_versions("m")
            slow.execution_gate.clear()
            asked = asyncio.ensure_future(worker.ask("m"))
            await is_set(slow.entered)
            await server.manager.count()
            assert (old.idle, old.elsewhere.idle) == (False, False)
            write(tmp_path, "m", "two...")
            await server.manager.load("m")
            managed = server.manager.managed("m")
            assert managed is not None
            assert [str(each.state) for each in managed.records] == ["UNLOADING", "READY"]
            assert not asked.done()
            slow.execution_gate.set()
            assert await asked == "one"
            assert await server.ask_all("m") == ["two..."] * 2

    run(main)


def test_releases_and_traces_are_for_the_home(tmp_path: Path) -> None:
    write(tmp_path, "m", "one", 1, TWO_VERSIONS)
    write(tmp_path, "m", "two", 2)

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            assert await server.ask_all("m") == ["two", "two"]
            assert await server.ask_all("m", "1") == ["one", "one"]
            await server.manager.releases.change("m", {"split": {"shares": {"1": 100}}}, "test")
            await server.replicas.acknowledged()
            assert await server.ask_all("m") == ["one", ""]
            await server.manager.releases.change("m", {"split": None}, "test")
            await server.replicas.acknowledged()
            assert await server.ask_all("m") == ["two", "two"]
            server.is_traced = lambda name: name == "m"
            server.replicas.publish_again()
            await server.replicas.acknowledged()
            assert await server.ask_all("m") == ["two", ""]
            server.is_traced = lambda _: False
            server.replicas.publish_again()
            await server.replicas.acknowledged()
            assert await server.ask_all("m") == ["two", "two"]

    run(main)


def test_the_newest_version_may_be_the_homes_alone(tmp_path: Path) -> None:
    """What names no version is for the newest, which is too large to be everywhere."""
    write(tmp_path, "m", "one", 1, TWO_VERSIONS)
    write(tmp_path, "m", "2" * 1001, 2)

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            assert await server.ask_all("m", "1") == ["one", "one"]
            assert await server.workers[1].ask("m") == ""
            homes = [model.home for model in server.manager.ready_versions("m")]
            assert [home.why for home in homes] == ["", "its files are 1001 B, more than 1000 B"]

    run(main)


def instances(server: House, number: int) -> list[int]:
    """How many each copy has, the home's in front."""
    host = server.workers[number].host
    assert host is not None
    [here] = server.manager.ready_versions("m")
    return [here.places - here.elsewhere.places, *(copy.model.places for copy in host._copies.values())]


def test_other_instances_while_a_worker_begins(tmp_path: Path) -> None:
    """It was told the old number, and has the new one when the call returns."""
    write(tmp_path, "m", "one", config="instance_group { count: 1 kind: KIND_CPU }")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            slow = VouchedBackend()
            slow.load_gate.clear()
            joining = asyncio.ensure_future(server.join(2, backend=slow))
            await is_set(slow.loading)
            (tmp_path / "m" / "config.pbtxt").write_text("instance_group { count: 3 kind: KIND_CPU }")
            load = asyncio.ensure_future(server.manager.load("m"))
            while instances(server, 1) != [3, 1]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            slow.load_gate.set()
            await load
            await joining
            assert instances(server, 1) == instances(server, 2) == [3, 3]
            assert len(slow.loads) == 1

    run(main)


def test_other_instances(tmp_path: Path) -> None:
    write(tmp_path, "m", "one", config="instance_group { count: 1 kind: KIND_CPU }")

    async def main() -> None:
        async with house(tmp_path, workers=0) as server:
            backend = VouchedBackend()
            await server.join(1, backend=backend)
            await server.manager.load("m")
            configuration = tmp_path / "m" / "config.pbtxt"
            configuration.write_text("instance_group { count: 3 kind: KIND_CPU }")
            await server.manager.load("m")
            assert instances(server, 1) == [3, 3]
            assert len(server.backend.loads) == len(backend.loads) == 1
            await server.join(2)
            assert instances(server, 2) == [3, 3]
            # One that cannot be made: a load is tried, which says so, and the old one answers everywhere as it was.
            backend.refused = "m_0_3"
            configuration.write_text("instance_group { count: 4 kind: KIND_CPU }")
            with pytest.raises(InvalidArgumentError, match="process 1: no room for m_0_3"):
                await server.manager.load("m")
            assert instances(server, 1) == instances(server, 2) == [3, 3]
            assert await server.ask_all("m") == ["one"] * 3

    run(main)


def test_sums(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path) as server:
            await server.manager.load("m")
            [model] = server.manager.ready_versions("m")
            for _ in range(4):
                await server.ask_all("m")
            assert model.statistics.success_count == 4
            activity = model.activity
            await server.manager.count()
            assert model.statistics.success_count == model.statistics.inference_count == 12
            assert model.statistics.execution_count == sum(model.statistics.waited.counts) == 12
            assert model.activity > activity
            assert model.places == 3
            # What a worker had counted stays, and its places go.
            await server.end(1)
            assert (model.statistics.success_count, model.places) == (12, 2)
            await server.join(1)
            await server.ask_all("m")
            await server.manager.count()
            await server.manager.count()
            assert (model.statistics.success_count, model.places) == (15, 3)

    run(main)


class SmallBackend(SizedBackend):
    keeps_nothing = True


def test_who_was_asked_elsewhere_does_not_make_room(tmp_path: Path) -> None:
    """The budget has room for two models, in two processes each."""
    for name in ("old", "new", "another"):
        write(tmp_path, name, "x" * 100)

    async def main() -> None:
        budget = Budget({"cpu": 500})
        async with house(tmp_path, workers=0, backend=SmallBackend(), memory=budget) as server:
            worker = await server.join(1)
            await server.manager.load("old")
            await server.manager.load("new")
            assert server.manager.residency.used == {"cpu": 400}
            loaded_ms = time.time_ns() // 1_000_000
            while time.time_ns() // 1_000_000 <= loaded_ms + 1:
                assert await worker.ask("old")
            await server.manager.load("another")
            assert server.manager.residency.evictions == {"new": 1}
            assert server.manager.residency.used == {"cpu": 400}
            assert [await worker.ask(name) != "" for name in ("old", "new", "another")] == [True, False, True]

    run(main)


def test_memory_is_counted_for_each_copy(tmp_path: Path) -> None:
    write(tmp_path, "m", "x" * 100)
    write(tmp_path, "alone", "x" * 100, config=SINGLE)

    async def main() -> None:
        async with house(tmp_path) as server:
            await server.manager.load("alone")
            [alone] = server.manager.ready_versions("alone")
            await server.manager.load("m")
            [model] = server.manager.ready_versions("m")
            assert alone.memory is not None
            assert model.memory is not None
            used = server.manager.residency.used["cpu"]
            assert used == alone.memory.bytes["cpu"] + model.memory.bytes["cpu"]
            assert model.memory.bytes["cpu"] % 3 == 0

    run(main)


def test_a_configuration_that_comes_with_the_load(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            config = '{"backend": "text", "parameters": {"home": {"string_value": "%s"}}}'
            await server.manager.load("m", LoadRequest(config % "single"))
            assert await server.ask_all("m") == ["one", ""]
            await server.manager.load("m", LoadRequest(config % "replicated"))
            assert await server.ask_all("m") == ["one", "one"]
            with pytest.raises(InvalidArgumentError, match="expected 'single' or 'replicated'"):
                await server.manager.load("m", LoadRequest(config % "home"))
            assert await server.ask_all("m") == ["one", "one"]

    run(main)


def test_at_the_exit_nothing_is_answered_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, "m", "one")

    async def main() -> None:
        async with house(tmp_path, workers=1) as server:
            await server.manager.load("m")
            await server.manager.drain()
            assert await server.workers[1].ask("m") == ""
            await server.join(2)
            assert await server.workers[2].ask("m") == ""

    run(main)


@pytest.mark.slow
def test_a_model_that_ends_workers_is_given_to_no_more_of_them(tmp_path: Path) -> None:
    write(tmp_path, "m", DEADLY_ELSEWHERE)
    write(tmp_path, "n", "n")

    async def main() -> None:
        async with house(tmp_path, workers=0) as server:
            await server.manager.load("m")
            await server.manager.load("n")
            for _ in range(2):
                worker = await server.join(1, apart=True)
                await worker.link.closed
                await server.end(1)
            await server.join(1, apart=True)
            assert await server.ask_all("m") == [DEADLY_ELSEWHERE, ""]
            assert await server.ask_all("n") == ["n", "n"]

    run(main)


def test_what_a_request_names_elsewhere_is_handed_over() -> None:
    with pytest.raises(NotHereError):
        RegionsElsewhere().part("region", 0, 8)
