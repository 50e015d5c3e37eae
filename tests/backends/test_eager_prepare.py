"""`context.prepare`: the torch modules of handlers, as the configuration wants them run."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from backends.eager.backend import EagerBackend
from kserve_v2.errors import InvalidArgumentError, ServingError
from tests.compiler import NEEDS_COMPILER

pytestmark = [NEEDS_COMPILER, pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]

HANDLER = """
import torch

class Doubled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.calls = 0

    def forward(self, x):
        return (x * self.factor).mean(-1, keepdim=True)

class Model:
    inputs = {{"x": ("FP32", {dims})}}
    outputs = {{"y": ("FP32", [1])}}
    max_batch_size = 4
    tensors = "torch"

    def load(self, context):
        self.module = Doubled().train()
        self.call = {prepare}

    def __call__(self, inputs):
        y = self.call(inputs["x"])
        assert not y.requires_grad and not self.module.training
        return {{"y": y}}
"""
PREPARE = "context.prepare(self.module)"
COMPILE = 'parameters { key: "compile" value { string_value: "default" } }'

Serve = Callable[..., Any]


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


@pytest.fixture
def serve(loader: Any) -> Serve:
    def serve(config: str = "", prepare: str = PREPARE, dims: str = "[3]") -> Any:
        source = loader.source({"model.py": HANDLER.format(prepare=prepare, dims=dims)})
        return loader.serve(EagerBackend(), source, config)

    return serve


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def ask(model: Any, rows: int, width: int = 3) -> None:
    x = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    np.testing.assert_allclose(model.execute({"x": x})["y"], 2 * x.mean(1, keepdims=True), rtol=1e-2)


@pytest.mark.parametrize(
    "config",
    ["", parameter("autocast", "bf16"), parameter("INFERENCE_MODE", "false"), parameter("compile", "false")],
)
def test_a_module_is_prepared(serve: Serve, caplog: pytest.LogCaptureFixture, config: str) -> None:
    model = serve(config)
    for rows in (1, 3):
        ask(model, rows)
    assert [text for text in warnings(caplog) if "instructions" not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "dims"),
    [
        (PREPARE, "[3]"),
        (PREPARE, "[-1]"),
        ("context.prepare(self.module, torch.ones(1, 3))", "[3]"),
        ("(lambda call: lambda x: call(x=x))(context.prepare(self.module, x=torch.ones(1, 7)))", "[-1]"),
        ("context.prepare(lambda x: self.module.eval().requires_grad_(False)(x))", "[3]"),
    ],
)
def test_a_module_is_compiled_before_the_first_request(
    serve: Serve, caplog: pytest.LogCaptureFixture, prepare: str, dims: str
) -> None:
    caplog.set_level(logging.INFO)
    before = torch.get_num_threads()
    model = serve(COMPILE, prepare, dims)
    assert torch.get_num_threads() == before
    told = [text for record in caplog.records if "compiled for" in (text := record.getMessage())]
    assert [text.partition(" in ")[0] for text in told] == [
        "model 'm': compiled for batches of 4 rows",
        "model 'm': compiled for batches of 2 rows",
        "model 'm': compiled for 1 row",
    ]
    for rows in (1, 2, 3, 4):
        for width in (3, 5) if dims == "[-1]" else (3,):
            ask(model, rows, width)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("config", "prepare", "text"),
    [
        (parameter("compile", "yes"), PREPARE, "parameters['compile']: expected one of false, default"),
        (parameter("autocast", "half"), PREPARE, "parameters['autocast']: expected one of false, bf16, fp16"),
        (
            COMPILE + parameter("compile_batch_sizes", "8"), PREPARE,
            "expected numbers of rows from 1 to max_batch_size (4)",
        ),
        (COMPILE, "context.prepare(self.module, torch.ones(2, 3))", "expected an example of one row"),
        (COMPILE, "context.prepare(torch.nn.Linear(5, 1))", "the module fails on the inputs that it is to be compiled"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_a_load_error(serve: Serve, config: str, prepare: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        serve(config, prepare)
    assert text in raised.value.message


def test_the_inputs_of_the_model_may_be_no_module_s(loader: Any) -> None:
    code = HANDLER.format(prepare=PREPARE, dims="[3]").replace("FP32", "BYTES", 1)
    with pytest.raises(ServingError, match="input 'x' is BYTES, which is no module's input: give an example"):
        loader.serve(EagerBackend(), loader.source({"model.py": code}), COMPILE)


def test_parameters_that_nothing_comes_of(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    serve(
        COMPILE + parameter("autocast", "bf16") + parameter("mine", "x"),
        "self.module.eval().requires_grad_(False)",
    )
    assert warnings(caplog) == [
        "model 'm': parameters['compile'], parameters['autocast'] is for torch modules that the handler gives to "
        "context.prepare, which it has not done"
    ]


def test_parameters_that_are_misspelt(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    serve(parameter("memory-format", "channels_last"))
    assert warnings(caplog) == [
        "model 'm': parameters['memory-format'] means nothing to context.prepare: did you mean 'memory_format'?"
    ]
