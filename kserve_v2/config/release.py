"""Releases: what stands for which version of a model, and which of them answer requests that name none.

A release is written as JSON: in the file `release.json`, in the parameter `release` of a configuration, or in a call
that changes it. All three are read here. Every error names the member, what is expected there, and what was found.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem
from kserve_v2.errors import InvalidArgumentError

RELEASE = "release"
"""The parameter of a configuration: a release as JSON. A release file outweighs it."""

_MAX_MEMBERS = 64
# More than the largest release takes.
MAX_RELEASE_BYTES = 256 * 1024
_MAX_VERSION = 10**18
_MAX_SHADOW_REQUESTS = 1024

# No number can be written like this, so a label is never taken for a version.
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_LABEL_RULE = "a label, which is a letter and up to 63 more letters, digits or any of _ . -"
# Names of headers, which are tokens of HTTP. Metadata of gRPC is in small letters, and those of HTTP are made so.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_VERSION_RULE = "a version, which is a whole number from 1"

Json = dict[str, Any]


def is_label(text: str) -> bool:
    """Whether a text may be a label."""
    return _LABEL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Sticky:
    """What a request says of whom it is for: the name of a header, or metadata of gRPC; or that of a parameter. One of
    them is empty.
    """

    header: str = ""
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """What part of the requests that name no version each version answers, in per cent; together they are 100.
    `sticky`: what requests have in common that are to be answered by one version.
    """

    shares: Mapping[int, float]
    sticky: Sticky | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may lie apart that count as equal: `absolute`, and `relative` to the greater of them,
    together. For integers `absolute` alone counts: by default they have to be the same.
    """

    absolute: float = 1e-6
    relative: float = 1e-5


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that gets copies of requests, whose answers are compared and dropped.

    `percent`: how many of the requests that name no version. `labels`: also those that name one of these.
    `max_requests`: how many copies may be under way; beyond that they are dropped. `tolerance`: for the elements of
    outputs, but for those that are in `outputs`.
    """

    version: int
    percent: float = 100.0
    labels: tuple[str, ...] = ()
    max_requests: int = 16
    tolerance: Tolerance = Tolerance()
    outputs: Mapping[str, Tolerance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """What holds for one model. `labels`: which version each stands for."""

    labels: Mapping[str, int] = field(default_factory=dict)
    split: Split | None = None
    shadow: Shadow | None = None

    @property
    def versions(self) -> tuple[int, ...]:
        """All that it names, ascending."""
        named = {*self.labels.values(), *(self.split.shares if self.split else ())}
        return tuple(sorted(named | ({self.shadow.version} if self.shadow else set())))

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.labels) or self.split is not None or self.shadow is not None


NO_RELEASE = Release()


# --- reading --------------------------------------------------------------------------------------------------------


def parse_release(text: str | bytes) -> Release:
    """Read a release from its JSON. Raises InvalidArgumentError."""
    try:
        document = json.loads(text, object_pairs_hook=_no_member_twice)
    except RecursionError:
        raise InvalidArgumentError("is nested too deeply") from None
    except ValueError as error:
        raise InvalidArgumentError(f"is no JSON: {error}") from None
    return read_release(document)


def check_members_once(text: bytes | bytearray) -> None:
    """Raise InvalidArgumentError if an object in a text that is JSON has a member twice: nobody could tell which of
    them is meant. Also for a text that is too long for a release.
    """
    if len(text) > MAX_RELEASE_BYTES:
        raise InvalidArgumentError(f"the release: expected up to {MAX_RELEASE_BYTES} bytes, got more")
    with suppress(ValueError, RecursionError):
        json.loads(text, object_pairs_hook=_no_member_twice)


def read_release(document: object) -> Release:
    """Read a release from parsed JSON; a member that is null is not there. Raises InvalidArgumentError."""
    members = _members(document, "", ("labels", "split", "shadow"))
    labels = _labels(members.get("labels"))
    return Release(labels, _split(members.get("split")), _shadow(members.get("shadow"), labels))


def changed_release(release: Release, document: object) -> Release:
    """The release after a change. `document`: what is to be different, as `read_release` takes it. Labels that it does
    not name stay, one that is null goes, and has to be there; `split` and `shadow` are replaced as a whole, or go, if
    they are null. Raises InvalidArgumentError.
    """
    members = _members(document, "", ("labels", "split", "shadow"), keep_null=True)
    merged = release_json(release)
    if "labels" in members:
        given = members["labels"]
        if given is None:
            merged.pop("labels", None)
        else:
            there = merged.get("labels", {})
            for name, version in _object(given, "labels").items():
                if version is None and name not in there:
                    known = ", ".join(sorted(there)) or "there are none"
                    raise _wrong("labels", f"a label of the model to take away ({known})", name)
            labels = {**there, **given}
            merged["labels"] = {name: version for name, version in labels.items() if version is not None}
    for name in ("split", "shadow"):
        if name in members:
            merged[name] = members[name]
    return read_release(merged)


def release_json(release: Release) -> Json:
    """A release as JSON; what is as it is by default is left out."""
    document: Json = {}
    if release.labels:
        document["labels"] = dict(sorted(release.labels.items()))
    split, shadow = release.split, release.shadow
    if split is not None:
        shares = {str(version): _short(share) for version, share in sorted(split.shares.items())}
        document["split"] = {"shares": shares}
        if split.sticky is not None:
            kind = "header" if split.sticky.header else "parameter"
            document["split"]["sticky"] = {kind: split.sticky.header or split.sticky.parameter}
    if shadow is not None:
        document["shadow"] = _shadow_json(shadow)
    return document


def release_text(release: Release) -> str:
    """A release in one line."""
    return json.dumps(release_json(release)) if release else "nothing"


def _shadow_json(shadow: Shadow) -> Json:
    plain = Shadow(shadow.version)
    document: Json = {"version": shadow.version}
    if shadow.percent != plain.percent:
        document["percent"] = _short(shadow.percent)
    if shadow.labels:
        document["labels"] = list(shadow.labels)
    if shadow.max_requests != plain.max_requests:
        document["max_requests"] = shadow.max_requests
    if shadow.tolerance != plain.tolerance or shadow.outputs:
        document["tolerance"] = _tolerance_json(shadow.tolerance)
    if shadow.outputs:
        document["tolerance"]["outputs"] = {
            name: _tolerance_json(each) for name, each in sorted(shadow.outputs.items())
        }
    return document


def _tolerance_json(tolerance: Tolerance) -> Json:
    return {"absolute": tolerance.absolute, "relative": tolerance.relative}


def _short(number: float) -> float:
    return int(number) if number == int(number) else number


def _no_member_twice(pairs: list[tuple[str, Any]]) -> Json:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgumentError(f"{_shown(twice)}: is there twice")
    return document


def _labels(value: object) -> dict[str, int]:
    labels: dict[str, int] = {}
    for name, version in _object(value, "labels").items():
        if not is_label(name):
            raise _wrong("labels", _LABEL_RULE, name)
        labels[name] = _version(version, f"labels['{name}']")
    return labels


def _split(value: object) -> Split | None:
    if value is None:
        return None
    members = _members(value, "split", ("shares", "sticky"))
    if not members.get("shares"):
        raise _wrong("split.shares", "an object with the per cent of each version", members.get("shares"))
    shares: dict[int, float] = {}
    for name, share in _object(members["shares"], "split.shares").items():
        if not _VERSION.fullmatch(name):
            raise _wrong("split.shares", _VERSION_RULE, name)
        shares[int(name)] = _number(share, f"split.shares['{name}']", 0, 100, "per cent")
    total = math.fsum(shares.values())
    if not math.isclose(total, 100, abs_tol=1e-6):
        raise InvalidArgumentError(f"split.shares: expected per cent that are 100 together, got {total:g}")
    return Split(shares, _sticky(members.get("sticky")))


def _sticky(value: object) -> Sticky | None:
    if value is None:
        return None
    members = _members(value, "split.sticky", ("header", "parameter"))
    if len(members) != 1:
        raise _wrong("split.sticky", "exactly one of header and parameter", ", ".join(sorted(members)))
    ((kind, name),) = members.items()
    path = f"split.sticky.{kind}"
    if not isinstance(name, str) or not name:
        raise _wrong(path, "a name", name)
    if kind == "parameter":
        return Sticky(parameter=name)
    if not _HEADER.fullmatch(name) or name.lower().endswith("-bin"):
        raise _wrong(path, "the name of a header whose values are text", name)
    return Sticky(header=name.lower())


def _shadow(value: object, labels: Mapping[str, int]) -> Shadow | None:
    if value is None:
        return None
    members = _members(value, "shadow", ("version", "percent", "labels", "max_requests", "tolerance"))
    plain = Shadow(_version(members.get("version"), "shadow.version"))
    named = members.get("labels", [])
    if not isinstance(named, list):
        raise _wrong("shadow.labels", "an array of labels", named)
    for name in named:
        if name not in labels:
            known = ", ".join(sorted(labels)) or "there are none"
            raise _wrong("shadow.labels", f"labels of the model ({known})", name)
    most = members.get("max_requests", plain.max_requests)
    if type(most) is not int or not 1 <= most <= _MAX_SHADOW_REQUESTS:
        raise _wrong("shadow.max_requests", f"a whole number from 1 to {_MAX_SHADOW_REQUESTS}", most)
    tolerance = _members(
        members.get("tolerance", {}), "shadow.tolerance", ("absolute", "relative", "outputs")
    )
    outputs = _object(tolerance.pop("outputs", None), "shadow.tolerance.outputs")
    general = _tolerance(tolerance, "shadow.tolerance", plain.tolerance)
    return Shadow(
        plain.version,
        _number(members.get("percent", plain.percent), "shadow.percent", 0, 100, "per cent"),
        tuple(dict.fromkeys(named)),
        most,
        general,
        {
            name: _tolerance(each, f"shadow.tolerance.outputs['{name}']", general)
            for name, each in outputs.items()
        },
    )


def _tolerance(value: object, path: str, default: Tolerance) -> Tolerance:
    members = _members(value, path, ("absolute", "relative"))
    numbers = [
        _number(members.get(name, getattr(default, name)), f"{path}.{name}", 0, math.inf, "a difference")
        for name in ("absolute", "relative")
    ]
    return Tolerance(*numbers)


def _members(value: object, path: str, known: tuple[str, ...], *, keep_null: bool = False) -> Json:
    """The members of an object all of which are known, without those that are null."""
    document = _object(value, path)
    for name in document:
        if name not in known:
            where = f"{path}: " if path else ""
            raise InvalidArgumentError(f"{where}unknown member {_shown(name)}, expected {' or '.join(known)}")
    return {name: each for name, each in document.items() if keep_null or each is not None}


def _object(value: object, path: str) -> Json:
    if value is None and path:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path or "the release", "a JSON object", value)
    if len(value) > _MAX_MEMBERS:
        raise InvalidArgumentError(
            f"{path or 'the release'}: expected up to {_MAX_MEMBERS} members, got {len(value)}"
        )
    return value


def _version(value: object, path: str) -> int:
    if type(value) is not int or not 1 <= value < _MAX_VERSION:
        raise _wrong(path, _VERSION_RULE, value)
    return value


def _number(value: object, path: str, least: float, most: float, kind: str) -> float:
    if type(value) not in (int, float) or not least <= value <= most or math.isinf(value):  # type: ignore[operator,arg-type]
        reach = f"from {least:g} to {most:g}" if math.isfinite(most) else f"from {least:g}"
        raise _wrong(path, f"{kind}, a number {reach}", value)
    return float(value)  # type: ignore[arg-type]


def _wrong(path: str, expected: str, got: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{path}: expected {expected}, got {'nothing' if got is None else _shown(got)}"
    )


def _shown(value: object) -> str:
    """A value as JSON has it, cut where it is long."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


# --- in a configuration ---------------------------------------------------------------------------------------------


def configured_release(config: ModelConfig) -> Release:
    """What a valid configuration says."""
    if RELEASE not in config.parameters:
        return NO_RELEASE
    return parse_release(config.parameters[RELEASE].string_value)


def release_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with the parameter `release`."""
    try:
        configured_release(config)
    except InvalidArgumentError as error:
        yield Problem(f"parameters['{RELEASE}']", error.message)
