"""Releases put to work: requests are looked up in a map that has labels beside versions, and what splits the others."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from weakref import WeakKeyDictionary

from kserve_v2.config.release import Release
from kserve_v2.errors import InvalidArgumentError, NotFoundError, UnavailableError
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.choose import present
from kserve_v2.repository.routing.copy_line import CopyLine
from kserve_v2.repository.routing.served import Served
from kserve_v2.repository.routing.shadowing import ShadowCounts, Shadowing
from kserve_v2.repository.routing.split_model import SplitCounts, SplitModel

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RouteCounts:
    """What has been counted of one model. `shadows`: by the version that answered, and the one that got copies."""

    split: SplitCounts = field(default_factory=SplitCounts)
    shadows: dict[tuple[int, int], ShadowCounts] = field(default_factory=dict)


class Routes:
    """For all models. Lives on the event loop."""

    def __init__(self, inflight: InflightBytes) -> None:
        self._inflight = inflight
        self._counts: dict[str, RouteCounts] = {}
        self._shadowed: dict[str, list[LoadedModel]] = {}
        # By the version that gets the copies, whatever releases come and go meanwhile.
        self._lines: WeakKeyDictionary[LoadedModel, CopyLine] = WeakKeyDictionary()
        self._exiting = False
        self.executes_copies: frozenset[LoadedModel] = frozenset()
        """The versions that were executing one when the server began to exit."""
        self._warned: dict[str, str] = {}

    def counts(self, name: str) -> RouteCounts | None:
        """What has been counted of a model; None if it never had a release."""
        return self._counts.get(name)

    def forget(self, name: str) -> None:
        """A model is not known any more."""
        self._counts.pop(name, None)
        self._warned.pop(name, None)

    def exit(self) -> None:
        """The server exits: copies of requests are not waited for, and none begins any more."""
        self._exiting = True
        lines = list(self._lines.items())
        self.executes_copies |= {model for model, line in lines if line.close()}

    def publish(self, name: str, served: Served | None, release: Release, *, settled: bool) -> Served | None:
        """What requests to a model are looked up in. `served`: its versions that can answer. `settled`: no load is
        under way, so what is missing now is not about to come.
        """
        self._end_shadows(name)
        if served is None or not release:
            self._warned.pop(name, None)
            return served
        counts = self._counts.setdefault(name, RouteCounts())
        self._shadow(name, served, release, counts)
        if settled:
            self._warn(name, served, release)
        versions = dict(served.versions)
        for label, version in release.labels.items():
            if (model := served.versions.get(str(version))) is not None:
                versions[label] = model
        latest: LoadedModel | None = served.latest
        if release.split is not None:
            there = [model.version for model in served.versions.values()]
            shares = present(release.split.shares, there)
            sharing = {version: served.versions[str(version)] for version in shares}
            latest = SplitModel(release.split, sharing, counts.split) if sharing else None
        return Served(MappingProxyType(versions), latest)

    def _end_shadows(self, name: str) -> None:
        for model in self._shadowed.pop(name, ()):
            model.submit = model.target.submit
        if (counts := self._counts.get(name)) is not None:
            # Nobody is to read for ever that there was a pair of which nothing was counted.
            counts.shadows = {
                pair: these for pair, these in counts.shadows.items() if these.outcomes or these.under_way
            }

    def _shadow(self, name: str, served: Served, release: Release, counts: RouteCounts) -> None:
        if release.shadow is None:
            return
        shadow = served.versions.get(str(release.shadow.version))
        if shadow is None or why_no_shadow(shadow):
            return
        shadowed = [
            model for model in served.versions.values() if model is not shadow and not why_no_shadow(model)
        ]
        line = self._line(shadow)
        for model in shadowed:
            these = counts.shadows.setdefault((model.version, shadow.version), ShadowCounts())
            model.submit = Shadowing(model, shadow, release.shadow, these, self._inflight, line).submit
        self._shadowed[name] = shadowed

    def _line(self, shadow: LoadedModel) -> CopyLine:
        line = self._lines.get(shadow)
        if line is None:
            line = self._lines[shadow] = CopyLine()
            if self._exiting:
                line.close()
        return line

    def _warn(self, name: str, served: Served, release: Release) -> None:
        """Say what does not do what the release says, once."""
        text = "; ".join(without_effect(served, release))
        if text != self._warned.get(name, ""):
            self._warned[name] = text
            if text:
                logger.warning("model '%s': %s", name, text)
            else:
                logger.info("model '%s': all versions that its release names are ready", name)


def without_effect(served: Served, release: Release) -> Iterator[str]:
    """Yield what a release says that is not done, and why. `served`: the versions that can answer."""
    for label, version in sorted(release.labels.items()):
        if str(version) not in served.versions:
            yield f"label '{label}' stands for version {version}, which is not ready: requests to it are refused"
    if release.split is not None:
        shares = {version: share for version, share in release.split.shares.items() if share > 0}
        missing = [version for version in sorted(shares) if str(version) not in served.versions]
        for version in missing:
            what = "go to the other versions of the split" if len(missing) < len(shares) else "are refused"
            yield f"version {version} is not ready: the {shares[version]:g} % of requests that are its share {what}"
        sharing = [served.versions[str(version)] for version in sorted(shares) if version not in missing]
        if len({model.decoupled for model in sharing}) > 1:
            decoupled = ", ".join(str(model.version) for model in sharing if model.decoupled)
            yield (
                f"of the versions that share requests, {decoupled} is decoupled and others are not: they cannot share "
                "them, so that not all get what the split says"
            )
    if release.shadow is not None:
        shadow = served.versions.get(str(release.shadow.version))
        if shadow is None:
            yield f"version {release.shadow.version} is not ready, and gets no copies of requests"
        elif why := why_no_shadow(shadow):
            yield f"version {shadow.version} gets no copies of requests: {why}"
        elif _copied(release, [model.version for model in served.versions.values()]) == {shadow.version}:
            yield f"version {shadow.version} gets no copies of requests: it alone answers those that would be copied"


def _copied(release: Release, there: Collection[int]) -> set[int]:
    """The versions that answer requests of which the shadow is to have copies: those that name no version, or one of
    its labels. `there`: the versions that are, at least one.
    """
    named = set(release.shadow.labels) if release.shadow is not None else set()
    labelled = {version for label, version in release.labels.items() if label in named and version in there}
    sharing = present(release.split.shares, there) if release.split is not None else {max(there): 100.0}
    return labelled | sharing.keys()


def why_no_shadow(model: LoadedModel) -> str:
    """Why answers of a version cannot be compared; "" if they can."""
    if model.decoupled:
        return (
            f"version {model.version} is decoupled: only versions that answer a request once can be compared"
        )
    if model.sequences is not None:
        return f"version {model.version} takes sequences: a copy that is dropped would change later answers"
    return ""


def check_release(
    name: str,
    release: Release,
    before: Release,
    loaded: Mapping[int, LoadedModel],
    on_disk: Sequence[int] = (),
    passing: Collection[int] = (),
) -> None:
    """Raise NotFoundError if what a release says otherwise than the one `before` names a version that is not there,
    UnavailableError if that is there and does not answer for now, InvalidArgumentError if one cannot do what it asks
    for. `loaded`: the versions that are loaded; `on_disk`: those that could be; `passing`: those that are gone with the
    next load or unload, which the release outlives.
    """
    split = release.split if release.split != before.split else None
    shadow = release.shadow if release.shadow != before.shadow else None
    places = {
        f"labels['{label}']": version
        for label, version in release.labels.items()
        if before.labels.get(label) != version
    }
    if split is not None:
        places |= {f"split.shares['{version}']": version for version in split.shares}
    if shadow is not None:
        places["shadow.version"] = shadow.version
    there = ", ".join(str(version) for version in sorted(loaded) if not loaded[version].down) or "none"
    for place, version in places.items():
        if version in loaded and loaded[version].down:
            # It may stay away until somebody loads it again: requests would be refused from now on.
            raise UnavailableError(
                f"{place}: version {version} of model '{name}' is not ready, expected one that is ({there}): "
                f"{loaded[version].down}"
            )
        if version not in loaded:
            advice = (
                "; it lies in the repository: load the model, whose version_policy has to name it beside the others"
                if version in on_disk
                else ""
            )
            raise NotFoundError(
                f"{place}: version {version} of model '{name}' is not ready, expected one that is ({there}){advice}"
            )
        if version in passing:
            raise InvalidArgumentError(
                f"{place}: version {version} of model '{name}' was uploaded and goes with the unload, expected one "
                f"that lies in the repository ({', '.join(map(str, on_disk)) or 'none'})"
            )
    if split is not None:
        sharing = [loaded[version] for version in split.shares]
        if len({model.decoupled for model in sharing}) > 1:
            raise InvalidArgumentError(
                f"split.shares: expected versions that all answer in the same way, got some of model '{name}' that are "
                "decoupled and some that are not"
            )
    if shadow is not None:
        shadowing = loaded[shadow.version]
        reasons = [why_no_shadow(model) for model in (shadowing, *loaded.values())]
        if reasons[0] or all(reasons[1:]):
            raise InvalidArgumentError(f"shadow.version: {next(filter(None, reasons))}")
        if all(model is shadowing for model in loaded.values()):
            raise InvalidArgumentError(
                f"shadow.version: expected another version than those that answer, got {shadow.version}, the only one "
                f"of model '{name}' that is ready"
            )
        if _copied(release, loaded.keys()) == {shadow.version}:
            raise InvalidArgumentError(
                "shadow.version: expected another version than those that answer requests without a version, or with "
                f"a label of shadow.labels, got {shadow.version}, the only one of model '{name}' that does"
            )


def to_come(served: Served | None, release: Release, awaited: Collection[int]) -> list[int]:
    """The versions in whose place another one would answer requests that name none. `awaited`: those that are being
    loaded for the first time.
    """
    if served is None:
        return []
    shares = release.split.shares if release.split is not None else None
    highest = max(map(int, served.versions))
    return sorted(
        version for version in awaited if (version > highest if shares is None else shares.get(version))
    )


def missing_text(name: str, release: Release, label: str) -> str:
    """Goes behind what is said of a request to a label whose version does not answer, or to a split without any."""
    if label:
        return f"; label '{label}' of model '{name}' stands for version {release.labels[label]}"
    shares = release.split.shares if release.split is not None else {}
    versions = ", ".join(str(version) for version in sorted(shares) if shares[version] > 0)
    return f": requests without a version are split over {versions}, and none of these is ready"
