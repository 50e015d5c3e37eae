"""The response cache over real sockets. Every model counts its executions: an answer with an old count was kept."""

import json
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.utils.shared_memory as shm

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.ensemble_models import ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.handlers import GATED, identity
from tests.integration.rest_requests import post_binary, read_binary
from tests.integration.support import (
    Gate,
    Wire,
    error_of,
    executed_tags,
    gated_request,
    json_tensor,
    metric,
    new_tag,
    pending,
    statistics,
    wait_until,
)
from tests.redis_server import RedisServer, needs_redis

CACHED = "response_cache { enable: true }\n"

# N is how many executions there were. X below zero is refused. Writes to what it is given, as handlers may.
COUNTED = """
import numpy as np
from kserve_v2.errors import InvalidArgumentError
class Model:
    inputs = {"X": ("INT32", [-1, -1])}
    outputs = {"Y": ("INT32", [-1, -1]), "Z": ("INT32", [-1, -1]), "N": ("INT32", [1])}
    count = 0
    def __call__(self, inputs, requests):
        self.count += 1
        x = inputs["X"]
        if x.min() < 0:
            raise InvalidArgumentError(f"X is {x.min()}")
        for request in requests:
            request.response_parameters["word"] = str(request.parameters.get("word", ""))
        return {"Y": x + %d, "Z": x * 2, "N": np.array([self.count], np.int32)}
"""

TEXTS = """
import numpy as np
class Model:
    inputs = {"X": ("BYTES", [-1])}
    outputs = {"N": ("INT32", [1]), "TEXT": ("BYTES", [1])}
    count = 0
    def __call__(self, inputs):
        self.count += 1
        return {"N": np.array([self.count], np.int32), "TEXT": np.array([b"|".join(inputs["X"].tolist())], object)}
"""

CLASSES = """
import numpy as np
class Model:
    inputs = {"X": ("FP32", [3])}
    outputs = {"SCORES": ("FP32", [3])}
    max_batch_size = 4
    def __call__(self, inputs):
        return {"SCORES": inputs["X"]}
"""

# Answers with the very array that it was given, changed.
GREEDY = """
import numpy as np
class Model:
    inputs = {"X": ("INT32", [-1, -1])}
    outputs = {"Y": ("INT32", [-1, -1]), "N": ("INT32", [1])}
    count = 0
    def __call__(self, inputs):
        self.count += 1
        inputs["X"] += 100
        return {"Y": inputs["X"], "N": np.array([self.count], np.int32)}
"""

# Answers what another model answers.
CALLING = """
class Model:
    inputs = {"X": ("INT32", [-1, -1])}
    outputs = {"Y": ("INT32", [-1, -1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        return {"Y": self.context.call("called", inputs)["Y"]}
"""

STREAM = """
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"I": ("INT32", [1])}
    def __call__(self, inputs):
        yield {"I": inputs["N"]}
"""

NO_COALESCING = 'parameters { key: "coalesce_requests" value { string_value: "false" } }\n'
OWN_WAIT = (
    "dynamic_batching { default_queue_policy { "
    "default_timeout_microseconds: 600000000 allow_timeout_override: true } }\n"
)


def counted(add: int = 1) -> str:
    """A model whose Y is X and so much."""
    return COUNTED % add


def write_models(root: Path, write_model: WriteModel) -> None:
    for name in ("counted", "compared", "reloaded", "other"):
        write_model(root, name, counted(), CACHED)
    write_model(root, "uncached", counted())
    write_model(root, "texts", TEXTS, CACHED)
    write_model(root, "classes", CLASSES, CACHED)
    write_model(root, "gated", GATED, CACHED + OWN_WAIT)
    write_model(root, "alone", GATED, CACHED + NO_COALESCING)
    write_model(root, "stream", STREAM, CACHED + "model_transaction_policy { decoupled: true }")
    write_model(root, "sequence", identity("INT32", [1], 4), CACHED + "sequence_batching { }")


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """A server with a local cache, whose clients may use shared memory."""
    root = tmp_path_factory.mktemp("cached")
    write_models(root, write_model)
    models = [
        f"--load-model={path.name}" for path in root.iterdir() if path.name not in ("stream", "sequence")
    ]
    return start_server(
        root, "--cache-config=local,size=1000000", "--model-control-mode=explicit", "--allow-client-shm=true", *models
    )  # fmt: skip


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[Channel]:
    """A gRPC connection to it."""
    with Channel(server) as made:
        yield made


def ask(server: RunningServer, data: Any, model: str = "counted", **fields: Any) -> dict[str, Any]:
    """The outputs and parameters of an answer, by name."""
    array = np.array(data)
    answer = server.infer(model, {"inputs": [json_tensor("X", "INT32", list(array.shape), data)], **fields})
    assert answer.status_code == 200, answer.text
    return {
        **{output["name"]: np.array(output["data"]).reshape(output["shape"]).tolist() for output in answer.json()["outputs"]},
        **answer.json().get("parameters", {}),
        "id": answer.json().get("id", ""),
    }  # fmt: skip


def numbers() -> Iterator[int]:
    """Numbers that no other request has."""
    while True:
        yield new_tag()


fresh = numbers()


# --- what is the same request ----------------------------------------------------------------------------------------


def test_equal_requests_have_one_execution_and_each_its_own_id(server: RunningServer) -> None:
    x = [[next(fresh)]]
    first = ask(server, x, id="a")
    assert first["Y"] == [[x[0][0] + 1]]
    for name in ("b", "c", ""):
        assert ask(server, x, **({"id": name} if name else {})) == {**first, "id": name}


def test_another_shape_with_equal_bytes_is_another_request(server: RunningServer) -> None:
    # scheduling.md 9.2: Triton answers [1, 4] to both.
    x = [next(fresh), 2, 3, 4]
    flat, square = [x], [x[:2], x[2:]]
    for _ in range(2):
        assert ask(server, flat)["Z"] == [[2 * each for each in x]]
        assert ask(server, square)["Z"] == [[2 * each for each in x[:2]], [2 * each for each in x[2:]]]


def test_other_outputs_are_another_request(server: RunningServer) -> None:
    # scheduling.md 9.2: Triton answers Y when Z is asked for.
    x = [[next(fresh)]]
    for _ in range(2):
        for name, value in (("Y", [[x[0][0] + 1]]), ("Z", [[2 * x[0][0]]])):
            assert ask(server, x, outputs=[{"name": name}]) == {name: value, "word": "", "id": ""}


def test_other_parameters_are_another_request_and_priority_and_timeout_are_not(server: RunningServer) -> None:
    x = [[next(fresh)]]
    first = ask(server, x)
    for word in ("a", "b", "a"):
        assert ask(server, x, parameters={"word": word})["word"] == word
    assert ask(server, x, parameters={"priority": 1, "timeout": 10**9}) == first
    assert ask(server, x, parameters={"flag": True})["N"] != ask(server, x, parameters={"flag": 1})["N"]


def test_both_protocols_and_all_forms_of_tensors_share_the_answers(
    server: RunningServer, channel: Channel
) -> None:
    value = next(fresh)
    first = ask(server, [[value]])
    raw = struct.pack("<i", value)
    header = {
        "inputs": [
            {"name": "X", "datatype": "INT32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}
        ],
        "parameters": {"binary_data_output": True},
    }
    for _ in range(2):
        head, data = read_binary(post_binary(server, "counted", header, raw))
        assert [output["name"] for output in head["outputs"]] == ["Y", "Z", "N"]
        assert struct.unpack("<3i", data) == (value + 1, 2 * value, *first["N"])
        by_raw = channel.infer(request_of("counted", tensor("X", "INT32", [1, 1]), raw=[raw], id="r"))
        assert by_raw.id == "r"
        typed = tensor("X", "INT32", [1, 1], int_contents=[value])
        by_contents = channel.infer(request_of("counted", typed))
        for answer in (by_raw, by_contents):
            assert [struct.unpack("<i", each)[0] for each in answer.raw_output_contents] == [
                value + 1, 2 * value, *first["N"],
            ]  # fmt: skip


def test_streams_over_grpc_are_answered_from_it_too(server: RunningServer, channel: Channel) -> None:
    value = next(fresh)
    first = ask(server, [[value]])
    call = channel.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    typed = tensor("X", "INT32", [1, 1], int_contents=[value])
    answers = list(
        call(iter([request_of("counted", typed, id=str(number)) for number in range(3)]), timeout=60)
    )
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2"]
    for answer in answers:
        assert struct.unpack("<i", answer.infer_response.raw_output_contents[2]) == tuple(first["N"])


def test_texts(server: RunningServer) -> None:
    def text(*elements: str) -> tuple[int, str]:
        body = {"inputs": [json_tensor("X", "BYTES", [len(elements)], list(elements))]}
        outputs = {
            output["name"]: output["data"][0] for output in server.infer("texts", body).json()["outputs"]
        }
        return outputs["N"], outputs["TEXT"]

    tag = str(next(fresh))
    cut, cut_elsewhere = text(tag + "a", "bc"), text(tag + "ab", "c")
    assert (cut[1], cut_elsewhere[1]) == (f"{tag}a|bc", f"{tag}ab|c")
    assert text(tag + "a", "bc") == cut
    assert text(tag + "ab", "c") == cut_elsewhere


def test_classes_and_numbers_come_from_one_answer(server: RunningServer) -> None:
    def scores(**parameters: Any) -> Any:
        body = {
            "inputs": [json_tensor("X", "FP32", [1, 3], [0.5, 0.25, 0.75])],
            "outputs": [{"name": "SCORES", "parameters": parameters}],
        }
        return server.infer("classes", body).json()["outputs"][0]["data"]

    for _ in range(2):
        assert scores() == [0.5, 0.25, 0.75]
        assert [text.split(":")[1] for text in scores(classification=2)] == ["2", "0"]


def test_shared_memory_is_known_by_what_is_in_it(server: RunningServer) -> None:
    handle = shm.create_shared_memory_region("cache", f"test_cache_{server.process.pid}", 4, create_only=True)
    try:
        register = {"key": f"test_cache_{server.process.pid}", "offset": 0, "byte_size": 4}
        assert server.post("/v2/systemsharedmemory/region/cache/register", json=register).status_code == 200
        parameters = {"shared_memory_region": "cache", "shared_memory_byte_size": 4}
        body = {"inputs": [{"name": "X", "datatype": "INT32", "shape": [1, 1], "parameters": parameters}]}

        def answer(value: int) -> dict[str, Any]:
            shm.set_shared_memory_region(handle, [np.array([[value]], np.int32)])
            return {each["name"]: each["data"] for each in server.infer("counted", body).json()["outputs"]}

        one, two = next(fresh), next(fresh)
        for _ in range(2):
            assert answer(one)["Y"] == [one + 1]
            assert answer(two)["Y"] == [two + 1]
        assert answer(one)["N"] == ask(server, [[one]])["N"]
        # A hit goes where its request wants it.
        body["outputs"] = [{"name": "Y", "parameters": parameters}]
        for _ in range(2):
            shm.set_shared_memory_region(handle, [np.array([[two]], np.int32)])
            assert server.infer("counted", body).status_code == 200
            assert shm.get_contents_as_numpy(handle, np.int32, [1]).tolist() == [two + 1]
    finally:
        server.post("/v2/systemsharedmemory/region/cache/unregister")
        shm.destroy_shared_memory_region(handle)


# --- what is counted -------------------------------------------------------------------------------------------------


def counts(server: RunningServer, model: str) -> dict[str, int]:
    """The statistics of a model, without times."""
    entry = statistics(server, model)
    return {
        **{name: duration["count"] for name, duration in entry["inference_stats"].items()},
        "inference_count": entry["inference_count"],
        "execution_count": entry["execution_count"],
    }


def test_hits_and_misses_are_counted_as_triton_counts_them(server: RunningServer) -> None:
    # scheduling.md 9.4
    for number in range(3):
        ask(server, [[1]], "compared", id=str(number))
    assert counts(server, "compared") == {
        "success": 3, "fail": 0, "queue": 3, "compute_input": 1, "compute_infer": 1, "compute_output": 1,
        "cache_hit": 2, "cache_miss": 1, "inference_count": 1, "execution_count": 1,
    }  # fmt: skip
    durations = statistics(server, "compared")["inference_stats"]
    assert durations["cache_hit"]["ns"] > 0
    assert durations["cache_miss"]["ns"] > 0
    of_model = {"model": "compared", "version": "1"}
    assert metric(server, "nv_cache_num_hits_per_model", **of_model) == 2
    assert metric(server, "nv_cache_num_misses_per_model", **of_model) == 1
    assert metric(server, "nv_cache_hit_duration_per_model", **of_model) >= 0
    assert metric(server, "nv_cache_miss_duration_per_model", **of_model) >= 0
    assert metric(server, "nv_inference_request_success", **of_model) == 3
    assert metric(server, "nv_inference_count", **of_model) == 1
    with pytest.raises(AssertionError, match="no sample"):
        metric(server, "nv_cache_num_hits_per_model", model="uncached")


def test_the_cache_itself_is_measured(server: RunningServer) -> None:
    def gauges() -> dict[str, float]:
        lines = [line.partition("{}") for line in server.client.get(server.metrics).text.splitlines()]
        return {name: float(value) for name, braces, value in lines if braces and "cache" in name}

    before = gauges()
    assert set(before) == {
        *(f"nv_cache_{name}" for name in ("util", "num_entries", "num_lookups", "num_hits", "num_misses")),
        *(f"nv_cache_{name}" for name in ("num_evictions", "lookup_duration", "insertion_duration")),
        "kserve_v2_cache_bytes",
    }  # fmt: skip
    x = [[next(fresh)]]
    for _ in range(3):
        ask(server, x)
    after = gauges()
    change = {name: after[name] - before[name] for name in after}
    assert (change["nv_cache_num_entries"], change["nv_cache_num_lookups"]) == (1, 3)
    assert (change["nv_cache_num_hits"], change["nv_cache_num_misses"]) == (2, 1)
    assert change["kserve_v2_cache_bytes"] > 12
    assert after["nv_cache_util"] == pytest.approx(after["kserve_v2_cache_bytes"] / 1_000_000, rel=1e-4)


def test_errors_are_executed_again(server: RunningServer) -> None:
    # scheduling.md 9.3: Triton keeps an error as an empty success.
    x = {"inputs": [json_tensor("X", "INT32", [1, 1], [-next(fresh)])]}
    before = ask(server, [[next(fresh)]])["N"][0]
    for _ in range(2):
        answer = server.infer("counted", x)
        assert answer.status_code == 400
        assert "X is -" in error_of(answer)
    assert ask(server, [[next(fresh)]])["N"][0] == before + 3


def test_a_model_that_does_not_ask_for_it_has_no_cache(server: RunningServer) -> None:
    assert [ask(server, [[1]], "uncached")["N"] for _ in range(2)] == [[1], [2]]


def test_models_do_not_share_answers(server: RunningServer) -> None:
    x = [[next(fresh)]]
    ask(server, x)
    before = counts(server, "other")["execution_count"]
    ask(server, x, "other")
    assert counts(server, "other")["execution_count"] == before + 1


# --- generations -----------------------------------------------------------------------------------------------------


def test_a_reload_begins_with_nothing(server: RunningServer, write_model: WriteModel) -> None:
    # scheduling.md 9.9: Triton answers with the old model's entries.
    x = [[next(fresh)]]
    assert ask(server, x, "reloaded")["Y"] == [[x[0][0] + 1]]
    assert ask(server, x, "reloaded")["N"] == [1]
    root = Path(server.process.args[server.process.args.index("--model-repository") + 1])  # type: ignore[union-attr, call-overload, arg-type]
    write_model(root, "reloaded", counted(add=5), CACHED)
    entries = metric_of_cache(server, "nv_cache_num_entries")
    assert server.post("/v2/repository/models/reloaded/load").status_code == 200
    answer = ask(server, x, "reloaded")
    assert answer["Y"] == [[x[0][0] + 5]]
    assert answer["N"] == [1]
    assert ask(server, x, "reloaded") == answer
    # One has gone, and one has come.
    wait_until(lambda: metric_of_cache(server, "nv_cache_num_entries") == entries)
    assert server.post("/v2/repository/models/reloaded/unload").status_code == 200
    wait_until(lambda: metric_of_cache(server, "nv_cache_num_entries") == entries - 1)


def metric_of_cache(server: RunningServer, name: str) -> float:
    """A metric of the whole cache."""
    text = server.client.get(server.metrics).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{"))


# --- ensembles -------------------------------------------------------------------------------------------------------

INT, NUMBER = "TYPE_INT32 [ -1, -1 ]", "TYPE_INT32 [ 1 ]"


def chain(name: str, steps: list[str], config: str = "") -> str:
    """An ensemble that gives each step the Y of the last one, and answers with Y and N of the last."""
    wired = [
        (step, {"X": f"x{number}" if number else "X"}, {"Y": f"x{number + 1}"})
        for number, step in enumerate(steps)
    ]
    wired[-1] = (steps[-1], wired[-1][1], {"Y": "Y", "N": "N"})
    return ensemble(name, wired, {"X": INT}, {"Y": INT, "N": NUMBER}, config)


@dataclass(frozen=True)
class Chains:
    """A server with a cache, whose models are loaded as the test asks."""

    server: RunningServer
    root: Path
    write_model: WriteModel

    def load(self, name: str) -> httpx.Response:
        return self.server.post(f"/v2/repository/models/{name}/load")

    def write(self, name: str, add: int, config: str = CACHED) -> None:
        self.write_model(self.root, name, counted(add), config)
        assert self.load(name).status_code == 200

    def wire(self, name: str, steps: list[str], config: str = CACHED) -> None:
        write_ensemble(self.root, chain(name, steps, config))
        assert self.load(name).status_code == 200

    def executions(self, name: str) -> int:
        return counts(self.server, name)["execution_count"]


@pytest.fixture(scope="module")
def chains(server: RunningServer, write_model: WriteModel) -> Chains:
    arguments = [str(argument) for argument in server.process.args]  # type: ignore[union-attr]
    return Chains(server, Path(arguments[arguments.index("--model-repository") + 1]), write_model)


def test_an_ensemble_s_hit_runs_no_step(chains: Chains) -> None:
    # scheduling.md 9.1 and 9.7
    chains.write("first", 1, "")
    chains.write("last", 10, "")
    chains.wire("chain", ["first", "last"])
    answers = [ask(chains.server, [[5]], "chain", id=str(number)) for number in range(3)]
    assert [answer["Y"] for answer in answers] == [[[16]]] * 3
    assert [answer["N"] for answer in answers] == [[1]] * 3
    assert [answer["id"] for answer in answers] == ["0", "1", "2"]
    assert counts(chains.server, "chain") == {
        "success": 3, "fail": 0, "queue": 3, "compute_input": 1, "compute_infer": 1, "compute_output": 1,
        "cache_hit": 2, "cache_miss": 1, "inference_count": 1, "execution_count": 1,
    }  # fmt: skip
    assert (chains.executions("first"), chains.executions("last")) == (1, 1)


def test_a_step_s_hit_is_an_input_of_the_next_step_that_may_be_written_to(chains: Chains) -> None:
    chains.write("kept", 1)
    chains.write_model(chains.root, "greedy", GREEDY)
    assert chains.load("greedy").status_code == 200
    chains.wire("partly", ["kept", "greedy"], "")
    for number in range(3):
        assert ask(chains.server, [[7]], "partly") == {"Y": [[108]], "N": [number + 1], "id": ""}
    assert chains.executions("kept") == 1
    assert ask(chains.server, [[7]], "kept")["Y"] == [[8]]


def test_a_step_that_is_replaced_takes_the_ensemble_s_answers_along(chains: Chains) -> None:
    chains.write("replaced", 1)
    chains.wire("inner", ["replaced"])
    chains.wire("outer", ["inner"])
    for add in (1, 2, 3):
        chains.write("replaced", add)
        for model in ("outer", "inner", "replaced"):
            for _ in range(2):
                assert ask(chains.server, [[1]], model)["Y"] == [[1 + add]]
    # Once for the outputs that the ensembles need, and once for all of them.
    assert chains.executions("replaced") == 2


def test_a_model_that_is_called_takes_its_callers_answers_along(chains: Chains) -> None:
    chains.write("called", 1, "")
    chains.write_model(chains.root, "calling", CALLING, CACHED)
    assert chains.load("calling").status_code == 200
    for add in (1, 2, 3):
        chains.write("called", add, "")
        for _ in range(3):
            assert ask(chains.server, [[1]], "calling")["Y"] == [[1 + add]]
        assert chains.executions("called") == 1


@pytest.mark.parametrize("cached", [False, True])
def test_a_model_that_a_step_calls_takes_the_answers_of_ensembles_along(chains: Chains, cached: bool) -> None:
    chains.write("called", 1, "")
    chains.write_model(chains.root, "calling", CALLING, CACHED if cached else "")
    assert chains.load("calling").status_code == 200
    for name, step in (("around", "calling"), ("around_again", "around")):
        text = ensemble(name, [(step, {"X": "X"}, {"Y": "Y"})], {"X": INT}, {"Y": INT}, CACHED)
        write_ensemble(chains.root, text)
        assert chains.load(name).status_code == 200
    for add in (1, 2, 3):
        chains.write("called", add, "")
        # What the step keeps itself, the ensembles are answered with.
        for model in ("calling", "around", "around_again", "around_again"):
            assert ask(chains.server, [[1]], model)["Y"] == [[1 + add]]
        assert counts(chains.server, "around_again")["cache_hit"] == add
    # What has not changed would not be loaded again, and go on counting.
    for name in ("around_again", "around"):
        assert chains.server.post(f"/v2/repository/models/{name}/unload").status_code == 200


def test_a_release_that_a_load_has_read_takes_the_answers_of_callers_and_ensembles_along(
    chains: Chains,
) -> None:
    chains.write_model(chains.root, "released", counted(1))
    model = chains.write_model(chains.root, "released", counted(2), "version_policy { all { } }", 2)
    code = CALLING.replace('call("called", ', 'call("released", ')
    assert code != CALLING
    chains.write_model(chains.root, "calls_released", code, CACHED)
    assert chains.load("released").status_code == chains.load("calls_released").status_code == 200
    chains.wire("around_released", ["released"])
    for version in (1, 2, 1):
        (model / "release.json").write_text(f'{{"split": {{"shares": {{"{version}": 100}}}}}}')
        assert chains.load("released").status_code == 200
        for name in ("released", "calls_released", "around_released"):
            for _ in range(2):
                assert ask(chains.server, [[1]], name)["Y"] == [[1 + version]], name


def test_a_model_that_is_called_for_parts_of_a_request_takes_the_whole_answer_along(chains: Chains) -> None:
    chains.write("called", 1, "")
    code = CALLING.replace("[-1, -1]", "[1]")
    splitting = 'max_batch_size: 2 parameters { key: "split_large_requests" value { string_value: "true" } }'
    chains.write_model(chains.root, "parting", code, CACHED + splitting)
    assert chains.load("parting").status_code == 200
    for add in (1, 2):
        chains.write("called", add, "")
        for _ in range(2):
            assert ask(chains.server, [[1], [2], [3]], "parting")["Y"] == [[1 + add], [2 + add], [3 + add]]
        assert chains.executions("called") == 2


def test_an_ensemble_that_answers_any_number_of_times_has_no_cache(chains: Chains) -> None:
    chains.write_model(chains.root, "numbers", STREAM, "model_transaction_policy { decoupled: true }")
    text = ensemble(
        "streaming", [("numbers", {"N": "N"}, {"I": "I"})], {"N": NUMBER}, {"I": NUMBER}, CACHED
    )  # fmt: skip
    write_ensemble(chains.root, text)
    answer = chains.load("streaming")
    assert answer.status_code == 400
    assert (
        "Response Cache does not currently support model streaming with 'decoupled' transaction policy."
        in error_of(answer)
    )


# --- equal requests at the same time ---------------------------------------------------------------------------------


def send(wire: Wire, model: str, tag: int, port: int, **fields: Any) -> None:
    wire.send_infer(model, {**gated_request(tag, port), **fields})


def tags_of(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    tags: list[int] = json.loads(response.json()["outputs"][0]["data"][0])
    return tags


def test_equal_requests_at_the_same_time_are_executed_once(server: RunningServer) -> None:
    tag = new_tag()
    with Gate() as gate, Wire(server) as first, Wire(server) as second, Wire(server) as third:
        send(first, "gated", tag, gate.port, id="1")
        gate.await_start()
        send(second, "gated", tag, gate.port, id="2")
        send(third, "gated", tag, gate.port, id="3")
        wait_until(lambda: pending(server, "gated") == 2)
        gate.open()
        answers = [wire.response() for wire in (first, second, third)]
    assert [answer.json()["id"] for answer in answers] == ["1", "2", "3"]
    assert [tags_of(answer).count(tag) for answer in answers] == [1, 1, 1]
    assert executed_tags(server, "gated").count(tag) == 1
    assert pending(server, "gated") == 0


def test_a_client_that_leaves_leaves_the_others_alone(server: RunningServer) -> None:
    tag = new_tag()

    def cancelled() -> float:
        return metric(server, "nv_inference_request_failure", model="gated", reason="CANCELED")

    before = cancelled()
    with Gate() as gate, Wire(server) as second:
        with Wire(server) as first, Wire(server) as third:
            send(first, "gated", tag, gate.port, id="1")
            gate.await_start()
            send(second, "gated", tag, gate.port, id="2")
            send(third, "gated", tag, gate.port, id="3")
            wait_until(lambda: pending(server, "gated") == 2)
        # The one whose request is executed has left, and one of the others.
        wait_until(lambda: cancelled() == before + 2)
        gate.open()
        answer = second.response()
    assert answer.json()["id"] == "2"
    assert executed_tags(server, "gated").count(tag) == 1


def test_a_request_waits_for_an_equal_one_only_as_long_as_it_may(server: RunningServer) -> None:
    tag = new_tag()
    with Gate() as gate, Wire(server) as first, Wire(server) as hasty:
        send(first, "gated", tag, gate.port)
        gate.await_start()
        send(hasty, "gated", tag, gate.port, parameters={"timeout": 1000})
        answer = hasty.response()
        assert answer.status_code == 503
        assert error_of(answer) == "Request timeout expired"
        gate.open()
        assert tags_of(first.response()).count(tag) == 1


def test_a_deadline_of_grpc_ends_one_s_own_waiting_alone(server: RunningServer, channel: Channel) -> None:
    tag = new_tag()
    with Gate() as gate, Wire(server) as first:
        send(first, "gated", tag, gate.port)
        gate.await_start()
        asked = request_of(
            "gated",
            tensor("PORT", "INT32", [1, 1], int_contents=[gate.port]),
            tensor("TAG", "INT64", [1, 1], int64_contents=[tag]),
        )
        call = channel.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ModelInferResponse.FromString,
        ).future(asked, timeout=0.2)
        assert call.exception().code() is STATUS.DEADLINE_EXCEEDED
        wait_until(lambda: pending(server, "gated") == 0)
        gate.open()
        assert tags_of(first.response()).count(tag) == 1


def test_a_model_can_opt_out_of_sharing_executions(server: RunningServer) -> None:
    tag = new_tag()
    with Gate() as gate, Wire(server) as first, Wire(server) as second:
        send(first, "alone", tag, gate.port)
        gate.await_start()
        send(second, "alone", tag, gate.port)
        wait_until(lambda: pending(server, "alone") == 1)
        gate.open()
        assert tags_of(first.response()).count(tag) == 1
        gate.await_start()
        gate.open()
        assert tags_of(second.response()).count(tag) == 2
        # What was answered is kept all the same.
        send(first, "alone", tag, gate.port)
        assert tags_of(first.response()).count(tag) == 2


# --- what is refused, and what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "what"),
    [("stream", "'decoupled' transaction policy"), ("sequence", "sequence batching scheduler")],
)
def test_models_that_cannot_have_a_cache_are_refused(server: RunningServer, model: str, what: str) -> None:
    # scheduling.md 9.8, with Triton's text
    answer = server.post(f"/v2/repository/models/{model}/load")
    assert answer.status_code == 400
    assert (
        f"Response Cache does not currently support model {model} with {what}. Please disable the response cache."
        in error_of(answer)
    )


@pytest.mark.slow
def test_a_model_that_asks_for_a_cache_where_the_server_has_none(
    tmp_path: Path, start_server: StartServer, write_model: WriteModel
) -> None:
    # scheduling.md 9.1: Triton says nothing.
    write_model(tmp_path, "counted", counted(), CACHED)
    server = start_server(tmp_path)
    assert "model 'counted': response_cache.enable is set but has no effect" in server.log
    assert "--cache-config local,size=BYTES" in server.log
    assert [ask(server, [[1]])["N"] for _ in range(2)] == [[1], [2]]
    assert "nv_cache_util" not in server.client.get(server.metrics).text


# --- Redis -----------------------------------------------------------------------------------------------------------


def redis_flags(redis: RedisServer) -> str:
    times = "connect_timeout=60000,socket_timeout=60000,wait_timeout=60000"
    return f"--cache-config=redis,host=127.0.0.1,port={redis.port},{times}"


@needs_redis
@pytest.mark.slow
def test_servers_with_one_model_share_a_redis_and_go_on_without_it(
    tmp_path: Path, start_server: StartServer, write_model: WriteModel
) -> None:
    roots = [tmp_path / name for name in ("one", "two", "changed")]
    for root, add in zip(roots, (1, 1, 5), strict=True):
        write_model(root, "counted", counted(add), CACHED)
        write_model(root, "gated", GATED, CACHED)
    with RedisServer() as redis:
        one, two, changed = (start_server(root, redis_flags(redis)) for root in roots)
        first = ask(one, [[1]], id="a")
        assert first["N"] == [1]
        # It is kept when the answer is on its way.
        wait_until(lambda: ask(one, [[1]], id="a") == first and counts(one, "counted")["cache_hit"] > 0)
        assert ask(two, [[1]], id="b") == {**first, "id": "b"}
        assert counts(two, "counted") == {
            "success": 1, "fail": 0, "queue": 1, "compute_input": 0, "compute_infer": 0, "compute_output": 0,
            "cache_hit": 1, "cache_miss": 0, "inference_count": 0, "execution_count": 0,
        }  # fmt: skip
        # Another content of the model has nothing to do with it.
        assert ask(changed, [[1]])["Y"] == [[6]]
        assert metric_of_cache(two, "kserve_v2_cache_errors") == 0
        _check_that_lookups_are_shared(one)
        redis.stop()
        for server in (one, two):
            for value in range(1, 8):
                assert ask(server, [[value]])["Y"] == [[value + 1]]
            assert server.log.count("does not answer") == 1
            assert metric_of_cache(server, "kserve_v2_cache_errors") >= 1
            # Its end does not need it, either.
            assert server.stop(signal.SIGTERM) == 0


def _check_that_lookups_are_shared(server: RunningServer) -> None:
    tag = new_tag()
    with Gate() as gate, Wire(server) as first, Wire(server) as second:
        send(first, "gated", tag, gate.port, id="1")
        gate.await_start()
        send(second, "gated", tag, gate.port, id="2")
        wait_until(lambda: pending(server, "gated") == 1)
        gate.open()
        assert [wire.response().json()["id"] for wire in (first, second)] == ["1", "2"]
    assert executed_tags(server, "gated").count(tag) == 1


@needs_redis
@pytest.mark.slow
def test_a_server_ends_while_lookups_hang(tmp_path: Path, write_model: WriteModel) -> None:
    repository = tmp_path / "models"
    write_model(repository, "counted", counted(), CACHED)
    with RedisServer() as redis:
        flags = f"--cache-config=redis,host=127.0.0.1,port={redis.port},connect_timeout=0,socket_timeout=0"
        server = launch(tmp_path, repository, flags, "--exit-timeout-secs=1")
        ask(server, [[1]])
        redis.suspend()
        with Wire(server) as wire:
            wire.send_infer("counted", {"inputs": [json_tensor("X", "INT32", [1, 1], [2])]})
            wait_until(lambda: pending(server, "counted") == 1)
            server.process.send_signal(signal.SIGTERM)
            answer = wire.response()
            assert answer.status_code == 503
            assert error_of(answer) == "Server exiting: the request was not executed"
        assert server.stop() in (0, 1)
        assert "Traceback" not in server.log
        redis.resume()
