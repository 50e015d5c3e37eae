"""Messages of protobuf as JSON objects, in the form in which REST answers them; and values of JSON as parameters of
requests and responses.
"""

from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Json = dict[str, Any]


def message_to_dict(message: Message) -> Json:
    """The message with protobuf's field names, in the order of the schema.

    Every scalar and list is there, defaults included; enums are names, 64-bit integers numbers, map keys
    strings. Messages and members of a oneof that are not set are left out.
    """
    return {
        field.name: _field_value(message, field)
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field_value(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        element = field.message_type.fields_by_name["value"]
        return {str(key): _element(value[key], element) for key in sorted(value)}
    if isinstance(value, (Message, str, int, float)):
        return _element(value, field)
    return [_element(item, field) for item in value]


def _element(value: Any, field: FieldDescriptor) -> Any:
    """Return one value of a field: of a singular field its only one, of a list or map one of many."""
    if isinstance(value, Message):
        return message_to_dict(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    if field.type == FieldDescriptor.TYPE_FLOAT:
        # The shortest decimal of the single precision number: 0.1, not 0.10000000149011612.
        return float(str(np.float32(value)))
    return value


def set_parameter(parameter: Any, value: bool | int | float | str) -> None:
    """Set an `InferParameter` from a Python value."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        if value < 2**63:
            parameter.int64_param = value
        else:
            parameter.uint64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value
