"""The inference cases, read from `suite/cases/infer_*.toml`: each exists once, and is sent over every carrier.

A case has:

    name, about     what it is called, and one sentence
    clauses         what it is about, without protocol: INFER-004 stands for REST-INFER-004 and GRPC-INFER-004
    model           the capability it needs; `identity` is an identity of any datatype
    inputs          one table for each input, in the model's order: `data`, or `hex` for bytes that are no text, or
                    `bytes` for a ramp of that size; `shape`, if the model allows it; absent: a few values
    exact           do not fit the values to a model of another shape: the case is not covered then
    outputs         the expected outputs, in the model's order, if the model does not compute them by a closed form
    id, parameters, input_parameters, output_parameters, version
    requested       indices of the outputs that are asked for
    reverse         send the inputs in reverse order
    changes         what is wrong with the request: see `changes.py`
    error           `client` if the request is the client's mistake, `model` if the model fails
    loose           an error is allowed as well as the right answer for what was sent
    carriers        the only carriers that make sense
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from kserve_v2_conformance.requirements import GRPC, REST, requirements

DIRECTORY = Path(__file__).parent.parent / "suite" / "cases"


@dataclass(frozen=True, slots=True)
class Carrier:
    """A way to carry tensors."""

    name: str
    protocol: str
    extension: str = ""


CARRIERS = (
    Carrier("json", REST),
    Carrier("binary", REST, "binary_tensor_data"),
    Carrier("grpc-raw", GRPC),
    Carrier("grpc-typed", GRPC),
)


_CARRIED = {"binary": ["REST-BIN-001"], "grpc-raw": ["GRPC-RAW-001"], "grpc-typed": ["GRPC-TYPED-001"]}


@dataclass(frozen=True, slots=True)
class InferCase:
    """One case; the module's docstring says what its members mean."""

    name: str
    about: str
    clauses: tuple[str, ...]
    model: str = "identity"
    inputs: tuple[dict[str, Any], ...] = ()
    exact: bool = False
    outputs: tuple[dict[str, Any], ...] = ()
    id: str = ""
    parameters: dict[str, Any] | None = None
    input_parameters: dict[str, Any] = field(default_factory=dict)
    output_parameters: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    requested: tuple[int, ...] | None = None
    reverse: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    loose: bool = False
    carriers: tuple[str, ...] = tuple(each.name for each in CARRIERS)

    def clauses_for(self, carrier: Carrier) -> list[str]:
        """The case's clauses over a carrier: those of its protocol; values as bytes are the extension's."""
        about_values = [each for each in self.clauses if each.startswith("DATA-") or each == "INFER-012"]
        ids = [
            "REST-BIN-007" if carrier.extension and clause in about_values else f"{carrier.protocol}-{clause}"
            for clause in self.clauses
        ]
        known = [each for each in dict.fromkeys(ids) if each in requirements()]
        # What the carrier itself has to do is at stake where a case is about ordinary values.
        if "INFER-012" in self.clauses and self.requested is None and not (self.error or self.loose):
            known += _CARRIED.get(carrier.name, [])
        return known

    def runs_over(self) -> Iterator[Carrier]:
        """The carriers that can carry the case's tensors, and for which it has a clause."""
        datatype = self.model.partition(".")[2]
        not_text = any("hex" in each for each in self.inputs)
        for carrier in CARRIERS:
            if carrier.name not in self.carriers or not self.clauses_for(carrier):
                continue
            if datatype in ("FP16", "BF16") and carrier.name in ("json", "grpc-typed"):
                continue
            if not_text and carrier.name == "json":
                continue
            yield carrier


@cache
def infer_cases() -> tuple[InferCase, ...]:
    """All cases, in the order of the files. Raises ValueError for one that is malformed."""
    cases = [
        _read(entry, path.name)
        for path in sorted(DIRECTORY.glob("infer_*.toml"))
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]
    names = [case.name for case in cases]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cases with one name: {', '.join(sorted(repeated))}")
    return tuple(cases)


def _read(entry: dict[str, Any], file: str) -> InferCase:
    known = {each.name for each in fields(InferCase)}
    if unknown := entry.keys() - known:
        raise ValueError(f"{file}: case {entry.get('name')}: unknown {', '.join(sorted(unknown))}")
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    case = InferCase(**plain)
    for clause in case.clauses:
        if not any(f"{protocol}-{clause}" in requirements() for protocol in (REST, GRPC)):
            raise ValueError(f"{file}: case {case.name}: there is no clause {clause}")
    return case
