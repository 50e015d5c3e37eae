"""What is known of a server whose metadata cannot be read, and of one without gRPC."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import WrongServer, serve
from wrongserver.changes import REST_CHANGES, RestAnswer

from kserve_v2_conformance.models.catalogue import BY_NAME
from kserve_v2_conformance.profile import Profile
from kserve_v2_conformance.rest import RestClient
from kserve_v2_conformance.rpc import GrpcClient
from kserve_v2_conformance.target import NotCovered, Target

Spoil = Callable[[str, bytes], None]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """`spoil(path, body)`: what a server with the defect `spoilt` answers to a path."""

    def plant(path: str, body: bytes) -> None:
        monkeypatch.setitem(REST_CHANGES, "spoilt", (path, lambda _: RestAnswer(200, {}, body)))

    return plant


@contextmanager
def _target(server: WrongServer, profile: Profile | None = None, grpc: bool = True) -> Iterator[Target]:
    over_grpc = GrpcClient(server.grpc.address) if grpc else None
    target = Target(RestClient(server.rest.url), over_grpc, profile or Profile())
    try:
        yield target
    finally:
        target.close()


def test_server_metadata_that_are_no_json(spoil: Spoil) -> None:
    spoil("/v2", b"[")
    with serve("spoilt") as server, _target(server) as target:
        assert (target.metadata, target.advertised, target.extensions) == ({}, [], set())


def test_metadata_are_asked_for_over_grpc_where_rest_has_none(spoil: Spoil) -> None:
    spoil("/v2/models/[^/]+", b"[")
    with serve("spoilt") as server, _target(server) as target:
        assert target.model("add_sub").versions == ("1",)


@pytest.mark.parametrize("body", [b"[", b'{"inputs": 1}', b'{"inputs": [1]}', b'{"inputs": [{}]}'])
def test_models_of_the_catalogue_need_no_metadata(body: bytes, spoil: Spoil) -> None:
    spoil("/v2/models/[^/]+", body)
    with serve("spoilt") as server, _target(server, grpc=False) as target:
        model = target.model("add_sub")
    assert [each.name for each in model.inputs] == [each.name for each in BY_NAME["add_sub"].inputs]


def test_model_that_only_infers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without metadata and readiness of models has models all the same; it fails the clauses about those."""
    monkeypatch.setitem(
        REST_CHANGES, "spoilt", ("/v2/models/[^/]+(/ready)?", lambda _: RestAnswer(404, {}, b"{}"))
    )
    with serve("spoilt") as server, _target(server, grpc=False) as target:
        assert [each.name for each in target.model("add_sub").outputs] == ["OUTPUT0", "OUTPUT1"]
        assert target.find("loadable") is None


def test_outputs_that_nobody_describes_are_called_as_they_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = b'{"outputs": [{"name": "sum"}, {"name": "difference"}]}'

    def renamed(answer: RestAnswer) -> RestAnswer:
        return RestAnswer(404 if b"platform" in answer.body else 200, {}, named)

    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/[^/]+(/infer)?", renamed))
    with serve("spoilt") as server, _target(server, grpc=False) as target:
        names = [each.name for each in target.model("add_sub").outputs]
    assert names == ["sum", "difference"]


def test_profile_of_a_model_that_only_infers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its tensors are cannot be guessed: it is there, and cannot be used."""
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/[^/]+", lambda _: RestAnswer(404, {}, b"")))
    profile = Profile({"add_sub": "add_sub"})
    with (
        serve("spoilt") as server,
        _target(server, profile, grpc=False) as target,
        pytest.raises(NotCovered, match="the metadata of add_sub do not say"),
    ):
        target.model("add_sub")


@pytest.mark.parametrize("body", [b"[", b'{"outputs": [1]}', b'{"outputs": [{}]}', b'{"outputs": 1}'])
def test_ready_model_whose_answer_cannot_be_read(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(answer: RestAnswer) -> RestAnswer:
        return RestAnswer(200, {}, body) if b"model_name" in answer.body else RestAnswer(404, {}, b"")

    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/[^/]+(/infer)?", spoilt))
    with serve("spoilt") as server, _target(server, grpc=False) as target:
        assert [each.name for each in target.model("add_sub").outputs] == ["OUTPUT0", "OUTPUT1"]


def test_models_of_a_profile_need_metadata(spoil: Spoil) -> None:
    spoil("/v2/models/[^/]+", b"{}")
    with serve("spoilt") as server, _target(server, Profile({"add_sub": "add_sub"}), grpc=False) as target:
        assert target.find("add_sub") is None


def test_grpc_that_was_not_named() -> None:
    with serve() as server, _target(server, grpc=False) as target:
        assert not target.has_grpc
        with pytest.raises(NotCovered, match="no gRPC address was given"):
            _ = target.grpc


def test_answers_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is silent over REST is had over gRPC; one that is silent over both is not there."""
    silent = ("/v2/models/[^/]+(/ready|/infer)?", lambda _: RestAnswer(0))
    monkeypatch.setitem(REST_CHANGES, "spoilt", silent)
    with serve("spoilt") as server:
        with _target(server) as target:
            assert target.find("add_sub") is not None
        with _target(server) as target:
            server.grpc.stop()
            assert target.find("add_sub") is None
