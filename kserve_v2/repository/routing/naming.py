"""How clients name versions: by number, or by a label that stands for one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kserve_v2.config.release import Release, is_label
from kserve_v2.errors import InvalidArgumentError, NotFoundError, shortened
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.routing.routes import without_effect
from kserve_v2.repository.routing.served import Served

_TOO_LARGE = 2**63
# Zeros in front are allowed, but not without end.
_MOST_DIGITS = 64


def named_version(version: str, labels: Mapping[str, int]) -> tuple[int | None, str]:
    """The number of a version as clients write it, None for "", and the label, if it is one of `labels`. The number is
    None, too, for a label that is none of them. Raises InvalidArgumentError, with Triton's texts, for what can be
    neither a number nor a label.
    """
    if version in labels:
        return labels[version], version
    if not version or is_label(version):
        return None, version
    return parse_version(version), ""


def unknown_label(
    model: str, label: str, labels: Collection[str], versions: Collection[int]
) -> NotFoundError:
    """What is said of a label that a model does not have. `versions`: those that are loaded."""
    named = f"its labels are {', '.join(sorted(labels))}" if labels else "it has no labels"
    loaded = ", ".join(map(str, sorted(versions))) or "none"
    return NotFoundError(
        f"Request for unknown model: '{model}' has no version '{label}', which is neither a number nor a label of this "
        f"model: {named}, and the versions that are loaded are {loaded}"
    )


def parse_version(version: str) -> int:
    """The number of a version as clients write it, in ASCII digits. Raises InvalidArgumentError, with Triton's texts,
    where it is none.
    """
    digits = version.removeprefix("-")
    # Python's `int` would take "1 ", "+1", "1_0" and digits of other scripts for numbers, and Triton's `stol` some of
    # them, too: what was not meant as a version would be answered by one.
    is_number = digits.isascii() and digits.isdigit() and len(digits) < _MOST_DIGITS
    number = int(digits) if is_number else _TOO_LARGE
    if number >= _TOO_LARGE:
        raise InvalidArgumentError(
            f"failed to get model version from specified version string '{shortened(version)}' (details: stol), "
            "version should be an integral value > 0"
        )
    if number and digits != version:
        raise InvalidArgumentError(
            f"invalid model version specified '{version}' , version should be an integral value > 0"
        )
    return number


def released(entries: Sequence[IndexEntry], release: Release, served: Served | None) -> list[IndexEntry]:
    """Lines of the index of one model with what its release makes of them: the labels that stand for each version, and,
    with the highest that answers, what is not done of it. `served`: the versions that can answer.
    """
    found = []
    highest = max(map(int, served.versions), default=None) if served is not None else None
    for entry in entries:
        labels = tuple(
            label for label, version in sorted(release.labels.items()) if str(version) == entry.version
        )
        problems = ""
        if served is not None and entry.version == str(highest):
            problems = "; ".join(without_effect(served, release))
        found.append(replace(entry, labels=labels, release_problems=problems))
    return found
