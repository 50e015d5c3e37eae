"""Requests that are files: an image, a sound or a film as the whole body, or a form, of which each field is an input.

Files are for inputs of BYTES, which get them as they are. Nothing is guessed: which input a file is for is said by the
name of its field, or by there being one alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.lists import read_whole_list
from kserve_v2.json_data.tensors import LargeList
from kserve_v2.json_data.text import parse_json
from kserve_v2.net.multipart import Part, media_type, read_form
from kserve_v2.rest.codec import Body
from kserve_v2.rest.file_kinds import FILE_TYPES, kind_of_file
from kserve_v2.rest.generate_codec import Layout, Said, parameter, read_json
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, any_room, at_once, copied
from kserve_v2.tensors.datatypes import BYTES

FORM = "multipart/form-data"

# Types of bodies that are files or forms. What Triton's clients and browsers send JSON as is not among them.
_FILES_AND_FORMS = tuple(each.encode() for each in (*FILE_TYPES, "multipart/"))
_TAKEN = "JSON, a form (multipart/form-data), or a file with a Content-Type of image/…, audio/… or video/…"

# Types that JSON is sent as by clients that do not say so: curl's -d has the first of them.
_MAY_BE_JSON = ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain", "")

# What needs no decoding (RFC 2045, section 6).
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")


def is_file(content_type: bytes) -> bool:
    """Whether a Content-Type header is that of a file or a form."""
    return content_type.lower().lstrip().startswith(_FILES_AND_FORMS)


def parse_file(body: Body, content_type: bytes, signature: ModelSignature, room: Room) -> Slices[Any]:
    """What `read_body` takes as the document of a body that is a file or a form, read in slices. None if it is neither,
    or there is no `room` for it. Raises as `read_body`.
    """
    kind, _ = media_type(content_type)
    if not kind.startswith((*FILE_TYPES, FORM)) or not room(len(body)):
        return None
    if kind != FORM:
        return (yield from copied(body))
    return (yield from parse_form(body, content_type, signature, room))


def read_body(body: Body, content_type: bytes, signature: ModelSignature, document: Any = None) -> Said:
    """What a body says: a file or a form if its type is one of those, else JSON. `document`: what has been made of it
    in slices, if anything. Raises InvalidArgumentError that names the field.
    """
    if not is_file(content_type):
        return _read_json(body, content_type, signature, document)
    kind, _ = media_type(content_type)
    if document is None:
        document = at_once(parse_file(body, content_type, signature, any_room))
    if kind.startswith(FILE_TYPES):
        return _read_file(document, kind, signature)
    if kind != FORM:
        raise InvalidArgumentError(f"Content-Type is {kind[:80]!r}, expected {_TAKEN}")
    return read_fields(document, signature)


def _read_json(body: Body, content_type: bytes, signature: ModelSignature, document: Any) -> Said:
    """As `read_json`. The error for what is no JSON says what else is taken, if that may help."""
    try:
        return read_json(body, signature, document)
    except InvalidArgumentError as error:
        kind, _ = media_type(content_type)
        found = kind_of_file(body)
        if found == FORM or found.startswith(FILE_TYPES):
            said = kind[:80] or "missing"
            hint = f"the body looks like {found}, and Content-Type is {said}: it is taken as '{found}'"
        elif kind in _MAY_BE_JSON or kind.endswith("json"):
            raise
        else:
            hint = f"Content-Type is {kind[:80]}"
        raise InvalidArgumentError(f"{error.message} ({hint}; generate takes {_TAKEN})") from None


def _read_file(body: bytes, kind: str, signature: ModelSignature) -> Said:
    tensor = _input_for_file(signature)
    if not body:
        raise InvalidArgumentError(f"the body is empty, expected a file for input '{tensor.name}' ({kind})")
    return Said({tensor.name: [body]}, layout=Layout(by_shape=True))


def _input_for_file(signature: ModelSignature) -> TensorSignature:
    """The input that a file without a name is for: the only one of BYTES, or the only one of those that is not
    optional.
    """
    candidates = [tensor for tensor in signature.inputs.values() if tensor.datatype is BYTES]
    required = [tensor for tensor in candidates if not tensor.optional]
    for found in (candidates, required):
        if len(found) == 1:
            return found[0]
    name = signature.model_name
    if not candidates:
        inputs = ", ".join(f"'{each.name}' ({each.datatype.name})" for each in signature.inputs.values())
        raise InvalidArgumentError(
            f"model '{name}' has no input of BYTES that a file could be for; its inputs: {inputs}"
        )
    names = ", ".join(f"'{each.name}'" for each in candidates)
    raise InvalidArgumentError(
        f"model '{name}' has {len(candidates)} inputs of BYTES: {names}; a form ({FORM}) says for which of them "
        "a file is"
    )


# --- forms ------------------------------------------------------------------------------------------------------------


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
