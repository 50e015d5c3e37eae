"""A configuration with several mistakes, of which some contradict the model's file: all are named at once."""

import shutil
from pathlib import Path

import pytest

from kserve_v2.errors import ContradictionError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.prepare import RepositoryOptions, prepare_version, read_candidate

MODEL = Path(__file__).parent.parent.parent / "model_repository" / "add_sub" / "1" / "model.onnx"

CONFIG = """
backend: "onnxruntime"
max_batch_size: -1
input { name: "x" data_type: TYPE_FP32 dims: [ 0 ] }
output { name: "y" dims: [ 1 ] }
instance_group { count: -2 }
"""


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    version = tmp_path / "bad" / "1"
    version.mkdir(parents=True)
    shutil.copyfile(MODEL, version / "model.onnx")
    (tmp_path / "bad" / "config.pbtxt").write_text(CONFIG)
    options = RepositoryOptions(roots=(tmp_path,))
    with pytest.raises(ContradictionError) as caught:
        prepare_version(read_candidate("bad", options), 1, options, BackendRegistry())
    for mistake in (
        "input[0].name",
        "output[0].name",
        "max_batch_size",
        "input[0].dims",
        "instance_group[0].count",
    ):
        assert mistake in caught.value.message, caught.value.message
