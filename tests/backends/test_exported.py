"""Programs of torch.export: what a model is made of, and whether it answers as the module does that was exported."""

import dataclasses
import io
import logging
import shutil
import threading
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.backend import PytorchBackend
from kserve_v2_backends.pytorch.exported.backend import ExportedBackend
from torch import Tensor, nn
from torch.export import Dim
from torch.utils import _pytree

from kserve_v2.backend import Placement, keeps_nothing
from kserve_v2.errors import ContradictionError, InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM

# Of torch itself, while it exports.
pytestmark = pytest.mark.filterwarnings("ignore")

BATCH: Any = {0: Dim.DYNAMIC}


def pt2(module: nn.Module, *arguments: Any, shapes: Any = None, **keywords: Any) -> bytes:
    program = torch.export.export(module.eval(), arguments, keywords or None, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def tensors_of(entries: Any) -> dict[str, tuple[str, list[int]]]:
    return {each.name: (BY_CONFIG_ENUM[each.data_type].name, list(each.dims)) for each in entries}


class Flowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x)).softmax(-1)


class Total(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Pair(NamedTuple):
    total: Tensor
    difference: Tensor


_pytree._register_namedtuple(Pair, serialized_type_name="kserve_v2.tests.Pair")


@dataclasses.dataclass
class Scores:
    scores: Tensor
    hidden: Tensor | None = None
    norm: Tensor | None = None


torch.export.register_dataclass(Scores, serialized_type_name="kserve_v2.tests.Scores")


class Returns(nn.Module):
    """Returns what it is made with."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.how(a + b, a - b)


class Nested(nn.Module):
    def forward(
        self,
        x: Tensor,
        parts: dict[str, Any],
        both: list[Tensor],
        *,
        scale: float = 2.0,
        bias: Tensor | None = None,
    ) -> Any:
        return {"sum": parts["left"] + both[0], "more": [both[1] * scale, (x, None)]}


class TakesDict(nn.Module):
    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return features["a"] - features["b"]


class Variadic(nn.Module):
    def forward(self, *parts: Tensor, **named: Tensor) -> Tensor:
        return parts[0] - parts[1] * named["factor"]


class Repeated(nn.Module):
    def forward(self, x: Tensor, times: int) -> tuple[Tensor, int]:
        return x * times, times + 1


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return x + 0, self.calls


class Adding(nn.Module):
    """Adds how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


class Asserting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        size = x.max().item()
        torch._check(size >= 1)
        torch._check(size < 10)
        return torch.zeros(size)


def serve(loader: Any, content: bytes, text: str = "", **options: Any) -> Any:
    return loader.serve(ExportedBackend(), loader.source({"model.pt2": content}, **options), text)


def complete(loader: Any, content: bytes, text: str = "", **options: Any) -> Any:
    return loader.complete(ExportedBackend(), loader.source({"model.pt2": content}, **options), text)


def rows(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


class TestWithoutConfiguration:
    def test_all_is_read_from_the_file(self, loader: Any) -> None:
        config = complete(loader, pt2(Flowers(), torch.randn(2, 4), shapes={"x": {0: Dim("batch")}}))
        assert tensors_of(config.input) == {"x": ("FP32", [4])}
        assert tensors_of(config.output) == {"OUTPUT__0": ("FP32", [3])}
        assert config.max_batch_size == 4
        assert config.WhichOneof("scheduling_choice") == "dynamic_batching"

    def test_the_program_answers_as_the_module_does(self, loader: Any) -> None:
        module = Flowers()
        module(torch.randn(8, 4))  # so that the statistics are not those of nothing
        served = serve(loader, pt2(module, torch.randn(2, 4), shapes={"x": BATCH}))
        for count in (1, 2, 7):
            x = rows(count, 4)
            expected = module.eval()(torch.from_numpy(x)).detach().numpy()
            np.testing.assert_allclose(served.execute({"x": x})["OUTPUT__0"], expected, atol=1e-6)

    def test_a_fixed_first_dimension_is_no_batch(self, loader: Any) -> None:
        config = complete(loader, pt2(Flowers(), torch.randn(2, 4)))
        assert (config.max_batch_size, tensors_of(config.input)) == (0, {"x": ("FP32", [2, 4])})

    @pytest.mark.parametrize(
        ("dim", "settings", "expected"),
        [
            (Dim("b"), {"default-max-batch-size": "32"}, 32),
            (Dim("b", max=16), {"default-max-batch-size": "32"}, 16),
            (Dim("b", min=1, max=2), {}, 2),
            (Dim("b", min=2), {}, 4),
            (Dim("b", min=3), {}, 0),
        ],
    )
    def test_the_bounds_of_the_first_dimension_are_those_of_a_batch(
        self, loader: Any, dim: Any, settings: Mapping[str, str], expected: int
    ) -> None:
        content = pt2(Flowers(), torch.randn(3 if expected != 2 else 2, 4), shapes={"x": {0: dim}})
        assert complete(loader, content, settings=settings).max_batch_size == expected

    @pytest.mark.parametrize(
        ("module", "arguments", "shapes", "reason"),
        [
            (Total(), (torch.ones(3, 2), torch.ones(1, 2)), {"a": BATCH, "b": None}, None),
            (Adding(), (torch.ones(3),), {"x": BATCH}, "the program writes to 'calls'"),
            (Repeated(), (torch.ones(3), 4), {"x": BATCH, "times": Dim.DYNAMIC}, None),
            (
                Returns(lambda total, difference: (total[:2], difference)),
                (torch.ones(5, 2), torch.ones(5, 2)),
                {"a": BATCH, "b": BATCH},
                None,
            ),
            (
                Returns(lambda total, difference: total @ difference.T),
                (torch.ones(5, 2), torch.ones(5, 2)),
                {"a": BATCH, "b": BATCH},
                "is also in dimension 1 of 'OUTPUT__0'",
            ),
            (
                Returns(lambda total, difference: torch.cat([total, difference])),
                (torch.ones(5, 2), torch.ones(5, 2)),
                {"a": BATCH, "b": BATCH},
                "its first dimensions are different ones",
            ),
        ],
    )
    def test_what_speaks_against_a_batch(
        self, loader: Any, caplog: Any, module: Any, arguments: Any, shapes: Any, reason: str | None
    ) -> None:
        assert complete(loader, pt2(module, *arguments, shapes=shapes)).max_batch_size == 0
        assert (reason or "") in caplog.text

    @pytest.mark.parametrize(
        "dtype",
        [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64,
         torch.bfloat16, torch.uint16, torch.uint32, torch.uint64],
    )  # fmt: skip
    def test_datatypes(self, loader: Any, dtype: torch.dtype) -> None:
        class Same(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.reshape(2, 1)

        config = complete(loader, pt2(Same(), torch.zeros(2, dtype=dtype)))
        name = str(dtype).removeprefix("torch.").upper().replace("BFLOAT", "BF").replace("FLOAT", "FP")
        assert tensors_of(config.input) == {"x": (name, [2])}

    def test_a_datatype_that_the_protocol_has_not(self, loader: Any) -> None:
        both = Returns(lambda total, difference: (torch.complex(total, difference), total))
        config = complete(loader, pt2(both, torch.ones(3), torch.ones(3)))
        assert tensors_of(config.output) == {"OUTPUT__1": ("FP32", [3])}
        only = pt2(Total(), torch.ones(3, dtype=torch.complex64), torch.ones(3))
        with pytest.raises(
            ContradictionError, match="input 'a' is complex64, which the v2 protocol cannot carry"
        ):
            complete(loader, only)


class Calls(nn.Module):
    """Calls a function with itself, and what it holds, and the inputs."""

    def __init__(self, function: Any, **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            if isinstance(value, nn.Module):
                self.add_module(name, value)
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Contexts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", torch.bfloat16):
            z = self.linear(y)
        return z.float()


SHARED = nn.Linear(4, 4)
STORAGE = torch.arange(40.0).reshape(10, 4)
IMAGE = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
KINDS: dict[str, tuple[nn.Module, tuple[int, ...], Any, tuple[int, ...]]] = {
    "convolution": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)),
        (2, 3, 16, 16), IMAGE, (1, 3, 20, 24),
    ),
    "recurrent": (
        Calls(lambda self, x: self.layers(x)[0], layers=nn.LSTM(4, 5, 2, batch_first=True)), (2, 7, 4), BATCH, (3, 7, 4),
    ),
    "attention": (
        Calls(lambda self, x: self.heads(x, x, x)[0], heads=nn.MultiheadAttention(16, 4, batch_first=True)),
        (2, 7, 16), {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, (3, 5, 16),
    ),
    "contexts": (Contexts(), (3, 4), BATCH, (2, 4)),
    "shared weights": (Calls(lambda self, x: self.b(self.a(x)), a=SHARED, b=SHARED), (3, 4), BATCH, (2, 4)),
    "views of one storage": (
        Calls(lambda self, x: x @ self.a + self.b + self.c, a=STORAGE[:4].t(), b=STORAGE[9], c=STORAGE[8:9].expand(1, 4)),
        (3, 4), BATCH, (2, 4),
    ),
    "complex weights": (
        Calls(lambda self, x: (torch.fft.rfft(x) * self.a).real, a=torch.ones(9, dtype=torch.complex64) * 2j),
        (2, 16), BATCH, (3, 16),
    ),
    "as many as there are": (Calls(lambda self, x: x[x > 0]), (3, 4), BATCH, (2, 4)),
    "infinities": (Calls(lambda self, x: torch.where(x > 0, x, float("-inf")).exp()), (3, 4), BATCH, (2, 4)),
    "sizes in use": (
        Calls(lambda self, x: nn.functional.interpolate(x, scale_factor=1.5, mode="bilinear")),
        (2, 3, 8, 8), IMAGE, (1, 3, 6, 10),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "functional"), [*((kind, False) for kind in KINDS), ("convolution", True), ("infinities", True)]
)
def test_kinds_of_modules(loader: Any, kind: str, functional: bool) -> None:
    module, example, dynamic, other = KINDS[kind]
    program = torch.export.export(module.eval(), (torch.randn(example),), dynamic_shapes=(dynamic,))
    buffer = io.BytesIO()
    torch.export.save(program.run_decompositions() if functional else program, buffer)
    source = loader.source({"model.pt2": buffer.getvalue()})
    (name,) = (tensor.name for tensor in loader.complete(ExportedBackend(), source).input)
    served = loader.serve(ExportedBackend(), source)
    for shape in (example, other):
        x = rows(*shape)
        with torch.no_grad():
            expected = module(torch.from_numpy(x.copy())).numpy()
        np.testing.assert_allclose(served.execute({name: x})["OUTPUT__0"], expected, atol=1e-4, rtol=1e-4)


def test_a_program_is_moved_from_the_device_that_it_was_exported_on(loader: Any) -> None:
    """Of a machine with a GPU, which need not be here: only the file says so."""

    class Ramp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.arange(3, device=x.device)

    content, moved = pt2(Ramp(), torch.ones(2, 3), shapes={"x": BATCH}), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(moved, "w") as target:
        for name in source.namelist():
            text = source.read(name).replace(
                b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 1}'
            )
            target.writestr(name, text)
    assert content != moved.getvalue()
    np.testing.assert_array_equal(
        serve(loader, moved.getvalue()).execute({"x": rows(2, 3)})["OUTPUT__0"],
        rows(2, 3) + np.arange(3, dtype=np.float32),
    )


class TestContainers:
    @pytest.mark.parametrize(
        ("how", "names"),
        [
            (lambda total, difference: total, ["OUTPUT__0"]),
            (lambda total, difference: (total, difference), ["OUTPUT__0", "OUTPUT__1"]),
            (lambda total, difference: [difference, None, total], ["OUTPUT__0", "OUTPUT__1"]),
            (
                lambda total, difference: (total, (difference, [total])),
                ["OUTPUT__0", "OUTPUT__1", "OUTPUT__2"],
            ),
            (lambda total, difference: {"total": total, "difference": difference}, ["difference", "total"]),
            (lambda total, difference: {"both": {"a": total, "b": [difference]}}, ["both__a", "both__b__0"]),
            (Pair, ["difference", "total"]),
            (Scores, ["hidden", "scores"]),
            (lambda total, difference: Scores(total, norm=difference), ["norm", "scores"]),
            (lambda total, difference: (total, 7), ["OUTPUT__0"]),
        ],
    )
    def test_results(self, loader: Any, how: Any, names: list[str]) -> None:
        served = serve(
            loader, pt2(Returns(how), torch.ones(3, 2), torch.ones(3, 2), shapes={"a": BATCH, "b": BATCH})
        )
        a, b = rows(2, 2), rows(2, 2) * 3
        outputs = served.execute({"a": a, "b": b})
        assert sorted(outputs) == names
        flat = [each for each in _pytree.tree_leaves(how(a + b, a - b)) if isinstance(each, np.ndarray)]
        for array in flat:
            assert any(np.array_equal(array, output) for output in outputs.values())
        for name, sign in (("total", 1), ("difference", -1)):
            if name in outputs:
                np.testing.assert_array_equal(outputs[name], a + sign * b)

    def test_arguments_in_containers(self, loader: Any) -> None:
        content = pt2(
            Nested(),
            torch.zeros(2),
            {"left": torch.zeros(3), "right": torch.zeros(1)},
            [torch.zeros(3), torch.zeros(2)],
            scale=4.0,
            bias=None,
        )
        served = serve(loader, content)
        x, left, first, second = rows(2), rows(3), rows(3) * 2, rows(2) * 5
        given = {"x": x, "parts__left": left, "parts__right": rows(1), "both__0": first, "both__1": second}
        outputs = served.execute(given)
        np.testing.assert_array_equal(outputs["sum"], left + first)
        np.testing.assert_array_equal(outputs["more__0"], second * 4)
        np.testing.assert_array_equal(outputs["more__1__0"], x)

    def test_one_dictionary_is_its_keys(self, loader: Any) -> None:
        served = serve(loader, pt2(TakesDict(), {"b": torch.ones(2), "a": torch.ones(2)}))
        np.testing.assert_array_equal(served.execute({"a": rows(2) * 2, "b": rows(2)})["OUTPUT__0"], rows(2))

    def test_any_number_of_arguments(self, loader: Any) -> None:
        served = serve(loader, pt2(Variadic(), torch.ones(2), torch.ones(2), factor=torch.ones(2)))
        given = {"parts_0": rows(2), "parts_1": rows(2), "factor": np.full(2, 3, np.float32)}
        np.testing.assert_allclose(served.execute(given)["OUTPUT__0"], rows(2) * -2, rtol=1e-6)

    def test_a_number_is_an_input_of_one_element(self, loader: Any) -> None:
        content = pt2(Repeated(), torch.ones(3), 4, shapes={"x": BATCH, "times": Dim.DYNAMIC})
        config = complete(loader, content)
        assert tensors_of(config.input) == {"x": ("FP32", [-1]), "times": ("INT64", [1])}
        outputs = serve(loader, content).execute({"x": rows(5), "times": np.array([3])})
        np.testing.assert_array_equal(outputs["OUTPUT__0"], rows(5) * 3)
        assert (outputs["OUTPUT__1"].dtype, outputs["OUTPUT__1"].tolist()) == (np.int64, [4])

    def test_a_tensor_without_dimensions_is_one_element(self, loader: Any) -> None:
        served = serve(loader, pt2(Total(), torch.tensor(1.0), torch.tensor(2.0)))
        output = served.execute({"a": np.array([3], np.float32), "b": np.array([4], np.float32)})["OUTPUT__0"]
        assert (output.shape, output.tolist()) == ((1,), [7])


class TestWithConfiguration:
    @pytest.mark.parametrize(
        ("inputs", "outputs"),
        [
            ("a b", "total"),
            ("INPUT__0 INPUT__1", "x__0"),
            ("left right", "total difference"),
            ("b a", "difference"),
        ],
    )
    def test_names(self, loader: Any, inputs: str, outputs: str) -> None:
        how = Returns(lambda total, difference: {"total": total, "difference": difference})
        text = " ".join(f'input {{ name: "{name}" }}' for name in inputs.split())
        text += " ".join(f' output {{ name: "{name}" }}' for name in outputs.split())
        served = serve(loader, pt2(how, torch.ones(2), torch.ones(2)), text)
        a, b = rows(2), rows(2) * 2
        first, second = inputs.split()
        answers = served.execute({first: b, second: a} if inputs == "b a" else {first: a, second: b})
        assert sorted(answers) == sorted(outputs.split())
        np.testing.assert_array_equal(
            next(iter(answers.values())), a - b if outputs == "difference" else a + b
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('input { name: "z__7" }', "model.pt2 has no input 'z__7'; it has: 'x'"),
            ('output { name: "y__3" }', "model.pt2 has no output 'y__3'; it has: 'OUTPUT__0'"),
            (
                'input { name: "x" data_type: TYPE_INT32 }',
                "'x' is TYPE_FP32 in model.pt2, the configuration says TYPE_INT32",
            ),
            ('input { name: "x" dims: [ 5 ] }', "'x' has dims"),
            ('input { name: "x" optional: true }', "input 'x' is optional in the configuration"),
            ("max_batch_size: 17", "takes at most 16 rows, the configuration says 17"),
        ],
    )
    def test_contradictions(self, loader: Any, text: str, problem: str) -> None:
        content = pt2(Flowers(), torch.randn(2, 4), shapes={"x": {0: Dim("batch", max=16)}})
        with pytest.raises(ContradictionError) as caught:
            complete(loader, content, text)
        assert problem in caught.value.message

    def test_a_batch_of_a_fixed_dimension(self, loader: Any) -> None:
        with pytest.raises(ContradictionError, match=r"dynamic_shapes=\{\"x\": \{0: torch.export.Dim"):
            complete(loader, pt2(Flowers(), torch.randn(2, 4)), "max_batch_size: 8")

    def test_a_constant_is_no_input(self, loader: Any) -> None:
        content = pt2(
            Nested(), torch.zeros(2), {"left": torch.zeros(3)}, [torch.zeros(3), torch.zeros(2)], scale=4.0
        )
        with pytest.raises(
            ContradictionError, match=r"'scale' is no tensor in model\.pt2 but 4\.0, for every request"
        ):
            complete(loader, content, 'input { name: "scale" data_type: TYPE_FP32 dims: [ 1 ] }')

    def test_numbers_cannot_be_merged(self, loader: Any) -> None:
        content = pt2(Repeated(), torch.ones(3), 4, shapes={"x": BATCH, "times": Dim.DYNAMIC})
        with pytest.raises(ContradictionError, match="output 'OUTPUT__1' is one number for all rows"):
            complete(loader, content, "max_batch_size: 8")
        text = 'max_batch_size: 8 output { name: "OUTPUT__0" }'
        with pytest.raises(ContradictionError, match="'times' is one number for all rows of a batch"):
            complete(loader, content, text + " dynamic_batching { }")
        served = serve(loader, content, text)
        given = {"x": rows(2), "times": np.array([[3], [3]])}
        np.testing.assert_array_equal(served.execute(given)["OUTPUT__0"], rows(2) * 3)
        with pytest.raises(InvalidArgumentError, match="'times' is one number for all rows of a request"):
            served.execute({"x": rows(2), "times": np.array([[3], [4]])})

    def test_parameters(self, loader: Any) -> None:
        content = pt2(Flowers(), torch.randn(2, 4))
        text = 'parameters {{ key: "{}" value {{ string_value: "{}" }} }}'
        served = serve(loader, content, text.format("INFERENCE_MODE", "false"))
        assert served.execute({"x": rows(2, 4)})["OUTPUT__0"].shape == (2, 3)
        with pytest.raises(InvalidArgumentError, match="INFERENCE_MODE"):
            complete(loader, content, text.format("INFERENCE_MODE", "perhaps"))


class TestSizes:
    """A size that the program does not take is the client's mistake, and is named."""

    def refused(self, served: Any, given: Mapping[str, Any], *texts: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            served.execute(given)
        for text in texts:
            assert text in caught.value.message

    def test_bounds(self, loader: Any) -> None:
        content = pt2(Flowers(), torch.randn(5, 4), shapes={"x": {0: Dim("rows", min=4, max=16)}})
        served = serve(loader, content)
        for count in (4, 16):
            assert len(served.execute({"x": rows(count, 4)})["OUTPUT__0"]) == count
        for count in (3, 17):
            self.refused(
                served,
                {"x": rows(count, 4)},
                f"input 'x': dimension 0 is {count}, but the program takes 4 to 16",
            )

    def test_sizes_that_are_alike(self, loader: Any) -> None:
        dynamic = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
        content = pt2(Total(), torch.ones(3, 5), torch.ones(3, 5), shapes={"a": dynamic, "b": dynamic})
        served = serve(loader, content)
        served.execute({"a": rows(2, 7), "b": rows(2, 7)})
        self.refused(
            served,
            {"a": rows(2, 7), "b": rows(2, 6)},
            "input 'b': dimension 1 is 6",
            "input 'a': dimension 1 is 7",
        )

    def test_multiples(self, loader: Any) -> None:
        class Halves(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.reshape(-1, 2).sum(-1)

        half = Dim("half", max=8)
        served = serve(loader, pt2(Halves(), torch.ones(6), shapes={"x": {0: 2 * half}}))
        assert served.execute({"x": rows(8)})["OUTPUT__0"].shape == (4,)
        self.refused(served, {"x": rows(7)}, "input 'x': dimension 0 is 7, but the program takes 2 *")
        self.refused(served, {"x": rows(18)}, "input 'x'")

    def test_one_size_computed_from_another(self, loader: Any) -> None:
        class Joined(nn.Module):
            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return x + y[1:]

        size = Dim("size")
        content = pt2(Joined(), torch.ones(6), torch.ones(7), shapes={"x": {0: size}, "y": {0: size + 1}})
        served = serve(loader, content)
        served.execute({"x": rows(3), "y": rows(4)})
        self.refused(
            served, {"x": rows(3), "y": rows(3)}, "input 'y': dimension 0 is 3, but the program takes", "+ 1"
        )

    def test_whatever_held_when_it_was_exported(self, loader: Any) -> None:
        class Branches(nn.Module):
            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return torch.cat([x, y]) * (2 if x.shape[0] + y.shape[0] > 5 else 3)

        served = serve(loader, pt2(Branches(), torch.ones(3), torch.ones(4), shapes={"x": BATCH, "y": BATCH}))
        np.testing.assert_array_equal(
            served.execute({"x": rows(2), "y": rows(4)})["OUTPUT__0"][:2], rows(2) * 2
        )
        self.refused(served, {"x": rows(2), "y": rows(2)}, "'y' [2]", "'x' [2]", "x.size()[0] > 5")

    def test_a_number_out_of_bounds(self, loader: Any) -> None:
        class Cut(nn.Module):
            def forward(self, x: Tensor, size: int) -> Tensor:
                return x[:, :size]

        content = pt2(Cut(), torch.ones(3, 9), 4, shapes={"x": BATCH, "size": Dim.DYNAMIC})
        served = serve(loader, content)
        assert served.execute({"x": rows(2, 9), "size": np.array([5])})["OUTPUT__0"].shape == (2, 5)
        self.refused(served, {"x": rows(2, 9), "size": np.array([10])}, "input 'size'")

    def test_values_that_the_program_refuses(self, loader: Any) -> None:
        served = serve(loader, pt2(Asserting(), torch.tensor([2, 3])))
        assert served.execute({"x": np.array([4, 2])})["OUTPUT__0"].shape == (4,)
        self.refused(
            served, {"x": np.array([4, 12])}, "values that the program refuses", "Runtime assertion failed"
        )
        assert served.execute({"x": np.array([4, 2])})["OUTPUT__0"].shape == (4,)


class TestState:
    def test_what_a_program_writes_to_is_each_instance_s_own(
        self, loader: Any, instance_thread: Any, caplog: Any
    ) -> None:
        source = loader.source({"model.pt2": pt2(Counting(), torch.ones(3))}, instances=2)
        model = loader.load(ExportedBackend(), source)
        assert "the program writes to 'calls'" in caplog.text
        assert keeps_nothing(model) is False
        one, other = (instance_thread(model, placement) for placement in source.placements)
        trial = model.trial_instance(source.placements[0])
        try:
            calls = [each.execute({"x": rows(3)})["OUTPUT__1"] for each in (one, one, one, other)]
            trial.execute({"x": rows(3)}, [])
            calls.append(one.execute({"x": rows(3)})["OUTPUT__1"])
        finally:
            one.close()
            other.close()
        # Also of the answers that were given before: they are no views of the buffer.
        assert [each.tolist() for each in calls] == [[1], [2], [3], [1], [4]]

    def test_updates_of_a_functional_program_are_kept(self, loader: Any) -> None:
        program = torch.export.export(Counting().eval(), (torch.ones(3),)).run_decompositions()
        assert program.graph_signature.buffers_to_mutate
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        served = serve(loader, buffer.getvalue())
        assert [served.execute({"x": rows(3)})["OUTPUT__1"].tolist() for _ in range(3)] == [[1], [2], [3]]

    def test_a_module_that_is_still_in_training_is_reported(self, loader: Any, caplog: Any) -> None:
        program = torch.export.export(Flowers().train(), (torch.randn(3, 4),), dynamic_shapes={"x": BATCH})
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        model = loader.load(ExportedBackend(), loader.source({"model.pt2": buffer.getvalue()}))
        assert "call eval() before exporting it" in caplog.text
        assert model.trial_instance(Placement("m_0_0", "CPU")) is not None

    def test_weights_are_shared_unless_the_operator_says_otherwise(
        self, loader: Any, instance_thread: Any
    ) -> None:
        content = pt2(Flowers(), torch.randn(3, 4))
        for text, shared in (
            ("", True),
            ('parameters { key: "ENABLE_WEIGHT_SHARING" value { string_value: "false" } }', False),
        ):
            model = loader.load(ExportedBackend(), loader.source({"model.pt2": content}), text)
            threads = [instance_thread(model) for _ in range(2)]
            one, other = (thread.instance._state[0] for thread in threads)
            for thread in threads:
                thread.close()
            assert (one is other) is shared
            assert model.trial_instance(Placement("m_0_0", "CPU")) is None
            assert keeps_nothing(model) is True

    def test_an_input_is_not_written_to(self, loader: Any) -> None:
        class InPlace(nn.Module):
            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                x.add_(1)
                return x * 2, x

        x = rows(3)
        x.flags.writeable = False
        outputs = serve(loader, pt2(InPlace(), torch.ones(3))).execute({"x": x})
        np.testing.assert_array_equal(outputs["OUTPUT__1"], rows(3) + 1)
        np.testing.assert_array_equal(x, rows(3))

    def test_answers_are_nobody_else_s(self, loader: Any) -> None:
        class Kept(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("kept", torch.ones(3))

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                return x, self.kept, x[1:]

        served = serve(loader, pt2(Kept(), torch.ones(3)))
        x = rows(3).copy()
        outputs = served.execute({"x": x})
        for output in outputs.values():
            output[:] = 9
        again = served.execute({"x": rows(3)})
        assert again["OUTPUT__1"].tolist() == [1, 1, 1]
        assert all(output.flags.c_contiguous for output in again.values())


class TestFailures:
    def test_what_a_kernel_says_is_an_internal_error(self, loader: Any) -> None:
        class Looks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table = nn.Embedding(4, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.table(x)

        served = serve(loader, pt2(Looks(), torch.tensor([1, 2])))
        with pytest.raises(InternalError, match=r"forward failed: .*out of range"):
            served.execute({"x": np.array([1, 5])})
        assert served.execute({"x": np.array([1, 3])})["OUTPUT__0"].shape == (2, 2)

    def test_a_gpu_that_is_not_there(self, loader: Any) -> None:
        source = dataclasses.replace(
            loader.source({"model.pt2": pt2(Flowers(), torch.randn(2, 4))}),
            placements=(Placement("m", "GPU", 99),),
        )
        config = loader.complete(ExportedBackend(), source)
        with pytest.raises(InvalidArgumentError, match=r"model\.pt2: there is no cuda:99"):
            ExportedBackend().load(source, config)

    @pytest.mark.slow
    def test_models_are_loaded_at_the_same_time(self, loader: Any) -> None:
        source = loader.source({"model.pt2": pt2(Flowers(), torch.randn(2, 4))})
        config = loader.complete(ExportedBackend(), source)
        failures: list[BaseException] = []

        def load() -> None:
            try:
                for _ in range(5):
                    ExportedBackend().load(source, config).close()
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def options(**given: str) -> str:
    return " ".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in given.items()
    )


class TestOptions:
    """The parameters for compiling and the like; what they do is tested where they are made."""

    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
    @pytest.mark.slow
    def test_a_program_is_compiled_before_it_is_served(self, loader: Any, caplog: Any) -> None:
        caplog.set_level(logging.INFO)
        module = Flowers()
        content = pt2(module, torch.randn(2, 4), shapes={"x": {0: Dim("batch")}})
        served = serve(
            loader, content, options(compile="default", compile_batch_sizes="4") + " max_batch_size: 4"
        )
        assert "compiled for batches of 4 rows" in caplog.text
        for count in (1, 4, 3):
            x = rows(count, 4)
            expected = module.eval()(torch.from_numpy(x)).detach().numpy()
            np.testing.assert_allclose(served.execute({"x": x})["OUTPUT__0"], expected, atol=1e-5)

    def test_autocast_and_channels_last(self, loader: Any) -> None:
        class Images(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolution = nn.Conv2d(3, 8, 3)

            def forward(self, image: Tensor) -> Tensor:
                return self.convolution(image)

        module = Images()
        content = pt2(module, torch.randn(2, 3, 8, 8), shapes={"image": BATCH})
        served = serve(loader, content, options(autocast="bf16", memory_format="channels_last"))
        image = rows(2, 3, 8, 8)
        expected = module.eval()(torch.from_numpy(image)).detach().numpy()
        output = served.execute({"image": image})["OUTPUT__0"]
        assert output.flags.c_contiguous
        np.testing.assert_allclose(output, expected, atol=0.05)
        assert not np.array_equal(output, expected)

    def test_state_is_kept_by_an_optimized_program(self, loader: Any, instance_thread: Any) -> None:
        source = loader.source({"model.pt2": pt2(Counting(), torch.ones(3))}, instances=2)
        model = loader.load(ExportedBackend(), source, options(autocast="bf16"))
        one, other = (instance_thread(model, placement) for placement in source.placements)
        calls = [each.execute({"x": rows(3)})["OUTPUT__1"].tolist() for each in (one, one, other)]
        one.close()
        other.close()
        assert calls == [[1], [2], [1]]

    def test_values_that_they_cannot_have(self, loader: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"parameters\['compile'\]: expected one of"):
            complete(loader, pt2(Flowers(), torch.randn(2, 4)), options(compile="quickly"))


class TestWhichFile:
    def test_both_files_lie_there(self, loader: Any, caplog: Any) -> None:
        class Same(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x

        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(Same()), buffer)
        source = loader.source(
            {"model.pt": buffer.getvalue(), "model.pt2": pt2(Flowers(), torch.randn(2, 4))}
        )
        text = 'input { name: "x" data_type: TYPE_FP32 dims: -1 } output { name: "y" data_type: TYPE_FP32 dims: -1 }'
        served = loader.serve(PytorchBackend(), source, text)
        np.testing.assert_array_equal(served.execute({"x": rows(2)})["y"], rows(2))
        assert "model.pt2 lies beside model.pt and is not served" in caplog.text
        caplog.clear()
        served = loader.serve(
            PytorchBackend(), source, 'default_model_filename: "model.pt2" platform: "torch_aoti"'
        )
        assert served.execute({"x": rows(2, 4)})["OUTPUT__0"].shape == (2, 3)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
