"""What must hold of models that are loaded on demand into too little memory, whatever was done to them: pure, and no more
than a few sets. Each content has a number that grows with every edit, so it is seen which of two answers is the older one.

It leaves nothing open: after each step there is one state in which a model may be, but for what had to make room for it.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

VERSIONS = (1, 2)
LABEL = "PROD"


@dataclass(frozen=True)
class Content:
    """What is in the files of a version. `sound`: whether it can be loaded."""

    number: int
    sound: bool = True


@dataclass(frozen=True)
class State:
    """What of a model is loaded. `answers`: the number that each version answers with. `away`: the versions whose
    process has ended, and whose files are not any more what it had loaded. `tried`: whether something was loaded, or was
    about to be, on the way there, so that others may have made room for it.
    """

    answers: Mapping[int, int] = field(default_factory=dict)
    away: Set[int] = frozenset()
    tried: bool = field(default=False, compare=False)

    @property
    def loaded(self) -> Set[int]:
        """The versions that are there, whether they answer or not."""
        return self.answers.keys() | self.away


UNLOADED = State()


@dataclass
class Expected:
    """A model: what is on disk, what is loaded, and its release."""

    versions: tuple[int, ...] = VERSIONS
    disk: dict[int, Content] = field(default_factory=dict)
    state: State = UNLOADED
    label: int | None = None
    split: dict[int, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return all(each.sound for each in self.disk.values())

    def after_load(self) -> State:
        """What can be loaded takes the place of what was there before; what cannot leaves it as it was."""
        loaded = {version: content.number for version, content in self.disk.items() if content.sound}
        answers = {**self.state.answers, **loaded}
        return State(answers, self.state.away - answers.keys(), tried=True)

    def after_ask(self) -> State:
        """Who asks for a model of which nothing is there has it loaded, whatever is the matter with some of its versions.
        One of which something is there stays as it is until somebody loads it.
        """
        return self.state if self.state.loaded else self.after_load()

    def after_kill(self) -> State:
        """Processes come back with what they had loaded, and if that is not there any more, they do not."""
        before = self.state
        answers = {
            version: number
            for version, number in before.answers.items()
            if number == self.disk[version].number
        }
        return State(answers, before.loaded - answers.keys())

    def answering(self, version: str, state: State) -> Set[int]:
        """Which versions may answer a request to `version`, a number, the label, or none; if none may, it is refused."""
        if version == LABEL:
            return state.answers.keys() & {self.label}
        if version:
            return state.answers.keys() & {int(version)}
        if self.split:
            # The share of a version that does not answer goes to the others of the split.
            return state.answers.keys() & self.split.keys()
        # Those that ask for the newest version are not given an older one because its process has been killed.
        return state.answers.keys() & {max(state.loaded, default=0)}

    def may_release(self, state: State, versions: Set[int]) -> bool:
        """Whether a release may be changed to one that names these versions, and did not before. What it has said
        before may be said again, whether that is there or not.
        """
        return bool(state.loaded) and versions <= state.answers.keys()
