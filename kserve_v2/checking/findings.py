"""What a check finds: one thing at one place."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path


class Level(Enum):
    """How much a finding matters."""

    ERROR = "error"
    """A server would refuse the model, or a version of it."""

    WARNING = "warning"
    """It is served, but not as it was meant, or not as well as it could be."""

    NOTE = "note"
    """Something could not be looked at."""


class Rule(Enum):
    """What kind of thing a finding is about. The values are names in reports, and stay as they are."""

    SYNTAX = "config-syntax"
    VALUE = "config-value"
    CONTRADICTION = "config-contradicts-model"
    LAYOUT = "repository-layout"
    FILE = "model-file"
    ENSEMBLE = "ensemble"
    ENVIRONMENT = "environment"
    SAID = "said-by-the-server"
    BATCHING = "unwise-batching"
    DEVICES = "unwise-devices"
    THREADS = "unwise-threads"
    VERSIONS = "unwise-versions"

    @property
    def about(self) -> str:
        """One line for reports."""
        return _ABOUT[self]


_ABOUT = {
    Rule.SYNTAX: "The configuration cannot be read",
    Rule.VALUE: "The configuration says what cannot be served",
    Rule.CONTRADICTION: "The configuration says something else than the model's file",
    Rule.LAYOUT: "Directories and files are not laid out as a model's",
    Rule.FILE: "A file of the model cannot be read",
    Rule.ENSEMBLE: "The steps of an ensemble do not fit together",
    Rule.ENVIRONMENT: "The model's environment is not there, so that the model was not looked at",
    Rule.SAID: "The server would warn of this when it loads the model",
    Rule.BATCHING: "Requests are not merged although they could be, or not as the configuration suggests",
    Rule.DEVICES: "The model asks for devices that this machine does not have",
    Rule.THREADS: "The model's threads are more than there are CPUs",
    Rule.VERSIONS: "The version that is served is perhaps not the one that is meant",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `path`: the file, or directory, that is to be changed. `line` and `column`: from 1, 0
    where none is known. `field`: of the configuration, "" for none. `message`: what was found. `instead`: what to
    write, "" where the message says it. `versions`: those that it is about, () for the model as a whole. `url`: of what
    has been brought here from elsewhere, in place of the path of its copy; "" for what lies here.
    """

    level: Level
    rule: Rule
    model: str
    path: Path
    message: str
    line: int = 0
    column: int = 0
    field: str = ""
    instead: str = ""
    versions: tuple[int, ...] = ()
    url: str = ""

    @property
    def text(self) -> str:
        """What was found, with the field in front."""
        return f"{self.field}: {self.message}" if self.field else self.message


def as_given(finding: Finding, origin: str) -> Finding:
    """With the place of its file where that comes from: a URL or, of what was in a local archive, a path; "" for what
    comes from nowhere else.
    """
    if "://" in origin:
        return replace(finding, url=origin)
    return replace(finding, path=Path(origin)) if origin else finding


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of files and lines, each thing once, whatever number of versions have it."""
    versions: dict[Finding, set[int]] = {}
    for finding in findings:
        versions.setdefault(replace(finding, versions=()), set()).update(finding.versions)
    found = [replace(finding, versions=tuple(sorted(of))) for finding, of in versions.items()]
    order = list(Level)
    return sorted(
        found, key=lambda each: (each.url or str(each.path), each.line, each.column, order.index(each.level))
    )
