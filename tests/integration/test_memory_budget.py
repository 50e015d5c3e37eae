"""A budget for memory: idle models make room for those that are asked for, and nobody notices but by the time it takes."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kserve_v2.cli import main
from kserve_v2.repository.sources.room_line import MOST_BEFORE
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import GATED
from tests.integration.support import (
    Gate,
    error_of,
    gated_request,
    json_tensor,
    metric,
    new_tag,
    wait_until,
)

MEGABYTE = 1024 * 1024
ASK = {"inputs": [json_tensor("x", "FP32", [1], [1])]}
ALWAYS = "--memory-min-idle-secs=0"


def write_onnx(
    root: Path, name: str, number: float, megabytes: float = 1, config: str = "", version: str = "1"
) -> None:
    """y = x + number, with so much of weights."""
    weights = np.zeros(int(megabytes * MEGABYTE / 4), np.float32)
    weights[0] = number
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["w", "zero", "one"], ["first"]),
            helper.make_node("Add", ["x", "first"], ["y"]),
        ],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    (root / name / version).mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, root / name / version / "model.onnx")
    if config:
        (root / name / "config.pbtxt").write_text(config)


def ask(server: RunningServer, name: str) -> float:
    response = server.infer(name, ASK)
    assert response.status_code == 200, response.text
    return float(response.json()["outputs"][0]["data"][0])


def states(server: RunningServer) -> dict[str, str]:
    index = server.post("/v2/repository/index").json()
    return {entry["name"]: entry.get("state", "") for entry in index}


def loaded(server: RunningServer) -> set[str]:
    return {name for name, state in states(server).items() if state == "READY"}


def used(server: RunningServer) -> float:
    return metric(server, "kserve_v2_memory_used_bytes", device="cpu")


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


PIN = 'parameters { key: "pin" value { string_value: "true" } }'


@pytest.fixture(scope="module")
def on_demand(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """Room for three models of a megabyte."""
    root = tmp_path_factory.mktemp("on_demand")
    for number in range(6):
        write_onnx(root, f"m{number}", number)
    write_onnx(root, "pinned", 7, config=PIN)
    write_onnx(root, "large", 0, 2.5)
    write_onnx(root, "too_large", 0, 4)
    # A copy counts in each process: the budget is one for one process.
    return start_server(
        root, "--model-control-mode=on-demand", "--memory-budget=cpu=3500K", "--processes=1", ALWAYS
    )


def test_those_that_were_not_asked_for_longest_make_room(on_demand: RunningServer) -> None:
    for number in (0, 1, 2):
        assert ask(on_demand, f"m{number}") == number + 1
    assert loaded(on_demand) == {"m0", "m1", "m2"}
    before = used(on_demand)
    assert 3 * MEGABYTE < before < 3.1 * MEGABYTE
    assert (
        metric(on_demand, "kserve_v2_model_memory_bytes", model="m1", device="cpu", estimated="false")
        < 1.1 * MEGABYTE
    )
    # m0 is asked once more, so m1 goes first.
    assert ask(on_demand, "m0") == 1
    for number, there in ((3, {"m0", "m2", "m3"}), (4, {"m0", "m3", "m4"}), (1, {"m3", "m4", "m1"})):
        assert ask(on_demand, f"m{number}") == number + 1
        assert loaded(on_demand) == there
        assert used(on_demand) <= 3500 * 1024
    assert metric(on_demand, "kserve_v2_model_evictions", model="m1") == 1
    [entry] = [each for each in on_demand.post("/v2/repository/index").json() if each["name"] == "m0"]
    assert entry["reason"].startswith("evicted: ")
    # It is as if it were there.
    assert on_demand.get("/v2/health/ready").status_code == 200
    assert on_demand.get("/v2/models/m0").status_code == 200


def test_the_index_says_what_models_use(on_demand: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(on_demand, "m1") == 2
    entries = {each["name"]: each for each in on_demand.post("/v2/repository/index").json()}
    shown = metric(on_demand, "kserve_v2_model_memory_bytes", model="m1", device="cpu", estimated="false")
    assert entries["m1"]["memory_bytes"] == {"cpu": shown}
    assert "memory_estimated" not in entries["m1"]
    there = {name for name, entry in entries.items() if "memory_bytes" in entry}
    assert there == loaded(on_demand)
    assert main(["models", "--url", on_demand.rest], {}) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["MODEL", "VERSION", "STATE", "MEMORY", "REASON"]
    [line] = [line.split() for line in lines if line.startswith("m1 ")]
    assert line == ["m1", "1", "READY", "1.0", "MiB"]


def test_one_that_is_pinned_stays(on_demand: RunningServer) -> None:
    assert ask(on_demand, "pinned") == 8
    for number in (0, 1, 2, 3, 4, 5):
        assert ask(on_demand, f"m{number}") == number + 1
        assert "pinned" in loaded(on_demand)
    # There is room for it beside nothing else, but that one stays.
    refused = on_demand.infer("large", ASK)
    assert refused.status_code == 503
    assert "retry-after" not in refused.headers
    assert (
        "no room for model 'large' in the memory budget: on cpu it needs 2.5 MiB, and others keep"
        in error_of(refused)
    )
    # Nobody has gone in vain, and it is no reason to be unready.
    assert len(loaded(on_demand)) == 3
    assert on_demand.get("/v2/health/ready").status_code == 200
    on_demand.post("/v2/repository/models/pinned/unload")
    assert ask(on_demand, "large") == 1
    assert loaded(on_demand) == {"large"}


def test_one_that_never_fits(on_demand: RunningServer) -> None:
    there = loaded(on_demand)
    for _ in range(3):
        response = on_demand.post("/v2/repository/models/too_large/load")
        assert response.status_code == 503
        assert "no room for model 'too_large'" in error_of(response)
    assert loaded(on_demand) == there
    # The log says it once, and not with each request.
    wait_until(lambda: on_demand.log.count("not loaded: too_large version 1") == 1)
    assert on_demand.log.count("loading: too_large version 1") == 1


@pytest.fixture
def start(
    tmp_path: Path, start_server: StartServer, write_model: WriteModel
) -> Iterator[Callable[..., RunningServer]]:
    servers: list[RunningServer] = []

    def run(*flags: str) -> RunningServer:
        servers.append(start_server(tmp_path, ALWAYS, "--processes=1", *flags))
        return servers[-1]

    yield run
    for server in servers:
        assert server.stop() == 0


def test_where_models_are_not_loaded_on_demand_who_asks_is_told_to_come_back(
    tmp_path: Path, start: Callable[..., RunningServer]
) -> None:
    """The override of a model that had to go is in force once more."""
    for number in range(2):
        write_onnx(tmp_path, f"m{number}", number)
    write_onnx(tmp_path, "late", 9, 2)
    server = start(
        "--model-control-mode=explicit", "--memory-budget=cpu=3500K", "--load-model=m0", "--load-model=m1"
    )
    override = {"parameters": {"config": '{"metric_tags": {"override": "yes"}}'}}
    assert server.post("/v2/repository/models/m0/load", json=override).status_code == 200
    assert ask(server, "m1") == 2
    assert server.post("/v2/repository/models/late/load").status_code == 200
    assert loaded(server) == {"m1", "late"}
    response = server.infer("m0", ASK)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    wait_until(lambda: server.infer("m0", ASK).status_code == 200)
    assert "m0" in loaded(server)
    assert used(server) <= 3500 * 1024
    assert server.get("/v2/models/m0/config").json()["metric_tags"] == {"override": "yes"}
    # What somebody has unloaded himself is not loaded again.
    server.post("/v2/repository/models/m0/unload")
    wait_until(lambda: states(server)["m0"] == "UNAVAILABLE")
    assert server.infer("m0", ASK).status_code == 404


def test_a_version_that_has_room_does_not_answer_for_one_that_has_none(
    tmp_path: Path, start: Callable[..., RunningServer]
) -> None:
    write_onnx(tmp_path, "two", 1, 2, version="1")
    write_onnx(tmp_path, "two", 2, 2, "version_policy { all { } }", version="2")
    server = start("--model-control-mode=on-demand", "--memory-budget=cpu=3500K")
    for _ in range(3):
        response = server.infer("two", ASK)
        assert (response.status_code, "no room for model 'two'" in response.text) == (503, True)
        assert "retry-after" not in response.headers
    wait_until(lambda: used(server) == 0)


def test_versions_that_wait_for_each_others_room_are_not_loaded_again_and_again(
    tmp_path: Path, start_server: StartServer
) -> None:
    """The one that has room goes while the other one waits: that is no room that has come."""
    write_onnx(tmp_path, "old", 5)
    write_onnx(tmp_path, "two", 1, version="1")
    write_onnx(tmp_path, "two", 2, config="version_policy { all { } }", version="2")
    flags = "--model-control-mode=on-demand", "--memory-budget=cpu=2500K", "--processes=1"
    server = start_server(tmp_path, *flags, "--memory-min-idle-secs=2")
    assert ask(server, "old") == 6
    assert ask(server, "two") == 3
    assert loaded(server) == {"two"}
    # That of the first attempt, and both at the end.
    assert server.log.count("ready: two version") <= 3


def test_more_models_than_memory_at_the_start(tmp_path: Path, start: Callable[..., RunningServer]) -> None:
    for number in range(4):
        write_onnx(tmp_path, f"m{number}", number)
    server = start("--memory-budget=cpu=2500K", "--memory-min-idle-secs=3600")
    assert len(loaded(server)) == 2
    assert server.get("/v2/health/ready").status_code == 200
    table = "".join(server.output)
    assert "| Notes" in table
    assert "1.0 MiB" in table
    for name in set(states(server)) - loaded(server):
        # Nobody has been idle for an hour.
        response = server.infer(name, ASK)
        assert response.status_code == 503


def test_a_model_that_is_asked_now_stays(
    tmp_path: Path,
    start: Callable[..., RunningServer],
    write_model: WriteModel,
    gate: Gate,
    later: Callable[..., "Future[httpx.Response]"],
) -> None:
    write_model(tmp_path, "gated", GATED)
    write_onnx(tmp_path, "m0", 0, 40)
    write_onnx(tmp_path, "m1", 1, 40)
    # The handler takes what the process has grown by, which is not known, but far less than what is left.
    server = start("--model-control-mode=on-demand", "--memory-budget=cpu=70M")
    assert server.infer("gated", gated_request(new_tag())).status_code == 200
    answer = later(server.infer, "gated", gated_request(new_tag(), gate.port))
    gate.await_start()
    for _ in range(3):
        for name in ("m0", "m1"):
            server.infer(name, ASK)
            assert "gated" in loaded(server)
    gate.open()
    assert answer.result().status_code == 200


def test_who_asks_for_a_model_waits_for_those_that_are_asked_now(
    tmp_path: Path,
    start: Callable[..., RunningServer],
    gate: Gate,
    later: Callable[..., "Future[httpx.Response]"],
    write_model: WriteModel,
) -> None:
    """Several do, for models that only take turns; and the one that was asked is not taken away from who asked it."""
    write_model(tmp_path, "gated", GATED)
    (tmp_path / "gated" / "1" / "weights.bin").write_bytes(bytes(40 * MEGABYTE))
    for number in range(3):
        write_onnx(tmp_path, f"m{number}", number, 40)
    server = start("--model-control-mode=on-demand", "--memory-budget=cpu=70M")
    answer = later(server.infer, "gated", gated_request(new_tag(), gate.port))
    gate.await_start()
    waiting = [later(server.infer, f"m{number}", ASK) for number in (0, 1, 2, 0)]
    for number in range(3):
        wait_until(lambda name=f"m{number}": f"not loaded: {name} version 1" in server.log)  # type: ignore[misc]
    assert loaded(server) == {"gated"}
    assert not any(each.done() for each in waiting)
    gate.open()
    assert answer.result().status_code == 200
    for each in waiting:
        assert each.result().status_code == 200, each.result().text
    assert used(server) <= 70 * MEGABYTE


@pytest.mark.slow
def test_a_large_model_is_not_passed_by_small_ones_without_end(
    tmp_path: Path,
    start: Callable[..., RunningServer],
    write_model: WriteModel,
) -> None:
    """There is room for two small ones or the large one. Small ones that are asked all the time take each other's place,
    and the large one would never find both gone.
    """
    for name, megabytes in (("large", 20), *((f"s{number}", 10) for number in range(MOST_BEFORE + 4))):
        write_model(tmp_path, name, GATED)
        (tmp_path / name / "1" / "weights.bin").write_bytes(bytes(megabytes * MEGABYTE))
    # Others wait for an eighth of that at most.
    server = start(
        "--model-control-mode=on-demand", "--memory-budget=cpu=28M", "--on-demand-wait-secs=1200", ALWAYS
    )
    with ExitStack() as stack:
        later = stack.enter_context(ThreadPoolExecutor(MOST_BEFORE + 5)).submit
        gates = [stack.enter_context(Gate()) for _ in range(MOST_BEFORE + 4)]

        def asked(number: int) -> "Future[httpx.Response]":
            return later(server.infer, f"s{number}", gated_request(new_tag(), gates[number].port))

        small = [asked(number) for number in (0, 1)]
        for number in (0, 1):
            gates[number].await_start()
        large = later(server.infer, "large", gated_request(new_tag()))
        wait_until(lambda: "not loaded: large version 1" in server.log)
        for number in range(2, len(gates)):
            small.append(asked(number))
            # They stand in the line in this order.
            wait_until(lambda name=f"s{number}": f"not loaded: {name} version 1" in server.log)  # type: ignore[misc]
        for number in range(MOST_BEFORE):
            gates[number].open()
            gates[number + 2].await_start()
            assert not large.done()
        # That were enough: the next ones wait until the two that are there have gone.
        for number in (MOST_BEFORE, MOST_BEFORE + 1):
            gates[number].open()
        assert large.result().status_code == 200
        for number in (MOST_BEFORE + 2, MOST_BEFORE + 3):
            gates[number].await_start()
            gates[number].open()
        assert [each.result().status_code for each in small] == [200] * len(gates)
    log = server.log
    last = [f"loaded: {name} version 1" for name in ("large", f"s{MOST_BEFORE + 2}", f"s{MOST_BEFORE + 3}")]
    assert sorted(last, key=log.index) == last


@pytest.mark.slow
def test_an_isolated_model_is_measured_by_its_processes(
    tmp_path: Path, start: Callable[..., RunningServer]
) -> None:
    config = 'parameters { key: "isolation" value { string_value: "process" } } instance_group { count: 2 }'
    write_onnx(tmp_path, "apart", 1, config=config)
    server = start()
    measured = metric(server, "kserve_v2_model_memory_bytes", model="apart", device="cpu", estimated="false")
    # Two interpreters with ONNX Runtime.
    assert measured > 20 * MEGABYTE
    # That is known only when it is loaded, and then it goes again.
    limited = start("--memory-budget=cpu=10M", "--model-control-mode=explicit")
    response = limited.post("/v2/repository/models/apart/load")
    assert response.status_code == 503
    assert "no room for model 'apart' in the memory budget: on cpu it needs" in error_of(response)
    assert used(limited) == 0
    assert states(limited)["apart"] == "UNAVAILABLE"


ENSEMBLE = """
platform: "ensemble"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [ { model_name: "step" input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } ] }
"""


def test_an_ensemble_goes_with_its_steps_and_comes_back_with_them(
    tmp_path: Path, start: Callable[..., RunningServer]
) -> None:
    """One that is pinned stays, and so do they."""
    for name, pin in (("whole", ""), ("outer", ""), ("pinned", PIN)):
        step = {"whole": "step", "outer": "whole", "pinned": "kept"}[name]
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(ENSEMBLE.replace('"step"', f'"{step}"') + pin)
    for number, name in enumerate(("step", "kept", "m0", "m1")):
        write_onnx(tmp_path, name, number, config='input { name: "x" dims: [ 1 ] data_type: TYPE_FP32 }')
    server = start("--model-control-mode=on-demand", "--memory-budget=cpu=3500K")
    assert ask(server, "outer") == 1
    assert ask(server, "pinned") == 2
    for _ in range(2):
        assert [ask(server, name) for name in ("m0", "m1")] == [3, 4]
        assert loaded(server) == {"pinned", "kept", "m0", "m1"}
        assert ask(server, "outer") == 1
        assert {"pinned", "kept", "outer", "whole", "step"} <= loaded(server)
