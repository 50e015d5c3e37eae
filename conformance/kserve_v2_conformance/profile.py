"""The profile: which models of a server have the capabilities that cases need. Without one, the catalogue's names.

    identity.FP32 = "my_identity"
    add_sub = "simple"
    extensions = ["generate"]

A model that gives its input back is an `identity` of its datatype; other capabilities are called as the models of the
catalogue. `extensions` are those that the server has without advertising them, `without` those that are not to be run.
"""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.models.catalogue import BY_NAME, ModelSpec, TensorSpec
from kserve_v2_conformance.requirements import extensions

SHIPPED = Path(__file__).parent / "profiles"


class ProfileError(ValueError):
    """A profile that cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`models`: names by capability."""

    models: dict[str, str] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def model_name(self, capability: str) -> str:
        """The name to ask the server for."""
        return self.models.get(capability) or default_name(capability)


def default_name(capability: str) -> str:
    """The catalogue's name: `identity_fp32` for `identity.FP32`, otherwise the capability's own."""
    return capability.replace(".", "_").lower()


_IDENTITIES = frozenset(default_name(f"identity.{datatype}") for datatype in DATATYPES)

CAPABILITIES = tuple(name for name in BY_NAME if name not in _IDENTITIES)
"""What a profile may name models for, besides `identity.<datatype>`."""


def read_profile(file: str) -> Profile:
    """Read a profile from a file, or a shipped one by its name. Raises ProfileError."""
    path = Path(file)
    if not path.is_file():
        path = SHIPPED / f"{file}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.toml")))
        raise ProfileError(f"no profile {file}: it is neither a file nor one of {shipped}")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: {error}") from None
    return parse_profile(document, str(path))


def parse_profile(document: dict[str, Any], origin: str) -> Profile:
    """The profile of a TOML document. Raises ProfileError."""
    added, without = (_extensions(document, key, origin) for key in ("extensions", "without"))
    return Profile(_models(document, origin), added, without)


def _extensions(document: dict[str, Any], key: str, origin: str) -> frozenset[str]:
    names = document.pop(key, [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ProfileError(f'{origin}: {key}: expected an array, as in {key} = ["generate"], got {names!r}')
    if unknown := frozenset(names) - frozenset(extensions()):
        raise ProfileError(
            f"{origin}: {key}: unknown {', '.join(sorted(unknown))}; there are {', '.join(extensions())}"
        )
    return frozenset(names)


def _models(document: dict[str, Any], origin: str) -> dict[str, str]:
    identities = document.pop("identity", {})
    if not isinstance(identities, dict):
        raise ProfileError(
            f'{origin}: identity: write identity.FP32 = "name", with the datatype of the model'
        )
    named = {f"identity.{datatype}": name for datatype, name in identities.items()} | document
    for capability, name in named.items():
        _check_capability(capability, name, origin)
    return named


def _check_capability(capability: str, name: object, origin: str) -> None:
    kind, _, datatype = capability.partition(".")
    known = datatype in DATATYPES if kind == "identity" else capability in CAPABILITIES
    if not known:
        raise ProfileError(
            f"{origin}: {capability}: no such capability; they are identity.<datatype>, {', '.join(CAPABILITIES)}"
        )
    if not isinstance(name, str) or not name:
        raise ProfileError(f"{origin}: {capability}: expected the name of a model, got {name!r}")


def capabilities() -> Iterator[tuple[str, str, str, str]]:
    """What a profile may name models for: the name, the inputs, the outputs, and what such a model does."""
    anything = f"one tensor of any shape; datatypes: {', '.join(DATATYPES)}"
    yield "identity.<datatype>", anything, "the same", "Gives its input back, unchanged."
    for spec in map(BY_NAME.__getitem__, CAPABILITIES):
        yield spec.name, _shown(spec, spec.inputs), _shown(spec, spec.outputs), _what(spec)


def _shown(spec: ModelSpec, tensors: Iterable[TensorSpec]) -> str:
    batch = (-1,) if spec.max_batch_size else ()
    return ", ".join(
        f"{each.name} {each.datatype}{list(batch + each.dims)}{' (optional)' if each.optional else ''}"
        for each in tensors
    )


def _what(spec: ModelSpec) -> str:
    batches = f" Its batches have at most {spec.max_batch_size} rows." if spec.max_batch_size else ""
    versions = f" Served versions: {', '.join(map(str, spec.versions))}." if len(spec.versions) > 1 else ""
    return f"{spec.behaviour.value}{batches}{versions}"
