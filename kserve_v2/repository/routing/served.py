"""What requests look a model up in."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kserve_v2.repository.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Served:
    """The versions of one model that are there for requests, by version text, and what answers those that name none:
    the highest of them, unless a release says something else. `latest`: None if that cannot answer for now: no other
    one answers in its place.

    In the map that requests are looked up in, labels stand beside the version texts.
    """

    versions: Mapping[str, LoadedModel]
    latest: LoadedModel | None


def answering(loaded: Served | None) -> Served | None:
    """Without those that cannot answer for now."""
    if loaded is None or not any(model.down for model in loaded.versions.values()):
        return loaded
    up = {version: model for version, model in loaded.versions.items() if not model.down}
    latest = loaded.latest
    return Served(MappingProxyType(up), None if latest is None or latest.down else latest)


def without_latest(served: Served | None) -> Served | None:
    """The same, with nothing that answers requests which name no version."""
    return None if served is None else Served(served.versions, None)
