"""What a load call brings along, in place of what is on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The contents of one load call.

    `config`: JSON in place of the model's configuration file; None for the file. `files`: in place of the model's
    directory, as a whole; by the names of the parameters, `file:<version>/<path>`.
    """

    config: str | None = None
    files: Mapping[str, bytes] = field(default_factory=lambda: NO_FILES, repr=False)


PLAIN = LoadRequest()
"""Of a call that brings nothing along: the model as it is on disk."""
