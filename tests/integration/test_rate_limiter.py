"""The rate limiter of a whole server: what its flags, and the models' instance groups, do to loads and executions."""

from collections.abc import Iterator

import pytest

from tests.integration import handlers
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.support import (
    Wire,
    blocked,
    executed_tags,
    gated_request,
    new_tag,
    pending,
    wait_until,
)


def group(name: str, count: int, *, shared: bool = True, instances: int = 1) -> str:
    """An instance group whose executions need so much of a resource."""
    return f"""instance_group {{ kind: KIND_CPU count: {instances} rate_limiter {{
        resources {{ name: "{name}" global: {str(shared).lower()} count: {count} }} }} }}"""


@pytest.fixture(scope="module")
def limited_server(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit("--rate-limit=execution_count", "--rate-limit-resource=SCARCE:1")


@pytest.fixture
def limited(limited_server: ExplicitServer) -> Iterator[ExplicitServer]:
    """A server with the limiter; what a test has loaded is unloaded after it."""
    yield limited_server
    limited_server.unload_all()


def serve(server: ExplicitServer, name: str, config: str) -> None:
    server.write(name, handlers.GATED, config)
    response = server.load(name)
    assert response.status_code == 200, response.text


def test_models_that_need_all_of_a_resource_never_overlap(limited: ExplicitServer) -> None:
    """scheduling.md 10.2. What waits meanwhile can be cancelled: it is never executed."""
    for name in ("first", "second"):
        serve(limited, name, group("RATE", 4))
    server, stays = limited.server, new_tag()
    with blocked(server, "first") as release:
        wires = [Wire(server) for _ in range(2)]
        for wire, tag in zip(wires, (stays, new_tag()), strict=True):
            wire.send_infer("second", gated_request(tag))
        wait_until(lambda: pending(server, "second") == 2)
        wires[1].close()
        wait_until(lambda: pending(server, "second") == 1)
        assert release().status_code == 200
        assert wires[0].response().status_code == 200
        wires[0].close()
    assert executed_tags(server, "second")[:-1] == [stays]


def test_models_with_other_resources_do_not_wait(limited: ExplicitServer) -> None:
    serve(limited, "first", group("RATE", 1))
    serve(limited, "other", group("OTHER", 1))
    serve(limited, "free", "")
    with blocked(limited.server, "first") as release:
        for name in ("other", "free"):
            assert limited.server.infer(name, gated_request(new_tag())).status_code == 200
        assert release().status_code == 200


def test_a_model_is_unloaded_while_another_holds_what_it_needs(limited: ExplicitServer) -> None:
    """And its unload changes what there is: the largest need is gone."""
    serve(limited, "small", group("RATE", 1))
    serve(limited, "large", group("RATE", 2, instances=2))
    with blocked(limited.server, "small") as release:
        assert limited.unload("large").status_code == 200
        assert release().status_code == 200
    assert limited.server.infer("small", gated_request(new_tag())).status_code == 200


def test_a_model_that_could_never_run_does_not_load(limited: ExplicitServer) -> None:
    """scheduling.md 10.5."""
    limited.write("greedy", handlers.GATED, group("SCARCE", 2))
    response = limited.load("greedy")
    assert response.status_code == 400
    assert (
        'Resource count for "SCARCE" is limited to 1 which will prevent scheduling of one or more model instances, the '
        "minimum required count is 2"
    ) in response.json()["error"]
    serve(limited, "modest", group("SCARCE", 1))
    assert limited.server.infer("modest", gated_request(new_tag())).status_code == 200


def test_a_resource_that_is_global_in_one_model_is_global_in_all(limited: ExplicitServer) -> None:
    serve(limited, "first", group("RATE", 1))
    limited.write("local", handlers.GATED, group("RATE", 1, shared=False))
    response = limited.load("local")
    assert response.status_code == 400
    assert (
        'Resource "RATE" is present as both global and device-specific resource in the model configuration.'
    ) in response.json()["error"]


CALLING = """
class Model:
    inputs = {"PORT": ("INT32", [1]), "TAG": ("INT64", [1])}
    outputs = {"TAGS": ("BYTES", [1])}
    max_batch_size = 1

    def load(self, context):
        self.call = context.call

    def __call__(self, inputs):
        return self.call("callee", inputs)
"""


def test_a_call_that_would_wait_for_what_its_caller_holds_is_refused(limited: ExplicitServer) -> None:
    serve(limited, "callee", group("RATE", 2))
    limited.write("caller", CALLING, group("RATE", 1))
    limited.load("caller")
    answer = limited.server.infer("caller", gated_request(new_tag()))
    assert answer.status_code == 500
    assert (
        "Model callee - Error when running inference: it would wait for ever: executions that wait for its answer keep "
        "resource 'RATE', and leave less of it than it needs"
    ) in answer.json()["error"]
    # With a resource of its own, or enough of it, it is answered.
    limited.unload("caller")
    limited.write("caller", CALLING, group("OTHER", 1))
    limited.load("caller")
    answer = limited.server.infer("caller", gated_request(new_tag()))
    assert answer.status_code == 200, answer.text


def test_without_the_limiter_resources_are_a_warning(explicit: ExplicitServer) -> None:
    serve(explicit, "unlimited", group("RATE", 1))
    assert (
        "model 'unlimited': the resources of its instance groups have no effect: start the server with --rate-limit "
        "execution_count"
    ) in explicit.server.log
    assert explicit.server.infer("unlimited", gated_request(new_tag())).status_code == 200
