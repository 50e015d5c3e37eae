"""A configuration with many mistakes: what was written is judged before the model's file is opened, then the two together."""

import os
import shutil
from pathlib import Path

import pytest

from kserve_v2.config import ConfigError
from kserve_v2.errors import ContradictionError, InvalidArgumentError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.candidate import read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version

MODEL = Path(__file__).parent.parent.parent / "model_repository" / "add_sub" / "1" / "model.onnx"

WRONG_AS_WRITTEN = """
backend: "onnxruntime"
max_batch_size: -1
input { name: "x" data_type: TYPE_FP32 dims: [ 0 ] }
output { name: "y" dims: [ 1 ] }
instance_group { count: -2 }
"""

WRONG_BESIDE_THE_FILE = """
backend: "onnxruntime"
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" dims: [ 1 ] }
"""


def prepare(tmp_path: Path, config: str) -> None:
    version = tmp_path / "bad" / "1"
    version.mkdir(parents=True)
    shutil.copyfile(MODEL, version / "model.onnx")
    (tmp_path / "bad" / "config.pbtxt").write_text(config)
    options = RepositoryOptions(roots=(tmp_path,))
    prepare_version(read_candidate("bad", options), 1, options, BackendRegistry())


def test_all_mistakes_of_what_was_written_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(tmp_path, WRONG_AS_WRITTEN)
    assert [line.partition(":")[0] for line in caught.value.message.splitlines()] == [
        "max_batch_size",
        "input[0].dims[0]",
        "instance_group[0].count",
    ]


def test_all_contradictions_at_once_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ContradictionError) as caught:
        prepare(tmp_path, WRONG_BESIDE_THE_FILE)
    for mistake in ("input[0].name", "output[0].name", "output[0].data_type"):
        assert mistake in caught.value.message, caught.value.message


def test_a_pipe_is_no_model_s_file(tmp_path: Path) -> None:
    version = tmp_path / "piped" / "1"
    version.mkdir(parents=True)
    os.mkfifo(version / "model.py")
    options = RepositoryOptions(roots=(tmp_path,))
    with pytest.raises(
        InvalidArgumentError, match=r"model\.py of version 1 is neither a file nor a directory"
    ):
        prepare_version(read_candidate("piped", options), 1, options, BackendRegistry())
