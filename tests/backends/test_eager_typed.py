"""Handlers whose inputs and outputs are declared by annotations."""

import asyncio
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from kserve_v2.backend import ModelConfig
from kserve_v2.config import parse_config
from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError
from kserve_v2.messages import InferRequest, Tensors

TOP = """
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, NotRequired, TypedDict
from collections.abc import AsyncIterator, Iterator, Sequence
import numpy as np
import kserve_v2
from kserve_v2 import BOOL, BYTES, FP32, INT64, Context, Image, InvalidArgumentError, Json, Request, Text
"""

FULL = """
class Outputs(TypedDict):
    total: Annotated[np.ndarray, FP32(1)]
    count: Annotated[np.ndarray, INT64(1)]

class Model(kserve_v2.Model):
    max_batch_size = 8

    def __call__(
        self,
        values: Annotated[np.ndarray, FP32(-1)],
        weights: Annotated[np.ndarray, FP32(-1)] | None = None,
    ) -> Outputs:
        if weights is not None:
            values = values * weights
        return {
            "total": values.sum(axis=1, keepdims=True, dtype=np.float32),
            "count": np.full((len(values), 1), values.shape[1]),
        }
"""


def texts(*values: bytes | str, rows: bool = False) -> Any:
    array = np.empty(len(values), object)
    array[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return array.reshape(-1, 1) if rows else array


def execute(thread: Any, tensors: Any, requests: Sequence[InferRequest] = ()) -> Any:
    """One execution, whichever way the instance is driven."""
    requests = requests or [InferRequest("m", tensors, rows=1, checked=True)]
    instance = thread.instance
    if hasattr(instance, "execute_async"):
        return thread.call(asyncio.run, instance.execute_async(tensors, requests))
    if hasattr(instance, "stream"):
        return thread.call(lambda: list(instance.stream(tensors, requests[0])))
    if hasattr(instance, "stream_async"):

        async def collect() -> list[Tensors]:
            return [each async for each in instance.stream_async(tensors, requests[0])]

        return thread.call(asyncio.run, collect())
    return thread.call(instance.execute, tensors, requests)


def png(array: Any, **options: Any) -> bytes:
    written = BytesIO()
    PIL.Image.fromarray(array).save(written, "PNG", **options)
    return written.getvalue()


def requests_of(rows: Sequence[int]) -> list[InferRequest]:
    return [InferRequest("m", {}, id=str(n), rows=count, checked=True) for n, count in enumerate(rows)]


def serve(loader: Any, code: str, text: str = "") -> Any:
    return loader.serve(EagerBackend(), loader.source({"model.py": TOP + code}), text)


def complete(loader: Any, code: str, text: str = "") -> ModelConfig:
    config: ModelConfig = loader.complete(EagerBackend(), loader.source({"model.py": TOP + code}), text)
    return config


def failure(loader: Any, code: str, text: str = "", top: str = TOP) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        loader.serve(EagerBackend(), loader.source({"model.py": top + code}), text)
    return caught.value.message


def described(tensors: Any) -> list[tuple[str, int, list[int], bool]]:
    return [(t.name, t.data_type, list(t.dims), getattr(t, "optional", False)) for t in tensors]


# --- what is declared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("future", [False, True])
def test_annotations_complete_a_configuration(loader: Any, future: bool) -> None:
    top = "from __future__ import annotations\n" if future else ""
    config = loader.complete(EagerBackend(), loader.source({"model.py": top + TOP + FULL}))
    assert described(config.input) == [("values", 11, [-1], False), ("weights", 11, [-1], True)]
    assert described(config.output) == [("total", 11, [1], False), ("count", 9, [1], False)]
    assert config.max_batch_size == 8
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert not config.parameters


@pytest.mark.parametrize("future", [False, True])
def test_inputs_come_by_name_and_what_is_left_out_has_its_default(loader: Any, future: bool) -> None:
    top = "from __future__ import annotations\n" if future else ""
    instance = loader.serve(EagerBackend(), loader.source({"model.py": top + TOP + FULL}))
    values, weights = np.array([[1, 2], [3, 4]], np.float32), np.array([[1, 0], [0, 2]], np.float32)
    alone = execute(instance, {"values": values}, requests_of([2]))
    assert (alone["total"].tolist(), alone["count"].tolist()) == ([[3], [7]], [[2], [2]])
    both = execute(instance, {"weights": weights, "values": values}, requests_of([2]))
    assert both["total"].tolist() == [[1], [8]]


@pytest.mark.parametrize(
    "declaration",
    [
        "class Out(TypedDict):\n    y: Annotated[np.ndarray, FP32(-1)]\n    z: NotRequired[Annotated[Any, INT64(1)]]",
        "class Out(NamedTuple):\n    y: Annotated[np.ndarray, FP32(-1)]\n    z: Annotated[np.ndarray, INT64(1)]",
        "@dataclass\nclass Out:\n    y: Annotated[np.ndarray, FP32(-1)]\n    z: Annotated[np.ndarray, INT64(1)]",
        "@dataclass\nclass Base:\n    y: Annotated[np.ndarray, FP32(-1)]\n\n"
        "@dataclass(frozen=True, slots=True)\nclass Out:\n    y: Annotated[np.ndarray, FP32(-1)]\n"
        "    z: Annotated[np.ndarray, INT64(1)]",
        "@dataclass\nclass Out:\n    count: ClassVar[int] = 2\n    y: Annotated[np.ndarray, FP32(-1)]\n"
        "    z: Annotated[np.ndarray, INT64(1)]",
        "class Base(TypedDict):\n    y: Annotated[np.ndarray, FP32(-1)]\n\n"
        "class Out(Base):\n    z: Annotated[np.ndarray, INT64(1)]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize("returned", ["Out(y=x, z=np.array([1]))", "{'y': x, 'z': np.array([1])}"])
def test_what_is_returned(loader: Any, declaration: str, future: bool, returned: str) -> None:
    code = (
        f"{declaration}\n\nclass Model:\n    def __call__(self, x: Annotated[np.ndarray, FP32(-1)]) -> Out:\n"
        f"        return {returned}\n"
    )
    source = loader.source(
        {"model.py": ("from __future__ import annotations\n" if future else "") + TOP + code}
    )
    config = loader.complete(EagerBackend(), source)
    assert described(config.output) == [("y", 11, [-1], False), ("z", 9, [1], False)]
    instance = loader.serve(EagerBackend(), source)
    answer = execute(instance, {"x": np.ones(2, np.float32)})
    assert (list(answer), answer["y"].tolist(), answer["z"].tolist()) == (["y", "z"], [1, 1], [1])


def test_one_value_is_the_output_called_output(loader: Any) -> None:
    code = """
class Model:
    def __call__(self, x: Annotated[np.ndarray, FP32(-1)]) -> Annotated[np.ndarray, FP32(1)]:
        return x.sum(keepdims=True)
"""
    assert described(complete(loader, code).output) == [("output", 11, [1], False)]
    assert execute(serve(loader, code), {"x": np.ones(3, np.float32)})["output"].tolist() == [3]


@pytest.mark.parametrize(
    ("kind", "returns"),
    [
        ("def", "Iterator[Out]"),
        ("async def", "AsyncIterator[Out]"),
        ("def", "Iterator[Annotated[np.ndarray, FP32(-1)]]"),
    ],
)
def test_generators_declare_what_they_yield(loader: Any, kind: str, returns: str) -> None:
    single = "Out" not in returns
    code = f"""
class Out(TypedDict, total=False):
    y: Annotated[np.ndarray, FP32(-1)]

class Model:
    {kind} __call__(self, x: Annotated[np.ndarray, FP32(-1)]) -> {returns}:
        for n in range(2):
            yield {"x + n" if single else "{'y': x + n}"}
"""
    config = complete(loader, code)
    name = "output" if single else "y"
    assert described(config.output) == [(name, 11, [-1], False)]
    assert config.model_transaction_policy.decoupled
    found = execute(serve(loader, code), {"x": np.zeros(1, np.float32)})
    assert [each[name].tolist() for each in found] == [[0], [1]]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("annotation", ["", ": Sequence[Request]", ": 'Sequence[Unknown]'"])
def test_requests_are_passed_by_their_name(loader: Any, kind: str, annotation: str) -> None:
    code = f"""
class Out(TypedDict):
    y: Annotated[np.ndarray, INT64(1)]

class Model:
    max_batch_size = 4

    {kind} __call__(self, requests{annotation}, x: Annotated[np.ndarray, INT64(1)]) -> list[Out | Exception]:
        starts = np.cumsum([0, *(request.rows for request in requests)])
        return [
            {{"y": x[start : start + request.rows]}} if request.id != "1" else InvalidArgumentError("no")
            for start, request in zip(starts, requests)
        ]
"""
    instance = serve(loader, code)
    answers = execute(instance, {"x": np.arange(4).reshape(4, 1)}, requests_of([1, 2, 1]))
    assert [answers[0]["y"].tolist(), answers[2]["y"].tolist()] == [[[0]], [[3]]]
    assert isinstance(answers[1], InvalidArgumentError)


def test_an_input_may_be_called_requests(loader: Any) -> None:
    code = "class Model:\n    def __call__(self, requests: Text) -> Text:\n        return requests\n"
    assert execute(serve(loader, code), {"requests": texts("a")})["output"].tolist() == [b"a"]


def test_outputs_alone_may_be_annotated_and_inputs_alone(loader: Any) -> None:
    outputs = """
class Model:
    inputs = {"x": ("FP32", [2])}

    def __call__(self, inputs) -> Annotated[np.ndarray, FP32(2)]:
        return inputs["x"]
"""
    inputs = """
class Model:
    outputs = {"y": ("FP32", [2])}

    def __call__(self, x: Annotated[np.ndarray, FP32(2)]) -> dict[str, np.ndarray]:
        return {"y": x}
"""
    for code, name in ((outputs, "output"), (inputs, "y")):
        answer = execute(serve(loader, code), {"x": np.ones(2, np.float32)})
        assert answer[name].tolist() == [1, 1]


def test_both_may_say_the_same(loader: Any) -> None:
    code = """
class Model:
    inputs = {"x": ("FP32", (2, -1)), "t": Text}
    outputs = {"output": ("FP32", [2])}

    def __call__(self, x: Annotated[np.ndarray, FP32(2, -1)], t: Text) -> Annotated[np.ndarray, FP32(2)]:
        return x[:, 0]
"""
    assert described(complete(loader, code).input) == [("x", 11, [2, -1], False), ("t", 13, [1], False)]


def test_torch_s_tensors_are_asked_for_by_their_type(loader: Any) -> None:
    code = """
import torch

class Model:
    def __call__(self, x: Annotated[torch.Tensor, FP32(-1)], names: Annotated[np.ndarray, BYTES(-1)]
                 ) -> Annotated[torch.Tensor, FP32(-1)]:
        assert type(x) is torch.Tensor and type(names) is np.ndarray
        return torch.relu(x)
"""
    answer = execute(serve(loader, code), {"x": np.array([-1, 1], np.float32), "names": texts("a")})
    assert answer["output"].tolist() == [0, 1]


def test_a_call_that_is_decorated_keeps_its_annotations(loader: Any) -> None:
    code = """
import torch

class Model:
    @torch.inference_mode()
    def __call__(self, x: Annotated[torch.Tensor, FP32(-1)]) -> Annotated[torch.Tensor, FP32(-1)]:
        assert torch.is_inference_mode_enabled()
        return x + 1
"""
    assert execute(serve(loader, code), {"x": np.zeros(1, np.float32)})["output"].tolist() == [1]


def test_classes_of_modules_beside_the_file_and_inside_the_class(loader: Any) -> None:
    types = (
        "from __future__ import annotations\n"
        + TOP
        + """
Small = FP32(2)

class Out(TypedDict):
    y: Annotated[np.ndarray, Small]
"""
    )
    code = """
from shapes import Out

class Model:
    class Inner(TypedDict):
        z: Annotated[np.ndarray, FP32(2)]

    def __call__(self, x: "Annotated[np.ndarray, FP32(2)]") -> %s:
        return {%r: x}
"""
    for kind, name in (("Out", "y"), ("Inner", "z"), ("'Out'", "y"), ("'Inner'", "z")):
        files = {"model.py": TOP + code % (kind, name), "shapes.py": types}
        instance = loader.serve(EagerBackend(), loader.source(files, name=f"m_{name}_{len(kind)}"))
        assert execute(instance, {"x": np.ones(2, np.float32)})[name].tolist() == [1, 1]


@pytest.mark.parametrize(
    "call",
    [
        "(self, inputs)",
        "(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]",
        "(self, inputs: 'Unknown', requests: 'Unknown') -> 'Unknown'",
        "(self, batch, others)",
        "(self, inputs, requests: Sequence[Request]) -> dict[str, Any]",
    ],
)
def test_the_untyped_form_stays(loader: Any, call: str) -> None:
    code = f"""
class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}

    def __call__{call}:
        return {{"y": locals().get("inputs", locals().get("batch"))["x"]}}
"""
    assert execute(serve(loader, code), {"x": np.ones(1, np.float32)})["y"].tolist() == [1]


# --- what is wrong ---------------------------------------------------------------------------------------------------


def model(parameters: str, returns: str = "Text", attributes: str = "") -> str:
    return f"""
class Model:
    {attributes or "..."}

    def __call__(self, {parameters}) -> {returns}:
        return ""
"""


X = "x: Annotated[np.ndarray, FP32(2)]"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            model(f"{X}, y"),
            "Model.__call__: parameter 'y': expected an annotation such as Annotated[np.ndarray, FP32(3, 224, 224)], Image, "
            "Text or Json, got none",
        ),
        (model(f"{X}, y: float = 0.5"), "parameter 'y': expected an annotation such as"),
        (model(f"{X}, y: np.ndarray"), "got numpy.ndarray"),
        (model("a, b, c"), "Model.__call__: parameter 'a': expected an annotation such as"),
        (model(f"{X}, y: 'Unknown'"), "Model.__call__: the annotation of 'y' means nothing: NameError"),
        (model(X, "'Unknown'"), "Model.__call__: the annotation of 'return' means nothing: NameError"),
        (model(f"{X}, *others: Text"), "parameter 'others': it is passed by its name, so * and / cannot be"),
        (model(f"{X}, /"), "parameter 'x': it is passed by its name"),
        (model(f"{X}, **others: Text"), "parameter 'others': it is passed by its name"),
        (model("x: Annotated[np.ndarray, FP32()]"), "'x', FP32(): expected dims like"),
        (model("x: Annotated[np.ndarray, FP32]"), "'x', FP32(): expected dims like"),
        (model("x: Annotated[np.ndarray, FP32(0)]"), "got (0,)"),
        (model("x: Annotated[np.ndarray, FP32('n')]"), "got ('n',)"),
        (model(X, "Annotated[np.ndarray, FP32(2, 0)]"), "'output', FP32(2, 0): expected dims like"),
        (
            model(X, attributes='inputs = {"x": ("FP32", [3])}'),
            "Model.inputs['x'] is FP32(3), but by the annotations of Model.__call__ it is FP32(2); leave Model.inputs out",
        ),
        (model(X, attributes='inputs = {"y": ("FP32", [2])}'), "Model.inputs['y'] is FP32(2), but by the annotations of"),
        (
            model(X, attributes='outputs = {"output": ("BYTES", [1])}'),
            "Model.outputs['output'] is BYTES(1), but by the annotations of Model.__call__ it is Text",
        ),
        (model(X, attributes='tensors = "torch"'), 'Model.tensors is "torch", but the annotations of Model.__call__ are "numpy"'),
        (
            "import torch\n" + model(f"{X}, y: Annotated[torch.Tensor, FP32(2)]"),
            "some annotations are of numpy's arrays and others of torch's tensors",
        ),
        (model(X, attributes="ragged = True"), "Model.ragged: such a handler takes (self, inputs), a list of dicts"),
        (
            "class Out(TypedDict):\n    y: Text\n    z: str\n" + model(X, "Out"),
            "Out.z: expected Annotated[np.ndarray, FP32(3, 224, 224)], Image, Text or Json, got str",
        ),
        ("class Out(TypedDict):\n    y: Text\n    z: 'Unknown'\n" + model(X, "Out"), "Out.z: its annotation means nothing"),
        ("class Model:\n    def __call__(self):\n        ...\n", "expected (self, inputs) or (self, inputs, requests), or a"),
    ],
)  # fmt: skip
def test_what_annotations_cannot_say(loader: Any, code: str, text: str) -> None:
    message = failure(loader, code)
    assert text in message
    assert message.startswith("model.py: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('input { name: "z" }', "input[0].name: model.py has no input 'z'; it has: 'values', 'weights'"),
        (
            'input { name: "values" data_type: TYPE_INT32 }',
            "input[0].data_type: 'values' is TYPE_FP32 in model.py, the configuration says TYPE_INT32",
        ),
        (
            'input { name: "values" dims: [ 2, 2 ] }',
            "input[0].dims: 'values' has dims [-1] behind the batch dimension in model.py, the configuration says [2, 2]",
        ),
        (
            'input { name: "values" optional: true }',
            "input[0].optional: parameter 'values' of Model.__call__ in model.py has no default",
        ),
        (
            'output { name: "mean" }',
            "output[0].name: model.py has no output 'mean'; it has: 'total', 'count'",
        ),
        (
            "sequence_batching { oldest { } control_input { name: 'START' control { kind: CONTROL_SEQUENCE_START "
            "int32_false_true: [0, 1] } } }",
            "Model.__call__ in model.py has no parameter 'START'",
        ),
    ],
)
def test_contradictions_name_both(loader: Any, text: str, expected: str) -> None:
    source = loader.source({"model.py": TOP + FULL})
    config = parse_config(f'name: "m" default_model_filename: "model.py" {text}', "test")
    with pytest.raises(InvalidArgumentError) as caught:
        EagerBackend().complete(source, config)
        # What a control is, the server adds for the load.
        for control in config.sequence_batching.control_input:
            config.input.add(name=control.name)
        EagerBackend().load(source, config)
    assert expected in caught.value.message


def test_parameters_without_annotations_that_are_called_as_inputs(loader: Any) -> None:
    code = "class Model:\n    def __call__(self, a, b):\n        return {}\n"
    text = " ".join(
        f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: 1 }}'
        for kind, name in (("input", "a"), ("input", "b"), ("output", "c"))
    )
    assert "Model.__call__ in model.py has parameters for the inputs 'a', 'b', but no annotations" in failure(
        loader, code, text
    )


def test_a_controls_parameter_is_passed_its_tensor(loader: Any) -> None:
    code = """
from kserve_v2 import INT32

class Model:
    max_batch_size = 4

    def __call__(self, x: Annotated[np.ndarray, FP32(1)], START: Annotated[np.ndarray, INT32(1)]) -> Annotated[np.ndarray, FP32(1)]:
        return x + START
"""
    config = parse_config(
        'name: "m" default_model_filename: "model.py" sequence_batching { oldest { } control_input { name: "START" '
        "control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] } } }",
        "test",
    )
    EagerBackend().complete(loader.source({"model.py": TOP + code}), config)
    assert [each.name for each in config.input] == ["x"]


# --- what is returned wrongly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("None", "the handler returned NoneType, expected a dict of 'y', 'z'"),
        ("{'y': x}", "the handler did not return its output 'z', got 'y'"),
        ("{'y': x, 'z': x}", "output 'z': expected INT64, got FP32"),
        ("Out(y=x, z=None)", "output 'z'"),
        ("(x, x)", "the handler returned tuple, expected a dict of 'y', 'z'"),
        ("{'y': x, 'z': np.array([1]), 'w': x}", "the handler returned 'w', expected only 'y', 'z'"),
    ],
)
def test_what_a_typed_handler_returns_is_checked(loader: Any, returned: str, text: str) -> None:
    code = f"""
class Out(NamedTuple):
    y: Annotated[np.ndarray, FP32(-1)]
    z: Annotated[np.ndarray, INT64(1)]

class Model:
    def __call__(self, x: Annotated[np.ndarray, FP32(-1)]) -> Out:
        return {returned} if x[0] else Out(x, np.array([1]))
"""
    instance = serve(loader, code)
    with pytest.raises(InternalError) as caught:
        execute(instance, {"x": np.ones(1, np.float32)})
    assert text in caught.value.message
    assert execute(instance, {"x": np.zeros(1, np.float32)})["z"].tolist() == [1]


# --- type checkers and editors --------------------------------------------------------------------------------------


def test_what_type_checkers_take_can_be_served(loader: Any) -> None:
    """That they take it, `make check` finds out."""
    code = Path(__file__).with_name("typed_handler.py").read_text()
    source = loader.source({"model.py": code}, version=3)
    config = loader.complete(EagerBackend(), source)
    assert described(config.input) == [
        ("image", 13, [1], False), ("prompt", 13, [1], False), ("weights", 11, [2], True)
    ]  # fmt: skip
    assert described(config.output) == [
        ("scores", 11, [2], False),
        ("label", 13, [1], False),
        ("more", 13, [1], False),
    ]
    image = png(np.full((4, 5, 3), (10, 20, 30), np.uint8))
    request = InferRequest("m", {}, checked=True)
    inputs = {"image": texts(image), "prompt": texts("what?"), "weights": np.array([1, 2], np.float32)}
    answer = execute(loader.serve(EagerBackend(), source), inputs, [request])
    assert answer["scores"].tolist() == [10, 40]
    assert answer["label"].tolist() == [b"WHAT?"]
    assert json.loads(answer["more"][0]) == {"version": 3}
    assert request.response_parameters == {"height": 4}


def test_the_base_does_nothing(loader: Any) -> None:
    from kserve_v2 import Model  # noqa: PLC0415 - as a handler imports it

    assert not hasattr(Model, "load")
    assert not hasattr(Model, "close")
    assert not any("__call__" in vars(base) for base in Model.__mro__)
    assert not hasattr(Model, "inputs")


def test_content_types_are_in_the_configuration(loader: Any) -> None:
    code = model("image: Image, x: Annotated[np.ndarray, FP32(2)], question: Text = ''", "Json")
    config = complete(loader, code)
    assert described(config.input) == [
        ("image", 13, [1], False), ("x", 11, [2], False), ("question", 13, [1], True)
    ]  # fmt: skip
    assert json.loads(config.parameters["content_types"].string_value) == {
        "inputs": {"image": "image", "question": "text"},
        "outputs": {"output": "json"},
    }
    # Who writes the same is right.
    again = ModelConfig()
    again.CopyFrom(config)
    EagerBackend().complete(loader.source({"model.py": TOP + code}), again)
    assert again == config


def test_an_error_of_the_server_s_is_what_a_handler_raises(loader: Any) -> None:
    code = """
from kserve_v2 import NotFoundError

class Model:
    def __call__(self, key: Text) -> Text:
        raise NotFoundError(f"no {key}")
"""
    with pytest.raises(ServingError, match="no such"):
        execute(serve(loader, code), {"key": texts("such")})
