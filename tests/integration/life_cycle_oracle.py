"""What must hold of models that are loaded on demand into too little memory, whatever was done to them: pure, and no more
than a few sets. Each content has a number that grows with every edit, so it is seen which of two answers is the older one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

VERSIONS = (1, 2)
LABEL = "PROD"

# By version, the numbers that it may answer with; None: it may not be there.
May = dict[int, set[int | None]]


@dataclass(frozen=True)
class Content:
    """What is in the files of a version. `sound`: whether it can be loaded."""

    number: int
    sound: bool = True


@dataclass
class Expected:
    """A model: what is on disk, what answers (by version, its number), and its release. `away`: the versions whose
    process has ended, and whose files are not any more what it had loaded.
    """

    versions: tuple[int, ...] = VERSIONS
    disk: dict[int, Content] = field(default_factory=dict)
    served: dict[int, int] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)
    label: int | None = None
    split: dict[int, int] = field(default_factory=dict)

    @property
    def loaded(self) -> bool:
        return bool(self.served)

    @property
    def sound(self) -> bool:
        return all(each.sound for each in self.disk.values())

    def as_it_is(self) -> May:
        return {version: {self.served.get(version)} for version in self.versions}

    def after_load(self) -> May:
        """What can be loaded takes the place of what was there before; what cannot leaves it as it was."""
        return {
            version: {self.disk[version].number if self.disk[version].sound else self.served.get(version)}
            for version in self.versions
        }

    def after_ask(self) -> May:
        """Who asks for versions that are not there has the model loaded, unless any has failed before and is as it was.
        Where others are there, that may be tried once more, if it could help.
        """
        if not self.loaded and self.sound:
            return self.after_load()
        if len(self.served) == len(self.versions):
            return self.as_it_is()
        return union([self.as_it_is(), self.after_load()])

    def asked_for(self, version: str, may: May) -> set[int]:
        """Which versions may be the one that answers `version`: a number, the label, or none."""
        if version == LABEL:
            return set() if self.label is None else {self.label}
        if version:
            return {int(version)}
        if self.split:
            # The share of a version that is not ready goes to the others of the split.
            return set(self.split)
        newest = max((each for each in self.versions if None not in may[each]), default=0)
        return {each for each in self.versions if each >= newest}

    def allowed(self, version: str, may: May) -> tuple[set[tuple[int, int]], bool]:
        """The answers (version and number) that are right, and whether it is right to refuse."""
        asked = self.asked_for(version, may)
        answers = {(each, number) for each in asked for number in may[each] if number is not None}
        # Those that ask for the newest version are not given an older one because that has been killed.
        gone = not version and not self.split and max(self.away, default=0) > min(asked)
        return answers, gone or all(None in may[each] for each in asked)

    def observe(self, found: dict[int, int], may: May) -> None:
        """These versions were found to answer so. Raises AssertionError if that may not be."""
        for version in self.versions:
            assert found.get(version) in may[version], (
                f"version {version} answers {found.get(version)}, not one of {may[version]}"
            )
        self.served = dict(found)
        self.away = self.away - set(found) if found else set()


def union(many: Iterable[May]) -> May:
    """Any of these."""
    merged: May = {}
    for each in many:
        for version, numbers in each.items():
            merged.setdefault(version, set()).update(numbers)
    return merged
