"""Anything that operators and clients do to models, in any order, with real models: what must hold then.

`ExpectedModel` says what must hold of each model. To add an operation, add a rule: change the files, or the server
through `self.do`, tell the expected model, and say what may answer from then on. A rule must not have a precondition
that depends on what the server does: two servers that are told the same need not evict the same models.
"""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kserve_v2.errors import (
    ErrorCode,
    InvalidArgumentError,
    NotFoundError,
    NotLoadedError,
    OverloadedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.lifecycle.load_request import PLAIN, LoadRequest
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.loaded import Lease, LoadedModel
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.residency.residency import Budget
from kserve_v2.repository.routing.routes import RouteCounts
from kserve_v2.repository.routing.split_model import SplitModel
from kserve_v2.scheduling.replies import infer
from tests.repository.expected_models import BROKEN, PINNED, POLICIES, Configuration, ExpectedModel
from tests.repository.text_models import OneBackend, SizedBackend, is_set

T = TypeVar("T")

NAMES = ("m", "n", "o")
LABELS = ("PROD", "STG")
GROUPS = ("", "instance_group { count: 1 kind: KIND_CPU }", "instance_group { count: 3 kind: KIND_CPU }")
SHARES: list[dict[int, float]] = [{}, {1: 100}, {1: 50, 2: 50}, {2: 90, 3: 10}, {1: 0, 2: 100}]

REFUSALS = (ErrorCode.INVALID_ARGUMENT, ErrorCode.OVERLOADED)

# Room for two of the three models that there are at the start. The largest version takes a little more than 200.
BUDGET = 500
NAME, VERSION = st.sampled_from(NAMES), st.sampled_from((1, 2, 3))
ASKED = st.tuples(
    NAME, st.sampled_from(["", "", "", "", "1", "2", "3", *LABELS]), st.sampled_from(["", "a", "b"])
)
OVERRIDES = [
    None, None, None, None,
    *(Configuration(policy, pin) for policy in POLICIES for pin in (False, True)),
]  # fmt: skip


@dataclass(eq=False)
class Held:
    """What keeps a version from going: a lease, or a request that is being executed, with the answer that it is to get."""

    name: str
    model: LoadedModel
    text: str
    lease: Lease | None = None
    request: asyncio.Task[InferResponse] | None = None


class Machine(RuleBasedStateMachine):
    """Models in a repository, a manager that serves them, and requests that wait for their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.backend = SizedBackend()
        self.models = {name: ExpectedModel() for name in NAMES}
        self.held: list[Held] = []
        self.evictions: dict[str, int] = {}
        self.number = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the server's loop run until something is done."""
        return self.runner.run(asyncio.wait_for(work, 60))

    @initialize(limited=st.sampled_from([True, True, False]), on_demand=st.booleans())
    def start(self, limited: bool, on_demand: bool) -> None:
        """With a budget or without, and with requests that wait for their models or not."""
        options = RepositoryOptions(
            (self.root,),
            memory=Budget({"cpu": BUDGET} if limited else {}),
            # With a budget a request would wait for what is held until the next step; see `have_loaded`.
            on_demand_wait_s=(0 if limited else 30) if on_demand else None,
        )

        async def make() -> ModelManager:
            return ModelManager(options, OneBackend(self.backend))

        self.limited, self.on_demand = limited, on_demand
        self.manager = self.do(make())
        self.manager.started = True
        for name in NAMES:
            self.configure(name, list(POLICIES)[-1], pin=False, groups="", unreadable=False)
            # The third one is for those who override the configuration.
            for version, size in ((1, 100), (2, 100), (3, 50)):
                self.edit(name, version, size, broken=False)
            self.load(name, None)
            self.release(name, ("label", ("PROD", 1)))
        self.infer_once("n", "", "")
        self.release("n", ("split", {1: 50, 2: 50}))
        self.release("o", ("shadow", 1))

    # --- what is written --------------------------------------------------------------------------------------------

    @rule(
        name=NAME,
        version=VERSION,
        size=st.sampled_from([50, 100, 200]),
        broken=st.sampled_from([False] * 5 + [True]),
    )
    def edit(self, name: str, version: int, size: int, broken: bool) -> None:
        self.number += 1
        # Another length each time: a change that the clock is too coarse for is seen by its size.
        text = BROKEN if broken else f"{version}." + "v" * (size + self.number)
        directory = self.root / name / str(version)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.text").write_text(text)
        self.models[name].texts[version] = text

    @rule(name=NAME, version=VERSION)
    def take_away(self, name: str, version: int) -> None:
        shutil.rmtree(self.root / name / str(version), ignore_errors=True)
        self.models[name].texts.pop(version, None)

    @rule(
        name=NAME,
        policy=st.sampled_from(list(POLICIES)),
        pin=st.sampled_from([False, False, True]),
        groups=st.sampled_from(GROUPS),
        unreadable=st.sampled_from([False] * 5 + [True]),
    )
    def configure(self, name: str, policy: str, pin: bool, groups: str, unreadable: bool) -> None:
        model = self.models[name]
        model.file = Configuration(policy, pin, unreadable)
        model.written = "max_batch_size: many" if unreadable else f"{policy} {groups} {PINNED if pin else ''}"
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "config.pbtxt").write_text(model.written)

    # --- what the server is told ------------------------------------------------------------------------------------

    @rule(name=NAME, override=st.sampled_from(OVERRIDES))
    def load(self, name: str, override: Configuration | None) -> None:
        model = self.models[name]
        configuration, fits = model.configuration(override), self.fits(name, override)
        before = {version: set(texts) for version, texts in model.served.items()}
        was_ready, loads = self.manager.all_ready(), len(self.backend.loads)
        request = PLAIN if override is None else LoadRequest(override.json)
        error = self.do(self.outcome(name, self.manager.load(name, request)))
        self.note_load(name, configuration, error, fits)
        if error is not None:
            assert not before or self.manager.all_ready() >= was_ready
        elif not self.limited:
            # Nothing was loaded that had not changed.
            changed = [version for version, texts in model.served.items() if before.get(version) != texts]
            assert len(self.backend.loads) - loads <= len(changed)

    def fits(self, name: str, override: Configuration | None = None) -> bool:
        """Whether there is room for a load beside all that may have to stay: then it must not be refused for want of it."""
        model = self.models[name]
        staying = [
            other.size
            for each, other in self.models.items()
            if each != name and (True in other.pins or any(held.name == each for held in self.held))
        ]
        needed = model.size + model.size_of(model.configuration(override)) + sum(staying)
        return not self.limited or needed <= BUDGET

    async def outcome(self, name: str, work: Coroutine[Any, Any, Any]) -> ServingError | None:
        """What comes of a load. With a budget, those that it may have to wait for are let go."""
        await self.copies_over()
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        if self.limited:
            await self.let_go([held for held in self.held if held.name == name or held.model.leaving])
        try:
            await task
        except ServingError as error:
            return error
        return None

    async def copies_over(self) -> None:
        """Requests that were copied to a shadow may still be under way when they have been answered: until they are over,
        their models make no room for others.
        """
        while any(  # noqa: ASYNC110 - nobody tells
            not model.idle
            for model in self.manager.ready_models()
            if not any(held.name == model.name for held in self.held)
        ):
            await asyncio.sleep(0)

    def note_load(
        self, name: str, configuration: Configuration, error: ServingError | None, fits: bool
    ) -> None:
        """A load has ended: what answers now is what was to be loaded, or what was there before."""
        model = self.models[name]
        self.note_evictions(but=name)
        serving = self.serving(name)
        if error is None:
            assert model.loads(configuration)
            model.has_loaded(configuration)
            assert serving == model.served.keys()
            return
        if isinstance(error, OverloadedError):
            assert not fits
            assert self.limited
            model.evicted |= not serving
        else:
            assert not model.loads(configuration)
        model.has_failed(configuration, serving)

    def note_evictions(self, but: str = "") -> None:
        """Those that are not there any more were evicted, and nobody needed them."""
        for name, model in self.models.items():
            count = self.manager.residency.evictions.get(name, 0)
            gone = count - self.evictions.get(name, 0)
            self.evictions[name] = count
            if gone and name != but:
                assert self.limited
                assert False in model.pins
                assert not any(held.name == name and not held.model.leaving for held in self.held)
                assert not self.serving(name)
                model.has_gone(evicted=True)

    def serving(self, name: str) -> set[int]:
        return {model.version for model in self.manager.ready_versions(name)}

    @rule(name=NAME, during_load=st.booleans(), turns=st.integers(0, 60), in_backend=st.booleans())
    def unload(self, name: str, during_load: bool, turns: int, in_backend: bool) -> None:
        if during_load:
            self.unload_during_load(name, turns, in_backend)
            return

        async def unload() -> None:
            self.manager.unload(name)

        self.do(unload())
        self.models[name].has_gone(evicted=False)
        assert not self.serving(name)
        assert not self.manager.is_wanted(name)

    @rule(name=NAME, asked=ASKED)
    def evict(self, name: str, asked: tuple[str, str, str]) -> None:
        """As if a load needed the room; and then somebody asks."""
        must_stay = self.manager.residents().get(name, True)
        needed = any(held.name == name and not held.model.leaving for held in self.held)
        assert must_stay or not needed
        if must_stay or not (self.limited or self.on_demand):
            return
        assert False in self.models[name].pins

        async def evict() -> None:
            self.manager.evict(name)

        self.do(evict())
        self.models[name].has_gone(evicted=True)
        assert not self.serving(name)
        self.infer_once(name, *asked[1:])

    def unload_during_load(self, name: str, turns: int, in_backend: bool) -> None:
        """`turns`: of the loop, after the load has begun, or has come to the backend."""

        async def unload(load: asyncio.Future[Any]) -> None:
            begun = asyncio.ensure_future(is_set(self.backend.loading))
            if in_backend:
                await asyncio.wait({load, begun}, return_when=asyncio.FIRST_COMPLETED)
            for _ in range(turns):
                await asyncio.sleep(0)
            self.manager.unload(name)
            self.backend.loading.set()
            await begun

        async def both() -> ServingError | None:
            self.backend.loading.clear()
            if in_backend:
                self.backend.load_gate.clear()
            load = asyncio.ensure_future(self.manager.load(name))
            unloading = asyncio.ensure_future(unload(load))
            unloading.add_done_callback(lambda _: self.backend.load_gate.set())
            error = await self.outcome(name, asyncio.wait_for(load, 60))
            await unloading
            return error

        error = self.do(both())
        assert not isinstance(error, UnavailableError) or "unloaded meanwhile" in error.message
        # What was loaded for nothing has made others go all the same.
        self.models[name].has_gone(evicted=False)
        self.note_evictions()
        assert not self.serving(name)
        assert not self.manager.is_wanted(name)

    @rule(
        name=NAME,
        what=st.one_of(
            st.tuples(st.just("label"), st.tuples(st.sampled_from(LABELS), st.none() | VERSION)),
            st.tuples(st.just("split"), st.sampled_from(SHARES)),
            st.tuples(st.just("shadow"), st.none() | VERSION),
        ),
    )
    def release(self, name: str, what: tuple[str, Any]) -> None:
        model = self.models[name]
        match what:
            case "label", (label, version):
                document: dict[str, Any] = {"labels": {label: version}}
                new = {version} if version != model.labels.get(label) else set()
            case "split", shares:
                sticky = {"parameter": "user"}
                texts = {str(version): share for version, share in shares.items()}
                document = {"split": {"shares": texts, "sticky": sticky} if shares else None}
                new = set(shares) if shares != model.shares else set()
            case _, shadow:
                document = {"shadow": None if shadow is None else {"version": shadow}}
                new = {shadow} if shadow != model.shadow else set()
        new -= {None}
        # Those of requests that name no version. A shadow that is the only one of them would get no copies.
        answering = {version for version in model.shares if version in model.served and model.shares[version]}
        if not model.shares and model.served:
            answering = {max(model.served)}
        alone = what[0] == "shadow" and bool(new) and new in (model.served.keys(), answering)
        try:
            self.do(self.manager.releases.change(name, document, "test"))
        except (NotFoundError, InvalidArgumentError):
            missing = what[0] == "label" and what[1][1] is None and what[1][0] not in model.labels
            assert not model.served or not new <= model.served.keys() or alone or missing
            return
        assert model.served
        assert new <= model.served.keys()
        assert not alone
        match what:
            case "label", (label, None):
                model.labels.pop(label, None)
            case "label", (label, version):
                model.labels[label] = version
            case "split", shares:
                model.shares = shares
            case _, shadow:
                model.shadow = shadow

    # --- what clients ask -------------------------------------------------------------------------------------------

    @rule(asked=st.lists(ASKED, min_size=1, max_size=5))
    def infer(self, asked: list[tuple[str, str, str]]) -> None:
        for each in asked:
            self.infer_once(*each)

    def infer_once(self, name: str, version: str, key: str) -> None:
        model = self.models[name]
        demanded = not model.served and (self.on_demand or model.evicted)
        configuration, fits = model.configuration(), self.fits(name)
        copies = self.copies(name)

        async def ask() -> str | ServingError:
            await self.copies_over()
            texts = {*model.texts.values()}.union(*model.served.values())
            await self.let_go([held for held in self.held if held.name == name and held.text in texts])
            asked = asyncio.ensure_future(self.ask(name, version, key))
            await asyncio.sleep(0)
            if demanded:
                await self.let_go([held for held in self.held if held.name == name or held.model.leaving])
            try:
                return await asked
            except ServingError as error:
                return error

        answered = self.do(ask())
        refused = False
        if demanded:
            failed = self.why_not_loaded(name, configuration, answered)
            refused = failed is not None
            self.note_load(name, configuration, failed, fits)
        if isinstance(answered, ServingError):
            # Of a load that fails for one version, all are told who wait for it.
            assert refused or not model.answering(version)
            assert answered.code in (ErrorCode.NOT_FOUND, ErrorCode.UNAVAILABLE, *REFUSALS)
            return
        number = int(answered.partition(".")[0])
        assert number in model.answering(version)
        assert answered in model.served[number]
        if not version:
            model.check_key(key, number)
        copied = not version and model.shadow in model.served and model.shadow != number
        expected = {(number, model.shadow): 1} if copied else {}
        assert {
            pair: count - copies.get(pair, 0)
            for pair, count in self.copies(name).items()
            if count != copies.get(pair, 0)
        } == expected

    def why_not_loaded(
        self, name: str, configuration: Configuration, answered: str | ServingError
    ) -> ServingError | None:
        """Why a load that a request has asked for has failed; None if it has not."""
        model = self.models[name]
        if not model.loads(configuration):
            return InvalidArgumentError("")
        if self.serving(name) == model.selected(configuration).keys():
            return None
        assert isinstance(answered, ServingError)
        return answered

    async def ask(self, name: str, version: str, key: str = "") -> str:
        """The answer to a request, as the server gets it. Those who are told to come back do, when there is a reason to."""
        while True:
            try:
                model = self.manager.acquire(name, version)
                request = InferRequest(name, {}, version, parameters={"user": key} if key else {})
                model.check(request)
                return text_of(await infer(model, request))
            except NotLoadedError:
                await self.have_loaded(name)

    async def have_loaded(self, name: str) -> None:
        try:
            await self.manager.demand(name)
        except UnavailableError as error:
            on_demand = self.manager._on_demand
            load = on_demand._loading.under_way(name) if on_demand is not None else None
            if load is None or not error.message.endswith(": it is being loaded"):
                raise
            await load

    @rule(asked=st.lists(ASKED, min_size=2, max_size=8))
    def ask_at_once(self, asked: list[tuple[str, str, str]]) -> None:
        """Each has one outcome, and it is that of the version that it was sent to."""
        configurations = {name: model.configuration() for name, model in self.models.items()}
        before = {name: set().union(*model.served.values()) for name, model in self.models.items()}

        async def ask() -> list[str | BaseException]:
            await self.let_go(self.held)
            asking = (self.ask(*each) for each in asked)
            return await asyncio.gather(*asking, return_exceptions=True)

        for (name, version, _), outcome in zip(asked, self.do(ask()), strict=True):
            model = self.models[name]
            if isinstance(outcome, str):
                assert outcome in before[name] or outcome in model.selected(configurations[name]).values()
                assert not version.isdigit() or outcome.startswith(f"{version}.")
            else:
                assert isinstance(outcome, ServingError)
                assert self.limited or not isinstance(outcome, OverloadedError)
        self.note_evictions_and_loads(configurations)

    def note_evictions_and_loads(self, configurations: Mapping[str, Configuration]) -> None:
        """Any of them may have been loaded, and have gone, several times."""
        for name, model in self.models.items():
            serving = self.serving(name)
            gone = self.manager.residency.evictions.get(name, 0) - self.evictions.get(name, 0)
            self.evictions[name] = self.manager.residency.evictions.get(name, 0)
            assert not gone or False in model.pins | {configurations[name].pin}
            if gone:
                model.has_gone(evicted=True)
            if serving and not model.served:
                if (
                    model.loads(configurations[name])
                    and serving == model.selected(configurations[name]).keys()
                ):
                    model.has_loaded(configurations[name])
                else:
                    model.has_failed(configurations[name], serving)
            model.evicted = (model.evicted or self.manager._is_evicted(name)) and not serving
            assert not model.evicted or self.limited or self.on_demand
            assert serving == model.served.keys()

    @rule(name=NAME, executing=st.booleans(), others=st.booleans())
    def hold(self, name: str, executing: bool, others: bool) -> None:
        """A request whose execution has begun stays with the version that it was sent to, and a lease keeps that there,
        whatever becomes of the model. `others`: all of them are loaded, as far as there is room.
        """
        if self.models[name].answering("") and not any(held.name == name for held in self.held):
            self.do(self.hold_version(name, executing))
            for other in NAMES if others else ():
                if other != name:
                    self.load(other, None)

    async def hold_version(self, name: str, executing: bool) -> None:
        request, model = InferRequest(name, {}), self.manager.acquire(name)
        if isinstance(model, SplitModel):
            model = model.choose(request)
        text = text_of(await infer(model, InferRequest(name, {}, str(model.version))))
        if not executing:
            self.held.append(Held(name, model, text, model.lease()))
            return
        self.backend.gates[text] = threading.Event()
        self.backend.entered.clear()
        model.check(request)
        task = asyncio.ensure_future(infer(model, request))
        await is_set(self.backend.entered)
        self.held.append(Held(name, model, text, request=task))

    async def let_go(self, those: list[Held]) -> None:
        for held in list(those):
            self.held.remove(held)
            if held.request is None:
                assert held.lease is not None
                # Nothing was closed under it.
                assert text_of(await infer(held.model, InferRequest(held.name, {}, "lease"))) == held.text
                held.lease.release()
            else:
                self.backend.gates.pop(held.text).set()
                assert text_of(await held.request) == held.text

    def copies(self, name: str) -> dict[tuple[int, int], int]:
        """How many copies each version's shadow has got, when all of them are over."""

        async def over() -> RouteCounts:
            counts = self.manager.routes.counts(name) or RouteCounts()
            while any(each.under_way for each in counts.shadows.values()):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            return counts

        if any(held.name == name for held in self.held):
            self.do(self.let_go([held for held in self.held if held.name == name]))
        shadows = self.do(over()).shadows
        assert all(each.outcomes.keys() <= {"different", "dropped"} for each in shadows.values())
        return {pair: each.outcomes.total() for pair, each in shadows.items()}

    # --- what must hold ---------------------------------------------------------------------------------------------

    @rule(holding=st.booleans())
    def look(self, holding: bool) -> None:
        """The index shows what serves."""
        if not holding:
            self.do(self.let_go(self.held))
        index = self.do(self.manager.index())
        for name, model in self.models.items():
            ready = {
                int(each.version) for each in index if each.name == name and each.state is ModelState.READY
            }
            assert ready == model.served.keys()

    @invariant()
    def what_serves_is_what_was_last_loaded(self) -> None:
        if hasattr(self, "manager"):
            for name, model in self.models.items():
                assert self.serving(name) == model.served.keys()

    @invariant()
    def the_budget_is_kept(self) -> None:
        if hasattr(self, "manager") and self.limited:
            assert self.manager.residency.used.get("cpu", 0) <= BUDGET
            assert self.backend.most <= BUDGET

    def teardown(self) -> None:
        async def end() -> None:
            manager = self.manager
            await self.let_go(self.held)
            for name in NAMES:
                manager.unload(name)
            while not manager.all_ready():
                await manager.changed.wait()
            # Unloaded, nothing is left of any of them.
            assert (self.backend.open, self.backend.bytes) == (0, 0)
            assert manager.residency.used == {}
            assert not manager.residency._claims
            assert not manager.residency._of_models
            assert manager.inflight.used == 0
            for name in NAMES:
                with pytest.raises(NotLoadedError if self.on_demand else NotFoundError):
                    manager.acquire(name)
                managed = manager.managed(name)
                assert managed is None or not any(record.model for record in managed.records)
            await manager.stop()

        async def running() -> set[Any]:
            await asyncio.sleep(0)
            return asyncio.all_tasks() - {asyncio.current_task()}

        try:
            if hasattr(self, "manager"):
                self.do(end())
                assert self.runner.run(running()) == set()
        finally:
            for gate in [self.backend.load_gate, *self.backend.gates.values()]:
                gate.set()
            self.runner.close()
            shutil.rmtree(self.root)


def text_of(response: InferResponse) -> str:
    text: bytes = response.outputs["text"].item()
    return text.decode()


@pytest.mark.slow
def test_anything_in_any_order() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            # A sequence that fails is short enough to be read, and each attempt to shorten it takes a while.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
