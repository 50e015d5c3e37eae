"""The schema of the configuration, walked: every field that holds a value, and configurations with one of them."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kserve_v2._generated.model_config_pb2 import ModelConfig

Path = tuple[FieldDescriptor, ...]

SAMPLES = {
    FieldDescriptor.CPPTYPE_STRING: "sample",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_ENUM: 1,
    FieldDescriptor.CPPTYPE_FLOAT: 1.5,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.5,
    **dict.fromkeys((FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64), 1),
    **dict.fromkeys((FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64), 1),
}


def leaves(descriptor: Descriptor, above: Path = ()) -> Iterator[Path]:
    """Every field that holds a value, with the fields that lead to it; an empty message is a value, too."""
    for field in descriptor.fields:
        kind = value_field(field).message_type
        if kind is None or not kind.fields:
            yield (*above, field)
        else:
            yield from leaves(kind, (*above, field))


def value_field(field: FieldDescriptor) -> FieldDescriptor:
    """The field that says what kind of value `field` has: of a map, that of its entries."""
    return field.message_type.fields_by_name["value"] if _is_map(field) else field


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def name(path: Path) -> str:
    """The fields of a path, as the table of support writes them."""
    return ".".join(field.name for field in path)


def with_value(path: Path, value: object = None) -> ModelConfig:
    """A configuration in which nothing is set but the field at the end of `path`."""
    config = ModelConfig()
    message: Any = config
    for field in path:
        kind = value_field(field)
        sample = SAMPLES[kind.cpp_type] if value is None and kind.message_type is None else value
        if _is_map(field):
            key = SAMPLES[field.message_type.fields_by_name["key"].cpp_type]
            if kind.message_type is None:
                getattr(message, field.name)[key] = sample
            else:
                message = getattr(message, field.name)[key]
        elif field.message_type is not None:
            message = getattr(message, field.name)
            if hasattr(message, "add"):
                message = message.add()
            else:
                message.SetInParent()
        elif hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).append(sample)
        else:
            setattr(message, field.name, sample)
    return config


LEAVES = list(leaves(ModelConfig.DESCRIPTOR))

NAMING_FILES = [
    path
    for path in LEAVES
    if value_field(path[-1]).cpp_type == FieldDescriptor.CPPTYPE_STRING
    and re.search(r"(^|_)(files?|filenames?|paths?)$", path[-1].name)
]
