"""The requests of a measurement: as many different ones as are worth it, and what they are made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from secrets import token_hex

import numpy as np

from kserve_v2.bench.document import Document, read_documents
from kserve_v2.bench.encoding import ID_LENGTH, Form, Prepared, prepare
from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.bench.made_up import Wishes, check_wishes, made_up
from kserve_v2.bench.model_view import ModelView

_VARIANTS = 128
_VARIANTS_BYTES = 64 * 2**20
_SEED = 20


class Vary(StrEnum):
    """What differs between requests: clients do not send the same bytes again and again, and a server might make use of
    it. `VALUES`: made up values and the ids; `IDS`: the ids alone; `NOTHING`: all requests are the same bytes.
    """

    VALUES = "values"
    IDS = "ids"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Source:
    """What requests are made from. `file`: in place of what is made up."""

    wishes: Wishes
    file: Path | None = None
    vary: Vary = Vary.VALUES


def documents_of(view: ModelView, source: Source) -> list[Document]:
    """The different requests, at most 128, and less if they are large. Raises BenchUsageError."""
    if source.file is not None:
        wishes = source.wishes
        if wishes.shapes or wishes.values or wishes.batch != 1:
            raise BenchUsageError(
                "--request says what is sent: leave values of inputs, --shape and --batch out"
            )
        found = read_documents(source.file)
        return found[:1] if source.vary is Vary.NOTHING else found
    check_wishes(view, source.wishes)
    random = np.random.default_rng(_SEED)
    first = made_up(view, source.wishes, random)
    everything_given = {each.name for each in view.inputs} <= source.wishes.values.keys()
    if source.vary is not Vary.VALUES or everything_given:
        return [first]
    size = max(1, sum(each.array.nbytes for each in first.inputs))
    more = min(_VARIANTS, max(1, _VARIANTS_BYTES // size)) - 1
    return [first, *(made_up(view, source.wishes, random) for _ in range(more))]


def prepare_all(documents: Sequence[Document], form: Form) -> list[Prepared]:
    """All of them as they go over the wire."""
    return [prepare(document, form) for document in documents]


def stream(prepared: Sequence[Prepared], vary: Vary) -> Iterator[tuple[Prepared, bytes]]:
    """Requests without end, each with its bytes: one after the other, in turn."""
    run = token_hex(2)
    if vary is Vary.NOTHING:
        ident = f"{run}{0:0{ID_LENGTH - len(run)}x}".encode()
        # Of a model with sequences, the bytes are the same all the same: each request begins a sequence, and ends it.
        fixed = [(each, each.bytes(ident)) for each in prepared]
        while True:
            yield from fixed
    several = len(prepared)
    width = ID_LENGTH - len(run)
    for number in count():
        request = prepared[number % several]
        yield request, request.bytes(f"{run}{number:0{width}x}".encode())


def described(view: ModelView, documents: Sequence[Document], source: Source, size: int) -> str:
    """What is sent, in words. `size`: of one request, in bytes."""
    inputs = ", ".join(
        f"{each.name} {each.datatype} {list(each.array.shape)}" for each in documents[0].inputs
    )
    origin = f"from {source.file}" if source.file else "made up from the metadata"
    several = f"{len(documents)} different requests" if len(documents) > 1 else "one request"
    varies = {
        Vary.VALUES: "values and ids vary" if len(documents) > 1 else "ids vary",
        Vary.IDS: "ids vary",
        Vary.NOTHING: "always the same bytes",
    }[source.vary]
    sequences = ", each a sequence of its own" if view.sequences else ""
    return f"{several}, {origin}{sequences}; {varies}: {inputs}; {size:,} bytes"
