"""Small helpers of handlers."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional


class PredictionException(Exception):  # noqa: N818 - TorchServe's name
    """What a handler raises to have its clients told this, with this status."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


def list_classes_from_module(module: types.ModuleType, parent_class: Optional[type] = None) -> list[type]:
    """The classes that a module defines; with `parent_class`, those that derive from it."""
    own = [
        each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__
    ]
    return own if parent_class is None else [each for each in own if issubclass(each, parent_class)]


def load_label_mapping(mapping_file_path: str) -> Optional[dict[str, Any]]:
    """`index_to_name.json`: names of classes by their numbers, as texts; None if there is no such file."""
    if not Path(mapping_file_path).is_file():
        return None
    with Path(mapping_file_path).open(encoding="utf-8") as file:
        mapping: Any = json.load(file)
    if not isinstance(mapping, dict):
        raise Exception(  # noqa: TRY002, TRY004 - as TorchServe
            'index_to_name mapping should be in "class":"label" json format'
        )
    names = mapping.get("object_type_names")
    if isinstance(names, list):
        mapping = {str(index): name for index, name in enumerate(names)}
    for key, value in mapping.items():
        new_value = value[-1] if isinstance(value, list) and value else value
        if not isinstance(new_value, str):
            raise Exception(  # noqa: TRY002, TRY004 - as TorchServe
                "labels in index_to_name must be either str or [str]"
            )
        mapping[key] = new_value
    labels: dict[str, Any] = mapping
    return labels


def map_class_to_label(
    probs: Sequence[Sequence[Any]],
    mapping: Optional[Mapping[str, Any]] = None,
    lbl_classes: Optional[Sequence[Sequence[Any]]] = None,
) -> list[dict[str, Any]]:
    """For each row, its probabilities by the names of their classes, in their order. `lbl_classes`: the numbers of the
    classes; they are counted if it is not given.
    """
    classes = (
        lbl_classes if lbl_classes is not None else itertools.repeat(range(len(probs[0])) if probs else ())
    )
    return [
        {(mapping[str(number)] if mapping is not None else str(number)): probability
         for number, probability in zip(numbers, row)}
        for numbers, row in zip(classes, probs)
    ]  # fmt: skip


def check_valid_pt2_backend(backend: str) -> bool:
    """Whether `torch.compile` knows a backend."""
    import torch._dynamo  # noqa: PLC0415 - only where something is compiled

    if backend in torch._dynamo.list_backends(exclude_tags=()):
        return True
    raise ValueError(f"pt2: torch.compile has no backend '{backend}'")


def get_yaml_config(yaml_file_path: str) -> dict[str, Any]:
    """What a YAML file has."""
    import yaml  # noqa: PLC0415 - only for handlers that read one themselves

    with Path(yaml_file_path).open(encoding="utf-8") as file:
        found: Any = yaml.safe_load(file)
    return found if isinstance(found, dict) else {}


def get_yaml_value(yaml_config: Mapping[str, Any], key: str) -> Any:
    """A value of it; None if there is none."""
    return yaml_config.get(key)


def load_compiler_config(config_file_path: str) -> dict[str, Any]:
    """`compile.json` of older handlers."""
    if not os.path.exists(config_file_path):  # noqa: PTH110 - a path that may be empty
        raise ValueError(f"there is no {config_file_path}")
    with Path(config_file_path).open(encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found
