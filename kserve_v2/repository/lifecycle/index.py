"""What the repository index tells of one model: the state of each version, and why it is in it."""

from collections.abc import Sequence
from dataclasses import replace

from kserve_v2.messages import IndexEntry
from kserve_v2.repository.lifecycle.record import UNLOADED, Record
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.routing.served import Served

NOT_UPDATED = "not updated: "
"""Of a version that answers, or did: in front of why what should have taken its place does not."""


def index_entry(name: str, problem: str) -> IndexEntry:
    """What the index tells of a model without versions. `problem`: why it has none, "" if it was never loaded."""
    return IndexEntry(name, "", ModelState.UNAVAILABLE, problem) if problem else IndexEntry(name)


def answered_by(entry: IndexEntry, name: str) -> IndexEntry:
    """An entry that says who answers in its place to requests that name no version, if another model does. `name`: of
    the one that does.
    """
    if name == entry.name or entry.state != ModelState.UNAVAILABLE:
        return entry
    answered = f"requests that name no version are answered by '{name}'"
    return replace(entry, reason="; ".join(filter(None, (entry.reason, answered))))


def with_memory(entries: Sequence[IndexEntry], served: Served | None) -> list[IndexEntry]:
    """Entries of one model that say what its versions use, where they are there. `served`: what answers."""
    versions = served.versions if served is not None else {}
    found = []
    for entry in entries:
        model = versions.get(entry.version)
        used = model.memory if model is not None else None
        found.append(replace(entry, memory=used.bytes, memory_estimated=used.estimated) if used else entry)
    return found


def entries(
    name: str, records: Sequence[Record], served: Served | None, problem: str, directory_problem: str
) -> list[IndexEntry]:
    """One entry for each version that is or was there. `records`: in the order of their generations. `served`: what
    answers. `problem`: why the last load came to nothing before it came to versions. `directory_problem`: why the next
    one would.
    """
    why = problem or directory_problem
    if not records or (why and served is None):
        return [index_entry(name, why)]
    found = []
    for version, newest in sorted({record.version: record for record in records}.items()):
        model = served.versions.get(str(version)) if served is not None else None
        if model is None:
            found.append(IndexEntry(name, str(version), newest.state, newest.reason, began=newest.began))
            continue
        failure = problem or (newest.failure if newest.model is not model else "")
        reason = failure and NOT_UPDATED + failure
        state = ModelState.READY
        if model.down:
            state, reason = ModelState.UNAVAILABLE, "; ".join(filter(None, (model.down, reason)))
        found.append(IndexEntry(name, str(version), state, reason, model.note, model.loaded_in_s))
    return found


def reasons(records: Sequence[Record], problem: str, version: int | None) -> str:
    """Why nothing answers, behind a colon: of one version, or of all; "" where nothing has failed."""
    newest = {record.version: record for record in records}
    failed = [
        f"version {record.version} is at {record.state} state: {record.failure}"
        for number, record in sorted(newest.items())
        if record.failure and record.reason != UNLOADED and version in (None, number)
    ]
    if not records and problem:
        failed = [f"it could not be loaded: {problem}"]
    return f": {'; '.join(failed)}" if failed else ""
