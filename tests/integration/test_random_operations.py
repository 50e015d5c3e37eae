"""Operators and clients, and somebody who kills processes, in any order over real sockets: what answers is what was
loaded last, or was there before, and every request has one outcome. `tests/repository/test_lifecycle_properties` does
the same with more operations, in one process.
"""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, model_ready
from tests.integration.support import wait_until
from tests.isolation.conftest import children

pytestmark = pytest.mark.slow

ISOLATED = 'parameters { key: "isolation" value { string_value: "process" } }'
CHANGED = "its files have changed since it was loaded: load it again"
OPERATIONS = {"reload": 5, "break": 3, "kill": 4, "infer": 12, "unload": 1}


class Actor:
    """Does one thing after the other to the model `m`. `serves`: the number that answers; None if nothing does."""

    def __init__(self, explicit: ExplicitServer, channel: Channel, chance: random.Random) -> None:
        self._explicit = explicit
        self._channel = channel
        self._chance = chance
        self._number = 0
        self.serves: int | None = None

    def reload(self) -> None:
        self._number += 1
        self._explicit.write("m", versioned(self._number) + "#" * self._number, ISOLATED)
        assert self._explicit.load("m").status_code == 200
        self.serves = self._number

    def break_(self) -> None:
        self._number += 1
        self._explicit.write("m", BROKEN + "#" * self._number, ISOLATED)
        assert self._explicit.load("m").status_code == 400
        if self.serves is not None:
            (entry,) = self._explicit.index("m")
            assert entry["reason"].startswith(("not updated: ", "the process of"))

    def kill(self) -> None:
        """It comes back by itself, and until then it says that it is away. If its files are others than those that were
        loaded, it stays away until a load.
        """
        pids = children(self._explicit.server.process.pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for _ in range(3):
            self.infer(away=True)
        if self.serves == self._number:
            wait_until(lambda: model_ready(self._explicit.server, "m") == 200, 60)
        elif self.serves is not None:
            wait_until(lambda: CHANGED in self._explicit.index("m")[0].get("reason", ""), 60)
            assert model_ready(self._explicit.server, "m") != 200
            self.serves = None

    def infer(self, *, away: bool = False) -> None:
        status, number = self._ask_rest() if self._chance.random() < 0.5 else self._ask_grpc()
        if self.serves is None:
            assert status in (404, 503), number
        elif status != 200:
            assert away
            assert status in {500, 503}
        else:
            assert number == self.serves

    def _ask_rest(self) -> tuple[int, int]:
        answer = self._explicit.server.infer("m", ASK)
        if answer.status_code != 200:
            return answer.status_code, 0
        return 200, int(answer.json()["outputs"][0]["data"][0])

    def _ask_grpc(self) -> tuple[int, int]:
        request = pb.ModelInferRequest(model_name="m")
        request.inputs.add(name="IN", datatype="INT32", shape=[1])
        request.raw_input_contents.append(np.zeros(1, np.int32).tobytes())
        try:
            answer = self._channel.infer(request)
        except grpc.RpcError as error:
            code = error.code()
            names = {"NOT_FOUND": 404, "UNAVAILABLE": 503, "INTERNAL": 500}
            return names[code.name], 0
        return 200, int(np.frombuffer(answer.raw_output_contents[0], np.int32)[0])

    def unload(self) -> None:
        assert self._explicit.unload("m").status_code == 200
        self.serves = None
        # Its process goes with it.
        wait_until(lambda: not children(self._explicit.server.process.pid), 60)


@pytest.fixture(scope="module")
def explicit(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit()


@pytest.fixture
def channel(explicit: ExplicitServer) -> Iterator[Channel]:
    with Channel(explicit.server) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2])
def test_operations_in_any_order(explicit: ExplicitServer, channel: Channel, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    actor = Actor(explicit, channel, chance)
    operations = [name for name, count in OPERATIONS.items() for _ in range(count)]
    chance.shuffle(operations)
    done: list[str] = []
    for name in operations:
        done.append(name)
        try:
            getattr(actor, {"break": "break_"}.get(name, name))()
        except AssertionError as error:
            raise AssertionError(f"after {', '.join(done)}: {error}") from error
    actor.unload()
    wait_until(lambda: {entry.get("reason") for entry in explicit.index("m")} == {"unloaded"})
