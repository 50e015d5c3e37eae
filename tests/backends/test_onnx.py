import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.metadata import OnnxGraph, OnnxTensor, complete_config
from kserve_v2_backends.onnx.session import (
    inference_session,
    providers,
    run_options,
    session_options,
    warn_of_unused_accelerators,
)
from onnx import TensorProto, helper

from kserve_v2.backend import ModelConfig, Placement, ThreadBudget
from kserve_v2.errors import InternalError, InvalidArgumentError

FLOAT, STRING, BFLOAT16 = TensorProto.FLOAT, TensorProto.STRING, TensorProto.BFLOAT16
Info = tuple[str, int, Sequence[int | str] | None]


def model_proto(nodes: list[Any], inputs: list[Info], outputs: list[Info], **kwargs: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(*info) for info in outputs],
        **kwargs,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def model_bytes(nodes: list[Any], inputs: list[Info], outputs: list[Info], **kwargs: Any) -> bytes:
    content: bytes = model_proto(nodes, inputs, outputs, **kwargs).SerializeToString()
    return content


def identity(onnx_type: int = FLOAT, dims: Sequence[int | str] = ("N", 2)) -> bytes:
    return model_bytes(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", onnx_type, dims)], [("y", onnx_type, dims)]
    )


ADD = model_bytes(
    [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
    [("a", FLOAT, ["N", "M"]), ("b", FLOAT, ["N", "K"])],
    [("sum", FLOAT, ["N", "M"]), ("difference", FLOAT, ["N", "M"])],
)


def summary(tensors: Any) -> list[tuple[str, int, list[int]]]:
    return [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in tensors]


class TestCompletion:
    def test_an_empty_configuration_gets_everything_from_the_file(self, loader: Any) -> None:
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity(dims=("N", 2, "w"))}))
        assert config.max_batch_size == 4
        assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
        assert summary(config.input) == [("x", 11, [2, -1])]
        assert summary(config.output) == [("y", 11, [2, -1])]

    @pytest.mark.parametrize(
        ("setting", "batch", "scheduler"), [("8", 8, "dynamic_batching"), ("1", 1, None)]
    )
    def test_the_default_batch_size_is_the_operators(
        self, loader: Any, setting: str, batch: int, scheduler: str | None
    ) -> None:
        source = loader.source({"model.onnx": identity()}, settings={"default-max-batch-size": setting})
        config = loader.complete(OnnxBackend(), source)
        assert (config.max_batch_size, config.WhichOneof("scheduling_choice")) == (batch, scheduler)
        assert summary(config.input) == [("x", 11, [2])]

    def test_a_default_batch_size_of_0_means_no_batching(self, loader: Any) -> None:
        source = loader.source({"model.onnx": identity()}, settings={"default-max-batch-size": "0"})
        config = loader.complete(OnnxBackend(), source)
        assert config.max_batch_size == 0
        assert summary(config.input) == [("x", 11, [-1, 2])]

    def test_a_fixed_first_dimension_is_no_batch(self, loader: Any) -> None:
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity(dims=(1, 2))}))
        assert (config.max_batch_size, config.WhichOneof("scheduling_choice")) == (0, None)
        assert summary(config.input) == [("x", 11, [1, 2])]

    def test_dims_with_the_first_dimension_show_that_it_is_no_batch(self, loader: Any) -> None:
        text = 'input { name: "x" dims: [-1, 2] }'
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity()}), text)
        assert config.max_batch_size == 0
        assert summary(config.output) == [("y", 11, [-1, 2])]

    @pytest.mark.parametrize(
        "text",
        [
            'max_batch_size: 4 input { name: "x" } output { name: "y" }',
            'max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 }',
            'input { name: "x" dims: 2 }',
            'output { name: "y" data_type: TYPE_FP32 dims: 2 }',
            'max_batch_size: 4 output { name: "y" }',
        ],
    )
    def test_a_partial_configuration_is_filled_field_by_field(self, loader: Any, text: str) -> None:
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity()}), text)
        assert config.max_batch_size == 4
        assert summary(config.input) == [("x", 11, [2])]
        assert summary(config.output) == [("y", 11, [2])]

    def test_what_is_given_stays(self, loader: Any) -> None:
        text = (
            'max_batch_size: 32 input { name: "x" reshape { shape: 2 } dims: [2, 1] } '
            'output { name: "y" label_filename: "l.txt" } '
            "dynamic_batching { max_queue_delay_microseconds: 7 }"
        )
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity()}), text)
        assert (config.max_batch_size, config.dynamic_batching.max_queue_delay_microseconds) == (32, 7)
        assert list(config.input[0].dims) == [2, 1]
        assert config.output[0].label_filename == "l.txt"

    @pytest.mark.parametrize(
        ("given", "claimed", "dims"),
        [
            (("N", 4), (1,), [-1]),
            (("N", 3, "h", "w"), (1, 21, 520, 520), [-1, 21, -1, -1]),
            # The file knows which dimensions vary.
            (("N", "t"), ("N", 768), [768]),
            (("N", "t"), (1, "t", 768), [1, -1, 768]),
            # Nothing varies.
            ((1, 4), (1, 3), [1, 3]),
        ],
    )
    def test_sizes_of_an_example_are_not_taken_for_all(
        self, loader: Any, given: Sequence[int | str], claimed: Sequence[int | str], dims: list[int]
    ) -> None:
        config = loader.config(OnnxBackend(), loader.source({}))
        tensors = [
            tuple(
                OnnxTensor(n, "tensor(float)", tuple(d if isinstance(d, int) else -1 for d in s))
                for n, s in each
            )
            for each in ([("x", given)], [("y", claimed)])
        ]
        assert complete_config(config, OnnxGraph(*tensors), "model.onnx", 4) == []
        assert summary(config.output) == [("y", 11, dims)]

    def test_inputs_that_are_not_named_are_added_and_outputs_are_chosen(self, loader: Any) -> None:
        text = 'input { name: "b" } output { name: "difference" }'
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": ADD}), text)
        assert [tensor.name for tensor in config.input] == ["b", "a"]
        assert [tensor.name for tensor in config.output] == ["difference"]

    @pytest.mark.parametrize(
        ("dims", "text", "expected"),
        [
            (("N", 2), 'input { name: "z" }', "input[0].name: model.onnx has no input 'z'; it has: 'x'"),
            (
                ("N", 2),
                'output { name: "y" data_type: TYPE_INT32 }',
                "output[0].data_type: 'y' is TYPE_FP32 in model.onnx, the configuration says TYPE_INT32",
            ),
            (
                ("N", 2),
                'max_batch_size: 4 input { name: "x" dims: [2, 2] }',
                "input[0].dims: 'x' has dims [2] behind the batch dimension in model.onnx, the configuration says [2, 2]; "
                "with max_batch_size, dims leave the batch dimension out: write [2]",
            ),
            (("N", 2), 'max_batch_size: 4 input { name: "x" dims: -1 }', "the configuration says [-1]"),
            (
                (1, 2),
                "max_batch_size: 4",
                "shape expected by the model is [1,2]. The first dimension is fixed in model.onnx",
            ),
        ],
    )
    def test_contradictions_name_the_field(
        self, loader: Any, dims: tuple[int | str, ...], text: str, expected: str
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            loader.complete(OnnxBackend(), loader.source({"model.onnx": identity(dims=dims)}), text)
        assert expected in caught.value.message

    def test_an_output_that_the_protocol_cannot_carry_is_left_out(
        self, loader: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        content = model_bytes(
            [helper.make_node("SequenceConstruct", ["x"], ["s"]), helper.make_node("Identity", ["x"], ["y"])],
            [("x", FLOAT, ["N", 2])],
            [("y", FLOAT, ["N", 2])],
        )
        proto = onnx.load_from_string(content)
        proto.graph.output.append(helper.make_tensor_sequence_value_info("s", FLOAT, None))
        source = loader.source({"model.onnx": proto.SerializeToString()})
        with caplog.at_level(logging.WARNING):
            config = loader.complete(OnnxBackend(), source)
        assert summary(config.output) == [("y", 11, [2])]
        assert "'s' is left out: it is seq(tensor(float)), which the v2 protocol cannot carry" in caplog.text
        with pytest.raises(InvalidArgumentError, match=r"output 's' is seq\(tensor\(float\)\)"):
            loader.complete(OnnxBackend(), source, 'output { name: "y" } output { name: "s" }')
        config = loader.complete(OnnxBackend(), source, 'output { name: "y" }')
        assert summary(config.output) == [("y", 11, [2])]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, "model 'm': version 1 has no file model.onnx"),
            (b"", "model.onnx is empty"),
            (b"no protobuf", "model.onnx is no valid ONNX file"),
            (b"\x0a\xff location", "model.onnx is no valid ONNX file"),
        ],
    )
    def test_a_file_that_is_none_is_named(self, loader: Any, content: bytes | None, expected: str) -> None:
        files = {} if content is None else {"model.onnx": content}
        with pytest.raises(InvalidArgumentError) as caught:
            loader.complete(OnnxBackend(), loader.source(files))
        assert expected in caught.value.message
        assert "/" not in caught.value.message

    def test_the_file_may_be_a_directory(self, loader: Any) -> None:
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx/model.onnx": identity()}))
        assert served.execute({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]

    def test_the_file_may_be_in_onnx_runtimes_own_format(self, loader: Any) -> None:
        source = loader.source({"model.onnx": identity()})
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(source.version_path / "model.ort")
        onnxruntime.InferenceSession(source.version_path / "model.onnx", options)
        served = loader.serve(OnnxBackend(), source, 'default_model_filename: "model.ort"')
        assert served.execute({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


class TestExecution:
    def test_only_the_configured_outputs_are_computed(self, loader: Any) -> None:
        text = 'output { name: "difference" }'
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": ADD}), text)
        outputs = served.execute({"a": np.full((1, 2), 3, np.float32), "b": np.ones((1, 2), np.float32)})
        assert {name: array.tolist() for name, array in outputs.items()} == {"difference": [[2, 2]]}

    @pytest.mark.parametrize("onnx_type", [FLOAT, STRING, BFLOAT16])
    def test_a_scalar_is_served_with_shape_1(self, loader: Any, onnx_type: int) -> None:
        value = {
            FLOAT: np.array([2], np.float32),
            STRING: np.array([b"a"], object),
            BFLOAT16: np.array([2], ml_dtypes.bfloat16),
        }[onnx_type]
        source = loader.source({"model.onnx": identity(onnx_type, ())})
        assert summary(loader.complete(OnnxBackend(), source).input)[0][2] == [1]
        output = loader.serve(OnnxBackend(), source).execute({"x": value})["y"]
        assert (output.dtype, output.shape, output.tolist()) == (value.dtype, (1,), value.tolist())

    def test_rows_that_are_scalars_get_a_reshape(self, loader: Any) -> None:
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": identity(dims=("N",))}))
        assert config.max_batch_size == 4
        assert summary(config.input) == [("x", 11, [1])]
        assert config.input[0].HasField("reshape")
        assert list(config.input[0].reshape.shape) == []

    def test_strings_are_utf8(self, loader: Any) -> None:
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": identity(STRING)}))
        texts = np.array([["é".encode(), b""], [b"a\0b", b"x" * 1000]], object)
        np.testing.assert_array_equal(served.execute({"x": texts})["y"], texts)
        with pytest.raises(InvalidArgumentError, match="input 'x': ONNX strings must be UTF-8"):
            served.execute({"x": np.array([[b"\xff", b""]], object)})

    def test_bf16_beside_other_types(self, loader: Any) -> None:
        content = model_bytes(
            [
                helper.make_node("Cast", ["x"], ["y"], to=FLOAT),
                helper.make_node("Cast", ["f"], ["g"], to=BFLOAT16),
            ],
            [("x", BFLOAT16, ["N", 1]), ("f", FLOAT, ["N", 1])],
            [("y", FLOAT, ["N", 1]), ("g", BFLOAT16, ["N", 1])],
        )
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": content}))
        outputs = served.execute(
            {"x": np.array([[1.5]], ml_dtypes.bfloat16), "f": np.array([[2.5]], np.float32)}
        )
        assert (outputs["y"].dtype, outputs["y"].tolist()) == (np.float32, [[1.5]])
        assert (outputs["g"].dtype, outputs["g"].tolist()) == (ml_dtypes.bfloat16, [[2.5]])

    def test_strings_into_bf16_are_refused_at_load(self, loader: Any) -> None:
        content = model_bytes(
            [helper.make_node("Cast", ["s"], ["y"], to=BFLOAT16)],
            [("s", STRING, ["N", 1])],
            [("y", BFLOAT16, ["N", 1])],
        )
        with pytest.raises(
            InvalidArgumentError, match=r"cannot combine input 's' of strings with output 'y' of BF16"
        ):
            loader.serve(OnnxBackend(), loader.source({"model.onnx": content}))

    def test_a_failing_kernel_is_an_internal_error_without_paths(self, loader: Any) -> None:
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": ADD}))
        with pytest.raises(InternalError, match="Attempting to broadcast an axis") as caught:
            served.execute({"a": np.ones((1, 2), np.float32), "b": np.ones((1, 3), np.float32)})
        assert "onnxruntime_src" not in caught.value.message
        assert served.execute({"a": np.ones((1, 2), np.float32), "b": np.ones((1, 2), np.float32)})

    def test_an_input_that_the_session_refuses_is_the_clients_mistake(self, loader: Any) -> None:
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": identity()}))
        with pytest.raises(InvalidArgumentError, match="invalid dimensions for input: x"):
            served.execute({"x": np.ones((1, 3), np.float32)})


def config_with(**parameters: str) -> ModelConfig:
    config = ModelConfig(name="m")
    for key, value in parameters.items():
        config.parameters[key.replace("__", ".")].string_value = value
    return config


CPU, GPU = Placement("m_0_0", "CPU"), Placement("m_0_0", "GPU", 1)


class TestOptions:
    @pytest.mark.parametrize(
        ("instances", "intra_op", "pool", "spinning"), [(1, 4, 4, True), (4, 2, 5, False), (4, 1, 1, False)]
    )
    def test_threads_follow_the_budget(
        self, instances: int, intra_op: int, pool: int, spinning: bool
    ) -> None:
        options = session_options(config_with(), CPU, instances, ThreadBudget(intra_op, 1))
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (pool, 1)
        if not spinning:
            assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"

    def test_parameters_override_the_budget(self) -> None:
        config = config_with(intra_op_thread_count="3", inter_op_thread_count="2", execution_mode="1")
        options = session_options(config, CPU, 2, ThreadBudget(8))
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
        assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL

    def test_a_thread_count_of_0_leaves_it_to_the_budget(self) -> None:
        options = session_options(config_with(intra_op_thread_count="0"), CPU, 1, ThreadBudget(5))
        assert options.intra_op_num_threads == 5

    @pytest.mark.parametrize(
        ("level", "expected"),
        [(-1, "ORT_ENABLE_BASIC"), (0, "ORT_ENABLE_ALL"), (1, "ORT_ENABLE_EXTENDED"), (2, "ORT_DISABLE_ALL")],
    )
    def test_graph_levels_are_tritons(self, level: int, expected: str) -> None:
        config = config_with()
        config.optimization.graph.level = level
        options = session_options(config, CPU, 1, ThreadBudget(1))
        assert options.graph_optimization_level == getattr(onnxruntime.GraphOptimizationLevel, expected)

    def test_memory_and_session_entries(self) -> None:
        config = config_with(
            enable_mem_arena="0",
            enable_mem_pattern="false",
            session__use_device_allocator_for_initializers="1",
            memory__enable_memory_arena_shrinkage="cpu:0",
        )
        options = session_options(config, CPU, 1, ThreadBudget(1))
        assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
        assert options.get_session_config_entry("session.use_device_allocator_for_initializers") == "1"
        each_run = run_options(config)
        assert each_run.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            (
                config_with(intra_op_thread_count="many"),
                "parameters['intra_op_thread_count']: expected an integer from 0 to 1024, got 'many'",
            ),
            (
                config_with(execution_mode="2"),
                "parameters['execution_mode']: expected an integer from 0 to 1, got '2'",
            ),
            (config_with(enable_mem_arena="maybe"), "parameters['enable_mem_arena']: expected true or false"),
            (
                config_with(session__model_external_initializers_file_folder_path="elsewhere"),
                "entries that name files are not allowed",
            ),
        ],
    )
    def test_wrong_parameters_are_named(self, config: ModelConfig, expected: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            session_options(config, CPU, 1, ThreadBudget(1))
        assert expected in caught.value.message

    def test_an_accelerator_that_is_not_there_is_a_warning(
        self, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        file = tmp_path / "model.onnx"
        file.write_bytes(identity())
        config = config_with()
        accelerators = config.optimization.execution_accelerators
        accelerators.cpu_execution_accelerator.add(name="openvino")
        accelerators.gpu_execution_accelerator.add(name="tensorrt")
        with caplog.at_level("WARNING"):
            warn_of_unused_accelerators(config, [CPU])
            session = inference_session(file, config, CPU, 1, ThreadBudget(1), {})
        assert session.get_providers() == ["CPUExecutionProvider"]
        unused, missing = caplog.messages
        assert "execution_accelerators.gpu_execution_accelerator is set but has no effect" in unused
        assert "OpenVINOExecutionProvider" in missing
        assert "running without" in missing

    def test_providers_follow_placement_and_accelerators(self) -> None:
        config = config_with()
        assert providers(config, CPU) == [("CPUExecutionProvider", {})]
        cuda = ("CUDAExecutionProvider", {"device_id": "1"})
        assert providers(config, GPU) == [cuda, ("CPUExecutionProvider", {})]
        accelerators = config.optimization.execution_accelerators
        accelerators.cpu_execution_accelerator.add(name="openvino")
        accelerators.gpu_execution_accelerator.add(name="tensorrt", parameters={"trt_fp16_enable": "1"})
        assert [name for name, _ in providers(config, CPU)] == [
            "OpenVINOExecutionProvider",
            "CPUExecutionProvider",
        ]
        tensorrt = ("TensorrtExecutionProvider", {"device_id": "1", "trt_fp16_enable": "1"})
        assert providers(config, GPU) == [tensorrt, cuda, ("CPUExecutionProvider", {})]
        accelerators.gpu_execution_accelerator.add(name="magic")
        with pytest.raises(
            InvalidArgumentError, match=r"gpu_execution_accelerator\[1\].name: expected one of tensorrt"
        ):
            providers(config, GPU)


@pytest.mark.skipif(OnnxBackend().gpu_count() > 0, reason="this machine has a GPU")
class TestWithoutGpu:
    def source(self, loader: Any) -> Any:
        source = loader.source({"model.onnx": identity()})
        return type(source)(
            source.name, 1, source.model_path, source.version_path, placements=(Placement("m_0_0", "GPU"),)
        )

    def test_a_gpu_that_is_not_there_fails_the_load(self, loader: Any) -> None:
        with pytest.raises(
            InvalidArgumentError, match=r"instance 'm_0_0' of model 'm' asks for CUDAExecutionProvider"
        ):
            loader.load(OnnxBackend(), self.source(loader))

    def test_the_cpu_stands_in_where_that_is_allowed(
        self, loader: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = 'parameters { key: "allow_cpu_fallback" value { string_value: "true" } }'
        with caplog.at_level(logging.WARNING):
            served = loader.serve(OnnxBackend(), self.source(loader), text)
        assert "running without" in caplog.text
        assert served.execute({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


def test_a_complete_configuration_survives_a_file_that_only_load_can_open(loader: Any) -> None:
    content = model_bytes(
        [helper.make_node("NoSuchOperator", ["x"], ["y"], domain="")],
        [("x", FLOAT, ["N", 2])],
        [("y", FLOAT, ["N", 2])],
    )
    source = loader.source({"model.onnx": content})
    text = (
        'input { name: "x" data_type: TYPE_FP32 dims: 2 } output { name: "y" data_type: TYPE_FP32 dims: 2 }'
    )
    config = loader.complete(OnnxBackend(), source, text)
    with pytest.raises(InvalidArgumentError, match="NoSuchOperator"):
        OnnxBackend().load(source, config)


def test_a_locale_that_is_missing_is_named(loader: Any) -> None:
    model = model_bytes(
        [
            helper.make_node(
                "StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_YY.UTF-8"
            )
        ],
        [("x", STRING, ["N"])],
        [("y", STRING, ["N"])],
    )
    source = loader.source({"model.onnx": model})
    with pytest.raises(InvalidArgumentError) as caught:
        loader.complete(OnnxBackend(), source)
    assert caught.value.message == (
        "model.onnx needs the locale xx_YY.UTF-8: apt-get install locales && "
        "echo 'xx_YY.UTF-8 UTF-8' >> /etc/locale.gen && locale-gen"
    )
