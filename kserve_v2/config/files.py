"""The files that a configuration names: each lies inside the model's directory, or is refused before it is opened.

A configuration may come from a client, in a load request.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.problems import Problem

INITIAL_STATE_FOLDER = "initial_state"
"""Of the model's directory: where the files of initial states lie."""

WARM_UP_FOLDER = "warmup"
"""Where those with the inputs of samples lie."""

_OUTSIDE = "is outside of the model's directory"


def file_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield the names that lead out of the model's directory. Looks at the names alone, not at the disk."""
    for path, name in named_files(config):
        if name and not _stays_inside(name):
            message = f"'{name}' must be a relative path without '..' inside the model's directory"
            yield Problem(path, message)


def named_files(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield the path of each field that names a file, and what it says.

    Not those of `model_operations`: they are never opened, and may lie anywhere.
    """
    yield "default_model_filename", config.default_model_filename
    for capability, name in config.cc_model_filenames.items():
        yield f"cc_model_filenames['{capability}']", name
    for index, output in enumerate(config.output):
        yield f"output[{index}].label_filename", output.label_filename
    for index, warmup in enumerate(config.model_warmup):
        for key, tensor in warmup.inputs.items():
            yield f"model_warmup[{index}].inputs['{key}'].input_data_file", tensor.input_data_file
    for index, state in enumerate(config.sequence_batching.state):
        for number, initial in enumerate(state.initial_state):
            path = f"sequence_batching.state[{index}].initial_state[{number}].data_file"
            yield path, initial.data_file


def link_problems(config: ModelConfig, model_path: Path) -> Iterator[Problem]:
    """Yield the label files, the initial states and the inputs for the warm-up that links lead out of the model's
    directory: clients can read labels, a model may answer with its state, and keep what it was warmed up with.

    Links to model files are followed wherever they lead, since whoever can write to a repository decides what is in it.
    """
    for index, output in enumerate(config.output):
        if _leads_out(model_path, output.label_filename):
            text = f"output '{output.name}': label file '{output.label_filename}'"
            yield Problem(f"output[{index}].label_filename", f"{text} {_OUTSIDE}")
    for index, state in enumerate(config.sequence_batching.state):
        for number, initial in enumerate(state.initial_state):
            if initial.data_file and _leads_out(model_path, f"{INITIAL_STATE_FOLDER}/{initial.data_file}"):
                path = f"sequence_batching.state[{index}].initial_state[{number}].data_file"
                yield Problem(path, f"state '{state.input_name}': file '{initial.data_file}' {_OUTSIDE}")
    for index, sample in enumerate(config.model_warmup):
        for key, tensor in sample.inputs.items():
            name = tensor.input_data_file
            if name and _leads_out(model_path, f"{WARM_UP_FOLDER}/{name}"):
                path = f"model_warmup[{index}].inputs['{key}'].input_data_file"
                yield Problem(path, f"warmup sample '{sample.name}': file '{name}' {_OUTSIDE}")


def _leads_out(model_path: Path, name: str) -> bool:
    """Whether a name that stays inside leads out all the same; other names are reported already."""
    return name != "" and _stays_inside(name) and not is_within((model_path / name).resolve(), model_path)


def is_within(path: Path, model_path: Path) -> bool:
    """Whether a file, by its resolved path, is one of a model's: in its directory, or in that of version 1, which may
    be a link to a folder with all of the model's files.
    """
    return any(path.is_relative_to(each.resolve()) for each in (model_path, model_path / "1"))


def _stays_inside(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    rooted = posix.is_absolute() or windows.anchor != ""
    return not rooted and ".." not in windows.parts and "\0" not in name
