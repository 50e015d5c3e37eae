"""One generation of one version of a model: its state, why it is in it, and what was loaded."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from kserve_v2.backend import Handover, ModelConfig
from kserve_v2.repository.lifecycle.plan import Actual
from kserve_v2.repository.lifecycle.states import FIRST, Event, ModelState, advance
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.candidate import Candidate
from kserve_v2.repository.routing.served import Served
from kserve_v2.repository.uploads.store import UploadedFolder

UNLOADED = "unloaded"
EVICTED = "evicted: nobody had asked for it for a while, and others needed its memory"


@dataclass(slots=True, eq=False)
class Record:
    """One generation of one version of a model.

    `fingerprint`: of the files and the configuration that it was made from. `written`: that configuration, as it was
    before it was completed, with what has changed in it since that no load goes by. `uploaded`: what it was made from,
    if that is no model's directory. `listed`: whether a repository has one. `failure`: why it did not load. `no_room`:
    whether that was for want of memory alone. `needed`: how much of that, by device. `given_up`:
    whether it was unloaded while it was being loaded. `revived`: whether it is loaded because what it is made of was
    there again. `model`: from the end of the load until it is closed. `gone`: the reason for its state once it is.
    `began`: whether its load went as far as to execute it. `handover`: of its load.
    """

    version: int
    generation: int
    fingerprint: str
    written: ModelConfig
    uploaded: UploadedFolder | None = None
    listed: bool = True
    state: ModelState = FIRST
    reason: str = ""
    failure: str = ""
    no_room: bool = False
    needed: Mapping[str, int] | None = None
    model: LoadedModel | None = None
    gone: str = UNLOADED
    given_up: bool = False
    began: bool = False
    revived: bool = False
    handover: Handover = field(default_factory=Handover)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, candidate: Candidate, version: int, generation: int) -> "Record":
        """Of a version that is about to be loaded."""
        fingerprint = candidate.fingerprint(version)
        return cls(version, generation, fingerprint, candidate.config, candidate.uploaded, candidate.listed)

    def successor(self, generation: int) -> "Record":
        """Of a generation that is made of this one without a load."""
        return Record(self.version, generation, self.fingerprint, self.written, self.uploaded, self.listed)

    def loaded(self, model: LoadedModel) -> None:
        """The load has ended well."""
        self.model = model
        self._apply(Event.LOADED)

    def give_up(self) -> None:
        """Nobody wants what is being loaded any more, or waits for it: the load may never end."""
        if self.state is ModelState.LOADING:
            self.given_up = True
            self.handover.give_up()
            self.settled.set()

    def lost(self) -> None:
        """The load has come to nothing, as what it is made of has gone meanwhile."""
        self._apply(Event.FAILED, UNLOADED)

    def failed(self, reason: str) -> None:
        """The load has ended badly."""
        self.failure = reason
        self._apply(Event.FAILED, reason)

    def unload(self) -> None:
        """It is to answer what is under way, and no more."""
        if self.model is not None:
            self.model.leaving = True
        self._apply(Event.UNLOAD)

    def unloaded(self) -> None:
        """It is closed."""
        self.model = None
        self._apply(Event.UNLOADED, self.gone)

    def _apply(self, event: Event, reason: str = "") -> None:
        self.state = advance(self.state, event)
        self.reason = reason
        if self.state in (ModelState.READY, ModelState.UNAVAILABLE):
            self.settled.set()

    @property
    def actual(self) -> Actual:
        """What `plan` has to know."""
        return Actual(self.version, self.generation, self.state)


def served(records: Iterable[Record]) -> Served | None:
    """What answers requests, from records in the order of their generations: the last one of a version does."""
    ready = {
        record.version: record.model
        for record in records
        if record.state is ModelState.READY and record.model is not None
    }
    if not ready:
        return None
    versions = {str(version): model for version, model in ready.items()}
    return Served(MappingProxyType(versions), ready[max(ready)])


def still_shown(records: Sequence[Record], generations: Mapping[int, int], *, wanted: bool) -> list[Record]:
    """Without those that are over and have a successor: the index shows the newest record of each version, and no
    failure after what was there before is wanted again. `generations`: those that are wanted, by version.
    """
    newest = {record.version: record.generation for record in records}
    shown = newest | {version: generation for version, generation in generations.items() if version in newest}
    return [
        record
        for record in records
        if record.state is not ModelState.UNAVAILABLE
        or (
            record.generation == shown[record.version]
            # Of a model that no repository has, nothing is left to know once it is unloaded.
            and (wanted or record.listed or record.reason != UNLOADED)
        )
    ]


def holding_sequence(records: Sequence[Record], sequence_id: int | str, asked: str) -> LoadedModel | None:
    """The version that holds a live sequence, whether it answers other requests or is about to go. `asked`: the version
    that the request asks for.
    """
    for record in reversed(records):
        model = record.model
        if model is not None and model.sequences is not None and model.sequences.holds(sequence_id, asked):
            return model
    return None


def with_sequences_to_finish(records: Sequence[Record], asked: str) -> LoadedModel | None:
    """The newest version that is about to go, but has sequences to finish. `asked`: its number, or "" for any."""
    for record in reversed(records):
        model = record.model
        if model is not None and model.live and asked in ("", str(model.version)):
            return model
    return None
