"""Where each field of a complete configuration comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.texts import ConfigText
from kserve_v2.repository.preparing.prepare import Stage

# What `--backend-config` can say in the place of a model's file.
_MAX_BATCH_SETTING = "default-max-batch-size"


class Source(Enum):
    """Who has said something."""

    FILE = "file"
    NAME = "name"
    MODEL = "model"
    FLAG = "flag"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """`where`: a file, or a flag; "" for a default. `line` and `column`: 0 for none."""

    source: Source
    where: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.source is Source.DEFAULT:
            return "default of the server"
        if self.source is Source.NAME:
            return f"by the name of {self.where}"
        return f"{self.where}:{self.line}" if self.line else self.where


# Which flag says what of a model that is named by itself.
_FLAGS = {
    "input": "--input",
    "output": "--output",
    "max_batch_size": "--input",
    "dynamic_batching": "--input",
}


class Origins:
    """Of one version's configuration."""

    def __init__(
        self,
        text: ConfigText,
        stages: Mapping[Stage, ModelConfig],
        model: ModelConfig,
        settings: Mapping[str, str],
        *,
        made: bool = False,
    ) -> None:
        """`stages`: the configuration on its way. `model`: as it is in the end. `settings`: of its backend. `made`: the
        text is the server's, of a model that a person has named by itself.
        """
        self._text = text
        self._made = made
        self._inferred = set(_paths(stages.get(Stage.INFERRED, ModelConfig())))
        self._completed = set(_paths(stages.get(Stage.COMPLETED, ModelConfig())))
        self._file = model.default_model_filename
        self._model = model.name
        self._settings = settings

    def of(self, path: str) -> Origin:
        """Where a field comes from."""
        place = self._text.places.of(path)
        if place is not None and self._made:
            return Origin(Source.FLAG, _FLAGS.get(path.partition("[")[0].partition(".")[0], "--model"))
        if place is not None:
            return Origin(Source.FILE, self._shown(), place.line, place.column)
        if path in self._inferred:
            return Origin(Source.NAME, f"{self._model}/" if path == "name" and not self._made else self._file)
        if path in self._completed:
            if path == "max_batch_size" and _MAX_BATCH_SETTING in self._settings:
                return Origin(Source.FLAG, f"--backend-config {_MAX_BATCH_SETTING}")
            return Origin(Source.MODEL, self._file)
        return Origin(Source.DEFAULT)

    def written(self) -> Sequence[str]:
        """The paths of what is written, also where it says nothing new."""
        return self._text.places.paths()

    def _shown(self) -> str:
        return self._text.shown.partition("/")[2]


def leaves(config: ModelConfig) -> list[str]:
    """The paths of all fields that are set and no messages; a list of values is one of them."""
    return [path for path, is_leaf in _walk(config, "") if is_leaf]


def _paths(config: ModelConfig) -> Iterator[str]:
    return (path for path, _ in _walk(config, ""))


def _walk(message: Message, prefix: str) -> Iterator[tuple[str, bool]]:
    for field, value in message.ListFields():
        path = prefix + field.name
        children = list(_children_of(path, value))
        yield path, not children and not isinstance(value, Message)
        for inner, child in children:
            if isinstance(child, Message):
                yield inner, False
                yield from _walk(child, f"{inner}.")
            else:
                yield inner, True


def _children_of(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a field consists of, with the paths: messages, of lists and maps each, and values of maps."""
    if isinstance(value, Message):
        yield path, value
    elif isinstance(value, Mapping):
        yield from ((f"{path}['{key}']", value[key]) for key in sorted(value))
    elif not isinstance(value, str | bytes | int | float):
        yield from (
            (f"{path}[{index}]", item) for index, item in enumerate(value) if isinstance(item, Message)
        )
