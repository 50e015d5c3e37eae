"""Requests that are files: an image, a sound or a film as the whole body, or a form with files and other fields.

They are for inputs of BYTES, which get them as they are. Nothing is guessed: which input a file is for is said by the
name of its field, or by there being one alone.
"""

from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.multipart import media_type
from kserve_v2.rest.codec import Body
from kserve_v2.rest.file_kinds import FILE_TYPES, kind_of_file
from kserve_v2.rest.form_fields import parse_form, read_fields
from kserve_v2.rest.generate_codec import Said, read_json
from kserve_v2.rest.generate_values import Layout
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.slices import Room, Slices, any_room, at_once, copied
from kserve_v2.tensors.datatypes import BYTES

FORM = "multipart/form-data"

# Types of bodies that are files or forms. What Triton's clients and browsers send JSON as is not among them.
_FILES_AND_FORMS = tuple(each.encode() for each in (*FILE_TYPES, "multipart/"))
_TAKEN = "JSON, a form (multipart/form-data), or a file with a Content-Type of image/…, audio/… or video/…"

# Types that JSON is sent as by clients that do not say so: curl's -d has the first of them.
_MAY_BE_JSON = ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain", "")


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
