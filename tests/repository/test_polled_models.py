"""Random edits of a repository, polled: what answers is what a model of the rules says. Real directories and loads."""

import asyncio
import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import ServingError
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.sources.polling import Pace, Poller
from tests.repository.text_models import answer, managing, write

pytestmark = pytest.mark.slow

NAMES, VERSIONS = ("a", "b"), (1, 2)
SETTLE_S = 2.0

# An edit of one model, or several looks with a pause between them.
EDITS = st.one_of(
    st.tuples(
        st.sampled_from(["good", "fail", "remove version"]), st.sampled_from(NAMES), st.sampled_from(VERSIONS)
    ),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("settle"), st.just(""), st.just(0)),
    st.tuples(st.just("look"), st.just(""), st.just(0)),
)


class Bench:
    """A repository, what polls it, and what should answer: the text of the highest version if it loads, else what has
    answered before; nothing once there is no version any more.
    """

    def __init__(self, root: Path, manager: ModelManager) -> None:
        self.root, self.manager = root, manager
        self.now_s = 0.0
        self.poller = Poller(manager, [root], Pace(15, SETTLE_S), clock=lambda: self.now_s)
        self.texts = (f"text {number}" for number in itertools.count())
        self.on_disk: dict[str, dict[int, str]] = {name: {} for name in NAMES}
        self.answers: dict[str, str | None] = dict.fromkeys(NAMES)

    def edit(self, kind: str, name: str, version: int) -> None:
        if kind in {"good", "fail"}:
            text = next(self.texts) if kind == "good" else "fail"
            if self.on_disk[name].get(version) != text:
                write(self.root, name, text, version)
                self.on_disk[name][version] = text
        elif version in self.on_disk[name]:
            shutil.rmtree(self.root / name / str(version))
            del self.on_disk[name][version]
        elif kind == "remove":
            shutil.rmtree(self.root / name, ignore_errors=True)
            self.on_disk[name] = {}

    async def look(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        await self.poller.look()
        await asyncio.sleep(0)
        for name in NAMES:
            if (managed := self.manager.managed(name)) is not None:
                await managed.settled()
        for _ in range(5):
            # For the poller to hear of it.
            await asyncio.sleep(0)

    async def settle(self) -> None:
        await self.look()
        await self.look(SETTLE_S)
        for name, versions in self.on_disk.items():
            if not versions:
                self.answers[name] = None
            elif (text := versions[max(versions)]) != "fail":
                self.answers[name] = text

    async def answer(self, name: str) -> str | None:
        try:
            return await answer(self.manager, name)
        except ServingError:
            return None


@settings(max_examples=40, deadline=None)
@given(st.lists(EDITS, max_size=14))
def test_what_answers_is_what_the_rules_say(edits: list[tuple[str, str, int]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as root:
            async with managing(Path(root)) as (manager, _):
                bench = Bench(Path(root), manager)
                for kind, name, version in edits:
                    if kind == "settle":
                        await bench.settle()
                    elif kind == "look":
                        # Nothing is acted upon that one look has found, or that changes between looks.
                        await bench.look(0.01)
                    else:
                        bench.edit(kind, name, version)
                    assert {each: await bench.answer(each) for each in NAMES} == bench.answers
                await bench.settle()
                assert {each: await bench.answer(each) for each in NAMES} == bench.answers

    asyncio.run(asyncio.wait_for(main(), 60))
