"""Files beside a model's versions that have a tensor in them: initial states, and inputs for the warm-up."""

from dataclasses import dataclass
from pathlib import Path

from kserve_v2.config.files import is_within
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.tensors.raw import decode_raw_tensor


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """Those of one kind. `folder`: of the model's directory, where they lie. `kind`: what errors call a tensor.
    `too_short`: the error for a file that holds too little, with places for the bytes that are expected, the file's
    name and the bytes that it has.
    """

    folder: str
    kind: str
    too_short: str

    def read(self, filename: str, model_path: Path, announced: AnnouncedInput) -> Array:
        """The tensor's bytes, of which the file may hold more; texts fill the whole file, each with its length in
        front. Blocks. Raises InvalidArgumentError.
        """
        shown = f"{self.kind} '{announced.name}': file '{self.folder}/{filename}'"
        path = (model_path / self.folder / filename).resolve()
        if not is_within(path, model_path):
            raise InvalidArgumentError(f"{shown} is outside of the model's directory")
        if path.exists() and not path.is_file():
            raise InvalidArgumentError(f"{shown} is no file")
        texts = announced.datatype is BYTES
        size = -1 if texts else announced.element_count() * announced.datatype.item_size
        try:
            with path.open("rb") as file:
                data = file.read(size)
        except OSError as error:
            raise InvalidArgumentError(f"{shown} cannot be read: {error.strerror}") from error
        if texts:
            try:
                return decode_raw_tensor(announced, data)
            except InvalidArgumentError as error:
                text = error.message.removeprefix(announced.prefix)
                raise InvalidArgumentError(f"{shown}: {text}") from error
        if len(data) < size:
            raise InvalidArgumentError(self.too_short.format(size, filename, len(data)))
        return decode_raw_tensor(announced, data)
