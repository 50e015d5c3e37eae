"""Anything that operators and clients do to models, in any order, with real models: what must hold then.

A small model of each model says which texts may answer. To add an operation, add a rule: change the files through
`Expected`, or the server through `self.do`, and say what may answer from then on.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, UnavailableError
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from tests.repository.text_models import OneBackend, TextBackend, answer

T = TypeVar("T")

NAMES = ("m", "n")
VERSIONS = (1, 2, 3)
POLICIES = ("", "version_policy { all {} }", "version_policy { specific { versions: [1, 2] } }")
GROUPS = ("", "instance_group { count: 1 kind: KIND_CPU }", "instance_group { count: 3 kind: KIND_CPU }")


@dataclass
class Disk:
    """What lies in one model's directory: the texts of its versions, and its configuration."""

    texts: dict[int, str] = field(default_factory=dict)
    policy: str = ""
    groups: str = ""
    unreadable: bool = False

    @property
    def selected(self) -> dict[int, str]:
        """What a load is to serve."""
        if self.policy == "":
            chosen = [max(self.texts)] if self.texts else []
        else:
            chosen = [each for each in self.texts if "specific" not in self.policy or each in (1, 2)]
        return {version: self.texts[version] for version in chosen}

    @property
    def loads(self) -> bool:
        """Whether a load is to succeed."""
        selected = self.selected
        return bool(selected) and not self.unreadable and "fail" not in selected.values()


class Machine(RuleBasedStateMachine):
    """Models in a repository, a manager that serves them, and requests that wait for their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.backend = TextBackend()
        self.disks = {name: Disk() for name in NAMES}
        # What answers by version, as far as it is known: all of it, unless a load has failed half-way.
        self.served: dict[str, dict[int, set[str]]] = {name: {} for name in NAMES}
        self.waiting: list[tuple[asyncio.Task[str], set[str]]] = []
        self.number = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the server's loop run until something is done."""
        return self.runner.run(asyncio.wait_for(work, 30))

    @initialize()
    def start(self) -> None:
        async def make() -> ModelManager:
            return ModelManager(RepositoryOptions((self.root,)), OneBackend(self.backend))

        self.manager = self.do(make())
        self.manager.started = True

    # --- what is written --------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), broken=st.booleans())
    def edit(self, name: str, version: int, broken: bool) -> None:
        self.number += 1
        # Another length each time: a change that the clock is too coarse for is seen by its size.
        text = "fail" if broken else "v" * self.number
        directory = self.root / name / str(version)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.text").write_text(text)
        self.disks[name].texts[version] = text

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def take_away(self, name: str, version: int) -> None:
        shutil.rmtree(self.root / name / str(version), ignore_errors=True)
        self.disks[name].texts.pop(version, None)

    @rule(
        name=st.sampled_from(NAMES),
        policy=st.sampled_from(POLICIES),
        groups=st.sampled_from(GROUPS),
        unreadable=st.sampled_from([False, False, False, True]),
    )
    def configure(self, name: str, policy: str, groups: str, unreadable: bool) -> None:
        disk = self.disks[name]
        disk.policy, disk.groups, disk.unreadable = policy, groups, unreadable
        (self.root / name).mkdir(exist_ok=True)
        text = "max_batch_size: many" if unreadable else f"{policy} {groups}"
        (self.root / name / "config.pbtxt").write_text(text)

    # --- what the server is told ------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def load(self, name: str) -> None:
        disk, before = self.disks[name], self.served[name]
        was_ready = self.manager.all_ready()
        loads = len(self.backend.loads)
        try:
            self.do(self.manager.load(name))
        except (InvalidArgumentError, NotFoundError):
            assert not disk.loads
            was_serving = bool(before)
            # What answered goes on, or its successor does, where that has loaded.
            if not disk.unreadable:
                for version, text in disk.selected.items():
                    if text != "fail":
                        before[version] = before.get(version, set()) | {text}
            if was_serving:
                assert self.manager.all_ready() >= was_ready
        else:
            assert disk.loads
            self.served[name] = {version: {text} for version, text in disk.selected.items()}
            # Nothing was loaded that had not changed.
            changed = [version for version, text in disk.selected.items() if before.get(version) != {text}]
            assert len(self.backend.loads) - loads <= len(changed)
            serving = {model.version: model for model in self.manager.ready_versions(name)}
            assert serving.keys() == disk.selected.keys()

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name: str) -> None:
        async def unload() -> None:
            self.manager.unload(name)

        self.do(unload())
        self.served[name] = {}
        assert not self.manager.ready_versions(name)

    @rule(name=st.sampled_from(NAMES))
    def load_and_unload_at_once(self, name: str) -> None:
        async def both() -> None:
            load = asyncio.ensure_future(self.manager.load(name))
            await asyncio.sleep(0)
            self.manager.unload(name)
            with pytest.raises(ServingError):
                await load

        self.do(both())
        self.served[name] = {}

    # --- what clients ask -------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(["", "1", "2", "3"]))
    def infer(self, name: str, version: str) -> None:
        served = self.served[name]
        try:
            text = self.do(answer(self.manager, name, version))
        except (NotFoundError, UnavailableError):
            assert not served if version == "" else int(version) not in served
        else:
            assert text in self.allowed(name, version)

    def allowed(self, name: str, version: str) -> set[str]:
        """What may answer."""
        served = self.served[name]
        if version:
            return served[int(version)]
        return set().union(*served.values())

    @precondition(lambda self: any(self.served.values()))
    @rule(name=st.sampled_from(NAMES))
    def ask_and_wait(self, name: str) -> None:
        """A request whose execution has begun stays with the version that it was sent to, whatever becomes of that."""
        if not self.served[name]:
            return

        async def ask() -> None:
            self.backend.execution_gate.clear()
            self.backend.entered.clear()
            task = asyncio.ensure_future(answer(self.manager, name))
            await asyncio.get_running_loop().run_in_executor(None, self.backend.entered.wait, 30)
            self.waiting.append((task, self.allowed(name, "")))

        self.do(ask())
        self.let_go()

    def let_go(self) -> None:
        async def settle() -> None:
            self.backend.execution_gate.set()
            for task, allowed in self.waiting:
                assert await task in allowed

        self.do(settle())
        self.waiting.clear()

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def what_serves_is_what_was_last_loaded(self) -> None:
        if not hasattr(self, "manager"):
            return
        for name in NAMES:
            serving = {model.version for model in self.manager.ready_versions(name)}
            known = self.served[name].keys()
            assert serving <= known
            assert bool(serving) == bool(known)

    def teardown(self) -> None:
        async def end() -> None:
            self.backend.execution_gate.set()
            for name in NAMES:
                self.manager.unload(name)
            while not self.manager.all_ready():
                await self.manager.changed.wait()
            # Unloaded, nothing is left of any of them.
            assert self.backend.open == 0
            for name in NAMES:
                with pytest.raises(NotFoundError):
                    self.manager.acquire(name)
            await self.manager.stop()

        if hasattr(self, "manager"):
            self.do(end())
        self.runner.close()
        shutil.rmtree(self.root)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_anything_in_any_order() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            # A sequence that fails is short enough to be read, and each attempt to shorten it takes a while.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
