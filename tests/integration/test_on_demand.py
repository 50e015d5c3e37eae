"""Models that are loaded when they are first asked for, by whatever way that is."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.calling_models import ASYNC, SYNC
from tests.integration.calling_models import run as call_models
from tests.integration.conftest import ExplicitServer, Start, StartExplicit
from tests.integration.ensemble_models import INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.handlers import SLOW_TO_LOAD, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, post_load
from tests.integration.sequence_models import Stream
from tests.integration.support import Gate, Wire, error_of, infer_bytes, json_tensor, metric, wait_until

pytestmark = pytest.mark.slow

ON_DEMAND = "--model-control-mode=on-demand"
ALL = "version_policy { all { } }"
Later = Callable[..., Future[Any]]


@pytest.fixture(scope="module")
def on_demand(start_explicit: StartExplicit) -> ExplicitServer:
    started = start_explicit(ON_DEMAND)
    started.write("caller", SYNC)
    started.write("async_caller", ASYNC)
    return started


@pytest.fixture(scope="module")
def channel(on_demand: ExplicitServer) -> Iterator[Channel]:
    with Channel(on_demand.server) as made:
        yield made


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as made:
        yield made


def grpc_request(model: str, **fields: Any) -> pb.ModelInferRequest:
    return request_of(model, tensor("IN", "INT32", [1], int_contents=[0]), **fields)


def number_of(answer: pb.ModelInferResponse) -> int:
    return int.from_bytes(answer.raw_output_contents[0], "little")


def counted(root: Path, name: str, number: int = 1, load: str = "pass") -> str:
    """A handler that writes a line for each of its loads, does `load`, and answers with `number`."""
    return (
        f"import socket\nclass Model:\n"
        f'    inputs = {{"IN": ("INT32", [1])}}\n    outputs = {{"VERSION": ("INT32", [1])}}\n'
        f"    def load(self, context):\n"
        f"        with open({str(root / (name + '.loads'))!r}, 'a') as file:\n            file.write('load\\n')\n"
        f"        {load}\n"
        f'    def __call__(self, inputs):\n        return {{"VERSION": [{number}]}}\n'
    )


def loads(on_demand: ExplicitServer, name: str) -> int:
    path = on_demand.root / f"{name}.loads"
    return len(path.read_text().splitlines()) if path.exists() else 0


def waits_at(gate: Gate) -> str:
    return f"with socket.create_connection(('127.0.0.1', {gate.port}), timeout=120) as gate: gate.recv(1)"


# --- every way to ask -----------------------------------------------------------------------------------------------


def by_rest(server: ExplicitServer, channel: Channel, name: str) -> int:
    return answer_of(server.server, name)


def by_rest_with_version(server: ExplicitServer, channel: Channel, name: str) -> int:
    return answer_of(server.server, name, "1")


def by_asgi(server: ExplicitServer, channel: Channel, name: str) -> int:
    # The fast lane does not take a body in chunks.
    content = (part for part in [json.dumps(ASK).encode()])
    response = server.server.post(f"/v2/models/{name}/infer", content=content)
    return int(response.json()["outputs"][0]["data"][0])


def by_generate(server: ExplicitServer, channel: Channel, name: str) -> int:
    return int(server.server.post(f"/v2/models/{name}/generate", json={"IN": 0}).json()["VERSION"])


def by_generate_stream(server: ExplicitServer, channel: Channel, name: str) -> int:
    text = server.server.post(f"/v2/models/{name}/generate_stream", json={"IN": 0}).text
    return int(json.loads(text.removeprefix("data: "))["VERSION"])


def by_rest_metadata(server: ExplicitServer, channel: Channel, name: str) -> int:
    return int(server.server.get(f"/v2/models/{name}").json()["versions"][0])


def by_rest_config(server: ExplicitServer, channel: Channel, name: str) -> int:
    assert server.server.get(f"/v2/models/{name}/config").json()["name"] == name
    return 1


def by_grpc(server: ExplicitServer, channel: Channel, name: str) -> int:
    return number_of(channel.infer(grpc_request(name)))


def by_grpc_metadata(server: ExplicitServer, channel: Channel, name: str) -> int:
    method = channel.method("ModelMetadata", pb.ModelMetadataResponse)
    return int(method(pb.ModelMetadataRequest(name=name), timeout=60).versions[0])


def by_grpc_config(server: ExplicitServer, channel: Channel, name: str) -> int:
    method = channel.method("ModelConfig", pb.ModelConfigResponse)
    assert method(pb.ModelConfigRequest(name=name), timeout=60).config.name == name
    return 1


def by_stream(server: ExplicitServer, channel: Channel, name: str) -> int:
    with Stream(server.server) as stream:
        stream.send(grpc_request(name))
        return number_of(stream.next().infer_response)


def by_a_call(server: ExplicitServer, channel: Channel, name: str, caller: str = "caller") -> int:
    step = {"model": name, "inputs": {"IN": ["int32", [0]]}}
    [told] = call_models(server.server, step, model=caller)
    return int(told["outputs"]["VERSION"][0])


def by_an_async_call(server: ExplicitServer, channel: Channel, name: str) -> int:
    return by_a_call(server, channel, name, "async_caller")


def by_tritonclient_http(server: ExplicitServer, channel: Channel, name: str) -> int:
    tensor = triton_http.InferInput("IN", [1], "INT32")
    tensor.set_data_from_numpy(np.zeros(1, np.int32))
    with triton_http.InferenceServerClient(server.server.rest.removeprefix("http://")) as client:
        return int(client.infer(name, [tensor]).as_numpy("VERSION")[0])


def by_tritonclient_grpc(server: ExplicitServer, channel: Channel, name: str) -> int:
    tensor = triton_grpc.InferInput("IN", [1], "INT32")
    tensor.set_data_from_numpy(np.zeros(1, np.int32))
    with triton_grpc.InferenceServerClient(server.server.grpc) as client:
        return int(client.infer(name, [tensor]).as_numpy("VERSION")[0])


WAYS = (
    by_rest, by_rest_with_version, by_asgi, by_generate, by_generate_stream, by_rest_metadata, by_rest_config, by_grpc,
    by_grpc_metadata, by_grpc_config, by_stream, by_a_call, by_an_async_call, by_tritonclient_http,
    by_tritonclient_grpc,
)  # fmt: skip


@pytest.mark.parametrize("ask", WAYS)
def test_whoever_asks_first_has_the_model_loaded(
    on_demand: ExplicitServer, channel: Channel, ask: Callable[[ExplicitServer, Channel, str], int]
) -> None:
    name = f"first_{ask.__name__}"
    on_demand.write(name, counted(on_demand.root, name))
    assert on_demand.index(name) == [{"name": name}]
    # Twice: whoever has asked is remembered by some of the ways.
    assert [ask(on_demand, channel, name) for _ in range(2)] == [1, 1]
    [entry] = on_demand.index(name)
    assert (entry["version"], entry["state"], loads(on_demand, name)) == ("1", "READY", 1)
    # Once more when it was unloaded: all that was remembered of it is of no use now.
    on_demand.unload(name)
    assert [ask(on_demand, channel, name) for _ in range(2)] == [1, 1]
    assert loads(on_demand, name) == 2


def test_an_ensemble_comes_with_its_steps_and_comes_back_when_one_was_unloaded(
    on_demand: ExplicitServer, channel: Channel
) -> None:
    on_demand.write("one_more", add(1))
    on_demand.write("two_more", add(2))
    steps = [("one_more", {"x": "X"}, {"y": "t"}), ("two_more", {"x": "t"}, {"y": "Y"})]
    write_ensemble(on_demand.root, ensemble("three_more", steps, ONE_INT, {"Y": INT}, "max_batch_size: 4"))
    body = {"inputs": [json_tensor("X", "INT32", [1, 1], [4])]}
    for step in ("", "one_more", "two_more"):
        if step:
            on_demand.unload(step)
        response = on_demand.server.infer("three_more", body)
        assert response.status_code == 200, response.text
        assert response.json()["outputs"][0]["data"] == [7]


def test_readiness_and_statistics_only_tell(on_demand: ExplicitServer, channel: Channel) -> None:
    on_demand.write("asleep", counted(on_demand.root, "asleep"))
    assert on_demand.server.get("/v2/models/asleep/ready").status_code == 400
    ready = channel.method("ModelReady", pb.ModelReadyResponse)(
        pb.ModelReadyRequest(name="asleep"), timeout=60
    )
    assert not ready.ready
    assert on_demand.server.get("/v2/models/asleep/stats").status_code == 400
    assert on_demand.server.get("/v2/models/stats").status_code == 200
    assert on_demand.index("asleep") == [{"name": "asleep"}]
    assert loads(on_demand, "asleep") == 0


def test_the_api_loads_and_unloads(on_demand: ExplicitServer) -> None:
    on_demand.write("by_hand", counted(on_demand.root, "by_hand"))
    assert on_demand.load("by_hand").status_code == 200
    assert on_demand.index("by_hand")[0]["state"] == "READY"
    assert on_demand.unload("by_hand").status_code == 200
    wait_until(lambda: on_demand.index("by_hand")[0]["state"] == "UNAVAILABLE")


def test_labels_are_known_once_the_model_is_loaded(on_demand: ExplicitServer, channel: Channel) -> None:
    for number in (1, 2):
        on_demand.write("labelled", versioned(number), ALL, number)
    (on_demand.root / "labelled" / "release.json").write_text('{"labels": {"PROD": 1, "STG": 2}}')
    answer = channel.infer(grpc_request("labelled", model_version="STG"))
    assert (answer.model_version, number_of(answer)) == ("2", 2)
    on_demand.unload("labelled")
    assert answer_of(on_demand.server, "labelled", "PROD") == 1
    on_demand.unload("labelled")
    status, text = channel.infer_fails(grpc_request("labelled", model_version="NONE"))
    assert (status, "has no version 'NONE'" in text) == (STATUS.NOT_FOUND, True)


# --- one load for all -----------------------------------------------------------------------------------------------


def test_all_who_ask_meanwhile_wait_for_one_load(
    on_demand: ExplicitServer, channel: Channel, gate: Gate, later: Later
) -> None:
    on_demand.write("shared", counted(on_demand.root, "shared", load=waits_at(gate)))
    wires = [Wire(on_demand.server) for _ in range(8)]
    for wire in wires:
        wire.send_infer("shared", ASK)
    calls = [later(by_grpc, on_demand, channel, "shared") for _ in range(2)]
    asked = later(by_a_call, on_demand, channel, "shared")
    called = later(post_load, on_demand.server, "shared")
    gate.await_start()
    assert on_demand.index("shared")[0]["state"] == "LOADING"
    # Others are answered meanwhile, and the server stays ready.
    on_demand.write("beside", versioned(3))
    assert answer_of(on_demand.server, "beside") == 3
    assert on_demand.server.get("/v2/health/ready").status_code == 200
    gate.open()
    for wire in wires:
        assert wire.response().status_code == 200
        wire.close()
    assert [call.result(60) for call in (*calls, asked)] == [1, 1, 1]
    assert called.result(60).status_code == 200
    assert loads(on_demand, "shared") == 1


def test_no_version_answers_before_all_are_there(on_demand: ExplicitServer, gate: Gate, later: Later) -> None:
    # An older one that loads faster would answer what is for the newest.
    on_demand.write("two", counted(on_demand.root, "two", 1), ALL, 1)
    on_demand.write("two", counted(on_demand.root, "two", 2, waits_at(gate)), ALL, 2)
    (on_demand.root / "two" / "release.json").write_text('{"labels": {"STG": 2}}')
    first = later(answer_of, on_demand.server, "two")
    gate.await_start()
    wait_until(lambda: [entry["state"] for entry in on_demand.index("two")] == ["READY", "LOADING"])
    with Wire(on_demand.server) as wire:
        wire.send_infer("two", ASK)
        labelled = later(answer_of, on_demand.server, "two", "STG")
        for _ in range(5):
            assert on_demand.server.get("/v2/models/two/ready").status_code != 200
        gate.open()
        assert wire.response().json()["outputs"][0]["data"] == [2]
    assert (first.result(60), labelled.result(60)) == (2, 2)
    assert answer_of(on_demand.server, "two", "1") == 1


def test_a_release_of_what_is_not_loaded_is_changed(on_demand: ExplicitServer) -> None:
    for number in (1, 2):
        on_demand.write("rolled_back", versioned(number), ALL, number)
    for number in (2, 1):
        change = {"labels": {"PROD": number}, "split": {"shares": {str(number): 100}}}
        path = "/v2/repository/models/rolled_back/release"
        response = on_demand.server.post(path, json=change)
        assert (response.status_code, response.json()["labels"]) == (200, {"PROD": number})
        assert answer_of(on_demand.server, "rolled_back") == number
        assert answer_of(on_demand.server, "rolled_back", "PROD") == number
        on_demand.unload("rolled_back")
    response = on_demand.server.post("/v2/repository/models/made_up/release", json={"labels": {"PROD": 1}})
    assert response.status_code == 404


def test_answers_of_a_stream_stay_in_order(on_demand: ExplicitServer, gate: Gate) -> None:
    on_demand.write("slow_first", counted(on_demand.root, "slow_first", 1, waits_at(gate)))
    on_demand.write("quick_second", versioned(2))
    on_demand.load("quick_second")
    with Stream(on_demand.server) as stream:
        for name in ("slow_first", "quick_second", "slow_first", "made_up"):
            stream.send(grpc_request(name, id=name))
        gate.await_start()
        gate.open()
        answers = [stream.next() for _ in range(4)]
    assert [answer.infer_response.id for answer in answers] == [
        "slow_first", "quick_second", "slow_first", "made_up",
    ]  # fmt: skip
    assert [number_of(answer.infer_response) for answer in answers[:3]] == [1, 2, 1]
    assert answers[3].error_message == "Request for unknown model: 'made_up' is not found"


def test_whoever_leaves_does_not_end_the_load(
    on_demand: ExplicitServer, channel: Channel, gate: Gate
) -> None:
    on_demand.write("left", counted(on_demand.root, "left", load=waits_at(gate)))
    held = metric_of_inflight(on_demand)
    large = {"inputs": [json_tensor("IN", "INT32", [1], [0])], "parameters": {"pad": "x" * 100_000}}
    with Wire(on_demand.server) as leaving, Wire(on_demand.server) as staying:
        staying.send_infer("left", ASK)
        leaving.send_infer("left", large)
        gate.await_start()
        # What waits is in memory, and counted.
        wait_until(lambda: metric_of_inflight(on_demand) >= held + 100_000)
        leaving.close()
        wait_until(lambda: metric_of_inflight(on_demand) < held + 100_000)
        with pytest.raises(grpc.RpcError) as caught:
            channel.infer(grpc_request("left"), timeout=0.3)
        assert caught.value.code() is STATUS.DEADLINE_EXCEEDED
        gate.open()
        assert staying.response().status_code == 200
    assert answer_of(on_demand.server, "left") == 1
    assert metric_of_inflight(on_demand) == held
    assert loads(on_demand, "left") == 1


def metric_of_inflight(on_demand: ExplicitServer) -> int:
    return int(metric(on_demand.server, "kserve_v2_inflight_bytes"))


def test_pipelined_requests_are_answered_in_order(on_demand: ExplicitServer, gate: Gate) -> None:
    on_demand.write("piped", counted(on_demand.root, "piped", 1, waits_at(gate)))
    on_demand.write("piped_behind", versioned(2))
    with Wire(on_demand.server) as wire:
        wire.send(infer_bytes("piped", ASK) + infer_bytes("piped_behind", ASK) + infer_bytes("piped", ASK))
        gate.await_start()
        gate.open()
        answers = [wire.response().json()["outputs"][0]["data"] for _ in range(3)]
    assert answers == [[1], [2], [1]]


# --- what is not there, and what does not work ----------------------------------------------------------------------


def test_made_up_names_are_unknown_and_leave_nothing_behind(
    on_demand: ExplicitServer, channel: Channel
) -> None:
    before = on_demand.server.post("/v2/repository/index").json()
    names = [*(f"made_up_{number}" for number in range(50)), "..", ".hidden", "a\\b", "x" * 5000, "ü"]
    for name in names:
        status, text = channel.infer_fails(grpc_request(name))
        assert status is STATUS.NOT_FOUND
        assert text.startswith(f"Request for unknown model: '{name[:1000]}")
    for name in names[:50]:
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/config"):
            assert on_demand.server.get(path).status_code == 404
        response = on_demand.server.infer(name, ASK)
        assert (response.status_code, error_of(response)) == (
            404, f"Request for unknown model: '{name}' is not found",
        )  # fmt: skip
    [told] = call_models(on_demand.server, {"model": "made_up", "inputs": {"IN": ["int32", [0]]}})
    assert "'made_up' is not found" in told["error"]
    after = on_demand.server.post("/v2/repository/index").json()
    assert [each["name"] for each in after] == [each["name"] for each in before]
    assert on_demand.server.get("/v2/health/ready").status_code == 200


def test_a_version_that_is_not_there_is_unknown_once_the_model_is(on_demand: ExplicitServer) -> None:
    on_demand.write("one_version", versioned(1))
    response = on_demand.server.infer("one_version/versions/7", ASK)
    assert response.status_code == 404
    assert "version 7 is not found" in error_of(response)


def test_nothing_is_loaded_for_what_can_be_no_version(on_demand: ExplicitServer, channel: Channel) -> None:
    on_demand.write("no_version", versioned(1))
    response = on_demand.server.infer("no_version/versions/1%20", ASK)
    assert (response.status_code, "version string '1 '" in error_of(response)) == (400, True)
    status, details = channel.infer_fails(grpc_request("no_version", model_version="+1"))
    assert (status, "version string '+1'" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert on_demand.index("no_version")[0].get("state", "") == ""


def test_a_broken_model_is_not_loaded_by_every_request_but_at_once_when_it_was_repaired(
    on_demand: ExplicitServer, channel: Channel
) -> None:
    on_demand.write("broken", counted(on_demand.root, "broken", load="raise RuntimeError('no luck')"))
    for _ in range(3):
        response = on_demand.server.infer("broken", ASK)
        assert response.status_code == 503
        assert "'broken' is not at ready state: version 1 is at UNAVAILABLE state" in error_of(response)
        assert "no luck" in error_of(response)
        status, text = channel.infer_fails(grpc_request("broken"))
        assert status is STATUS.UNAVAILABLE
        assert "no luck" in text
    assert loads(on_demand, "broken") == 1
    # The server is as ready as before: the start decides.
    assert on_demand.server.get("/v2/health/ready").status_code == 200
    on_demand.write("broken", counted(on_demand.root, "broken", number=5))
    assert answer_of(on_demand.server, "broken") == 5


def test_a_configuration_that_cannot_be_read(on_demand: ExplicitServer) -> None:
    on_demand.write("unread", versioned(1), "max_batch_size: many")
    response = on_demand.server.infer("unread", ASK)
    assert response.status_code == 503
    assert "config.pbtxt:1:17" in error_of(response)


# --- servers of their own -------------------------------------------------------------------------------------------


def test_without_waiting_clients_are_told_to_come_back(
    start: Start, tmp_path: Path, write_model: Any, gate: Gate
) -> None:
    write_model(tmp_path, "slow", SLOW_TO_LOAD.format(port=gate.port, number=1))
    write_model(tmp_path, "initial", versioned(4))
    server = start(ON_DEMAND, "--on-demand-wait-secs=0", "--load-model=initial")
    assert server.post("/v2/repository/index", json={"ready": True}).json()[0]["name"] == "initial"
    with Channel(server) as channel:
        for _ in range(2):
            response = server.infer("slow", ASK)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert error_of(response).endswith("'slow' is not at ready state: it is being loaded")
            assert channel.infer_fails(grpc_request("slow"))[0] is STATUS.UNAVAILABLE
        assert server.infer("made_up", ASK).status_code == 404
        gate.await_start()
        gate.open()
        wait_until(lambda: server.infer("slow", ASK).status_code == 200)
    assert server.stop() == 0


def test_waiting_ends_and_the_load_goes_on(
    start: Start, tmp_path: Path, write_model: Any, gate: Gate
) -> None:
    write_model(tmp_path, "slow", SLOW_TO_LOAD.format(port=gate.port, number=1))
    server = start(ON_DEMAND, "--on-demand-wait-secs=1")
    response = server.infer("slow", ASK)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    gate.await_start()
    gate.open()
    wait_until(lambda: server.infer("slow", ASK).status_code == 200)
    assert server.stop() == 0


def test_whoever_waits_is_told_that_the_server_exits(
    start: Start, tmp_path: Path, write_model: Any, gate: Gate, later: Later
) -> None:
    write_model(tmp_path, "slow", SLOW_TO_LOAD.format(port=gate.port, number=1))
    server = start(ON_DEMAND)
    with Wire(server) as wire, Channel(server) as channel:
        call = later(partial(channel.infer_fails, grpc_request("slow")))
        wire.send_infer("slow", ASK)
        gate.await_start()
        wait_until(lambda: b"slow" in server.post("/v2/repository/index").content)
        server.process.send_signal(signal.SIGTERM)
        response = wire.response()
        assert (response.status_code, error_of(response)) == (503, "Server exiting")
        assert call.result(60) == (STATUS.UNAVAILABLE, "Server exiting")
        gate.open()
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


def test_many_models_at_the_same_time(on_demand: ExplicitServer) -> None:
    for number in range(20):
        on_demand.write(f"many_{number}", versioned(number))

    async def ask_all() -> list[int]:
        async with httpx.AsyncClient(base_url=on_demand.server.rest, timeout=60) as client:
            paths = [f"/v2/models/many_{number % 20}/infer" for number in range(100)]
            answers = await asyncio.gather(*(client.post(path, json=ASK) for path in paths))
        return [int(each.json()["outputs"][0]["data"][0]) for each in answers]

    assert asyncio.run(ask_all()) == [number % 20 for number in range(100)]


def test_what_is_broken_at_the_start_leaves_the_server_unready_until_it_is_repaired(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    write_model(tmp_path, "needed", BROKEN)
    server = start(ON_DEMAND, "--load-model=needed")
    assert server.get("/v2/health/ready").status_code == 400
    write_model(tmp_path, "needed", versioned(1))
    assert answer_of(server, "needed") == 1
    assert server.get("/v2/health/ready").status_code == 200
    assert server.stop() == 0


def test_models_of_the_same_name_in_two_repositories(
    start: Start, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, write_model: Any
) -> None:
    """A name that two models have loads neither; one that is broken is not loaded by every request here, either."""
    other = tmp_path_factory.mktemp("other")
    for root in (tmp_path, other):
        write_model(root, "twice", versioned(1))
    write_model(other, "once", versioned(2))
    write_model(tmp_path, "broken", counted(tmp_path, "broken", load="raise RuntimeError('no luck')"))
    server = start(ON_DEMAND, f"--model-repository={other}", "--model-namespacing")
    assert answer_of(server, "once") == 2
    response = server.infer("twice", ASK)
    assert (response.status_code, error_of(response)[:47]) == (
        400,
        "There are 2 identifiers of model 'twice' in glo",
    )
    for _ in range(3):
        response = server.infer("broken", ASK)
        assert response.status_code == 503
        assert "no luck" in error_of(response)
    assert len((tmp_path / "broken.loads").read_text().splitlines()) == 1
    assert server.stop() == 0


def test_a_repository_that_cannot_be_read(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is loaded answers; what is not is asked for later, and no name is taken for unknown."""
    root = tmp_path_factory.mktemp("repository") / "models"
    for name in ("loaded", "other"):
        (root / name / "1").mkdir(parents=True)
        (root / name / "1" / "model.py").write_text(versioned(1))
    server = start(f"--model-repository={root}", ON_DEMAND)
    assert answer_of(server, "loaded") == 1
    elsewhere = root.rename(root.with_name("elsewhere"))
    for name in ("other", "made_up"):
        response = server.infer(name, ASK)
        assert (response.status_code, error_of(response)) == (
            503,
            f"Request for unknown model: '{name}' is not at ready state: the model repository cannot be read",
        )
    assert answer_of(server, "loaded") == 1
    assert server.log.count("cannot read the model repository, nothing new is loaded") == 1
    elsewhere.rename(root)
    assert answer_of(server, "other") == 1
    assert server.infer("made_up", ASK).status_code == 404
    assert server.stop() == 0
    assert "Traceback" not in server.log
