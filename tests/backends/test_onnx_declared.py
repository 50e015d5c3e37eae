"""What an ONNX file declares, read without ONNX Runtime, beside what ONNX Runtime says of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.declared import declared_tensors
from onnx import TensorProto, TypeProto, helper, numpy_helper

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.errors import ContradictionError, InvalidArgumentError

FLOAT, INT64, STRING, BF16 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BFLOAT16

MODELS = Path(__file__).parent.parent.parent / "model_repository"


def info(name: str, element: int, dims: Any) -> Any:
    return helper.make_tensor_value_info(name, element, dims)


def save(
    path: Path, inputs: list[Any], outputs: list[Any], initializers: Any = (), ir_version: int = 8
) -> Path:
    """Each output is the input at its place."""
    nodes = [
        helper.make_node("Identity", [source.name], [target.name])
        for source, target in zip(inputs, outputs, strict=False)
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()
    )
    return path


def told(session: Any) -> list[list[tuple[str, str, list[Any]]]]:
    return [
        [(each.name, each.type, list(each.shape)) for each in arguments]
        for arguments in (
            session.get_inputs(),
            session.get_outputs(),
            session.get_overridable_initializers(),
        )
    ]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])]),
        ([("x", STRING, [1, None, 3])], [("y", STRING, [1, None, 3])]),
        ([("x", INT64, [])], [("y", INT64, [])]),
        ([("a", FLOAT, [None]), ("b", INT64, ["n"])], [("c", FLOAT, [None]), ("d", INT64, ["n"])]),
        ([("x", BF16, [2])], [("y", BF16, [2])]),
        ([("x", FLOAT, [0])], [("y", FLOAT, [0])]),
    ],
)
def test_it_is_what_a_session_says(tmp_path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    file = save(tmp_path / "m.onnx", [info(*each) for each in inputs], [info(*each) for each in outputs])
    declared = declared_tensors(file)
    assert declared is not None
    assert told(declared) == told(ort.InferenceSession(str(file)))


@pytest.mark.parametrize("ir_version", [3, 8])
def test_inputs_with_values(tmp_path: Path, ir_version: int) -> None:
    value = numpy_helper.from_array(np.float32([1, 2]), "w")
    inputs = [info("x", FLOAT, ["N"]), info("w", FLOAT, [2])]
    file = save(tmp_path / "m.onnx", inputs, [info("y", FLOAT, ["N"])], [value], ir_version)
    declared = declared_tensors(file)
    assert declared is not None
    assert told(declared) == told(ort.InferenceSession(str(file)))


@pytest.mark.parametrize("file", sorted(MODELS.glob("*/*/*.onnx")), ids=lambda file: file.parent.parent.name)
def test_the_examples(file: Path) -> None:
    declared = declared_tensors(file)
    assert declared is not None
    assert told(declared) == told(ort.InferenceSession(str(file)))


def sequence(name: str) -> Any:
    maps = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    return helper.make_value_info(name, helper.make_sequence_type_proto(maps))


def test_types_that_are_no_tensors(tmp_path: Path) -> None:
    optional = helper.make_value_info(
        "x", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    )
    file = save(tmp_path / "m.onnx", [optional, sequence("s")], [info("y", FLOAT, [2]), sequence("t")])
    declared = declared_tensors(file)
    assert declared is not None
    assert [each.type for each in declared.inputs] == [
        "optional(tensor(float))",
        "seq(map(int64,tensor(float)))",
    ]
    assert (declared.inputs[0].shape, declared.outputs[1].shape) == ([2], [])


@pytest.mark.parametrize(
    "output",
    [
        helper.make_value_info("y", TypeProto()),
        info("y", FLOAT, None),
        info("y", FLOAT, [-1]),
        info("y", TensorProto.COMPLEX64, [1]),
    ],
    ids=["no type", "no shape", "negative", "unknown"],
)
def test_what_a_file_does_not_say(tmp_path: Path, output: Any) -> None:
    assert declared_tensors(save(tmp_path / "m.onnx", [info("x", FLOAT, [1])], [output])) is None


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x3a\xff\xff")
    with pytest.raises(InvalidArgumentError, match="no valid ONNX file"):
        declared_tensors(tmp_path / "m.onnx")


# --- completing from it -----------------------------------------------------------------------------------------------


def completed(file: Path, config: ModelConfig) -> ModelConfig:
    source = ModelSource("m", 1, file.parent, file.parent)
    config.name, config.backend, config.default_model_filename = "m", "onnxruntime", file.name
    OnnxBackend().complete_unopened(source, config)
    return config


def test_a_contradiction_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    """The file says [3], but what the graph computes is [2]: ONNX Runtime finds that out, and loads it all the same."""
    value = numpy_helper.from_array(np.float32([1, 2]), "w")
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [info("x", FLOAT, [1])], [info("y", FLOAT, [3])], [value])
    file = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 17)]
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    config = ModelConfig()
    config.output.add(name="y", dims=[2])
    assert list(completed(file, config).output[0].dims) == [2]
    wrong = ModelConfig()
    wrong.output.add(name="y", dims=[2, 2])
    with pytest.raises(ContradictionError, match="dims"):
        completed(file, wrong)


@pytest.mark.slow
def test_onnx_runtime_is_imported_where_a_file_needs_it(tmp_path: Path) -> None:
    told_all = save(tmp_path / "told.onnx", [info("x", FLOAT, ["N", 4])], [info("y", FLOAT, ["N", 4])])
    silent = save(tmp_path / "silent.onnx", [info("x", FLOAT, ["N", 4])], [info("y", FLOAT, None)])
    code = """
import sys
from pathlib import Path
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2.backend import ModelConfig, ModelSource
for file in map(Path, sys.argv[1:]):
    config = ModelConfig(name="m", backend="onnxruntime", default_model_filename=file.name)
    OnnxBackend().complete_unopened(ModelSource("m", 1, file.parent, file.parent), config)
    print(config.max_batch_size, list(config.output[0].dims), "onnxruntime" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(told_all), str(silent)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.splitlines() == ["4 [4] False", "4 [4] True"]


TOLD = ([info("x", FLOAT, ["N", 4])], [info("y", FLOAT, ["N", 4])])
FIXED = ([info("x", FLOAT, [2, 4])], [info("y", FLOAT, [2, 4])])
FIXED_OUTPUT = ([info("x", FLOAT, ["N", 4])], [info("y", FLOAT, [2, 4])])
# What a file declares and what its configuration says; whether that is wrong whatever the outputs' shapes are.
CONTRADICTIONS: dict[str, tuple[Any, str, bool]] = {
    "an input's datatype": (TOLD, 'max_batch_size: 2 input { name: "x" data_type: TYPE_INT64 dims: 4 }', True),
    "an input's datatype, no batch size": (TOLD, 'input { name: "x" data_type: TYPE_INT64 }', True),
    "an input's name": (TOLD, 'input { name: "z" }', True),
    "an output's name": (TOLD, 'output { name: "z" }', True),
    "an output's datatype": (TOLD, 'output { name: "y" data_type: TYPE_INT64 }', True),
    "an input's dims": (TOLD, 'max_batch_size: 2 input { name: "x" dims: [5] }', True),
    "an input's dims, with and without a batch": (TOLD, 'input { name: "x" dims: [7, 7, 7] }', True),
    "an input that cannot batch": (FIXED, "max_batch_size: 2", False),
    "an input that cannot batch, as the output": (
        ([info("x", FLOAT, [2, 4])], [info("y", FLOAT, ["N", 4])]), "max_batch_size: 2", True,
    ),
    # With another shape of the output there might be a batch size.
    "an input's dims where an output is fixed": (FIXED_OUTPUT, 'input { name: "x" dims: [4] }', False),
    "an output's dims": (TOLD, 'max_batch_size: 2 output { name: "y" dims: [5] }', False),
    "both": (TOLD, 'max_batch_size: 2 input { name: "x" dims: [5] } output { name: "y" dims: [5] }', False),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_onnx_runtime_is_not_asked(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked where the shape of an output decides, and only there; elsewhere it says the same, and perhaps more."""
    (inputs, outputs), text, certain = CONTRADICTIONS[name]
    file, opened = save(tmp_path / "m.onnx", inputs, outputs), list[str]()
    complete = OnnxBackend.complete

    def opening(backend: OnnxBackend, source: ModelSource, config: ModelConfig) -> None:
        opened.append(source.name)
        complete(backend, source, config)

    monkeypatch.setattr(OnnxBackend, "complete", opening)
    with pytest.raises(ContradictionError) as unopened:
        completed(file, text_format.Parse(text, ModelConfig()))
    assert opened == ([] if certain else ["m"])
    config = text_format.Parse(
        text, ModelConfig(name="m", backend="onnxruntime", default_model_filename="m.onnx")
    )
    with pytest.raises(ContradictionError) as by_runtime:
        complete(OnnxBackend(), ModelSource("m", 1, tmp_path, tmp_path), config)
    assert set(unopened.value.problems) <= set(by_runtime.value.problems)
