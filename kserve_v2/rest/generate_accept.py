"""Answers that are a file, for clients whose Accept header prefers one to JSON: the bytes of an output, as they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferResponse
from kserve_v2.net.preferences import preferred
from kserve_v2.rest.file_kinds import FILE_TYPES, kind_of_file
from kserve_v2.tensors.datatypes import BYTES

_JSON = ("application/json", "application/*", "*/*")

# What some programs call them.
_SYNONYMS = {
    "image/jpg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
}


@dataclass(frozen=True, slots=True)
class FileWanted:
    """What a client takes. `types`: those of files, `image/*` among them. `or_json`: what else JSON is, if need be."""

    types: tuple[str, ...]
    or_json: bool

    def found(self, response: InferResponse) -> tuple[str, Sequence[bytes]] | None:
        """Type and bytes, in one part, of the file in an answer; None where it has to be JSON. Raises
        InvalidArgumentError if the client takes neither what there is nor JSON.
        """
        files = {name: array for name, array in response.outputs.items() if array.dtype == BYTES.dtype}
        wanted = ", ".join(self.types)
        problem = f"there is no output of BYTES that could be {wanted}"
        if len(files) > 1:
            problem = f"there are several outputs of BYTES ({', '.join(files)}), and which one is {wanted} is not said"
        elif files:
            ((name, array),) = files.items()
            kind = kind_of_file(array.reshape(-1)[0]) if array.size == 1 else ""
            if kind and (kind in self.types or f"{kind.partition('/')[0]}/*" in self.types):
                return kind, (array.reshape(-1)[0],)
            what = kind or "of no known kind" if array.size == 1 else f"{array.size} elements"
            problem = f"output '{name}' is {what}, and {wanted} was asked for"
        if self.or_json:
            return None
        raise InvalidArgumentError(f"{problem}; with 'Accept: application/json' the answer is JSON")


def file_wanted(accept: bytes) -> FileWanted | None:
    """What an Accept header asks for; None if that is JSON, or what is answered as such."""
    kinds = [_SYNONYMS.get(kind, kind) for kind in preferred(accept)]
    # Others are answered in JSON, as they are by Triton, which does not look at the header.
    if not kinds or not kinds[0].startswith(FILE_TYPES):
        return None
    types = tuple(kind for kind in kinds if kind.startswith(FILE_TYPES))
    return FileWanted(types, any(kind in _JSON for kind in kinds))
