"""Loading ensembles and the models of their steps: together, checked against each other, and again after each change."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.ensemble_models import INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel
from tests.integration.sequence_models import accumulator, batching, rest_step
from tests.integration.support import Gate, error_of, json_tensor, wait_until

BATCHED = "max_batch_size: 4"
BROKEN = "raise RuntimeError('it is broken')"
GATED = """
import socket
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}
    max_batch_size = 4
    def __call__(self, inputs):
        port = int(inputs["x"].max())
        if port > 1000:
            socket.create_connection(("127.0.0.1", port), 30).recv(1)
        return {"y": inputs["x"]}
"""


class Repository:
    """The repository of a server whose models are loaded on request."""

    def __init__(self, explicit: ExplicitServer) -> None:
        self.explicit, self.server, self.root = explicit, explicit.server, explicit.root

    def chain(self, name: str, *models: str, more: str = BATCHED, **versions: int) -> None:
        """Write an ensemble of models that each turn x into y."""
        tensors = ["X", *[f"t{number}" for number in range(len(models) - 1)], "Y"]
        steps = [
            (model, {"x": tensors[number]}, {"y": tensors[number + 1]}) for number, model in enumerate(models)
        ]
        write_ensemble(self.root, ensemble(name, steps, ONE_INT, {"Y": INT}, more, versions))

    def chained_ensembles(self, name: str, inner: str, last: str) -> None:
        """Write an ensemble of an ensemble and a model."""
        steps = [(inner, {"X": "X"}, {"Y": "t"}), (last, {"x": "t"}, {"y": "Y"})]
        write_ensemble(self.root, ensemble(name, steps, ONE_INT, {"Y": INT}, BATCHED))

    def ask(self, model: str, value: int) -> httpx.Response:
        return self.server.infer(model, {"inputs": [json_tensor("X", "INT32", [1, 1], [value])]})

    def value(self, model: str, value: int) -> int:
        answer = self.ask(model, value)
        assert answer.status_code == 200, answer.text
        result: int = answer.json()["outputs"][0]["data"][0]
        return result

    def state(self, name: str) -> tuple[str, str]:
        [entry] = self.explicit.index(name)
        return entry.get("state", ""), entry.get("reason", "")

    def load(self, name: str) -> None:
        answer = self.explicit.load(name)
        assert answer.status_code == 200, answer.text

    def refusal(self, name: str) -> str:
        answer = self.explicit.load(name)
        assert answer.status_code == 400, answer.text
        return error_of(answer)

    def is_gone(self, name: str) -> bool:
        return self.state(name) == ("UNAVAILABLE", "unloaded")


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as made:
        yield made


@pytest.fixture(scope="module")
def ensembles(start_explicit: StartExplicit) -> ExplicitServer:
    """A server of this module's own: the configuration of an ensemble would stay behind for other models of its name."""
    return start_explicit()


@pytest.fixture(scope="module")
def ensembles_channel(ensembles: ExplicitServer) -> Iterator[Channel]:
    """A gRPC connection to it."""
    with Channel(ensembles.server) as made:
        yield made


@pytest.fixture
def repository(ensembles: ExplicitServer) -> Iterator[Repository]:
    """It, without the models of the test before."""
    yield Repository(ensembles)
    ensembles.unload_all()


def unavailable(name: str, why: str) -> str:
    return f"load failed for model '{name}': version 1 is at UNAVAILABLE state: Invalid argument: {why};\n"


def test_an_ensemble_without_a_version_is_told_what_it_lacks(repository: Repository) -> None:
    (repository.root / "bare").mkdir()
    (repository.root / "bare" / "config.pbtxt").write_text('platform: "ensemble"')
    text = error_of(repository.explicit.load("bare"))
    assert text.strip().endswith("an ensemble has a version, too, which is empty: make the directory bare/1")


# --- loading ----------------------------------------------------------------------------------------------------


def test_loading_an_ensemble_loads_its_steps(repository: Repository) -> None:
    for number in (1, 2):
        repository.explicit.write(f"l{number}", add(number))
    repository.chain("lens", "l1", "l2")
    repository.chained_ensembles("louter", "lens", "l1")
    repository.load("louter")
    assert repository.value("louter", 5) == 9
    assert [repository.state(name)[0] for name in ("l1", "l2", "lens", "louter")] == ["READY"] * 4


def test_an_ensemble_waits_for_the_newest_version_of_a_step_and_takes_the_older_one_if_that_fails(
    repository: Repository, ensembles_channel: Channel, gate: Gate
) -> None:
    explicit, both = repository.explicit, BATCHED + " version_policy { all { } }"
    explicit.write("newest", add(1), both)
    repository.chain("nens", "newest")
    repository.load("nens")
    assert explicit.unload("newest").status_code == 200
    wait_until(lambda: repository.is_gone("nens") and repository.is_gone("newest"))
    waiting = f"import socket\nsocket.create_connection(('127.0.0.1', {gate.port}), 60).recv(1)\n"
    explicit.write("newest", waiting + BROKEN, both, version=2)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(explicit.load, "newest")
        gate.await_start()
        wait_until(lambda: repository.server.get("/v2/models/newest/versions/1/ready").status_code == 200)
        ask = {"inputs": [json_tensor("x", "INT32", [1, 1], [4])]}
        assert repository.server.infer("newest/versions/1", ask).json()["model_version"] == "1"
        refused = repository.server.infer("newest", ask)
        assert refused.status_code == 503
        assert "version 2 is being loaded for the first time" in error_of(refused)
        assert refused.headers["retry-after"] == "1"
        asked = pb.ModelInferRequest(model_name="newest")
        assert ensembles_channel.infer_fails(asked) == (STATUS.UNAVAILABLE, error_of(refused))
        assert repository.server.get("/v2/models/newest/ready").status_code == 400
        assert repository.is_gone("nens")
        gate.open()
        assert load.result().status_code == 400
    assert repository.server.infer("newest", ask).json()["model_version"] == "1"
    wait_until(lambda: repository.state("nens")[0] == "READY")
    assert repository.value("nens", 5) == 6


def test_a_step_that_is_loaded_is_not_loaded_again(repository: Repository) -> None:
    repository.explicit.write("again", add(1))
    repository.load("again")
    repository.explicit.write("again", add(2))
    repository.chain("aens", "again")
    repository.load("aens")
    assert repository.value("aens", 0) == 1


def test_a_step_that_fails_is_the_reason(repository: Repository) -> None:
    repository.explicit.write("broken", BROKEN)
    repository.chain("bens", "broken")
    text = repository.refusal("bens")
    start = "ensemble 'bens' depends on 'broken' which has no loaded version. Model 'broken' loading failed with error: "
    assert start in text
    assert "it is broken" in text
    state, reason = repository.state("bens")
    assert state == "UNAVAILABLE"
    assert reason.startswith(f"Invalid argument: {start}version 1 is at UNAVAILABLE state: ")


def test_a_step_that_there_is_not_is_the_reason(repository: Repository) -> None:
    repository.chain("mens", "nowhere", "neither", "nowhere")
    why = "ensemble mens contains models that are not available or ambiguous: nowhere, neither"
    assert repository.refusal("mens") == unavailable("mens", why)


def test_what_was_perhaps_meant_by_a_misspelt_step_is_said(repository: Repository) -> None:
    """Also of a model that lies there, and was never loaded."""
    repository.explicit.write("tokenizer", add(1))
    repository.chain("tens", "tokeniser")
    why = "ensemble tens contains models that are not available or ambiguous: tokeniser (did you mean tokenizer?)"
    assert repository.refusal("tens") == unavailable("tens", why)


def test_a_step_that_does_not_fit_is_told_besides_one_that_there_is_not(repository: Repository) -> None:
    repository.explicit.write("here", add(1))
    steps = [("here", {"x": "X", "q": "X"}, {"y": "t"}), ("away", {"x": "t"}, {"y": "Y"})]
    write_ensemble(repository.root, ensemble("half", steps, ONE_INT, {"Y": INT}, BATCHED))
    assert repository.refusal("half") == unavailable(
        "half",
        "ensemble half contains models that are not available or ambiguous: away; "
        "in ensemble half, ensemble tensor X is mapping to non-existing input q in model here",
    )


def test_a_version_that_is_not_served_is_the_reason(repository: Repository) -> None:
    repository.explicit.write("onever", add(1))
    repository.chain("vens", "onever", onever=7)
    why = "ensemble 'vens' depends on 'onever' whose required version 7 is not loaded"
    assert repository.refusal("vens") == unavailable("vens", why)


def test_a_step_that_comes_later_revives_the_ensemble(repository: Repository) -> None:
    repository.explicit.write("late", BROKEN)
    repository.chain("laens", "late")
    repository.refusal("laens")
    repository.explicit.write("late", add(3))
    repository.load("late")
    wait_until(lambda: repository.state("laens")[0] == "READY")
    assert repository.value("laens", 1) == 4


def test_all_that_does_not_fit_is_told_at_once(repository: Repository) -> None:
    repository.explicit.write(
        "fit", add(1).replace('"INT32", [1])}}'.replace("}}", "}"), '"INT32", [2])}', 1)
    )
    repository.explicit.write("small", add(1, 2))
    steps = [
        ("fit", {"x": "X", "z": "X"}, {"y": "t", "w": "Y"}),
        ("small", {"q": "t"}, {"y": "Z"}),
    ]
    write_ensemble(
        repository.root, ensemble("unfit", steps, {"X": "TYPE_FP32 [ 1 ]"}, {"Y": INT, "Z": INT}, BATCHED)
    )
    assert repository.refusal("unfit") == unavailable(
        "unfit",
        "in ensemble unfit, ensemble tensor X: inconsistent data type: TYPE_FP32 is inferred from model unfit while "
        "TYPE_INT32 is inferred from model fit; "
        "in ensemble unfit, ensemble tensor X: inconsistent shape: [1] is inferred from model unfit while [2] is "
        "inferred from model fit; "
        "in ensemble unfit, ensemble tensor X is mapping to non-existing input z in model fit; "
        "in ensemble unfit, ensemble tensor Y is mapped from non-existing output w in model fit; "
        "ensemble unfit allows maximum batch size 4, but it contains model small which only allows maximum batch size "
        "to be 2; "
        "in ensemble unfit, input x in model small is not mapped to any ensemble tensors; "
        "in ensemble unfit, ensemble tensor t is mapping to non-existing input q in model small",
    )


def test_what_is_wrong_by_itself_is_told_without_its_steps(repository: Repository) -> None:
    repository.chain("wrong", "nowhere")
    config = repository.root / "wrong" / "config.pbtxt"
    config.write_text(config.read_text().replace('value: "Y"', 'value: "V"'))
    text = repository.refusal("wrong")
    assert "ensemble output 'Y' for ensemble wrong is not used" in text
    assert "ensemble tensor 'V' is unused in ensemble 'wrong'" in text
    assert "nowhere" not in text


def test_two_decoupled_models_do_not_meet(repository: Repository) -> None:
    many = 'class Model:\n    inputs = {"x": ("INT32", [1])}\n    outputs = {"y": ("INT32", [1])}\n    def __call__(self, inputs):\n        yield {"y": inputs["x"]}\n'
    for name in ("many1", "many2"):
        repository.explicit.write(name, many)
    repository.explicit.write(
        "join", add(1, 0).replace('{"x": ("INT32", [1])}', '{"x": ("INT32", [1]), "x2": ("INT32", [1])}')
    )
    steps = [
        ("many1", {"x": "X"}, {"y": "a"}),
        ("many2", {"x": "X"}, {"y": "b"}),
        ("join", {"x": "a", "x2": "b"}, {"y": "Y"}),
    ]
    write_ensemble(repository.root, ensemble("meet", steps, ONE_INT, {"Y": INT}))
    why = "in ensemble meet, step of model 'join' receives inputs originated from different decoupled models"
    assert repository.refusal("meet") == unavailable("meet", why)


def test_ensembles_in_a_circle_are_refused(repository: Repository) -> None:
    for name, other in (("ring1", "ring2"), ("ring2", "ring3"), ("ring3", "ring1")):
        write_ensemble(
            repository.root, ensemble(name, [(other, {"X": "X"}, {"Y": "Y"})], ONE_INT, {"Y": INT}, BATCHED)
        )
    assert "circular dependency between ensembles: ring3 -> ... -> ring2 -> ring3" in repository.refusal(
        "ring1"
    )
    write_ensemble(
        repository.root, ensemble("self", [("self", {"X": "X"}, {"Y": "Y"})], ONE_INT, {"Y": INT}, BATCHED)
    )
    assert "circular dependency between ensembles: self -> ... -> self -> self" in repository.refusal("self")


def test_a_circle_that_a_reload_would_close_is_refused_and_what_serves_goes_on(
    repository: Repository,
) -> None:
    repository.explicit.write("base", add(1))
    repository.chain("low", "base")
    repository.chained_ensembles("high", "low", "base")
    repository.load("high")
    repository.chained_ensembles("low", "high", "base")
    assert "circular dependency between ensembles: low -> ... -> high -> low" in repository.refusal("low")
    assert repository.value("high", 1) == 3


# --- changes ----------------------------------------------------------------------------------------------------


def test_a_replaced_step_answers_from_then_on(repository: Repository) -> None:
    repository.explicit.write("swap", add(1))
    repository.chain("sens", "swap")
    repository.chained_ensembles("souter", "sens", "swap")
    repository.load("souter")
    repository.explicit.write("swap", add(10))
    repository.load("swap")
    assert repository.value("sens", 0) == 10
    assert repository.value("souter", 0) == 20


def test_a_request_keeps_the_versions_that_it_has_begun_with(
    repository: Repository, later: Any, gate: Any
) -> None:
    """Also those of ensembles that are its steps, which have not begun when a model is replaced."""
    repository.explicit.write("wait", GATED)
    repository.explicit.write("plus", add(1))
    repository.chain("kept_inner", "plus", "plus")
    steps = [
        ("plus", {"x": "X"}, {"y": "first"}),
        ("wait", {"x": "G"}, {"y": "opened"}),
        ("kept_sum", {"a": "first", "b": "opened"}, {"y": "summed"}),
        ("kept_inner", {"X": "summed"}, {"Y": "Y"}),
    ]
    both = add(0).replace('{"x": ("INT32", [1])}', '{"a": ("INT32", [1]), "b": ("INT32", [1])}')
    repository.explicit.write(
        "kept_sum",
        both.replace('inputs["x"] + 0', 'inputs["a"] + 0 * inputs["b"]').replace(
            'inputs["x"]', 'inputs["a"]'
        ),
    )
    write_ensemble(repository.root, ensemble("kept_whole", steps, {**ONE_INT, "G": INT}, {"Y": INT}, BATCHED))
    repository.load("kept_whole")
    body = {
        "inputs": [json_tensor("X", "INT32", [1, 1], [0]), json_tensor("G", "INT32", [1, 1], [gate.port])]
    }
    answer: Future[httpx.Response] = later(lambda: repository.server.infer("kept_whole", body))
    gate.await_start()
    repository.explicit.write("plus", add(100))
    repository.load("plus")
    gate.open()
    assert answer.result(60).json()["outputs"][0]["data"] == [3]
    body["inputs"][1]["data"] = [0]
    assert repository.server.infer("kept_whole", body).json()["outputs"][0]["data"] == [300]


@pytest.mark.parametrize("unloaded", ["awaited", "wait", "after", "around"])
def test_what_is_under_way_is_finished_whatever_is_unloaded(
    repository: Repository, later: Any, gate: Gate, unloaded: str
) -> None:
    repository.explicit.write("wait", GATED)
    repository.explicit.write("after", add(1))
    repository.chain("awaited", "wait", "after")
    repository.chained_ensembles("around", "awaited", "after")
    repository.load("around")
    body = {"inputs": [json_tensor("X", "INT32", [1, 1], [gate.port])]}
    answer: Future[httpx.Response] = later(lambda: repository.server.infer("around", body))
    gate.await_start()
    repository.explicit.unload(unloaded)
    assert repository.state(unloaded)[0] == "UNLOADING"
    # What it is part of is served no longer.
    assert repository.ask("around", 0).status_code in (404, 503)
    gate.open()
    assert answer.result(60).json()["outputs"][0]["data"] == [gate.port + 2]
    wait_until(lambda: repository.is_gone(unloaded))


def test_an_ensemble_whose_step_is_unloaded_is_unloaded_until_it_is_back(repository: Repository) -> None:
    repository.explicit.write("lose", add(1))
    repository.chain("loens", "lose")
    repository.chained_ensembles("loouter", "loens", "lose")
    repository.load("loouter")
    repository.explicit.unload("lose")
    for name in ("loens", "loouter"):
        wait_until(lambda name=name: repository.is_gone(name))  # type: ignore[misc]
    assert repository.ask("loens", 1).status_code == 404
    # Nobody wants them: so nothing is missing.
    wait_until(lambda: repository.server.get("/v2/health/ready").status_code == 200)
    repository.load("lose")
    wait_until(lambda: repository.state("loouter")[0] == "READY")
    assert repository.value("loouter", 1) == 3


def test_a_step_that_fits_no_more_is_the_reason(repository: Repository) -> None:
    repository.explicit.write("shape", add(1))
    repository.chain("shens", "shape")
    repository.load("shens")
    repository.explicit.write("shape", add(1).replace("[1]", "[2]"))
    repository.load("shape")
    wait_until(lambda: repository.state("shens")[0] == "UNAVAILABLE")
    why = "inconsistent shape: [1] is inferred from model shens while [2] is inferred from model shape"
    assert why in repository.state("shens")[1]
    assert why in error_of(repository.ask("shens", 1))
    assert repository.server.get("/v2/health/ready").status_code == 400
    repository.explicit.write("shape", add(5))
    repository.load("shape")
    wait_until(lambda: repository.state("shens")[0] == "READY")
    assert repository.value("shens", 1) == 6


def test_a_step_that_becomes_decoupled_makes_the_ensemble_so(repository: Repository) -> None:
    repository.explicit.write("turns", add(1))
    repository.chain("tuens", "turns")
    repository.load("tuens")
    repository.explicit.write("turns", add(1).replace("return {", "yield {"))
    repository.load("turns")
    config = "/v2/models/tuens/config"
    wait_until(lambda: "model_transaction_policy" in repository.server.get(config).json())
    assert repository.ask("tuens", 1).status_code == 501


def test_an_ensemble_that_says_it_is_decoupled_and_is_not_is_warned_about(repository: Repository) -> None:
    repository.explicit.write("plain", add(1))
    repository.chain("sayso", "plain", more=f"{BATCHED} model_transaction_policy {{ decoupled: true }}")
    repository.load("sayso")
    assert repository.value("sayso", 1) == 2
    assert (
        "model 'sayso': model_transaction_policy.decoupled is set but has no effect" in repository.server.log
    )


SEQUENCE_TENSORS = {"IN": "TYPE_INT32 [ -1 ]", "PORT": INT}


def test_a_sequence_stays_with_the_version_of_a_step_that_has_begun_it(repository: Repository) -> None:
    repository.explicit.write("sums", accumulator(1), batching())
    steps = [("sums", {"IN": "IN", "PORT": "PORT"}, {"SUM": "SUM", "INFO": "INFO"})]
    outputs = {"SUM": INT, "INFO": "TYPE_STRING [ 1 ]"}
    write_ensemble(repository.root, ensemble("seqens", steps, SEQUENCE_TENSORS, outputs, BATCHED))
    repository.load("seqens")

    def step(value: int, flags: str = "", sequence: object = 7) -> tuple[int, int]:
        """The sum, and the version that has answered."""
        answer = repository.server.infer("seqens", rest_step(sequence, value, flags))
        assert answer.status_code == 200, answer.text
        total, info = (output["data"][0] for output in answer.json()["outputs"])
        return total, json.loads(info)["version"]

    assert step(1, "+") == (1, 1)
    repository.explicit.write("sums", accumulator(2), batching())
    repository.load("sums")
    assert step(2) == (3, 1)
    assert step(5, "+", "another") == (5, 2)
    assert step(4, ".") == (7, 1)
    assert step(6, ".", "another") == (11, 2)


@pytest.mark.parametrize("dependents", [False, True])
def test_a_sequence_ends_through_the_ensemble_that_its_model_takes_along(
    repository: Repository, dependents: bool
) -> None:
    inner, outer, model = (f"{name}_{dependents}".lower() for name in ("taken", "taken_along", "going"))
    repository.explicit.write(model, accumulator(1), batching())
    outputs = {"SUM": INT, "INFO": "TYPE_STRING [ 1 ]"}
    for name, step_model in ((inner, model), (outer, inner)):
        steps = [(step_model, {"IN": "IN", "PORT": "PORT"}, {"SUM": "SUM", "INFO": "INFO"})]
        write_ensemble(repository.root, ensemble(name, steps, SEQUENCE_TENSORS, outputs, BATCHED))
    repository.load(outer)

    def step(value: int, flags: str = "", sequence: int = 7) -> httpx.Response:
        return repository.server.infer(outer, rest_step(sequence, value, flags))

    def total(answer: httpx.Response) -> int:
        assert answer.status_code == 200, answer.text
        return int(answer.json()["outputs"][0]["data"][0])

    assert total(step(1, "+")) == 1
    if dependents:
        path = f"/v2/repository/models/{outer}/unload"
        answer = repository.server.post(path, json={"parameters": {"unload_dependents": True}})
        assert answer.status_code == 200
    else:
        repository.explicit.unload(model)
    assert total(step(2)) == 3
    refused = step(1, "+", 8)
    assert refused.status_code == 503
    assert "only finishes the sequences it has begun" in error_of(refused)
    assert total(step(4, ".")) == 7
    for name in (model, inner, outer):
        wait_until(partial(repository.is_gone, name))
    assert step(1, "+").status_code == 404


def test_a_sequence_that_ends_through_an_ensemble_finds_all_of_its_steps(repository: Repository) -> None:
    repository.explicit.write("leaving", accumulator(1), batching())
    repository.explicit.write("behind", add(100, 4))
    steps = [
        ("leaving", {"IN": "IN", "PORT": "PORT"}, {"SUM": "sum"}),
        ("behind", {"x": "sum"}, {"y": "SUM"}),
    ]
    write_ensemble(repository.root, ensemble("all", steps, SEQUENCE_TENSORS, {"SUM": INT}, BATCHED))
    repository.load("all")

    def step(value: int, flags: str = "") -> list[int]:
        answer = repository.server.infer("all", rest_step(7, value, flags))
        assert answer.status_code == 200, answer.text
        found: list[int] = answer.json()["outputs"][0]["data"]
        return found

    assert step(1, "+") == [101]
    for name in ("leaving", "behind"):
        repository.explicit.unload(name)
    assert step(2) == [103]
    assert step(4, ".") == [107]
    for name in ("leaving", "behind", "all"):
        wait_until(partial(repository.is_gone, name))


def test_errors_of_a_sequence_tell_the_way(repository: Repository) -> None:
    repository.explicit.write("sums", accumulator(1), batching())
    steps = [("sums", {"IN": "IN", "PORT": "PORT"}, {"SUM": "SUM"})]
    write_ensemble(repository.root, ensemble("seqens", steps, SEQUENCE_TENSORS, {"SUM": INT}, BATCHED))
    repository.load("seqens")
    answer = repository.server.infer("seqens", rest_step(None, 1))
    assert (answer.status_code, error_of(answer)) == (
        400,
        "in ensemble 'seqens', inference request to model 'sums' must specify a non-zero or non-empty correlation ID",
    )


# --- unloading --------------------------------------------------------------------------------------------------


def test_unloading_leaves_the_steps_loaded(repository: Repository) -> None:
    repository.explicit.write("stays", add(1))
    repository.chain("goes", "stays")
    repository.load("goes")
    repository.explicit.unload("goes")
    wait_until(lambda: repository.is_gone("goes"))
    assert repository.state("stays")[0] == "READY"
    # And it is not loaded again when its step is.
    repository.explicit.write("stays", add(2))
    repository.load("stays")
    assert repository.is_gone("goes")


@pytest.fixture(params=["REST", "gRPC"])
def unload_dependents(
    request: pytest.FixtureRequest, repository: Repository, ensembles_channel: Channel
) -> Any:
    def over_rest(name: str) -> None:
        path = f"/v2/repository/models/{name}/unload"
        answer = repository.server.post(path, json={"parameters": {"unload_dependents": True}})
        assert answer.status_code == 200

    def over_grpc(name: str) -> None:
        message = pb.RepositoryModelUnloadRequest(model_name=name)
        message.parameters["unload_dependents"].bool_param = True
        ensembles_channel.method("RepositoryModelUnload", pb.RepositoryModelUnloadResponse)(
            message, timeout=60
        )

    return over_rest if request.param == "REST" else over_grpc


def test_unloading_with_dependents_leaves_what_others_need_or_was_asked_for(
    repository: Repository, unload_dependents: Any
) -> None:
    for name in ("own", "shared", "asked", "inside"):
        repository.explicit.write(name, add(1))
    repository.chain("nested", "inside")
    steps = [
        ("own", {"x": "X"}, {"y": "a"}),
        ("shared", {"x": "a"}, {"y": "b"}),
        ("asked", {"x": "b"}, {"y": "c"}),
        ("nested", {"X": "c"}, {"Y": "Y"}),
    ]
    write_ensemble(repository.root, ensemble("whole", steps, ONE_INT, {"Y": INT}, BATCHED))
    repository.chain("other", "shared")
    for name in ("asked", "whole", "other"):
        repository.load(name)
    unload_dependents("whole")
    for name in ("whole", "own", "nested", "inside"):
        wait_until(lambda name=name: repository.is_gone(name))  # type: ignore[misc]
    for name in ("shared", "asked", "other"):
        assert repository.state(name)[0] == "READY"


def test_the_parameter_of_another_kind(repository: Repository, ensembles_channel: Channel) -> None:
    message = pb.RepositoryModelUnloadRequest(model_name="x")
    message.parameters["unload_dependents"].string_param = "true"
    assert ensembles_channel.fails("RepositoryModelUnload", message, pb.RepositoryModelUnloadResponse) == (
        STATUS.INVALID_ARGUMENT,
        "invalid value type for 'unload_dependents' parameter, expected bool_param.",
    )


# --- start ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_models_are_loaded_at_the_start_whatever_their_order(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "z_plus", add(1))
    # In the order of names, everything comes before what it needs.
    for name, inner in (("a", "b"), ("b", "c")):
        write_ensemble(
            tmp_path, ensemble(name, [(inner, {"X": "X"}, {"Y": "Y"})], ONE_INT, {"Y": INT}, BATCHED)
        )
    write_ensemble(
        tmp_path, ensemble("c", [("z_plus", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT}, BATCHED)
    )
    server: RunningServer = start_server(tmp_path)
    answer = server.infer("a", {"inputs": [json_tensor("X", "INT32", [1, 1], [1])]})
    assert answer.json()["outputs"][0]["data"] == [2]
    assert server.log.count("loading: z_plus version 1") == 1


@pytest.mark.slow
def test_at_the_start_an_ensemble_loads_what_it_needs(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "p", add(1))
    write_model(tmp_path, "q", add(1))
    write_ensemble(tmp_path, ensemble("e", [("p", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT}, BATCHED))
    server: RunningServer = start_server(tmp_path, "--model-control-mode=explicit", "--load-model=e")
    ready = [entry["name"] for entry in server.post("/v2/repository/index", json={"ready": True}).json()]
    assert ready == ["e", "p"]


# --- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_exits_finishes_the_steps_that_are_still_to_come(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path, later: Any, gate: Gate
) -> None:
    write_model(tmp_path, "wait", GATED)
    write_model(tmp_path, "after", add(1))
    steps = [("wait", {"x": "X"}, {"y": "t"}), ("after", {"x": "t"}, {"y": "Y"})]
    write_ensemble(tmp_path, ensemble("ending", steps, ONE_INT, {"Y": INT}, BATCHED))
    server: RunningServer = start_server(tmp_path)
    body = {"inputs": [json_tensor("X", "INT32", [1, 1], [gate.port])]}
    answer: Future[httpx.Response] = later(lambda: server.infer("ending", body))
    gate.await_start()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.get("/v2/health/ready").status_code != 200)
    gate.open()
    assert answer.result(60).json()["outputs"][0]["data"] == [gate.port + 1]
    # A second signal would end it at once.
    assert server.process.wait(60) == 0
