"""`ModelConfig` as the JSON object that the model configuration endpoint answers."""

from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kserve_v2._generated.model_config_pb2 import ModelConfig

Json = dict[str, Any]


def config_to_dict(config: ModelConfig) -> Json:
    """Return the configuration with protobuf's field names, in the order of the schema.

    Every scalar and list is there, defaults included; enums are names, 64-bit integers numbers, map keys
    strings. Messages and members of a oneof that are not set are left out.
    """
    return _message_to_dict(config)


def _message_to_dict(message: Message) -> Json:
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
        return _message_to_dict(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    if field.type == FieldDescriptor.TYPE_FLOAT:
        # The shortest decimal of the single precision number: 0.1, not 0.10000000149011612.
        return float(str(np.float32(value)))
    return value
