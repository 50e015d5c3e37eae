"""What a case finds out: one finding for each clause that it looked at."""

from dataclasses import asdict, dataclass
from typing import Any

from kserve_v2_conformance.exchange import Exchange, show_json
from kserve_v2_conformance.requirements import requirements


class UnreadableAnswer(Exception):
    """An answer that cannot be understood at all; the case's own clauses are broken by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a clause was kept, and what was seen. `exchange`: index of the exchange that shows it, -1 for none."""

    clause: str
    kept: bool
    what: str
    expected: str
    got: str
    exchange: int

    @property
    def broken(self) -> bool:
        """Whether something was broken that is required."""
        return not self.kept and requirements()[self.clause].required

    def __str__(self) -> str:
        return f"{self.clause}: {self.what}: expected {self.expected}, got {self.got}"

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return asdict(self)


class Checks:
    """Collects the findings of one case. Every check says which clause it is about, and returns whether it was kept."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.exchanges: list[Exchange] = []

    def that(self, clause: str, what: str, kept: bool, expected: object, got: object) -> bool:
        """Note whether a clause was kept."""
        if clause not in requirements():
            raise KeyError(f"requirements.toml has no clause {clause}")
        want, have = (value if isinstance(value, str) else show_json(value) for value in (expected, got))
        self.findings.append(Finding(clause, bool(kept), what, want, have, len(self.exchanges) - 1))
        return bool(kept)

    def equal(self, clause: str, what: str, got: object, expected: object) -> bool:
        """Note whether `got` is `expected`, of the same JSON type."""
        same = got == expected and isinstance(got, bool) == isinstance(expected, bool)
        return self.that(clause, what, same, show_json(expected), show_json(got))

    def has_type(self, clause: str, what: str, got: object, kind: type) -> bool:
        """Note whether a JSON value is of a type."""
        names = {str: "a string", bool: "a boolean", list: "an array", dict: "an object", int: "an integer"}
        same = isinstance(got, kind) and (kind is bool or not isinstance(got, bool))
        return self.that(clause, what, same, names[kind], show_json(got))
