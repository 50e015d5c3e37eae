"""Modules that are compiled, or run in another datatype or memory format, against themselves as they were written."""

import gc
import logging
import re
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from backends.pytorch.examples import examples_of_call, examples_of_config
from backends.pytorch.optimize import Example, Optimized, optimize
from backends.pytorch.options import TorchOptions
from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from tests.compiler import NEEDS_COMPILER

inductor: Any = torch._inductor  # type: ignore[attr-defined]
utils: Any = torch._dynamo.utils  # type: ignore[attr-defined]

# torch uses itself what it tells others not to use any more.
pytestmark = [NEEDS_COMPILER, pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]

COMPILED = TorchOptions(compile="default")
CHANNELS_LAST = torch.channels_last


class Net(nn.Module):
    """A little of everything that a network for images has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 4)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.relu(self.norm(self.conv(x)))
        return {"scores": self.last(features.mean((2, 3))), "features": features}


class Means(nn.Module):
    """Quickly compiled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).mean((2, 3))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def images(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 6, 6, generator=torch.Generator().manual_seed(rows))


def batches(*sizes: int) -> list[Example]:
    return examples_of_call((images(1),), {}, sizes, all_vary=False)


def assert_close(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=tolerance, rtol=tolerance)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (TorchOptions(), 0.0),
        (TorchOptions(inference_mode=False), 0.0),
        (TorchOptions(channels_last=True), 1e-5),
        (TorchOptions(autocast="bf16"), 2e-2),
        (TorchOptions(autocast="fp16", channels_last=True), 5e-3),
    ],
)
@pytest.mark.parametrize("scripted", [False, True])
def test_answers_agree_and_have_the_datatype_they_had(
    options: TorchOptions, tolerance: float, scripted: bool
) -> None:
    expected = net()(images(3))
    module: Any = torch.jit.script(net()) if scripted else net()
    called = optimize(module, options, device="cpu", model="m")
    got = called(images(3))
    assert_close(got, expected, tolerance)
    assert {tensor.dtype for tensor in got.values()} == {torch.float32}
    assert got["scores"].is_inference() is options.inference_mode
    assert got["features"].is_contiguous(memory_format=CHANNELS_LAST) is options.channels_last
    # Named arguments as well.
    assert_close(called(x=images(3)), expected, tolerance)


def test_a_module_that_is_half_precision_itself_stays_it_without_autocast() -> None:
    called = optimize(net().bfloat16(), TorchOptions(), device="cpu", model="m")
    assert called(images(1).bfloat16())["scores"].dtype == torch.bfloat16


@pytest.fixture(scope="module")
def compiled() -> Optimized:
    called = optimize(net(), COMPILED, device="cpu", model="m")
    called.warm_up(batches(8, 4, 1))
    return called


def graphs() -> int:
    """How many pieces of code torch has compiled in this process."""
    count: int = utils.counters["stats"]["unique_graphs"]
    return count


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
def test_compiled_answers_agree_for_all_sizes_and_nothing_is_compiled_then(
    compiled: Optimized, caplog: pytest.LogCaptureFixture, rows: int
) -> None:
    before = graphs()
    assert_close(compiled(images(rows)), net()(images(rows)), 1e-5)
    assert graphs() == before
    assert warnings(caplog) == []


@pytest.mark.slow
def test_what_it_was_not_compiled_for_is_answered_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    called = optimize(net(), COMPILED, device="cpu", model="m")
    called.warm_up(batches(4, 1))
    before = graphs()
    for _ in range(2):
        larger = torch.rand(3, 3, 9, 7)
        assert_close(called(larger), net()(larger), 1e-5)
    assert graphs() == before
    assert warnings(caplog) == [
        "model 'm': it was not compiled for inputs of shapes such as [3, 3, 9, 7], which are executed uncompiled, and "
        "more slowly"
    ]


@pytest.mark.slow
def test_other_dimensions_may_vary_too(caplog: pytest.LogCaptureFixture) -> None:
    config = ModelConfig(max_batch_size=4)
    config.input.add(name="x", data_type="TYPE_FP32", dims=[3, -1, -1])
    called = optimize(Means(), COMPILED, device="cpu", model="m")
    called.warm_up(examples_of_config(config, (4, 1), "cpu"))
    before = graphs()
    # Neither the batch and a side nor both sides are taken for one because they once were as large.
    for shape in ((2, 3, 5, 9), (3, 3, 8, 8), (4, 3, 37, 4), (1, 3, 12, 6)):
        image = torch.rand(shape)
        torch.testing.assert_close(called(image), Means()(image))
    assert graphs() == before
    assert warnings(caplog) == []


@pytest.mark.slow
def test_two_models_of_one_class_and_two_instances_of_one_model_do_not_meet() -> None:
    torch.manual_seed(1)
    other = Net()
    modules = [net(), other, net()]
    made = [optimize(module, COMPILED, device="cpu", model="m") for module in modules]
    for each in made:
        each.warm_up(batches(2))
    for each, module in zip(made, modules, strict=True):
        assert_close(each(images(2)), module(images(2)), 1e-5)
    assert not torch.equal(made[0](images(2))["scores"], made[1](images(2))["scores"])


@pytest.mark.slow
def test_a_model_that_is_unloaded_leaves_nothing() -> None:
    def use() -> list[weakref.ref[Any]]:
        module = Means()
        module.weight = nn.Parameter(torch.ones(1))
        called = optimize(module, COMPILED, device="cpu", model="m")
        called.warm_up(batches(2, 1))
        called(images(2))
        called(torch.rand(2, 3, 4, 4))
        return [weakref.ref(each) for each in (module, module.weight, called)]

    left = use()
    gc.collect()
    assert [reference() for reference in left] == [None, None, None]


@pytest.mark.slow
def test_all_options_together(caplog: pytest.LogCaptureFixture) -> None:
    options = TorchOptions("reduce-overhead", autocast="bf16", channels_last=True, inference_mode=False)
    called = optimize(net(), options, device="cpu", model="m")
    called.warm_up(batches(2, 1))
    for rows in (1, 2):
        got = called(images(rows))
        assert_close(got, net()(images(rows)), 2e-2)
        assert got["scores"].dtype == torch.float32
        assert not got["scores"].requires_grad
    # Nothing was executed uncompiled; machines without instructions for bf16 have another warning.
    told = [text for text in warnings(caplog) if "instructions" not in text]
    assert told == [
        "model 'm': parameters['compile'] is 'reduce-overhead', which is the same as 'default' on the CPU"
    ]


@pytest.mark.slow
def test_progress_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    called = optimize(Means(), COMPILED, device="cpu", model="m")
    called.warm_up(batches(2, 1))
    told = [re.sub(r"\d+\.\d s", "T s", record.getMessage()) for record in caplog.records]
    assert told == [
        "model 'm': compiled for batches of 2 rows in T s (1 of 2)",
        "model 'm': compiled for 1 row in T s (2 of 2)",
    ]


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> object:
        return x.numpy().tolist()


@pytest.mark.slow
def test_nothing_to_compile(caplog: pytest.LogCaptureFixture) -> None:
    called = optimize(Untraceable(), COMPILED, device="cpu", model="m")
    called.warm_up([Example((torch.ones(2),))])
    assert called(torch.ones(2)) == [1.0, 1.0]


def test_a_module_that_does_not_take_the_example() -> None:
    called = optimize(nn.Linear(3, 4), COMPILED, device="cpu", model="m")
    with pytest.raises(InvalidArgumentError) as raised:
        called.warm_up([Example((torch.ones(2, 5),))])
    assert raised.value.message.startswith(
        "parameters['compile']: the module fails on the inputs that it is to be compiled for, of shapes [2, 5]: "
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied"
    )


@pytest.mark.slow
def test_a_module_that_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such header")

    called = optimize(nn.Linear(3, 4), COMPILED, device="cpu", model="m")
    monkeypatch.setattr(inductor, "compile", fail)
    with pytest.raises(
        InvalidArgumentError, match=r"torch cannot compile the module for 1 row: .*no such header"
    ):
        called.warm_up([Example((torch.ones(1, 3),), title="1 row")])


def test_torchscript_cannot_be_compiled() -> None:
    scripted: Any = torch.jit.script(net())
    with pytest.raises(InvalidArgumentError, match=r"torch.compile does not take TorchScript"):
        optimize(scripted, COMPILED, device="cpu", model="m")


def test_without_a_compiler() -> None:
    with (
        inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(
            InvalidArgumentError, match=r"needs a C\+\+ compiler, and there is none: install g\+\+"
        ),
    ):
        optimize(net(), COMPILED, device="cpu", model="m")


def test_a_memory_format_without_effect(caplog: pytest.LogCaptureFixture) -> None:
    optimize(nn.Linear(3, 4), TorchOptions(channels_last=True), device="cpu", model="m")
    assert warnings(caplog) == [
        "model 'm': parameters['memory_format'] is set but has no effect: no weights have 4 dimensions"
    ]


# --- made-up inputs -------------------------------------------------------------------------------------------------


def test_examples_of_a_configuration() -> None:
    config = ModelConfig(max_batch_size=4)
    config.input.add(name="ids", data_type="TYPE_INT64", dims=[-1])
    config.input.add(name="image", data_type="TYPE_BF16", dims=[3, 2])
    config.input.add(name="flat", data_type="TYPE_FP32", dims=[1]).reshape.shape.extend([])
    four, one = examples_of_config(config, (4, 1), "cpu")
    assert [tuple(tensor.shape) for tensor in four.args] == [(4, 37), (4, 3, 2), (4,)]
    assert [tuple(tensor.shape) for tensor in one.args] == [(1, 37), (1, 3, 2), (1,)]
    assert [tensor.dtype for tensor in four.args] == [torch.int64, torch.bfloat16, torch.float32]
    assert four.varying == [{0, 1}, {0}, {0}]
    assert (four.title, one.title) == ("batches of 4 rows", "1 row")
    assert not four.args[0].any()
    config.max_batch_size = 0
    [whole] = examples_of_config(config, (), "cpu")
    assert [tuple(tensor.shape) for tensor in whole.args] == [(37,), (3, 2), ()]
    assert whole.varying == [{0}, set(), set()]


def test_a_configuration_that_no_module_takes() -> None:
    config = ModelConfig()
    with pytest.raises(InvalidArgumentError, match="the configuration has no inputs"):
        examples_of_config(config, (), "cpu")
    config.input.add(name="text", data_type="TYPE_STRING", dims=[1])
    with pytest.raises(InvalidArgumentError, match="input 'text' is BYTES, which is no module's input"):
        examples_of_config(config, (), "cpu")


def test_examples_of_a_call() -> None:
    two, one = examples_of_call(([torch.ones(1, 2)], 5), {"mask": torch.zeros(1)}, (2, 1), all_vary=False)
    assert torch.equal(two.args[0][0], torch.ones(2, 2))
    assert two.args[1] == 5
    assert torch.equal(two.kwargs["mask"], torch.zeros(2))
    assert two.varying == one.varying == [{0}, {0}]
    [all_vary] = examples_of_call((torch.ones(1, 2),), {}, (3,), all_vary=True)
    assert all_vary.varying == [{0, 1}]
    [whole] = examples_of_call((torch.ones(5, 2),), {}, (), all_vary=False)
    assert whole.varying == [set()]
    assert torch.equal(whole.args[0], torch.ones(5, 2))


@pytest.mark.parametrize("wrong", [torch.ones(2, 2), torch.tensor(1.0), torch.ones(0, 2)])
def test_an_example_has_one_row(wrong: torch.Tensor) -> None:
    with pytest.raises(InvalidArgumentError, match="expected an example of one row"):
        examples_of_call((wrong,), {}, (2, 1), all_vary=False)


def test_an_example_without_tensors() -> None:
    with pytest.raises(InvalidArgumentError, match="there is no tensor in the example"):
        examples_of_call((1, "a"), {}, (2, 1), all_vary=False)
