"""What a load call brings along, in place of what is on disk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.repository.reading.scan import check_new_name
from kserve_v2.repository.uploads.names import shown, upload_paths

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


def check_may_upload(files: Iterable[str], *, allowed: bool) -> None:
    """Raise UnsupportedError if there are files, by the names of their parameters, and none are `allowed`."""
    first = next(iter(files), None)
    if first is not None and not allowed:
        raise UnsupportedError(
            f"load parameter '{shown(first)}': uploading model files is disabled, because they can be code that runs "
            "as the server's user. Start the server with '--allow-file-override=true' to enable."
        )


def check_files(name: str, request: LoadRequest) -> None:
    """Raise InvalidArgumentError unless the files of a load can be a model's."""
    if not request.files:
        return
    check_new_name(name)
    upload_paths(request.files)
    if not request.config:
        raise InvalidArgumentError(
            f"failed to load '{name}', failed to poll from model repository: files were sent without the parameter "
            "'config', the configuration that goes with them"
        )
