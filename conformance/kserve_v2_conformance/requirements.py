"""The clauses of the specification, read from `requirements.toml`."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

REST = "REST"
GRPC = "GRPC"


class Level(StrEnum):
    """How binding a clause is. EXTENSION: as MUST, for a server that has the extension."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    EXTENSION = "EXTENSION"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One clause for one protocol. `reading`: why it is put this way where the specification leaves it open."""

    id: str
    protocol: str
    level: Level
    section: str
    text: str
    extension: str
    reading: str
    source: str
    url: str

    @property
    def required(self) -> bool:
        """Whether a server that breaks it does not conform."""
        return self.level is not Level.SHOULD


@cache
def requirements() -> dict[str, Requirement]:
    """All clauses by id, in the order of the file."""
    document = tomllib.loads((Path(__file__).parent / "requirements.toml").read_text(encoding="utf-8"))
    clauses: dict[str, Requirement] = {}
    for entry in document["requirement"]:
        for requirement in _read(entry, document["sources"]):
            if requirement.id in clauses:
                raise ValueError(f"requirements.toml has {requirement.id} twice")
            clauses[requirement.id] = requirement
    return clauses


def _read(entry: dict[str, Any], sources: dict[str, Any]) -> Iterator[Requirement]:
    extension = entry.get("extension", "")
    for protocol in entry["protocols"]:
        source = sources[extension or protocol]
        yield Requirement(
            id=f"{protocol}-{entry['id']}",
            protocol=protocol,
            level=Level(entry["level"]),
            section=entry["section"][protocol],
            text=entry["text"],
            extension=extension,
            reading=entry.get("reading", ""),
            source=source["title"],
            url=source["url"],
        )


def extensions() -> tuple[str, ...]:
    """The extensions that the suite knows, in the order of the file."""
    return tuple(dict.fromkeys(each.extension for each in requirements().values() if each.extension))


def matches(clause: str, wanted: str) -> bool:
    """Whether `wanted` stands for the clause: its id, the beginning of it, the id without protocol, or its extension.

    >>> matches("REST-INFER-014", "REST-INFER"), matches("REST-INFER-014", "INFER-014")
    (True, True)
    """
    bare = clause.split("-", 1)[1]
    return any(each == wanted or each.startswith(f"{wanted}-") for each in (clause, bare)) or (
        requirements()[clause].extension == wanted
    )
