"""What must hold of a model, whatever operators and clients have done to it: what lies on disk, what was said last, and
what of both answers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POLICIES: Mapping[str, dict[str, Any]] = {
    "": {},
    "version_policy { all {} }": {"version_policy": {"all": {}}},
    "version_policy { specific { versions: [1, 2] } }": {
        "version_policy": {"specific": {"versions": [1, 2]}}
    },
}
"""As a configuration file has them, and as a load call does."""
PINNED = 'parameters { key: "pin" value { string_value: "true" } }'
BROKEN = "fail"


@dataclass(frozen=True)
class Configuration:
    """What a load goes by. `over`: of one that came with a load call, the file in whose place it is."""

    policy: str = ""
    pin: bool = False
    unreadable: bool = False
    over: str | None = None
    called: bool = False

    @property
    def json(self) -> str:
        """As a load call has it."""
        pin = {"parameters": {"pin": {"string_value": "true"}}} if self.pin else {}
        return json.dumps(POLICIES[self.policy] | pin)


@dataclass
class ExpectedModel:
    """`texts`: of the versions on disk. `served`: for each version that is there the texts that it may answer with, one
    unless a load has failed half-way. `pins`: whether it may be pinned. `evicted`: it is to come back when it is asked
    for.
    """

    texts: dict[int, str] = field(default_factory=dict)
    file: Configuration = Configuration()
    written: str | None = None
    override: Configuration | None = None
    labels: dict[str, int] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    shadow: int | None = None
    served: dict[int, set[str]] = field(default_factory=dict)
    pins: set[bool] = field(default_factory=lambda: {False})
    evicted: bool = False
    # By key, shares and the versions that were there.
    keys: dict[tuple[str, str], int] = field(default_factory=dict)

    def configuration(self, called: Configuration | None = None) -> Configuration:
        """What a load goes by now. `called`: what comes with it."""
        if called is not None:
            return Configuration(called.policy, called.pin, over=self.written, called=True)
        if self.override is not None and self.override.over == self.written:
            return self.override
        return self.file

    def selected(self, configuration: Configuration) -> dict[int, str]:
        """What a load is to serve. Those that the release names are served beside the latest one."""
        match configuration.policy:
            case "":
                named = {*self.labels.values(), *self.shares, *([self.shadow] if self.shadow else [])}
                chosen = {version for version in self.texts if version in named or version == max(self.texts)}
            case policy:
                chosen = {version for version in self.texts if "all" in policy or version in (1, 2)}
        return {version: self.texts[version] for version in sorted(chosen)}

    def loads(self, configuration: Configuration) -> bool:
        """Whether a load is to succeed, if there is room."""
        selected = self.selected(configuration)
        return bool(selected) and not configuration.unreadable and BROKEN not in selected.values()

    def has_loaded(self, configuration: Configuration) -> None:
        """A load has ended well."""
        self.served = {version: {text} for version, text in self.selected(configuration).items()}
        self.pins, self.evicted = {configuration.pin}, False
        self.override = configuration if configuration.called else None

    def has_failed(self, configuration: Configuration, serving: set[int]) -> None:
        """A load has failed. What answered goes on, or its successor does, where that has loaded. `serving`: what does
        now.
        """
        assert serving >= self.served.keys()
        if configuration.unreadable:
            assert serving == self.served.keys()
            return
        self.pins.add(configuration.pin)
        for version, text in self.selected(configuration).items():
            if text != BROKEN and version in serving:
                self.served[version] = self.served.get(version, set()) | {text}
        assert serving == self.served.keys()

    def has_gone(self, *, evicted: bool) -> None:
        """It was unloaded, or had to make room: then what was sent in place of its configuration stays in force."""
        self.served, self.evicted = {}, evicted
        if not evicted:
            self.override = None

    def answering(self, version: str) -> set[int]:
        """Which of its versions may answer a request; none if it is to be refused."""
        if version.isdigit():
            named = {int(version)}
        elif version:
            named = {self.labels[version]} if version in self.labels else set()
        elif self.shares:
            named = {each for each, share in self.shares.items() if share > 0}
        else:
            named = {max(self.served, default=0)}
        return named & self.served.keys()

    def check_key(self, key: str, version: int) -> None:
        """A client with a key gets the version that it got before, while shares and versions are the same."""
        if key and self.shares:
            state = f"{sorted(self.shares.items())} of {sorted(self.answering(''))}"
            assert self.keys.setdefault((key, state), version) == version

    @property
    def size(self) -> int:
        """What is served takes at most."""
        return sum(max(map(len, texts)) for texts in self.served.values())

    def size_of(self, configuration: Configuration) -> int:
        """What a load takes."""
        return sum(map(len, self.selected(configuration).values()))
