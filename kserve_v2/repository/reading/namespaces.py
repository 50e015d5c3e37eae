"""Models of the same name in several repositories, told apart by the repository: with `--model-namespacing`.

Such a server knows a model by its key, `<repository>/<name>`: the name of the repository's directory, and that of the
model's. No name of a model has a slash, so that none is another's key. Clients give names: what has one key alone
answers to its name, and of what has several nobody may guess which one is meant.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.repository_url import is_archive
from kserve_v2.repository.reading.scan import (
    ModelEntry,
    Skipped,
    Snapshot,
    check_model_name,
    is_skipped,
    scan,
    scan_model,
)

Namespaces = Mapping[str, Path]
"""Where each repository lies, by its name; empty if models are not told apart."""


def name_in(key: str) -> str:
    """The name of the model that a key is of."""
    return key.rpartition("/")[2]


def ambiguous(name: str, count: int) -> InvalidArgumentError:
    """There are so many models of a name. Triton's text."""
    return InvalidArgumentError(
        f"There are {count} identifiers of model '{name}' in global map, model namespace must be provided to resolve "
        "ambiguity."
    )


def check_key(namespaces: Namespaces, name: str) -> None:
    """Raise InvalidArgumentError unless `name` is a model's, or a key."""
    namespace, slash, own = name.rpartition("/")
    check_model_name(own if slash and namespace in namespaces else name)


def scan_namespaces(namespaces: Namespaces) -> Snapshot:
    """All models of all repositories, by key. Raises as `scan`."""
    models: dict[str, ModelEntry] = {}
    skipped: list[Skipped] = []
    for namespace, root in namespaces.items():
        snapshot = scan([root])
        skipped += snapshot.skipped
        skipped += [
            Skipped(name, "is an archive, which is not unpacked with --model-namespacing")
            for name in _archives(root)
        ]
        models |= {entry.name: entry for entry in _keyed(namespace, snapshot.models.values())}
    return Snapshot(MappingProxyType(dict(sorted(models.items()))), tuple(skipped))


def find_models(namespaces: Namespaces, name: str) -> list[ModelEntry]:
    """The models of a name, or that of a key, as they are on disk now. What `scan` skips is there only if nothing else
    is. Raises as `scan_model`.
    """
    namespace, slash, own = name.rpartition("/")
    within = {namespace: namespaces[namespace]} if slash and namespace in namespaces else namespaces
    found: list[ModelEntry] = []
    for each, root in within.items():
        entry = scan_model([root], own if within is not namespaces else name)
        if entry is not None:
            found += _keyed(each, [entry])
    return [entry for entry in found if not is_skipped(entry)] or found[:1]


def _archives(root: Path) -> list[str]:
    return sorted(child.name for child in root.iterdir() if is_archive(child.name) and child.is_file())


def _keyed(namespace: str, entries: Iterable[ModelEntry]) -> list[ModelEntry]:
    return [replace(entry, name=f"{namespace}/{entry.name}") for entry in entries]


def step_key(
    namespaces: Namespaces, ensemble: str, model: str, namespace: str, listed: Collection[str]
) -> str:
    """The key of the model that a step of an ensemble means: in the repository that it names, else the one beside the
    ensemble, else the only one there is. `ensemble`: its key. `listed`: the keys of the models of that name. Raises
    InvalidArgumentError where several could be meant, and for a repository that there is not.
    """
    if namespace:
        named = next((name for name, root in namespaces.items() if namespace in {name, str(root)}), None)
        if named is None:
            known = ", ".join(namespaces)
            raise InvalidArgumentError(
                f"ensemble '{name_in(ensemble)}': the step of model '{model}' has the model_namespace '{namespace}', "
                f"which is none of the repositories: {known}"
            )
        return f"{named}/{model}"
    own = f"{ensemble.rpartition('/')[0]}/{model}"
    if own in listed:
        return own
    if len(listed) > 1:
        raise ambiguous(model, len(listed))
    return next(iter(listed), model)
