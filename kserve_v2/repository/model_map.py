"""The map that requests look models up in: which version answers, and why none does."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from kserve_v2.config.release import Release
from kserve_v2.errors import (
    NotFoundError,
    NotLoadedError,
    NotServedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest
from kserve_v2.repository.lifecycle.managed import ManagedModel
from kserve_v2.repository.lifecycle.names import Names
from kserve_v2.repository.lifecycle.record import holding_sequence, with_sequences_to_finish
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.naming import named_version, unknown_label
from kserve_v2.repository.routing.routes import RouteCounts, Routes, missing_text, to_come
from kserve_v2.repository.routing.served import Served, answering
from kserve_v2.repository.routing.split_model import SplitModel
from kserve_v2.scheduling.calling.caller import Callee


class ModelMap:
    """The models that there are. Lives on the server's event loop."""

    def __init__(self, inflight: InflightBytes, *, on_demand: bool) -> None:
        """`on_demand`: whether what is not loaded is loaded when it is asked for."""
        # By name; by key if the repositories tell models apart: see `reading.namespaces`.
        self._models: dict[str, ManagedModel] = {}
        self.routes = Routes(inflight)
        # An entry is replaced as a whole, on the event loop's thread, where all that look one up live, too.
        self._serving: dict[str, Served] = {}
        # The same, with what cannot answer for now: ensembles hold on to that.
        self._loaded: dict[str, Served] = {}
        # Those that have made room for others, or found none, and are loaded when they are asked for.
        self._evicted: set[str] = set()
        self._all_on_demand = on_demand
        # By name: the model that answers its requests that name no version.
        self._stand_ins: dict[str, str] = {}
        self._names: Names

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """The model version that answers. `version`: its number, or a label; "" asks for the highest that is ready, or
        for what the model's release says: if versions share such requests, this is a `SplitModel`.

        Valid until the caller gives way to the event loop: a request that reaches the scheduler before that
        is always answered. Raises NotFoundError, UnavailableError, or InvalidArgumentError for a malformed
        version.
        """
        served = self._serving.get(name)
        if served is not None:
            model = served.latest if not version else served.versions.get(version)
            if model is not None:
                return model
        return self._acquire_unusual(name, version, served)

    def _acquire_unusual(self, name: str, version: str, served: Served | None) -> LoadedModel:
        if not version and name in self._stand_ins:
            # That says what is the matter: nothing else answers in its place.
            name = self._stand_ins[name]
            served = self._loaded.get(name)
        self._names.raise_if_ambiguous(name)
        # Nothing is loaded for what can be no version.
        number, label = named_version(version, self.labels(name))
        if (self._all_on_demand or self._is_evicted(name)) and name not in self._loaded:
            # Which versions it has, and which labels, is known when it is loaded.
            raise NotLoadedError(name)
        model = served.versions.get(str(number)) if served else None
        if model is not None:
            return model
        managed = self._names.model(name)
        if label and number is None:
            raise self._unknown_label(name, label)
        if managed is not None and (down := managed.down(number)):
            raise UnavailableError(f"Request for unknown model: '{name}' is not at ready state: {down}")
        if managed is None or not managed.is_known:
            raise _unknown_model(name)
        if number is None:
            raise _no_latest(name, managed)
        why = managed.reasons(number)
        if label:
            why += missing_text(name, managed.released.release, label)
        if all(record.version != number for record in managed.records):
            raise NotFoundError(f"Request for unknown model: '{name}' version {number} is not found{why}")
        kind = UnavailableError if managed.is_coming(number) else NotServedError
        raise kind(f"Request for unknown model: '{name}' version {number} is not at ready state{why}")

    def comes_again(self, model: LoadedModel) -> bool:
        """Whether a version that goes away may answer soon, or another one in its place, though nobody acts."""
        managed = self._names.model(model.name)
        return (
            self._all_on_demand
            or self._is_evicted(model.name)
            or (managed is not None and managed.is_coming(model.version))
        )

    def _publish_stand_ins(self, changed: str) -> None:
        """Have names answered by their stand-ins, as far as the change of one model concerns them."""
        for name, other in self._stand_ins.items():
            if changed not in (name, other):
                continue
            # What a name has itself is answered for requests that name a version.
            own, standing = self._serving.get(name), answering(self._loaded.get(other))
            versions = own.versions if own is not None else MappingProxyType({})
            latest = standing.latest if standing is not None else None
            if versions or latest is not None:
                self._serving[name] = Served(versions, latest)
            else:
                self._serving.pop(name, None)

    def asked(self, name: str, version: str) -> str:
        """The model that answers requests to `name` and `version`, "" for those that name none. It is called `name` but
        where another one stands in for it. All that is said of a model is said of the one that answers.
        """
        return name if version else self._stand_ins.get(name, name)

    @property
    def other_names(self) -> list[str]:
        """The names that are answered by models that stand in for others."""
        return [name for name in self._stand_ins if name in self._serving and self._serving[name].latest]

    def labels(self, name: str) -> Mapping[str, int]:
        """The labels of a model, and the version that each stands for, whether it is there or not."""
        managed = self._names.model(name)
        return dict(sorted(managed.released.release.labels.items())) if managed else {}

    def released(self) -> Iterator[tuple[str, Release, RouteCounts]]:
        """The models that have a release, or had one while they were loaded, and what has been counted of them."""
        for name in sorted(self._models):
            release, counts = self._models[name].released.release, self.routes.counts(name)
            if release or counts is not None:
                yield name, release, counts or RouteCounts()

    def version_number(self, name: str, version: str) -> int:
        """The number of a version that is given by number or label. Raises as `acquire` for what is neither."""
        number, label = named_version(version, self.labels(name))
        if number is None:
            raise self._unknown_label(name, label)
        return number

    def _unknown_label(self, name: str, label: str) -> NotFoundError:
        managed = self._names.model(name)
        if managed is None or not managed.is_known:
            return _unknown_model(name)
        return unknown_label(name, label, self.labels(name), [model.version for model in managed.ready])

    def finishing(self, name: str, version: str) -> LoadedModel | None:
        """A version that takes no new requests, but has sequences to finish: for requests that nobody else answers."""
        managed = self._names.model(name)
        if managed is None:
            return None
        release, records = managed.released.release, managed.records
        if not version and to_come(managed.served, release, managed.awaited):
            # What is there already takes new requests, but only those that name it.
            records = [record for record in records if record.model not in managed.ready]
        labelled = release.labels.get(version)
        return with_sequences_to_finish(records, version if labelled is None else str(labelled))

    def for_sequence(self, model: LoadedModel, request: InferRequest) -> LoadedModel:
        """What answers a decoded request that says something of a sequence: the version that holds it, whatever a
        reload has put in its place; else `model`, which was acquired for it. A sequence that begins anew ends
        elsewhere. Raises InvalidArgumentError for a request that would begin one, and does not fit.
        """
        managed, sequence_id = self._models.get(model.name), request.control.get("sequence_id")
        if managed is None or len(managed.records) == 1 or not isinstance(sequence_id, int | str):
            return model
        holder = holding_sequence(managed.records, sequence_id, request.model_version)
        if holder is None or holder is model or holder.decoupled is not model.decoupled:
            return model
        if request.control.get("sequence_start"):
            if holder.sequences is not None:
                # What is refused ends nothing.
                model.check(request)
                holder.sequences.finish(sequence_id)
            return model
        return holder

    def holder(self, callee: Callee, request: InferRequest) -> Callee:
        """The version that holds the sequence of a request, or else the callee itself."""
        return self.for_sequence(callee, request) if isinstance(callee, LoadedModel) else callee

    def answering(self, request: InferRequest) -> LoadedModel:
        """The version that answers a request, or that has sequences to finish before it goes."""
        name, version = request.model_name, request.model_version
        try:
            model = self.acquire(name, version)
            return model.choose(request) if isinstance(model, SplitModel) else model
        except ServingError:
            finishing = self.finishing(name, version)
            if finishing is None:
                raise
            return finishing

    def ready_versions(self, name: str) -> Sequence[LoadedModel]:
        """The versions of a model that are loaded, ascending, also those that cannot answer for now; empty if there is
        none.
        """
        managed = self._names.model(name)
        return sorted(managed.ready, key=lambda model: model.version) if managed else []

    def ready_models(self) -> list[LoadedModel]:
        """All versions that are loaded, by name and version."""
        return [model for name in sorted(self._models) for model in self.ready_versions(name)]

    def reasons(self, name: str) -> str:
        """Why a model does not answer, behind a colon; "" if nothing has failed."""
        managed = self._names.model(name)
        return managed.reasons() if managed else ""

    def _is_evicted(self, name: str) -> bool:
        managed = self._names.model(name)
        return managed is not None and managed.name in self._evicted

    def managed(self, name: str) -> ManagedModel | None:
        """A model that is or was loaded."""
        return self._models.get(name)

    def is_loaded(self, name: str) -> bool:
        """Whether a model is loaded, if only some of its versions."""
        return name in self._loaded

    def answers(self, name: str) -> bool:
        """Whether a model answers, if only in an older version."""
        return name in self._serving


def _no_latest(name: str, managed: ManagedModel) -> ServingError:
    """Why nothing answers requests that name no version."""
    not_ready = f"Request for unknown model: '{name}' is not at ready state"
    release = managed.released.release
    if not managed.ready:
        if managed.is_loading:
            return UnavailableError(f"{not_ready}: it is being loaded")
        return NotFoundError(
            f"Request for unknown model: '{name}' has no available versions{managed.reasons()}"
        )
    if awaited := to_come(managed.served, release, managed.awaited):
        return UnavailableError(
            f"{not_ready}: version {', '.join(map(str, awaited))} is being loaded for the first time; until "
            "that has ended, others answer only requests that name them"
        )
    shares = release.split.shares if release.split is not None else ()
    kind = UnavailableError if any(map(managed.is_coming, shares)) else NotServedError
    return kind(f"{not_ready}{missing_text(name, release, '')}")


def _unknown_model(name: str) -> NotFoundError:
    return NotFoundError(f"Request for unknown model: '{name}' is not found")
