"""From what is said of a model to the place in its configuration."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.places import Place, Places, find_places
from kserve_v2.config.text_files import read_text
from kserve_v2.errors import InvalidArgumentError

_PART = r"[a-z][a-z0-9_]*(?:\[\d+\]|\['[^']*'\])*"
# What separates a field from what is said of it: a colon, or nothing in sentences whose subject it is.
_FIELD = re.compile(
    rf"(?P<path>{_PART}(?:\.{_PART})*)(?:: | (?=is set |means nothing ))(?P<message>.*)", re.DOTALL
)
_LINE = re.compile(r":(?P<line>\d+):(?P<column>\d+): (?P<message>.*)", re.DOTALL)
_NAMED = re.compile(r"(?P<kind>input|output) '(?P<name>[^']+)'")
_STEP_MODEL = re.compile(
    r"(?:depends on '|in model |contains model |step of model '|available or ambiguous: )(?P<name>[^', ]+)"
)
_STEP_TENSOR = re.compile(r"ensemble tensor '?(?P<name>[^':,]+?)'?(?::| is | can )")


@dataclass(frozen=True, slots=True)
class Said:
    """A text, taken apart: the field and its place, where there is one. `malformed`: it says what cannot be read."""

    message: str
    field: str = ""
    place: Place | None = None
    in_config: bool = False
    malformed: bool = False


@dataclass(slots=True)
class ConfigText:
    """The configuration of a model as it is written. `shown`: how messages name the file. `config`: what was read;
    empty where it cannot be.
    """

    path: Path | None = None
    shown: str = ""
    config: ModelConfig = field(default_factory=ModelConfig)
    places: Places = field(default_factory=Places)

    @classmethod
    def of(cls, path: Path | None, shown: str) -> "ConfigText":
        """Of a file; None for a model without one."""
        text = cls(path, shown)
        if path is not None:
            # What cannot be read is found by whoever reads it.
            with suppress(InvalidArgumentError):
                text.places = find_places(read_text(path, shown, comments=True))
        return text

    def understand(self, text: str) -> Said:
        """Find out what a text is about."""
        if self.shown and text.startswith(f"{self.shown}:"):
            placed = _LINE.match(text, len(self.shown))
            if placed:
                place = Place(int(placed["line"]), int(placed["column"]))
                return Said(placed["message"], "", place, in_config=True, malformed=True)
            return Said(text.removeprefix(f"{self.shown}: "), in_config=True, malformed=True)
        about = _FIELD.match(text)
        if about and re.split(r"[.\[]", about["path"])[0] in ModelConfig.DESCRIPTOR.fields_by_name:
            path = about["path"]
            # Which is said of whole ensembles.
            better = self._mentioned_step(about["message"]) if path == "ensemble_scheduling" else ""
            return Said(about["message"], path, self.places.nearest(better or path), in_config=True)
        mentioned = self._mentioned(text)
        return Said(text, "", self.places.nearest(mentioned), in_config=bool(mentioned))

    def _mentioned(self, text: str) -> str:
        """The field that a text without one is about, by the names that it mentions; "" if none is seen."""
        if text.startswith(("unable to find backend library", "backend '")) and self.config.backend:
            return "backend"
        if "under the version policy" in text and "selects none of" in text:
            return "version_policy"
        if named := _NAMED.search(text):
            names = [each.name for each in self.config.input]
            if named["kind"] == "output":
                names = [each.name for each in self.config.output]
            if named["name"] in names:
                return f"{named['kind']}[{names.index(named['name'])}]"
        return self._mentioned_step(text)

    def _mentioned_step(self, text: str) -> str:
        steps = list(self.config.ensemble_scheduling.step)
        if model := _STEP_MODEL.search(text):
            steps_of_it = [index for index, step in enumerate(steps) if step.model_name == model["name"]]
        else:
            steps_of_it = list(range(len(steps)))
        tensor = _STEP_TENSOR.search(text)
        for index in steps_of_it:
            path = f"ensemble_scheduling.step[{index}]"
            for name, mapping in (
                ("input_map", steps[index].input_map),
                ("output_map", steps[index].output_map),
            ):
                for key, value in mapping.items():
                    if tensor and value == tensor["name"]:
                        return f"{path}.{name}['{key}']"
        if model and steps_of_it:
            return f"ensemble_scheduling.step[{steps_of_it[0]}]"
        return "ensemble_scheduling" if steps and "ensemble" in text else ""
