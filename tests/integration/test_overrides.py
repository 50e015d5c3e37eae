"""Configurations that come with load calls, named configurations, and several repositories: which one is in force."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import identity, versioned
from tests.integration.lifecycle_requests import answer_of, ready
from tests.integration.support import error_of, statistics

Override = Callable[[str, str], tuple[int, str]]
"""Loads a model with a configuration; tells the HTTP status, or what stands for it, and the error."""


@pytest.fixture(params=["REST", "gRPC"])
def override(request: pytest.FixtureRequest, explicit: ExplicitServer, explicit_channel: Channel) -> Override:
    def over_rest(name: str, config: str) -> tuple[int, str]:
        answer = explicit.load(name, json={"parameters": {"config": config}})
        return answer.status_code, "" if answer.status_code == 200 else error_of(answer)

    def over_grpc(name: str, config: str) -> tuple[int, str]:
        message = pb.RepositoryModelLoadRequest(model_name=name)
        message.parameters["config"].string_param = config
        try:
            explicit_channel.method("RepositoryModelLoad", pb.RepositoryModelLoadResponse)(
                message, timeout=60
            )
        except grpc.RpcError as error:
            return {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404}[error.code().name], error.details()
        return 200, ""

    return over_rest if request.param == "REST" else over_grpc


def batch_size(server: ExplicitServer, name: str) -> int:
    return int(server.server.get(f"/v2/models/{name}/config").json()["max_batch_size"])


def configure(path: Path, rows: int) -> None:
    """Write a configuration; its time is that of the one before, so that the content tells."""
    path.parent.mkdir(exist_ok=True)
    before = path.stat() if path.exists() else None
    path.write_text(f"max_batch_size: {rows}")
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def overridden(explicit: ExplicitServer) -> Iterator[Path]:
    """A model whose configuration says 8 rows."""
    path = explicit.write("overridden", identity("INT32", [1], max_batch_size=64), "max_batch_size: 8")
    yield path / "config.pbtxt"


# --- how long a configuration that was sent is in force ----------------------------------------------------------


def test_it_is_in_force_until_the_unload(
    explicit: ExplicitServer, override: Override, overridden: Path
) -> None:
    rows = partial(batch_size, explicit, "overridden")
    for sent in (2, 3):
        assert override("overridden", f'{{"maxBatchSize": {sent}}}') == (200, "")
        assert rows() == sent
        assert explicit.load("overridden").status_code == 200
        assert rows() == sent
    explicit.unload("overridden")
    assert explicit.load("overridden").status_code == 200
    assert rows() == 8


def test_a_file_that_is_changed_afterwards_wins(
    explicit: ExplicitServer, override: Override, overridden: Path
) -> None:
    rows = partial(batch_size, explicit, "overridden")
    assert override("overridden", '{"max_batch_size": 2}') == (200, "")
    # Not one that was only touched.
    os.utime(overridden, (1, 1))
    assert explicit.load("overridden").status_code == 200
    assert rows() == 2
    configure(overridden, 5)
    assert rows() == 2
    assert explicit.load("overridden").status_code == 200
    assert rows() == 5
    # For good: going back to what it was does not bring it back.
    configure(overridden, 8)
    assert explicit.load("overridden").status_code == 200
    assert rows() == 8


def test_a_file_that_appears_or_goes_afterwards_wins(
    explicit: ExplicitServer, override: Override, overridden: Path
) -> None:
    overridden.unlink()
    rows = partial(batch_size, explicit, "overridden")
    assert override("overridden", '{"max_batch_size": 2}') == (200, "")
    configure(overridden, 6)
    assert explicit.load("overridden").status_code == 200
    assert rows() == 6
    assert override("overridden", '{"max_batch_size": 2}') == (200, "")
    overridden.unlink()
    assert explicit.load("overridden").status_code == 200
    assert rows() == 64


def test_a_file_that_is_broken_afterwards_is_told_of(
    explicit: ExplicitServer, override: Override, overridden: Path
) -> None:
    rows = partial(batch_size, explicit, "overridden")
    assert override("overridden", '{"max_batch_size": 2}') == (200, "")
    overridden.write_text("max_batch_size: many")
    answer = explicit.load("overridden")
    assert answer.status_code == 400
    assert "overridden/config.pbtxt" in error_of(answer)
    assert (rows(), ready(explicit.server)) == (2, 200)
    configure(overridden, 7)
    assert explicit.load("overridden").status_code == 200
    assert rows() == 7


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("max_batch_size: 2", "config override"),
        ("", "config override"),
        ("[]", "config override"),
        ('{"nosuch": 1}', "config override"),
        ('{"max_batch_size": "many"}', "config override"),
        ('{"input": [{"name": "IN", "data_type": "TYPE_NOSUCH", "dims": [1]}]}', "config override"),
        ('{"name": "another"}', "version 1 is at UNAVAILABLE state: Invalid argument: "),
        ('{"max_batch_size": -1}', "version 1 is at UNAVAILABLE state: Invalid argument: "),
        ('{"version_policy": {"specific": {"versions": [3]}}}', "at least one version must be available under the "
         "version policy of model 'overridden': it selects none of 1"),
        ('{"version_policy": {"latest": {"num_versions": 0}}}', ""),
        ('{"backend": "nosuch"}', "version 1 is at UNAVAILABLE state: Invalid argument: unable to find backend library "
         "for backend 'nosuch'"),
    ],
)  # fmt: skip
def test_one_that_is_refused_changes_nothing(
    explicit: ExplicitServer, override: Override, overridden: Path, config: str, text: str
) -> None:
    rows = partial(batch_size, explicit, "overridden")
    assert override("overridden", '{"max_batch_size": 2}') == (200, "")
    status, error = override("overridden", config)
    assert (status, error.startswith(f"load failed for model 'overridden': {text}")) == (400, True), error
    assert (rows(), ready(explicit.server)) == (2, 200)
    assert explicit.load("overridden").status_code == 200
    assert rows() == 2


def test_one_for_a_model_that_is_not_there(explicit: ExplicitServer, override: Override) -> None:
    status, error = override("not_there", '{"max_batch_size": 2}')
    assert status == 404
    assert error.startswith("failed to load 'not_there', failed to poll from model repository")
    assert explicit.index("not_there") == []


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_a_name_that_is_empty(explicit: ExplicitServer, explicit_channel: Channel, name: str) -> None:
    text = "Model name cannot be empty. Please enter a valid name to deploy."
    message = pb.RepositoryModelLoadRequest(model_name=name)
    assert explicit_channel.fails("RepositoryModelLoad", message, pb.RepositoryModelLoadResponse) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        text,
    )
    if name:
        answer = explicit.load(name)
        assert (answer.status_code, error_of(answer)) == (400, text)


@pytest.mark.parametrize("name", ["..", " .. ", "a/b", "/a", "../a", "a\0b", "a\\b"])
def test_a_name_that_looks_like_a_path(explicit_channel: Channel, name: str) -> None:
    message = pb.RepositoryModelLoadRequest(model_name=name)
    code, text = explicit_channel.fails("RepositoryModelLoad", message, pb.RepositoryModelLoadResponse)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.endswith("', model name must not contain path traversal characters")


@pytest.mark.parametrize("name", ["", "..", "../a", "a/b", "nosuch"])
def test_names_of_unloads_are_not_looked_at(explicit_channel: Channel, name: str) -> None:
    unload = explicit_channel.method("RepositoryModelUnload", pb.RepositoryModelUnloadResponse)
    message = pb.RepositoryModelUnloadRequest(model_name=name)
    assert unload(message, timeout=60) == pb.RepositoryModelUnloadResponse()


# --- named configurations --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named_server(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit("--model-config-name=prod")


def test_a_named_configuration(named_server: ExplicitServer) -> None:
    rows = partial(batch_size, named_server, "named")
    path = named_server.write("named", identity("INT32", [1], max_batch_size=64), "max_batch_size: 8")
    prod, other = path / "configs" / "prod.pbtxt", path / "configs" / "other.pbtxt"
    # Where there is none, the usual one.
    assert named_server.load("named").status_code == 200
    assert rows() == 8
    configure(prod, 2)
    assert named_server.load("named").status_code == 200
    assert rows() == 2
    os.utime(prod, (1, 1))
    configure(prod, 3)
    assert named_server.load("named").status_code == 200
    assert rows() == 3
    # Those that are not in force change nothing: the model is not loaded again, and goes on counting.
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [1]}
    assert named_server.server.infer("named", {"inputs": [tensor]}).status_code == 200
    configure(other, 5)
    configure(path / "config.pbtxt", 6)
    assert named_server.load("named").status_code == 200
    assert rows() == 3
    assert statistics(named_server.server, "named")["inference_count"] == 1
    # One that came with a load is in the place of the named one.
    assert (
        named_server.load("named", json={"parameters": {"config": '{"max_batch_size": 4}'}}).status_code
        == 200
    )
    configure(other, 7)
    configure(path / "config.pbtxt", 9)
    assert named_server.load("named").status_code == 200
    assert rows() == 4
    configure(prod, 5)
    assert named_server.load("named").status_code == 200
    assert rows() == 5
    prod.write_text("max_batch_size: many")
    answer = named_server.load("named")
    assert answer.status_code == 400
    assert "named/configs/prod.pbtxt" in error_of(answer)
    prod.unlink()
    assert named_server.load("named").status_code == 200
    assert rows() == 9


# --- several repositories ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("second")


@pytest.fixture(scope="module")
def two_repositories(start_explicit: StartExplicit, second: Path) -> ExplicitServer:
    return start_explicit(f"--model-repository={second}")


def test_models_of_several_repositories(
    two_repositories: ExplicitServer, second: Path, write_model: Any
) -> None:
    two_repositories.write("b", versioned(1))
    write_model(second, "a", versioned(2))
    write_model(second, "c", versioned(3))
    assert [entry["name"] for entry in two_repositories.server.post("/v2/repository/index").json()] == [
        "a",
        "b",
        "c",
    ]
    for name, number in (("a", 2), ("b", 1), ("c", 3)):
        assert two_repositories.load(name).status_code == 200
        assert answer_of(two_repositories.server, name) == number


DUPLICATE = "model appears in two or more repositories"


def test_a_model_of_two_repositories(
    two_repositories: ExplicitServer, second: Path, write_model: Any
) -> None:
    two_repositories.write("twice", versioned(1))
    path = write_model(second, "twice", versioned(2))
    answer = two_repositories.load("twice")
    assert (answer.status_code, error_of(answer)) == (400, f"load failed for model 'twice': {DUPLICATE}\n")
    (entry,) = two_repositories.index("twice")
    assert entry["state"] == "UNAVAILABLE"
    assert entry["reason"].endswith(DUPLICATE)
    path.rename(path.with_name("other_name"))
    assert two_repositories.load("twice").status_code == 200
    assert answer_of(two_repositories.server, "twice") == 1
    # What serves is not lost to one that comes later.
    write_model(second, "twice", versioned(2))
    assert two_repositories.load("twice").status_code == 400
    assert answer_of(two_repositories.server, "twice") == 1
