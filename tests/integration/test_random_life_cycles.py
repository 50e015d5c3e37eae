"""Operators and clients, and somebody who kills processes, in any order over real sockets, where memory is too small for
all models: what answers is what `life_cycle_oracle` says, and every request has one outcome.

`KSERVE_V2_TEST_SEEDS=100-200` has other seeds than these tried.
"""

import os
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import grpc
import httpx
import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.life_cycle_models import APART, BUDGET, LARGE, NEAR, write
from tests.integration.life_cycle_oracle import LABEL, UNLOADED, VERSIONS, Content, Expected, State
from tests.integration.lifecycle_requests import ASK
from tests.integration.support import error_of, metric, wait_until
from tests.isolation.conftest import children, workers

pytestmark = pytest.mark.slow

OPERATIONS = {
    "load": 4, "unload": 2, "edit": 4, "break_": 3, "repair": 3, "label": 4, "split": 3, "evict": 3, "infer": 10,
    "kill": 2, "kill_worker": 1,
}  # fmt: skip
STATUSES = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "INTERNAL": 500}
GONE = (httpx.TransportError, ConnectionError)
CONNECTIONS = 3


class Clients:
    """Several of each protocol, each with a connection of its own: of a server of two processes, both are asked."""

    def __init__(self, server: RunningServer, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._stack = ExitStack()
        self.connect()

    def connect(self) -> None:
        self.close()
        self._rest = [
            self._stack.enter_context(httpx.Client(base_url=self._server.rest, timeout=120))
            for _ in range(CONNECTIONS)
        ]
        self._grpc = [self._stack.enter_context(Channel(self._server, own=True)) for _ in range(CONNECTIONS)]

    def close(self) -> None:
        self._stack.close()

    def ask(self, name: str, version: str) -> tuple[int, int, int] | tuple[int, str]:
        """200, the version and its number; or a status, and what is said of it."""
        if self._chance.random() < 0.5:
            return self._ask_rest(name, version)
        return self._ask_grpc(name, version)

    def _ask_rest(self, name: str, version: str) -> tuple[int, int, int] | tuple[int, str]:
        path = f"/v2/models/{name}/versions/{version}/infer" if version else f"/v2/models/{name}/infer"
        answer = self._chance.choice(self._rest).post(path, json=ASK)
        if answer.status_code != 200:
            return answer.status_code, error_of(answer)
        body = answer.json()
        return 200, int(body["model_version"]), int(body["outputs"][0]["data"][0])

    def _ask_grpc(self, name: str, version: str) -> tuple[int, int, int] | tuple[int, str]:
        request = request_of(name, tensor("IN", "INT32", [1], int_contents=[0]), model_version=version)
        try:
            answer = self._chance.choice(self._grpc).infer(request, timeout=120)
        except grpc.RpcError as error:
            return STATUSES[error.code().name], error.details()
        return 200, int(answer.model_version), int.from_bytes(answer.raw_output_contents[0], "little")


class Actor:
    """Does one thing after the other, and looks at everything after each."""

    def __init__(self, explicit: ExplicitServer, chance: random.Random) -> None:
        self._explicit = explicit
        self._server = explicit.server
        self._chance = chance
        self._number = 0
        # Its own chance: how often is asked depends on the machine, and what is done must not.
        self.clients = Clients(explicit.server, random.Random(chance.random()))  # noqa: S311 - repeatable
        self.models = {NEAR: Expected(), APART: Expected(), LARGE: Expected((1,))}
        self.did: list[str] = []

    def start(self) -> None:
        for name, model in self.models.items():
            for version in model.versions:
                self._write(name, version, sound=True)

    def do(self, operation: str) -> None:
        getattr(self, operation)()

    def _any(self) -> tuple[str, Expected]:
        """One that has two versions."""
        name = self._chance.choice((NEAR, APART))
        return name, self.models[name]

    def _write(self, name: str, version: int, *, sound: bool) -> None:
        self._number += 1
        write(self._explicit.root, name, version, self._number, sound=sound)
        self.models[name].disk[version] = Content(self._number, sound)

    # --- what operators do --------------------------------------------------------------------------------------

    def load(self) -> None:
        name, _ = self._any()
        self._load(name)

    def _load(self, name: str) -> None:
        model = self.models[name]
        self.did.append(f"load {name}")
        answer = self._explicit.load(name)
        if model.sound:
            assert answer.status_code == 200, answer.text
        else:
            assert answer.status_code == 400, answer.text
            for version, content in model.disk.items():
                failed = f"version {version} is at UNAVAILABLE state: " in answer.text
                assert failed != content.sound, answer.text
        self._look(name, model.after_load())

    def unload(self) -> None:
        name, _ = self._any()
        self.did.append(f"unload {name}")
        answer = self._explicit.unload(name)
        assert answer.status_code == 200, answer.text
        self._look(name, UNLOADED)
        assert {entry.get("reason", "unloaded") for entry in self._explicit.index(name)} == {"unloaded"}

    def edit(self) -> None:
        self._edit(sound=True)

    def break_(self) -> None:
        self._edit(sound=False)

    def _edit(self, *, sound: bool) -> None:
        """A new content; with a load, or without: then nobody sees it before the next one."""
        name, model = self._any()
        version = self._chance.choice(VERSIONS)
        self.did.append(f"{'edit' if sound else 'break'} {name} {version}")
        self._write(name, version, sound=sound)
        if self._chance.random() < 0.7:
            self._load(name)
        else:
            self._look(name, model.state)

    def repair(self) -> None:
        name, model = self._any()
        for version, content in model.disk.items():
            if not content.sound:
                self._write(name, version, sound=True)
        self.did.append(f"repair {name}")
        self._load(name)

    def label(self) -> None:
        name, model = self._any()
        version = self._chance.choice((None, *VERSIONS))
        self.did.append(f"label {version} {name}")
        state = model.after_ask()
        answer = self._release(name, {"labels": {LABEL: version}})
        if version is None and model.label is None:
            assert answer.status_code == (400 if state.loaded else 503), answer.text
        elif self._has_released(model, answer, state, {version} - {None, model.label}):
            model.label = version
        self._look(name, state)

    def split(self) -> None:
        name, model = self._any()
        first = self._chance.choice((0, 30, 50, 100))
        shares = {1: first, 2: 100 - first} if first not in (0, 100) else {1 if first else 2: 100}
        if self._chance.random() < 0.3:
            shares = {}
        self.did.append(f"split {shares} {name}")
        document = {"shares": {str(version): share for version, share in shares.items()}} if shares else None
        state = model.after_ask()
        answer = self._release(name, {"split": document})
        if self._has_released(model, answer, state, set(shares) if shares != model.split else set()):
            model.split = shares
        self._look(name, state)

    def _release(self, name: str, document: object) -> httpx.Response:
        return self._server.post(f"/v2/repository/models/{name}/release", json=document, timeout=120)

    @staticmethod
    def _has_released(model: Expected, answer: httpx.Response, state: State, versions: set[int]) -> bool:
        """Whether a release is in force now that names these `versions` and did not before."""
        if model.may_release(state, versions):
            assert answer.status_code == 200, answer.text
            return True
        if state.loaded and versions.isdisjoint(state.away):
            assert answer.status_code == 404, answer.text
        else:
            # It may come back.
            assert answer.status_code in (404, 503) if state.loaded else answer.status_code == 503, (
                answer.text
            )
        return False

    def evict(self) -> None:
        """Who asks for the large one has it, and there is no room for the others beside it."""
        self._infer(LARGE, "")
        assert self.models[LARGE].state.answers

    # --- what clients do ----------------------------------------------------------------------------------------

    def infer(self) -> None:
        name, _ = self._any()
        self._infer(name, self._chance.choice(("", "", "1", "2", LABEL)))

    def _infer(self, name: str, version: str) -> None:
        self.did.append(f"infer {name} {version}".rstrip())
        state = self.models[name].after_ask()
        self._check(name, version, state, self.clients.ask(name, version))
        self._look(name, state)

    def _check(
        self, name: str, version: str, state: State, outcome: tuple[int, int, int] | tuple[int, str]
    ) -> None:
        expected = {(each, state.answers[each]) for each in self.models[name].answering(version, state)}
        text = f"{outcome} for {name} {version}, expected {expected or 'a refusal'}"
        if outcome[0] == 200:
            assert outcome[1:] in expected, text
            return
        assert not expected, text
        if version == LABEL and self.models[name].label is None:
            # A model without labels has versions that are numbers, and nothing else is.
            assert outcome[0] in ((400, 404) if state.loaded else (503,)), text
        else:
            assert outcome[0] == 503, text
            assert f"'{name}'" in str(outcome[1]), text

    # --- somebody who kills processes ---------------------------------------------------------------------------

    def kill(self) -> None:
        """The processes of a model come back by themselves, and until then it is said that they are away. If its files
        are others than those that were loaded, that one stays away until a load.
        """
        self.did.append("kill the processes of models")
        model = self.models[APART]
        for pid in children(self._server.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not model.state.loaded:
            return
        after = model.after_kill()
        for version in ("", "1", "2"):
            outcome = self.clients.ask(APART, version)
            if outcome[0] == 200:
                self._check(APART, version, after, outcome)
            else:
                assert outcome[0] in (500, 503), outcome
        for version in after.answers:
            wait_until(lambda version=version: self.clients.ask(APART, str(version))[0] == 200)  # type: ignore[misc]
        wait_until(lambda: not self._coming_back())
        self._look(APART, after)

    def _coming_back(self) -> bool:
        return any("started again" in str(entry.get("reason")) for entry in self._explicit.index(APART))

    def kill_worker(self) -> None:
        """It comes back by itself. Who had a connection to it loses that, and finds the other process meanwhile."""
        pids = workers(self._server.process.pid)
        if not pids:
            return
        self.did.append("kill the server's second process")
        again = self._server.log.count("process 1 answers again")
        os.kill(pids[0], signal.SIGKILL)
        self.clients.connect()
        for name in (NEAR, APART):
            state = self.models[name].state
            for version in state.answers:
                with suppress(*GONE):
                    outcome = self.clients.ask(name, str(version))
                    if outcome[0] == 200:
                        self._check(name, str(version), state, outcome)
        wait_until(lambda: self._server.log.count("process 1 answers again") > again)
        self.clients.connect()
        self._look(NEAR, self.models[NEAR].state)

    # --- what must hold then ------------------------------------------------------------------------------------

    def _look(self, name: str, after: State) -> None:
        """`after`: of the model that something was done to. Others stay as they are, or make room for it."""
        wait_until(lambda: not any(entry.get("state") == "UNLOADING" for entry in self._index()))
        index = self._index()
        for each, model in self.models.items():
            entries = {
                int(entry["version"]): entry
                for entry in index
                if entry["name"] == each and "version" in entry
            }
            found = self._found(each, entries)
            if each == name:
                expected = after
            elif found == UNLOADED != model.state:
                assert after.tried, f"{each} has gone, for nothing"
                for version in model.state.loaded:
                    assert entries[version]["reason"].startswith("evicted: "), entries[version]
                expected = UNLOADED
            else:
                expected = model.state
            assert found == expected, f"{each} is {found}, expected {expected}: {entries}"
            model.state = expected
            for version in found.answers:
                self._look_at_entry(model, version, entries[version])
            self._ask_all(each, model)
        # There is no room for both.
        near, large = self.models[NEAR].state, self.models[LARGE].state
        assert not (len(near.answers) == len(VERSIONS) and large.loaded)
        assert metric(self._server, "kserve_v2_memory_used_bytes", device="cpu") <= BUDGET

    def _index(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._server.post("/v2/repository/index", timeout=120).json()
        return entries

    def _found(self, name: str, entries: Mapping[int, Mapping[str, Any]]) -> State:
        """What is loaded, by the index and by the answers."""
        answers, away = {}, set()
        for version, entry in entries.items():
            if entry["state"] == "READY":
                outcome = self.clients.ask(name, str(version))
                assert outcome[:2] == (200, version), outcome
                answers[version] = int(outcome[2])  # type: ignore[misc]
            else:
                # Nothing is loading any more when whoever had that done has been answered.
                assert entry["state"] == "UNAVAILABLE", entry
                if "changed since it was loaded: load it again" in entry["reason"]:
                    away.add(version)
        return State(answers, away)

    @staticmethod
    def _look_at_entry(model: Expected, version: int, entry: Mapping[str, Any]) -> None:
        """What the index says of a version that answers."""
        assert entry.get("labels", []) == [LABEL] * (version == model.label), entry
        reason = entry.get("reason", "")
        up_to_date = model.disk[version].number == model.state.answers[version]
        assert not reason or (reason.startswith("not updated: ") and not up_to_date), entry

    def _ask_all(self, name: str, model: Expected) -> None:
        """By number, by the label, and without a version. Who asks for one that is not there would have it loaded."""
        if model.state.loaded:
            for version in ("", LABEL, *map(str, model.versions)):
                self._check(name, version, model.state, self.clients.ask(name, version))

    def end(self) -> None:
        """Nothing is left of anything."""
        for name in self.models:
            self._explicit.unload(name)
        wait_until(lambda: not children(self._server.process.pid))
        wait_until(lambda: metric(self._server, "kserve_v2_memory_used_bytes", device="cpu") == 0)
        states = {entry["state"] for entry in self._index() if "state" in entry}
        assert states <= {"UNAVAILABLE"}
        self.clients.close()


def seeds() -> list[int]:
    first, _, last = os.environ.get("KSERVE_V2_TEST_SEEDS", "1-2").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def explicit(request: pytest.FixtureRequest, start_explicit: StartExplicit) -> Iterator[ExplicitServer]:
    """One for each seed: what is killed again and again is started again after ever longer waits."""
    started = start_explicit(
        "--model-control-mode=on-demand", f"--memory-budget=cpu={BUDGET}", "--memory-min-idle-secs=0",
        f"--processes={request.param}",
    )  # fmt: skip
    yield started
    started.server.stop()


@pytest.mark.parametrize("seed", seeds())
def test_anything_in_any_order(explicit: ExplicitServer, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    actor = Actor(explicit, chance)
    actor.start()
    operations = [name for name, count in OPERATIONS.items() for _ in range(count)]
    chance.shuffle(operations)
    try:
        for operation in operations:
            actor.do(operation)
        actor.end()
    except Exception as error:
        did = "\n".join(actor.did)
        raise AssertionError(f"{error!r}, after:\n{did}\nand this state: {actor.models}") from error
