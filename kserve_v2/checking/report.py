"""What is found in one model: errors and warnings become findings, each at its place."""

import re
from collections.abc import Sequence
from pathlib import Path

from kserve_v2.checking.findings import Finding, Level, Rule
from kserve_v2.checking.instead import instead_of
from kserve_v2.checking.texts import ConfigText
from kserve_v2.checking.unwise import Advice
from kserve_v2.errors import (
    ConfigurationError,
    ContradictionError,
    InvalidArgumentError,
    reason_of,
)

# How an error in the code of a handler begins.
_IN_FILE = re.compile(r"(?P<file>[^\s:,]+), line (?P<line>\d+): (?P<message>.*)", re.DOTALL)
# What is said of files that nobody reads.
_OF_FILES = re.compile(r"^not served: | is not read: ")


class Report:
    """Of one model. `text`: its configuration. `reasons`: why it cannot be loaded, as a server would say it."""

    def __init__(self, model: str, text: ConfigText) -> None:
        self.findings: list[Finding] = []
        self.reasons: list[str] = []
        self.text = text
        self._model = model

    def wrong(
        self, error: Exception, problems: Sequence[str], rule: Rule, path: Path, versions: Sequence[int] = ()
    ) -> None:
        """What a load would end with, and those of its problems that have not been told. `rule`: what it is about if
        the error does not tell, and `path` where that is.
        """
        if isinstance(error, ContradictionError):
            rule = Rule.CONTRADICTION
        elif isinstance(error, ConfigurationError):
            rule = Rule.VALUE
        for problem in problems:
            self.add(Level.ERROR, rule, problem, path, versions)

    def said(self, text: str, path: Path) -> None:
        """What was logged. `path`: the model's directory."""
        text = text.removeprefix(f"model '{self._model}': ")
        if _OF_FILES.search(text) is None:
            self.add(Level.WARNING, Rule.SAID, text, self.text.path or path)
            return
        file = path / text.split(" ", 1)[0]
        self.add(Level.WARNING, Rule.LAYOUT, text, file if file.exists() else path)

    def advise(self, advice: Advice, path: Path, versions: Sequence[int] = ()) -> None:
        """What is unwise. `path`: the place of what is no field."""
        place = self.text.places.nearest(advice.field)
        self.findings.append(
            Finding(
                Level.WARNING,
                advice.rule,
                self._model,
                self.text.path or path,
                advice.message,
                place.line if place else 0,
                place.column if place else 0,
                advice.field,
                advice.instead,
                tuple(versions),
            )
        )

    def add(self, level: Level, rule: Rule, text: str, path: Path, versions: Sequence[int] = ()) -> None:
        """One thing that is said. `path`: where it is if it is not about the configuration."""
        said = self.text.understand(text)
        message, line, column = said.message, 0, 0
        if said.place is not None:
            line, column = said.place.line, said.place.column
        missing = said.place is None and not said.malformed and path.is_dir()
        if said.in_config and self.text.path is not None and not missing:
            path = self.text.path
        elif placed := _IN_FILE.match(message):
            path = (path if path.is_dir() else path.parent) / placed["file"]
            message, line, column = placed["message"], int(placed["line"]), 1
        if said.malformed and level is Level.ERROR:
            rule = Rule.SYNTAX
        elif path.is_dir() and (path / message.partition(": ")[0]).is_file():
            path /= message.partition(": ")[0]
        message = message.removeprefix(f"{path.name}: ")
        instead = instead_of(said.field, message, self._model)
        self.findings.append(
            Finding(
                level,
                rule,
                self._model,
                path,
                message.strip(),
                line,
                column,
                said.field,
                instead,
                tuple(versions),
            )
        )


def problems_of(error: Exception) -> tuple[str, ...]:
    """What an exception says, one thing at a time."""
    if isinstance(error, InvalidArgumentError):
        return error.problems
    return (reason_of(error),)
