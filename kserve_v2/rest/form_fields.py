"""Forms as requests by name: each field is an input."""

from collections.abc import Mapping
from typing import NamedTuple

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.multipart import Part, media_type, read_form
from kserve_v2.rest.generate_codec import Said, parameter
from kserve_v2.rest.generate_values import Layout
from kserve_v2.rest.json_tensor import LargeList
from kserve_v2.rest.json_text import parse_json
from kserve_v2.rest.large_lists import read_whole_list
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, any_room
from kserve_v2.tensors.datatypes import BYTES

# What needs no decoding (RFC 2045, section 6).
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")


class Form(NamedTuple):
    """`parts`: in their order. `lists`: those that have been read, by the names of their fields."""

    parts: list[Part]
    lists: Mapping[str, LargeList]


def parse_form(
    body: bytes | bytearray | memoryview,
    content_type: bytes,
    signature: ModelSignature,
    room: Room = any_room,
    slice_bytes: int = SLICE_BYTES,
) -> Slices[Form]:
    """Read a form in slices, and the large lists in it that are for inputs of numbers, if there is `room` for those.
    `slice_bytes`: the size of lists that are large. Raises InvalidArgumentError for what is no form.
    """
    parts = yield from read_form(body, media_type(content_type)[1].get("boundary", ""))
    lists: dict[str, LargeList] = {}
    names = [part.name for part in parts]
    for part in parts:
        tensor = signature.inputs.get(part.name)
        if len(part.data) <= slice_bytes or tensor is None or tensor.datatype is BYTES:
            continue
        # Those of several fields are lists in a list.
        if names.count(part.name) == 1 and (
            found := (yield from read_whole_list(part.data, slice_bytes, room))
        ):
            lists[part.name] = found
    return Form(parts, lists)


def read_fields(form: Form, signature: ModelSignature) -> Said:
    """What the fields of a form say; several of one name are a list, in their order. Raises InvalidArgumentError that
    names the field.
    """
    parts, lists = form
    said = Said(layout=Layout(by_shape=True))
    by_name: dict[str, list[Part]] = {}
    for part in parts:
        # Browsers send this for a file that was not chosen.
        if part.data or part.filename != "":
            _check_part(part)
            by_name.setdefault(part.name, []).append(part)
    for name, fields in by_name.items():
        tensor = signature.inputs.get(name)
        if tensor is None:
            _read_other(name, fields, said, signature)
        elif tensor.datatype is BYTES:
            said.inputs[name] = [each.data for each in fields]
        else:
            values = [lists[name] if name in lists else _number(each, tensor) for each in fields]
            said.inputs[name] = values if len(values) > 1 else values[0]
    return said


def _check_part(part: Part) -> None:
    if part.filename and not part.data:
        raise InvalidArgumentError(f"field '{part.name}': the file '{part.filename[:80]}' is empty")
    if part.encoding not in _PLAIN_ENCODINGS:
        raise InvalidArgumentError(
            f"field '{part.name}': Content-Transfer-Encoding is {part.encoding[:40]!r}, expected the bytes as they are"
        )
    if part.filename is None and part.charset not in _UTF8:
        raise InvalidArgumentError(
            f"field '{part.name}': the charset is {part.charset[:40]!r}, expected utf-8"
        )


def _number(part: Part, tensor: TensorSignature) -> object:
    """The value of a field for an input that is not of BYTES."""
    try:
        return parse_json(part.data)
    except InvalidArgumentError as error:
        what = (
            f"the file '{part.filename[:80]}'"
            if part.filename is not None
            else repr(part.data[:40].decode(errors="replace"))
        )
        raise InvalidArgumentError(
            f"field '{part.name}': the input is {tensor.datatype.name}, expected JSON (a value, or lists), got {what}: "
            f"{error.message}"
        ) from None


def _read_other(name: str, fields: list[Part], said: Said, signature: ModelSignature) -> None:
    """A field that is no input: the id, or parameters. Raises InvalidArgumentError for any other."""
    if name not in ("id", "parameters"):
        inputs = ", ".join(f"'{each}'" for each in signature.inputs)
        raise InvalidArgumentError(
            f"field '{name}' is no input of model '{signature.model_name}'; its inputs: {inputs}. Parameters are "
            "members of a JSON object in the field 'parameters'"
        )
    if len(fields) > 1:
        raise InvalidArgumentError(f"field '{name}' is there {len(fields)} times, expected once")
    if name == "id":
        try:
            said.id = fields[0].data.decode()
        except UnicodeDecodeError:
            raise InvalidArgumentError("field 'id' is not UTF-8") from None
        return
    try:
        parameters = parse_json(fields[0].data)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"field 'parameters': {error.message}") from None
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("field 'parameters': expected a JSON object")
    said.parameters.update({key: parameter(key, value) for key, value in parameters.items()})
