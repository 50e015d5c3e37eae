"""The texts of classes, from the label files of a model."""

import glob
from pathlib import Path

from kserve_v2.backend import ModelConfig
from kserve_v2.config.files import is_within
from kserve_v2.config.problems import Problem, files_error
from kserve_v2.config.text_files import read_lines
from kserve_v2.errors import InvalidArgumentError


def read_labels(config: ModelConfig, model_path: Path) -> dict[str, tuple[str, ...]]:
    """Label files by output name, one label a line. Raises InvalidArgumentError with all that are missing or
    outside of the model.
    """
    labels: dict[str, tuple[str, ...]] = {}
    wrong: list[Problem] = []
    for index, output in enumerate(config.output):
        if output.label_filename:
            try:
                labels[output.name] = _read_label_file(model_path, output.label_filename, output.name)
            except InvalidArgumentError as error:
                wrong.append(Problem(f"output[{index}].label_filename", error.message))
    if wrong:
        raise files_error(wrong)
    return labels


def _read_label_file(model_path: Path, filename: str, output: str) -> tuple[str, ...]:
    path = (model_path / filename).resolve()
    if not is_within(path, model_path):
        raise InvalidArgumentError(
            f"output '{output}': label file '{filename}' is outside of the model's directory"
        )
    shown = f"output '{output}': label file '{filename}'"
    if not path.exists():
        inside = [child.parent.name for child in sorted(model_path.glob(f"*/{glob.escape(path.name)}"))]
        advice = f"; it lies in {inside[0]}/: move it beside the versions" if inside else ""
        raise InvalidArgumentError(f"{shown} does not exist in the model's directory{advice}")
    return read_lines(path, shown)
