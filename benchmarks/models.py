"""The model repository that is measured, made anew for every run."""

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

IMAGE_SHAPE = (1, 3, 96, 96)
FIXED_TIME_ROWS = 32
DELAYS_US = (0, 2000)
LEVELS_MODEL = "fixed_time_levels"
LEVELS_ROWS = 4
BUDGET_DELAYS_US = (0, 1000, 5000, 20000)
"""What a latency budget is compared with."""
BUDGET_MS = 20
TEXT_LENGTHS = (4, 64)
"""Words in a text, at least and at most."""
TEXT_WORDS = 1000
TEXT_ROWS = 32
TEXT_MODELS = {"padded": "text_padded", "ragged": "text_ragged", "unbatched": "text_unbatched"}
MLP_ROWS = 64
MLP_WIDTH = 16
MLP_MODELS = ("mlp_batched", "mlp")
"""The same model with dynamic batching, and in batches of one row."""

ENSEMBLE = "add_sub_thrice"
"""Sum and difference, of sum and difference, of sum and difference."""
STEP_MODELS = ("add_sub_first", "add_sub_second", "add_sub_third")
"""The models of its steps: `add_sub`, each one with a queue and an instance of its own."""

MANY_MODELS = tuple(f"add_sub_{number:02}" for number in range(1, 17))
"""`add_sub`, again and again."""

FLOATS_MODEL = "add_sub_floats"
FLOATS_WIDTH = 256
"""`add_sub` of floats, as many as a small real model takes."""

SEQUENCE_MODELS = ("sequence_direct", "sequence_oldest")
SEQUENCE_PLAIN = "sequence_none"
"""The same model, whose requests belong to no sequences."""
SEQUENCES = 64
"""How many may be live at a time."""

CACHED_MODELS = ("add_sub", "cnn")
"""Those that are there a second time, with `_cached` behind their names."""

_HERE = Path(__file__).parent
_ADD_SUB = _HERE.parent / "model_repository" / "add_sub" / "1" / "model.onnx"
_CNN_CHANNELS = (64, 128, 256)
_CNN_CLASSES = 10
_MLP_HIDDEN = (640, 640)
_TEXT_WIDTH = 64
_TEXT_WEIGHTS = {
    "embedding": (TEXT_WORDS, _TEXT_WIDTH),
    "dense": (_TEXT_WIDTH, 256),
    "last": (256, _TEXT_WIDTH),
}
_ONNX_IR_VERSION = 8
_SEQUENCE_CONTROLS = ("START", "READY")
_ONNX_OPSET = 17

# One thread, as in the yardsticks' sessions: on a small machine the load generator needs the rest.
_ONE_THREAD = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
_RESPONSE_CACHE = "response_cache { enable: true }\n"
_ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"


def _tensors(datatype: str, dims: int, inputs: Sequence[str], outputs: Sequence[str]) -> str:
    return "".join(
        f'{kind} {{ name: "{name}" data_type: {datatype} dims: [ {dims} ] }}\n'
        for kind, names in (("input", inputs), ("output", outputs))
        for name in names
    )


_ISOLATED_CONFIGS = {
    "add_sub": "max_batch_size: 8\ndynamic_batching { }\n"
    + _tensors("TYPE_INT32", 16, ("INPUT0", "INPUT1"), ("OUTPUT0", "OUTPUT1")),
    "identity": _tensors("TYPE_FP32", -1, ("INPUT",), ("OUTPUT",)),
}


def write_repository(directory: Path) -> None:
    """Write all models of the benchmarks below `directory`."""
    _write(directory, "add_sub", f"max_batch_size: 8\ndynamic_batching {{ }}\n{_ONE_INSTANCE}{_ONE_THREAD}")
    shutil.copyfile(_ADD_SUB, model_file(directory, "add_sub"))
    for name in (*STEP_MODELS, *MANY_MODELS):
        _write(directory, name, f"max_batch_size: 8\ndynamic_batching {{ }}\n{_ONE_INSTANCE}{_ONE_THREAD}")
        shutil.copyfile(_ADD_SUB, model_file(directory, name))
    _write(
        directory, FLOATS_MODEL, f"max_batch_size: 8\ndynamic_batching {{ }}\n{_ONE_INSTANCE}{_ONE_THREAD}"
    )
    model_file(directory, FLOATS_MODEL).write_bytes(_floats_onnx())
    _write(directory, ENSEMBLE, _ensemble())
    # What the cache saves of these two: next to nothing of the one, and 1.5 ms of the other.
    for name in CACHED_MODELS:
        _write(directory, f"{name}_cached", f"{_RESPONSE_CACHE}{_ONE_INSTANCE}{_ONE_THREAD}")
    shutil.copyfile(_ADD_SUB, model_file(directory, "add_sub_cached"))
    model_file(directory, "cnn_cached").write_bytes(cnn_onnx())
    _write(directory, "cnn", _ONE_INSTANCE + _ONE_THREAD)
    model_file(directory, "cnn").write_bytes(cnn_onnx())
    # Without dynamic_batching, but with room for a batch, ONNX models get it from the server.
    for name, rows in zip(MLP_MODELS, (MLP_ROWS, 1), strict=True):
        batching = f"max_batch_size: {rows}\ndynamic_batching {{ }}\n"
        _write(directory, name, batching + _ONE_INSTANCE + _ONE_THREAD)
        model_file(directory, name).write_bytes(mlp_onnx())
    _write(directory, "identity", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity.py", directory / "identity" / "1" / "model.py")
    _write(directory, "identity_text", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity_text.py", directory / "identity_text" / "1" / "model.py")
    for delay_us in sorted({*DELAYS_US, *BUDGET_DELAYS_US}):
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n"
        _write_fixed_time(directory, fixed_time_model(delay_us), batching)
    budget = f'parameters {{ key: "latency_budget_ms" value {{ string_value: "{BUDGET_MS}" }} }}\n'
    _write_fixed_time(directory, fixed_time_budget(), f"dynamic_batching {{ }}\n{budget}")
    _write_isolated(directory)
    _write_sequences(directory)
    _write_levels(directory)
    _write_texts(directory)


def _write_isolated(directory: Path) -> None:
    """`add_sub` and `identity` as handlers in the server's process, and isolated; and as Triton's models, which are."""
    isolated = 'parameters { key: "isolation" value { string_value: "process" } }\n'
    for name in ("add_sub", "identity"):
        for suffix, config in (("handler", ""), ("isolated", isolated)):
            _write(directory, f"{name}_{suffix}", config + _ISOLATED_CONFIGS[name] + _ONE_INSTANCE)
            _copy_handler(directory, f"{name}_{suffix}", f"{name}.py")
    write_triton_repository(directory)


def write_triton_repository(directory: Path) -> None:
    """Write the models of Triton's Python backend, which tritonserver serves as well."""
    for name, config in _ISOLATED_CONFIGS.items():
        _write(directory, f"{name}_triton", f'backend: "python"\n{config}{_ONE_INSTANCE}')
        _copy_handler(directory, f"{name}_triton", f"triton_{name}.py")


def _copy_handler(directory: Path, name: str, handler: str) -> None:
    shutil.copyfile(_HERE / "handlers" / handler, directory / name / "1" / "model.py")


def _write_sequences(directory: Path) -> None:
    controls = "".join(
        f'control_input {{ name: "{kind}" control {{ kind: CONTROL_SEQUENCE_{kind} fp32_false_true: [ 0, 1 ] }} }}\n'
        for kind in _SEQUENCE_CONTROLS
    )
    strategies = ("direct { }", f"oldest {{ max_candidate_sequences: {SEQUENCES} }}")
    # They stay live while others are measured.
    idle = "max_sequence_idle_microseconds: 600000000"
    common = f"max_batch_size: {SEQUENCES}\n{_ONE_INSTANCE}{_ONE_THREAD}"
    for name, strategy in zip(SEQUENCE_MODELS, strategies, strict=True):
        _write(directory, name, f"{common}sequence_batching {{ {strategy} {idle}\n{controls}}}\n")
        model_file(directory, name).write_bytes(sequence_onnx(_SEQUENCE_CONTROLS))
    _write(directory, SEQUENCE_PLAIN, f"{common}dynamic_batching {{ }}\n")
    model_file(directory, SEQUENCE_PLAIN).write_bytes(sequence_onnx(()))


def _write_levels(directory: Path) -> None:
    """The 2 ms model in batches of few rows, so that few clients are too many for it."""
    levels = "dynamic_batching { priority_levels: 2 default_priority_level: 2 }\n"
    _write(directory, LEVELS_MODEL, f"max_batch_size: {LEVELS_ROWS}\n{levels}{_ONE_INSTANCE}")
    shutil.copyfile(_HERE / "handlers" / "fixed_time.py", directory / LEVELS_MODEL / "1" / "model.py")


def _write_fixed_time(directory: Path, name: str, batching: str) -> None:
    _write(directory, name, f"max_batch_size: {FIXED_TIME_ROWS}\n{batching}{_ONE_INSTANCE}")
    shutil.copyfile(_HERE / "handlers" / "fixed_time.py", directory / name / "1" / "model.py")


def _write_texts(directory: Path) -> None:
    tensors = (
        'input { name: "IDS" data_type: TYPE_INT64 dims: -1 }\n'
        f'output {{ name: "SCORES" data_type: TYPE_FP32 dims: {_TEXT_WIDTH} }}\n'
    )
    masked = json.dumps({"inputs": {"IDS": 0}, "masks": {"MASK": {"input": "IDS", "data_type": "FP32"}}})
    padding = f"parameters {{ key: 'pad_variable_dims' value {{ string_value: '{masked}' }} }}\n"
    batches = f"max_batch_size: {TEXT_ROWS}\ndynamic_batching {{ }}\n"
    starts = (
        "batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: 'STARTS' data_type: TYPE_INT32 "
        "source_input: 'IDS' }\n"
    )
    ragged = tensors.replace("dims: -1", "dims: -1 allow_ragged_batch: true")
    for name, config, graph in (
        ("text_padded", batches + tensors + padding, padded_text_onnx()),
        ("text_ragged", batches + ragged + starts, ragged_text_onnx()),
        ("text_unbatched", "max_batch_size: 1\n" + tensors + padding, padded_text_onnx()),
    ):
        _write(directory, name, config + _ONE_INSTANCE + _ONE_THREAD)
        model_file(directory, name).write_bytes(graph)


def _ensemble() -> str:
    """The configuration of `add_sub`, several times one behind the other."""
    pairs = [
        ("INPUT0", "INPUT1"),
        *[(f"sum{number}", f"difference{number}") for number in range(1, len(STEP_MODELS))],
        ("OUTPUT0", "OUTPUT1"),
    ]
    config = 'platform: "ensemble"\nmax_batch_size: 8\n'
    for kind, names in (("input", pairs[0]), ("output", pairs[-1])):
        for name in names:
            config += f'{kind} {{ name: "{name}" data_type: TYPE_INT32 dims: [ 16 ] }}\n'
    config += "ensemble_scheduling {\n"
    for model, (before, after) in zip(STEP_MODELS, itertools.pairwise(pairs), strict=True):
        config += f'step {{ model_name: "{model}" model_version: -1\n'
        for number in (0, 1):
            config += f'input_map {{ key: "INPUT{number}" value: "{before[number]}" }}\n'
            config += f'output_map {{ key: "OUTPUT{number}" value: "{after[number]}" }}\n'
        config += "}\n"
    return config + "}\n"


def fixed_time_model(delay_us: int) -> str:
    """Name of the 2 ms model that may wait `delay_us` for a batch to fill."""
    return f"fixed_time_delay_{delay_us}us"


def fixed_time_budget() -> str:
    """Name of the 2 ms model whose delay the server chooses."""
    return f"fixed_time_budget_{BUDGET_MS}ms"


def fixed_delays() -> dict[str, str]:
    """The 2 ms models that a budget is compared with, by what they are called in tables."""
    return {f"delay of {delay / 1000:g} ms": fixed_time_model(delay) for delay in BUDGET_DELAYS_US}


def model_file(directory: Path, name: str) -> Path:
    """The ONNX file of a model in the repository."""
    return directory / name / "1" / "model.onnx"


def cnn_onnx() -> bytes:
    """Some 700 million floating point operations: image FP32 [1, 3, 96, 96] to scores FP32 [1, 10].

    A convolutional network with random weights from a fixed seed: only the time matters.
    """
    weights = _Weights()
    nodes: list[NodeProto] = []
    source, channels = "image", IMAGE_SHAPE[1]
    for number, (filters, stride) in enumerate(zip(_CNN_CHANNELS, (2, 1, 2), strict=True)):
        kernel = weights.add(f"conv{number}.weight", filters, channels, 3, 3)
        nodes.append(
            helper.make_node("Conv", [source, kernel], [f"conv{number}"], pads=[1] * 4, strides=[stride] * 2)
        )
        source, channels = f"relu{number}", filters
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [source]))
    nodes += [
        helper.make_node("GlobalAveragePool", [source], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node(
            "Gemm", ["features", weights.add("dense.weight", _CNN_CLASSES, channels)], ["scores"], transB=1
        ),
    ]
    return _onnx_file("cnn", nodes, weights, ("image", IMAGE_SHAPE), ("scores", (1, _CNN_CLASSES)))


def sequence_onnx(controls: Sequence[str]) -> bytes:
    """The sum of IN, FP32 [n, 1], and the controls: OUT."""
    names = ["IN", *controls]
    graph = helper.make_graph(
        [helper.make_node("Sum", names, ["OUT"])],
        "sequence",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 1)) for name in names],
        [helper.make_tensor_value_info("OUT", TensorProto.FLOAT, ("n", 1))],
    )
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _floats_onnx() -> bytes:
    """Sum and difference of FP32 [n, 256]."""
    inputs, outputs = (
        [
            helper.make_tensor_value_info(f"{kind}{number}", TensorProto.FLOAT, ("n", FLOATS_WIDTH))
            for number in range(2)
        ]
        for kind in ("INPUT", "OUTPUT")
    )
    nodes = [
        helper.make_node(operator, ["INPUT0", "INPUT1"], [f"OUTPUT{number}"])
        for number, operator in enumerate(("Add", "Sub"))
    ]
    graph = helper.make_graph(nodes, FLOATS_MODEL, inputs, outputs)
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def mlp_onnx() -> bytes:
    """A multilayer perceptron with random weights from a fixed seed: INPUT and OUTPUT FP32 [n, 16].

    A batch of 64 rows takes one thread some 0.6 ms: 55 million floating point operations. A row alone takes far more
    than a 64th of it, for the weights are read all the same.
    """
    weights = _Weights()
    nodes: list[NodeProto] = []
    source, width = "INPUT", MLP_WIDTH
    for number, hidden in enumerate(_MLP_HIDDEN):
        dense = weights.add(f"dense{number}.weight", hidden, width)
        nodes.append(helper.make_node("Gemm", [source, dense], [f"dense{number}"], transB=1))
        source, width = f"relu{number}", hidden
        nodes.append(helper.make_node("Relu", [f"dense{number}"], [source]))
    last = weights.add("last.weight", MLP_WIDTH, width)
    nodes.append(helper.make_node("Gemm", [source, last], ["OUTPUT"], transB=1))
    return _onnx_file("mlp", nodes, weights, ("INPUT", ("n", MLP_WIDTH)), ("OUTPUT", ("n", MLP_WIDTH)))


def _text_layers(weights: "_Weights", words: str) -> list[NodeProto]:
    """From the numbers of words to a vector for each: an embedding and two dense layers."""
    for name, shape in _TEXT_WEIGHTS.items():
        weights.add(name, *shape)
    return [
        helper.make_node("Gather", ["embedding", words], ["embedded"]),
        helper.make_node("MatMul", ["embedded", "dense"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["active"]),
        helper.make_node("MatMul", ["active", "last"], ["vectors"]),
    ]


def padded_text_onnx() -> bytes:
    """IDS INT64 [b, n] and MASK FP32 [b, n] to SCORES FP32 [b, 64]: the mean over the words that are not masked."""
    weights = _Weights()
    nodes = [
        *_text_layers(weights, "IDS"),
        helper.make_node("Unsqueeze", ["MASK", "last_axis"], ["kept"]),
        helper.make_node("Mul", ["vectors", "kept"], ["text"]),
        helper.make_node("ReduceSum", ["text", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["MASK", "axis"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["SCORES"]),
    ]
    weights.tensors += [_numbers("axis", [1]), _numbers("last_axis", [2])]
    inputs = [("IDS", TensorProto.INT64, ("b", "n")), ("MASK", TensorProto.FLOAT, ("b", "n"))]
    return _text_file("padded", nodes, weights, inputs)


def ragged_text_onnx() -> bytes:
    """The same of a flat IDS INT64 [n], by where each text starts, STARTS INT32 [b + 1]."""
    weights = _Weights()
    nodes = [
        *_text_layers(weights, "IDS"),
        helper.make_node("CumSum", ["vectors", "zero"], ["running"]),
        helper.make_node("Pad", ["running", "one_before"], ["sums"]),
        helper.make_node("Gather", ["sums", "STARTS"], ["at"]),
        helper.make_node("Slice", ["at", "one", "end"], ["to"]),
        helper.make_node("Slice", ["at", "zero", "minus"], ["from"]),
        helper.make_node("Sub", ["to", "from"], ["sum"]),
        helper.make_node("Slice", ["STARTS", "one", "end"], ["ends"]),
        helper.make_node("Slice", ["STARTS", "zero", "minus"], ["starts"]),
        helper.make_node("Sub", ["ends", "starts"], ["words"]),
        helper.make_node("Cast", ["words"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["count", "one"], ["column"]),
        helper.make_node("Div", ["sum", "column"], ["SCORES"]),
    ]
    weights.tensors += [
        _numbers("zero", [0]), _numbers("one", [1]), _numbers("minus", [-1]), _numbers("end", [2**31]),
        _numbers("one_before", [1, 0, 0, 0]),
    ]  # fmt: skip
    inputs = [("IDS", TensorProto.INT64, ("n",)), ("STARTS", TensorProto.INT32, ("starts",))]
    return _text_file("ragged", nodes, weights, inputs)


def text_scores(ids: "npt.NDArray[np.int64]") -> "npt.NDArray[np.float32]":
    """What these models answer to one text."""
    weights = _Weights()
    for name, shape in _TEXT_WEIGHTS.items():
        weights.add(name, *shape)
    embedding, dense, last = map(numpy_helper.to_array, weights.tensors)
    scores: npt.NDArray[np.float32] = (np.maximum(embedding[ids] @ dense, 0) @ last).mean(axis=1)
    return scores


def _numbers(name: str, values: list[int]) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def _text_file(
    name: str, nodes: list[NodeProto], weights: "_Weights", inputs: Sequence[tuple[str, int, tuple[str, ...]]]
) -> bytes:
    info = helper.make_tensor_value_info
    result = info("SCORES", TensorProto.FLOAT, ("b", _TEXT_WIDTH))
    graph = helper.make_graph(
        nodes, name, [info(*each) for each in inputs], [result], initializer=weights.tensors
    )
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Weights:
    """Random weights by name, always the same."""

    def __init__(self) -> None:
        self.tensors: list[TensorProto] = []
        self._random = np.random.default_rng(1)

    def add(self, name: str, *shape: int) -> str:
        """Make one, scaled so that what comes out of a layer is as large as what goes in. Returns its name."""
        scale = np.sqrt(np.prod(shape[1:], dtype=np.float32))
        values = self._random.standard_normal(shape, dtype=np.float32) / scale
        self.tensors.append(numpy_helper.from_array(values, name))
        return name


_Tensor = tuple[str, tuple[int | str, ...]]
"""Name and shape."""


def _onnx_file(
    name: str, nodes: list[NodeProto], weights: _Weights, source: _Tensor, result: _Tensor
) -> bytes:
    """A model with one input and one output, both FP32."""
    inputs, outputs = (
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape)]
        for tensor, shape in (source, result)
    )
    graph = helper.make_graph(nodes, name, inputs, outputs, initializer=weights.tensors)
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _write(directory: Path, name: str, config: str) -> None:
    (directory / name / "1").mkdir(parents=True)
    (directory / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')
