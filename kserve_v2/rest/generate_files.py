"""Requests that are files: an image, a sound or a film as the whole body, or a form with files and other fields.

They are for inputs of BYTES, which get them as they are. Nothing is guessed: which input a file is for is said by the
name of its field, or by there being one alone.
"""

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.file_kinds import kind_of_file
from kserve_v2.rest.form import Part, media_type, read_form
from kserve_v2.rest.generate_codec import Said, parameter, read_json
from kserve_v2.rest.generate_values import Layout
from kserve_v2.rest.json_text import parse_json
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BYTES

FORM = "multipart/form-data"

# Types of bodies that are one file. What Triton's clients and browsers send JSON as is not among them.
_FILES = ("image/", "audio/", "video/")
_TAKEN = "JSON, a form (multipart/form-data), or a file with a Content-Type of image/…, audio/… or video/…"

# What needs no decoding (RFC 2045, section 6).
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")

# Types that JSON is sent as by clients that do not say so: curl's -d has the first of them.
_MAY_BE_JSON = ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain", "")


def is_file(content_type: bytes) -> bool:
    """Whether a Content-Type header is that of a file or a form."""
    return content_type.lower().lstrip().startswith((b"image/", b"audio/", b"video/", b"multipart/"))


def read_body(body: bytes | bytearray | memoryview, content_type: bytes, signature: ModelSignature) -> Said:
    """What a body says: a file or a form if its type is one of those, else JSON. Raises InvalidArgumentError that names
    the field.
    """
    if not is_file(content_type):
        return _read_json(body, content_type, signature)
    kind, options = media_type(content_type)
    if kind.startswith(_FILES):
        return _read_file(bytes(body), kind, signature)
    if kind != FORM:
        raise InvalidArgumentError(f"Content-Type is {kind[:80]!r}, expected {_TAKEN}")
    return _read_fields(read_form(bytes(body), options.get("boundary", "")), signature)


def _read_json(body: bytes | bytearray | memoryview, content_type: bytes, signature: ModelSignature) -> Said:
    """As `read_json`. The error for what is no JSON says what else is taken, if that may help."""
    try:
        return read_json(body, signature)
    except InvalidArgumentError as error:
        kind = media_type(content_type)[0]
        found = kind_of_file(body)
        if found:
            hint = f"the body looks like {found}, and Content-Type is {kind or 'missing'}"
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


def _read_fields(parts: list[Part], signature: ModelSignature) -> Said:
    """The fields of a form. Several of one name are a list, in their order."""
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
            values = [_number(each, tensor) for each in fields]
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
