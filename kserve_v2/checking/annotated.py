"""A configuration as it is written, with a comment at the end of each line that says where the field comes from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.origins import Origins

_INDENT = "  "
# Comments of longer lines begin where they end.
_WIDEST = 48


def annotated(config: ModelConfig, origins: Origins) -> str:
    """The text, which is a configuration file that says all of it."""
    lines = list(_fields(config, "", "", origins))
    column = min(max((len(line) for line, comment in lines if comment), default=0), _WIDEST)
    return "\n".join(f"{line:<{column}}  # {comment}" if comment else line for line, comment in lines)


def _fields(message: Message, prefix: str, indent: str, origins: Origins) -> Iterator[tuple[str, str]]:
    """Lines, with the comments."""
    written = set(origins.written())
    for field in message.DESCRIPTOR.fields:
        path, value = prefix + field.name, getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in sorted(value):
                yield from _entry(field, key, value[key], f"{path}['{key}']", indent, origins)
        elif field.message_type is None and hasattr(value, "extend"):
            if value:
                items = ", ".join(_scalar(field, item) for item in value)
                yield f"{indent}{field.name}: [ {items} ]", str(origins.of(path))
        elif field.message_type is None:
            # What is written counts also where it says what would hold anyway.
            if path in written or value != field.default_value:
                yield f"{indent}{field.name}: {_scalar(field, value)}", str(origins.of(path))
        elif isinstance(value, Message):
            if message.HasField(field.name):
                yield from _block(field.name, value, path, indent, origins)
        else:
            for index, item in enumerate(value):
                yield from _block(field.name, item, f"{path}[{index}]", indent, origins)


def _block(
    name: str, message: Message, path: str, indent: str, origins: Origins
) -> Iterator[tuple[str, str]]:
    inner = list(_fields(message, f"{path}.", indent + _INDENT, origins))
    comment = str(origins.of(path))
    if not inner:
        yield f"{indent}{name} {{ }}", comment
        return
    yield f"{indent}{name} {{", comment
    yield from inner
    yield f"{indent}}}", ""


def _entry(
    field: FieldDescriptor, key: Any, value: Any, path: str, indent: str, origins: Origins
) -> Iterator[tuple[str, str]]:
    kinds = field.message_type.fields_by_name
    yield f"{indent}{field.name} {{", str(origins.of(path))
    yield f"{indent}{_INDENT}key: {_scalar(kinds['key'], key)}", ""
    if isinstance(value, Message):
        yield f"{indent}{_INDENT}value {{", ""
        yield from _fields(value, f"{path}.", indent + 2 * _INDENT, origins)
        yield f"{indent}{_INDENT}}}", ""
    else:
        yield f"{indent}{_INDENT}value: {_scalar(kinds['value'], value)}", ""
    yield f"{indent}}}", ""


def _scalar(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return str(named.name if named else value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # The quotation marks are protobuf's.
        whole: str = text_format.MessageToString(ModelConfig(name=value), as_utf8=True, as_one_line=True)
        return whole.removeprefix("name: ") if value else '""'
    return str(np.float32(value)) if field.type == FieldDescriptor.TYPE_FLOAT else str(value)
