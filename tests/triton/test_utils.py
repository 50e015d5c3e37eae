"""The objects of `triton_python_backend_utils`, and the exact texts of their errors."""

import gc
import json
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kserve_v2_child.triton.context import ModelContext
from kserve_v2_child.triton.utils import make_shared_utils, make_utils


class Services:
    """What a model needs of a server that there is none of; takes down what is logged and removed."""

    caller = None
    control = None

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.metrics: Any = None

    def log(self, level: str, text: str) -> None:
        self.lines.append((level, text))


SERVICES = Services()
CONTEXT = ModelContext("/models/lab/1", SERVICES)
pb_utils: Any = make_utils(CONTEXT)
Tensor, TritonError = pb_utils.Tensor, pb_utils.TritonError
ModelException = pb_utils.TritonModelException
InferenceRequest, InferenceResponse = pb_utils.InferenceRequest, pb_utils.InferenceResponse

ONE = Tensor("X", np.ones(1, np.float32))


def test_the_names_of_the_module() -> None:
    expected = [
        "InferenceRequest",
        "InferenceResponse",
        "Tensor",
        "TritonError",
        "TritonModelException",
        "Logger",
        "MetricFamily",
        "ModelConfig",
        "PreferredMemory",
        "TRITONSERVER_MEMORY_CPU",
        "TRITONSERVER_MEMORY_GPU",
        "get_model_dir",
        "load_model",
        "unload_model",
        "is_model_ready",
        "get_input_tensor_by_name",
        "get_output_tensor_by_name",
        "get_input_config_by_name",
        "get_output_config_by_name",
        "using_decoupled_model_transaction_policy",
        "triton_to_numpy_type",
        "numpy_to_triton_type",
        "triton_string_to_numpy",
        "TRITON_STRING_TO_NUMPY",
        "serialize_byte_tensor",
        "deserialize_bytes_tensor",
        "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START",
        "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END",
        "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
        "TRITONSERVER_REQUEST_RELEASE_ALL",
        "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE",
        "np",
        "json",
        "struct",
    ]
    assert {name for name in vars(pb_utils) if not name.startswith("__")} == set(expected)
    assert (
        pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
        pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
        pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL,
        pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE,
    ) == (1, 2, 1, 1, 2)


def raises(text: str, work: Any, kind: type[Exception] = ModelException) -> None:
    with pytest.raises(kind) as caught:
        work()
    assert str(caught.value).startswith(text), str(caught.value)
    assert type(caught.value) is kind


# --- tensors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "array", "kind", "text"),
    [
        ("", np.ones(1), ModelException, "Tensor name cannot be an empty string."),
        ("X", np.array(["text"]), ModelException, "NumPy dtype is not supported."),
        ("X", np.ones(1, complex), ModelException, "NumPy dtype is not supported."),
        ("X", np.ones(1, ">f4"), ModelException, "NumPy dtype is not supported."),
        ("X", np.ones(1, np.longdouble), ModelException, "NumPy dtype is not supported."),
        ("X", np.ones(1, "datetime64[s]"), ModelException, "NumPy dtype is not supported."),
        ("X", [1.0], TypeError, "Tensor 'X': expected a numpy array, got list"),
        ("X", np.float32(1), TypeError, "Tensor 'X': expected a numpy array, got float32"),
        (b"X", np.ones(1), TypeError, "Tensor: expected a string as name, got bytes"),
    ],
)
def test_arrays_that_are_no_tensors(name: Any, array: Any, kind: type[Exception], text: str) -> None:
    raises(text, lambda: Tensor(name, array), kind)


@pytest.mark.parametrize(
    "dtype",
    [bool, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "f2", "f4", "f8", ml_dtypes.bfloat16],
)  # fmt: skip
def test_tensors(dtype: Any) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = Tensor("X", array)
    assert (tensor.name(), tensor.shape(), tensor.is_cpu()) == ("X", [2, 3], True)
    assert tensor.as_numpy() is array
    transposed = Tensor("X", array.T)
    assert transposed.as_numpy().flags.c_contiguous
    assert transposed.as_numpy().tolist() == array.T.tolist()
    assert tensor.__dlpack_device__() == (1, 0)
    raises("Unable to convert function return value", tensor.triton_dtype, TypeError)


def test_scalars_stay_scalars() -> None:
    assert Tensor("X", np.array(3)).shape() == []


def test_own_texts_come_back_as_they_were_given() -> None:
    texts = np.array(["a", None, b"c", 4], np.object_)
    assert Tensor("X", texts).as_numpy().tolist() == ["a", None, b"c", 4]
    raises("DLPack does not have support for string tensors.", Tensor("X", texts).to_dlpack)


def test_dlpack_of_a_tensor() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    there = Tensor("X", array)
    back = Tensor.from_dlpack("Y", there.to_dlpack())
    assert (back.name(), back.shape(), back.as_numpy().dtype) == ("Y", [2, 3], np.int32)
    back.as_numpy()[0, 0] = 7
    assert array[0, 0] == 7
    assert np.from_dlpack(there).tolist() == array.tolist()
    assert Tensor.from_dlpack("Z", there).as_numpy().tolist() == array.tolist()
    assert Tensor.from_dlpack("Z", array).as_numpy().tolist() == array.tolist()


def test_dlpack_keeps_the_memory_as_long_as_it_is_needed() -> None:
    array = np.arange(1000, dtype=np.int64)
    before = sys.getrefcount(array)
    tensor = Tensor.from_dlpack("X", array.__dlpack__())
    held = tensor.as_numpy()[10:]
    del tensor
    gc.collect()
    assert sys.getrefcount(array) > before
    assert held[0] == 10
    del held
    gc.collect()
    assert sys.getrefcount(array) == before


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_dlpack_of_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    ours = Tensor.from_dlpack("X", tensor)
    assert ours.shape() == [2, 3]
    assert ours.as_numpy().astype(float).tolist() == tensor.to(torch.float64).tolist()
    assert Tensor.from_dlpack("X", torch.utils.dlpack.to_dlpack(tensor)).shape() == [2, 3]
    given = Tensor("X", ours.as_numpy())
    for back in torch.from_dlpack(given), torch.from_dlpack(given.to_dlpack()):
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor)
    assert Tensor.from_dlpack("Y", given.to_dlpack()).as_numpy().dtype == ours.as_numpy().dtype
    raises(
        "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are supported.",
        lambda: Tensor.from_dlpack("X", tensor.T),
    )


@pytest.mark.parametrize("value", [None, 3, "text", [1.0], object()])
def test_what_has_no_dlpack(value: Any) -> None:
    raises(
        "Provided tensor is not supported. Tensor must be a DLPack capsule",
        lambda: Tensor.from_dlpack("X", value),
    )


def test_a_capsule_that_has_been_used() -> None:
    capsule = np.ones(3).__dlpack__()

    class Holder:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    np.from_dlpack(Holder())
    raises("Provided tensor is not supported.", lambda: Tensor.from_dlpack("X", capsule))


# --- errors, responses, requests ----------------------------------------------------------------------------------


def test_errors() -> None:
    error = TritonError("text")
    assert (error.message(), error.code()) == ("text", TritonError.INTERNAL)
    assert TritonError("text", TritonError.NOT_FOUND).code() == TritonError.NOT_FOUND
    names = [
        "UNKNOWN",
        "INTERNAL",
        "NOT_FOUND",
        "INVALID_ARG",
        "UNAVAILABLE",
        "UNSUPPORTED",
        "ALREADY_EXISTS",
        "CANCELLED",
    ]
    assert [int(getattr(TritonError, name)) for name in names] == list(range(8))
    raises(
        "TritonError: expected a code such as TritonError.INTERNAL", lambda: TritonError("text", 3), TypeError
    )
    raises("TritonError: expected a string", lambda: TritonError(3), TypeError)
    with pytest.raises(TypeError, match="exceptions must derive from BaseException"):
        raise error


def test_responses() -> None:
    response = InferenceResponse(output_tensors=[ONE])
    assert (response.output_tensors(), response.has_error(), response.error()) == ([ONE], False, None)
    assert json.loads(response.parameters()) == {}
    given = InferenceResponse([ONE], parameters={"a": True, "b": 1, "c": "x"})
    assert json.loads(given.parameters()) == {"a": True, "b": 1, "c": "x"}
    failed = InferenceResponse([ONE], TritonError("text"))
    assert (failed.output_tensors(), failed.has_error(), failed.error().message()) == ([], True, "text")
    assert InferenceResponse([]).output_tensors() == []
    raises("Output tensor for inference response should not be empty.", lambda: InferenceResponse([None]))
    raises("InferenceResponse: expected a list of Tensor", lambda: InferenceResponse([np.ones(1)]), TypeError)
    raises("InferenceResponse: expected a TritonError", lambda: InferenceResponse([], "text"), TypeError)
    raises("Expect parameters values to have type bool/int/str, found type <class 'float'>",
           lambda: InferenceResponse([], parameters={"x": 1.5}))  # fmt: skip
    raises("Expect parameters keys to have type str", lambda: InferenceResponse([], parameters={1: 1}))
    raises("parameter 'x': 9223372036854775808", lambda: InferenceResponse([], parameters={"x": 2**63}))


def make(**changes: Any) -> Any:
    return InferenceRequest(
        **{"model_name": "M", "inputs": [ONE], "requested_output_names": ["Y"], **changes}
    )


def test_requests_of_a_model_s_own() -> None:
    request = make(request_id="7", correlation_id="s", flags=3, timeout=5, parameters={"a": 1})
    assert request.request_id() == "7"
    assert (request.correlation_id(), request.flags(), request.timeout()) == ("s", 3, 5)
    assert json.loads(request.parameters()) == {"a": 1}
    assert (request.inputs(), request.requested_output_names()) == ([ONE], ["Y"])
    request.set_flags(1)
    assert request.flags() == 1
    assert not request.is_cancelled()
    assert request.trace().get_context() is None
    assert pb_utils.get_input_tensor_by_name(request, "X") is ONE
    raises("Correlation ID must be integer or string", lambda: make(correlation_id=1.5))
    raises("Input tensor for request with id '' and model name 'M' should not be empty.",
           lambda: make(inputs=[None]))  # fmt: skip
    raises("Requested output name for request with id '9' and model name 'M' should not be empty.",
           lambda: make(requested_output_names=[""], request_id="9"))  # fmt: skip
    raises("Expect parameters values to have type bool/int/str, found type <class 'float'>",
           lambda: make(parameters={"x": 1.5}))  # fmt: skip
    raises("InferenceRequest: inputs, requested_output_names and model_name have to be given",
           lambda: InferenceRequest(model_name="M"), TypeError)  # fmt: skip
    raises("BLS is only supported during the 'execute' function.", make().exec)
    raises("a request that the model has made itself has no response sender", make().get_response_sender)


def test_a_request_is_of_its_model_s_class() -> None:
    other = make_utils(ModelContext("/models/other/1", SERVICES))
    assert not isinstance(make(), other.InferenceRequest)
    # What has no model may pass from one to the other.
    assert other.Tensor is Tensor
    assert other.TritonModelException is ModelException


def test_code_that_models_share_works_for_whichever_calls_it() -> None:
    shared: Any = make_shared_utils()
    other = ModelContext("/models/other/1", SERVICES)
    with other.life_cycle("other_0"):
        assert shared.get_model_dir() == "/models/other/1"
    with CONTEXT.life_cycle("lab_0"):
        assert shared.get_model_dir() == "/models/lab/1"
    raises("nothing here says which model this is for", shared.get_model_dir)
    assert other.version_path


# --- functions ----------------------------------------------------------------------------------------------------


def test_datatypes() -> None:
    for number, (name, scalar) in enumerate(list(pb_utils.TRITON_STRING_TO_NUMPY.items())[:13], start=1):
        assert pb_utils.triton_string_to_numpy(name) is scalar
        assert pb_utils.triton_to_numpy_type(number) is scalar
        assert pb_utils.numpy_to_triton_type(scalar) == number
    # As in model_config.proto.
    assert [pb_utils.numpy_to_triton_type(each) for each in (bool, np.float32, np.object_)] == [1, 11, 13]


@pytest.mark.parametrize("texts", [[], [b"a", b"", "ŝ"], [b"x" * 1000]])
def test_texts_as_bytes(texts: list[Any]) -> None:
    array = np.array(texts, np.object_)
    encoded = pb_utils.serialize_byte_tensor(array)
    expected = [text if isinstance(text, bytes) else text.encode() for text in texts]
    assert pb_utils.deserialize_bytes_tensor(encoded).tolist() == expected
    raw = encoded if isinstance(encoded, bytes) else encoded.item()
    assert raw == b"".join(len(text).to_bytes(4, "little") + text for text in expected)


def test_the_configuration_by_name() -> None:
    config = {"input": [{"name": "X", "dims": [1]}], "output": [{"name": "Y"}]}
    assert pb_utils.get_input_config_by_name(config, "X") == {"name": "X", "dims": [1]}
    assert pb_utils.get_output_config_by_name(config, "Y") == {"name": "Y"}
    assert pb_utils.get_output_config_by_name(config, "X") is None
    assert pb_utils.get_input_config_by_name({}, "X") is None
    assert not pb_utils.using_decoupled_model_transaction_policy(config)
    decoupled = {"model_transaction_policy": {"decoupled": True}}
    assert pb_utils.using_decoupled_model_transaction_policy(decoupled)


def test_the_log() -> None:
    SERVICES.lines.clear()
    logger = pb_utils.Logger
    logger.log("one")
    logger.log("two", logger.VERBOSE)
    logger.log_info("three")
    logger.log_warn("four")
    logger.log_error("five")
    logger.log_verbose("six")
    assert SERVICES.lines == [
        ("info", "one"), ("debug", "two"), ("info", "three"), ("warning", "four"), ("error", "five"), ("debug", "six")
    ]  # fmt: skip


# --- auto_complete_config -----------------------------------------------------------------------------------------


def config(**changes: Any) -> Any:
    given = {"name": "m", "max_batch_size": 0, "input": [], "output": [], **changes}
    return pb_utils.ModelConfig(json.dumps(given))


X = {"name": "A", "data_type": "TYPE_INT32", "dims": [2]}


def test_what_a_model_completes() -> None:
    ours = config(input=[{"name": "A", "data_type": "TYPE_INVALID", "dims": []}])
    ours.set_max_batch_size(4)
    ours.set_dynamic_batching()
    ours.add_input({**X, "optional": True})
    ours.add_input({**X, "name": "B"})
    ours.add_output({**X, "name": "Y"})
    ours.add_output({**X, "name": "Y"})
    ours.set_model_transaction_policy({"decoupled": True})
    ours.set_model_transaction_policy({})
    assert ours.as_dict() == {
        "name": "m",
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [{**X, "optional": True}, {**X, "name": "B"}],
        "output": [{**X, "name": "Y"}],
        "model_transaction_policy": {"decoupled": True},
    }


@pytest.mark.parametrize(
    ("given", "work", "text"),
    [
        ({"max_batch_size": 4}, lambda it: it.set_max_batch_size(2),
         "configuration specified max_batch_size 4, but in auto-complete-config function for model 'm' specified "
         "max_batch_size 2"),
        ({"input": [{**X, "data_type": "TYPE_FP32"}]}, lambda it: it.add_input(X),
         "unable to load model 'm', configuration expects datatype TYPE_FP32 for input 'A', model provides TYPE_INT32"),
        ({"output": [{**X, "data_type": "TYPE_FP32"}]}, lambda it: it.add_output(X),
         "unable to load model 'm', configuration expects datatype TYPE_FP32 for output 'A', model provides TYPE_INT32"),
        ({"input": [{**X, "dims": [1]}]}, lambda it: it.add_input(X),
         "model 'm', tensor 'A': the model expects dims [2] but the model configuration specifies dims [1]"),
        ({}, lambda it: it.add_input({"name": "B", "dims": [1]}),
         "input 'B' in auto-complete-config function for model 'm' is missing 'data_type' property."),
        ({}, lambda it: it.add_output({"name": "B", "data_type": "TYPE_FP32"}),
         "output 'B' in auto-complete-config function for model 'm' is missing 'dims' property."),
        ({}, lambda it: it.add_input({"dims": [1]}),
         "input in auto-complete-config function for model 'm' is missing 'name' property."),
        ({}, lambda it: it.add_input({**X, "shape": [1]}),
         "input 'A' in auto-complete-config function for model 'm' contains property other than 'name', 'data_type', "
         "'dims' and 'optional'."),
        ({}, lambda it: it.add_output({**X, "optional": True}),
         "output 'A' in auto-complete-config function for model 'm' contains property other than 'name', 'data_type' "
         "and 'dims'."),
        ({"sequence_batching": {}}, lambda it: it.set_dynamic_batching(),
         "Configuration specified scheduling_choice as 'sequence_batching', but auto-complete-config function for model "
         "'m' tries to set scheduling_choice as 'dynamic_batching'"),
        ({"model_transaction_policy": {"decoupled": False}},
         lambda it: it.set_model_transaction_policy({"decoupled": True}),
         "trying to change decoupled property in auto-complete-config for model 'm', which is already set to 'False'."),
        ({}, lambda it: it.set_model_transaction_policy({"coupled": True}),
         "model transaction property in auto-complete-config function for model 'm' contains property other than "
         "'decoupled'."),
    ],
)  # fmt: skip
def test_what_contradicts_the_configuration(given: Any, work: Any, text: str) -> None:
    ours = config(**given)
    with pytest.raises(ValueError) as caught:
        work(ours)
    assert str(caught.value) == text


# --- metrics ------------------------------------------------------------------------------------------------------


class Metrics:
    """Takes down what is asked for, and fails as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> float:
            if self.error is not None:
                raise self.error
            self.asked.append((name, *arguments))
            return float(len(self.asked))

        return ask


@pytest.fixture
def metrics() -> Any:
    SERVICES.metrics = Metrics()
    yield SERVICES.metrics
    SERVICES.metrics = None


def test_metrics(metrics: Metrics) -> None:
    family = pb_utils.MetricFamily(name="n", description="d", kind=pb_utils.MetricFamily.HISTOGRAM)
    metric = family.Metric(labels={"a": "b"}, buckets=[1, 2])
    metric.observe(3)
    metric.increment(1)
    metric.set(2)
    assert metric.value() == 6.0
    del metric, family
    gc.collect()
    assert metrics.asked == [
        ("family", "n", "d", "histogram"), ("metric", 1.0, {"a": "b"}, [1.0, 2.0]), ("observe", 2.0, 3.0),
        ("increment", 2.0, 1.0), ("set", 2.0, 2.0), ("value", 2.0), ("remove", 2.0), ("remove", 1.0),
    ]  # fmt: skip


def test_mistakes_with_metrics(metrics: Metrics) -> None:
    kind = pb_utils.MetricFamily.COUNTER
    family = pb_utils.MetricFamily("n", "d", kind)
    metric = family.Metric()
    raises("Failed to create metric. Labels must be a dictionary.", lambda: family.Metric(labels=[]))
    raises("attempt to access JSON non-string as string", lambda: family.Metric(labels={"a": 1}))
    raises("MetricFamily: expected a kind", lambda: pb_utils.MetricFamily("n", "d", "counter"), TypeError)
    metrics.error = RuntimeError("TRITONSERVER_METRIC_KIND_COUNTER does not support Set")
    with CONTEXT.life_cycle("lab_0"):
        told = "Failed to process the request for model 'lab_0', message: TRITONSERVER_METRIC_KIND_COUNTER does not"
        raises(f"Failed to set metric value: {told}", lambda: metric.set(1))
        raises(f"Failed to increment metric value: {told}", lambda: metric.increment(1))
        raises(f"Failed to observe metric value: {told}", lambda: metric.observe(1))
        raises(f"Failed to get metric value: {told}", metric.value)
        raises(f"Error when creating MetricFamily: {told}", lambda: pb_utils.MetricFamily("n", "d", kind))
        raises(f"Error when creating Metric: {told}", family.Metric)
    metrics.error = None


def test_without_a_server() -> None:
    raises("Error when creating MetricFamily: there is no server",
           lambda: pb_utils.MetricFamily("n", "d", pb_utils.MetricFamily.GAUGE))  # fmt: skip
    raises("Failed to load model: there is no server", lambda: pb_utils.load_model("m"))
    raises("Failed to unload model: there is no server", lambda: pb_utils.unload_model("m"))
    raises("Failed to check model readiness: there is no server", lambda: pb_utils.is_model_ready("m"))
