"""What TorchScript models take and return besides flat tensors: served, or refused when they are loaded."""

import io
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.torchscript.backend import TorchScriptBackend
from torch import Tensor, nn

from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_NAME

# The deprecation is for whoever makes such files, which only these tests do here.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

X, Y, Z = (np.array([[n, n + 1]], np.float32) for n in (1, 10, 100))
SUM = [[111, 114]]


def saved(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def tensor(name: str, data_type: str = "FP32", dims: str = "-1, 2", more: str = "") -> str:
    return f'{{ name: "{name}" data_type: TYPE_{data_type} dims: [ {dims} ] {more} }}'


def text(inputs: list[str], outputs: list[str], more: str = "") -> str:
    return (
        more + "".join(f"input {each} " for each in inputs) + "".join(f"output {each} " for each in outputs)
    )


def named(names: str, *outputs: str) -> str:
    return text([tensor(name) for name in names.split()], [*outputs] or [tensor("y")])


def serve(loader: Any, module: nn.Module, configuration: str) -> Any:
    return loader.serve(TorchScriptBackend(), loader.source({"model.pt": saved(module)}), configuration)


def refusal(loader: Any, module: nn.Module, configuration: str) -> str:
    """Why such a model is not loaded; it says what `forward` takes and returns."""
    with pytest.raises(InvalidArgumentError) as caught:
        loader.load(TorchScriptBackend(), loader.source({"model.pt": saved(module)}), configuration)
    assert "forward(" in caught.value.message
    return caught.value.message


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class ListIn(nn.Module):
    def forward(self, xs: list[Tensor]) -> Tensor:
        total = torch.zeros(1)
        for weight, x in enumerate(xs):
            total = total + x * (weight + 1)
        return total


class ListAndTensor(nn.Module):
    def forward(self, first: Tensor, xs: list[Tensor], bias: Tensor | None = None) -> Tensor:
        total = first
        for x in xs:
            total = total + x
        return total if bias is None else total - bias


class TupleIn(nn.Module):
    def forward(self, pair: tuple[Tensor, tuple[Tensor, int]], z: Tensor) -> Tensor:
        return pair[0] + pair[1][0] * pair[1][1] + z


class PairIn(nn.Module):
    def forward(self, pair: Pair) -> Tensor:
        return pair.left - pair.right


class OptionalIn(nn.Module):
    def forward(self, x: Tensor, n: int | None, pair: tuple[Tensor, Tensor] | None, k: int = 2) -> Tensor:
        y = x * k
        if n is not None:
            y = y + n
        if pair is not None:
            y = y + pair[0] - pair[1]
        return y


class ScalarsIn(nn.Module):
    def forward(self, x: Tensor, n: int, f: float, b: bool, s: str, sizes: list[int]) -> Tensor:
        return (x + n * f if b else x) * len(s) + sum(sizes)


class IntArgument(nn.Module):
    """Silero's detector takes the sampling rate like this."""

    def forward(self, x: Tensor, sr: int) -> Tensor:
        return x * sr


class TestListsAndTuples:
    @pytest.mark.parametrize("names", ["INPUT__0 INPUT__1 INPUT__2", "xs__0 xs__1 xs__2", "one two three"])
    def test_a_list_has_one_input_for_each_element(self, loader: Any, names: str) -> None:
        served = serve(loader, ListIn(), named(names))
        result = served.execute(dict(zip(names.split(), (X, Y, Z), strict=True)))["y"]
        assert result.tolist() == (X + 2 * Y + 3 * Z).tolist()

    def test_inputs_are_found_by_index_in_any_order(self, loader: Any) -> None:
        served = serve(loader, ListIn(), named("x__1 x__0"))
        assert served.execute({"x__1": Y, "x__0": X})["y"].tolist() == (X + 2 * Y).tolist()

    def test_a_list_of_one(self, loader: Any) -> None:
        assert serve(loader, ListIn(), named("xs")).execute({"xs": X})["y"].tolist() == X.tolist()

    @pytest.mark.parametrize("names", ["first xs__0 xs__1", "a__0 b__1 c__2", "a b c"])
    def test_a_list_beside_a_tensor(self, loader: Any, names: str) -> None:
        served = serve(loader, ListAndTensor(), named(names))
        assert served.execute(dict(zip(names.split(), (X, Y, Z), strict=True)))["y"].tolist() == SUM

    def test_a_list_beside_what_may_be_missing(self, loader: Any) -> None:
        inputs = [tensor("first"), tensor("xs__0"), tensor("bias", more="optional: true")]
        served = serve(loader, ListAndTensor(), text(inputs, [tensor("y")]))
        assert served.execute({"first": X, "xs__0": Y, "bias": Z})["y"].tolist() == (X + Y - Z).tolist()
        assert served.execute({"first": X, "xs__0": Y})["y"].tolist() == (X + Y).tolist()

    @pytest.mark.parametrize(
        "names", ["pair__0 pair__1__0 pair__1__1 z", "a__0 a__1 a__2 a__3", "p q count r"]
    )
    def test_a_tuple_in_a_tuple(self, loader: Any, names: str) -> None:
        a, b, n, z = names.split()
        inputs = [tensor(a), tensor(b), tensor(n, "INT32", "1"), tensor(z)]
        served = serve(loader, TupleIn(), text(inputs, [tensor("y")]))
        result = served.execute({a: X, b: Y, n: np.array([3], np.int32), z: Z})["y"]
        assert result.tolist() == (X + 3 * Y + Z).tolist()

    @pytest.mark.parametrize("names", ["pair__0 pair__1", "left right"])
    def test_a_named_tuple(self, loader: Any, names: str) -> None:
        served = serve(loader, PairIn(), named(names))
        result = served.execute(dict(zip(names.split(), (X, Y), strict=True)))["y"]
        assert result.tolist() == (X - Y).tolist()

    @pytest.mark.parametrize(
        ("module", "configuration", "expected"),
        [
            (ListIn(), text([], [tensor("y")]), "takes its inputs in a list; name them in config.pbtxt"),
            (ListIn(), text([tensor("xs", "STRING", "1")], [tensor("y")]), "is TYPE_STRING, but 'xs"),
            (ListAndTensor(), named("first"), "argument 'xs' has no input"),
            (ListAndTensor(), named("first xs__0 z"), "input[2]: 'z' is neither the name of an argument nor"),
            (TupleIn(), named("pair__0 pair__1__0 z"), "argument 'pair__1__1' has no input"),
            (OptionalIn(), named("x pair__0"), "argument 'pair' has inputs for some of its parts only"),
            (TupleIn(), named("a b c d"), "'c' is TYPE_FP32, but 'pair__1__1' is int"),
            (
                ListIn(),
                text([tensor("xs__0"), tensor("xs__1", more="optional: true")], [tensor("y")]),
                "input[1]: 'xs__1' is optional, but forward needs its argument 'xs__1'",
            ),
        ],
    )
    def test_what_does_not_fit_fails_the_load(
        self, loader: Any, module: nn.Module, configuration: str, expected: str
    ) -> None:
        assert expected in refusal(loader, module, configuration)


class TestScalars:
    INPUTS = (
        tensor("x"),
        tensor("n", "INT64", "1"),
        tensor("f", "FP64", "1"),
        tensor("b", "BOOL", "1"),
        tensor("s", "STRING", "1"),
        tensor("sizes", "INT32", "-1"),
    )

    def test_numbers_booleans_and_strings_are_inputs_of_one_element(self, loader: Any) -> None:
        served = serve(loader, ScalarsIn(), text([*self.INPUTS], [tensor("y")]))
        inputs = {
            "x": X,
            "n": np.array([3]),
            "f": np.array([0.5]),
            "b": np.array([True]),
            "s": np.array([b"four"], object),
            "sizes": np.array([1, 2], np.int32),
        }
        assert served.execute(inputs)["y"].tolist() == ((X + 1.5) * 4 + 3).tolist()
        inputs["b"] = np.array([False])
        assert served.execute(inputs)["y"].tolist() == (X * 4 + 3).tolist()

    @pytest.mark.parametrize(
        ("data_type", "dims", "expected"),
        [
            ("FP32", "1", "'sr' is TYPE_FP32, but 'sr' is int, which is made from TYPE_INT64"),
            ("BOOL", "1", "'sr' is TYPE_BOOL, but 'sr' is int"),
            ("INT64", "2", "'sr' has dims [2], but 'sr' is one int: dims are [1]"),
        ],
    )
    def test_what_does_not_fit_fails_the_load(
        self, loader: Any, data_type: str, dims: str, expected: str
    ) -> None:
        configuration = text([tensor("x"), tensor("sr", data_type, dims)], [tensor("y")])
        assert expected in refusal(loader, IntArgument(), configuration)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (np.array([1, 2]), "input 'sr' is one int: expected 1 element, got 2"),
            (np.array([2**63], np.uint64), "input 'sr': TorchScript integers must be below 2^63"),
        ],
    )
    def test_a_value_that_has_no_form_is_the_client_s_mistake(
        self, loader: Any, value: Any, expected: str
    ) -> None:
        data_type = "UINT64" if value.dtype == np.uint64 else "INT64"
        configuration = text([tensor("x"), tensor("sr", data_type, "-1")], [tensor("y")])
        served = serve(loader, IntArgument(), configuration)
        with pytest.raises(InvalidArgumentError) as caught:
            served.execute({"x": X, "sr": value})
        assert caught.value.message == expected

    def test_in_a_batch_it_is_the_same_for_all_rows(self, loader: Any) -> None:
        inputs = [tensor("x", dims="2"), tensor("sr", "INT64", "1")]
        served = serve(loader, IntArgument(), text(inputs, [tensor("y", dims="2")], "max_batch_size: 4 "))
        x = np.concatenate([X, Y])
        assert served.execute({"x": x, "sr": np.array([[3], [3]])})["y"].tolist() == (3 * x).tolist()
        with pytest.raises(
            InvalidArgumentError, match="'sr' is int for all rows of a request: expected equal"
        ):
            served.execute({"x": x, "sr": np.array([[3], [4]])})

    def test_in_a_batch_a_scalar_may_have_no_dimension_of_its_own(self, loader: Any) -> None:
        scalar = '{ name: "%s" data_type: TYPE_%s dims: 1 reshape { } }'
        inputs = [
            tensor("x", dims="2"),
            *(scalar % each for each in (("n", "INT64"), ("f", "FP32"), ("b", "BOOL"))),
        ]
        inputs += [scalar % ("s", "STRING"), tensor("sizes", "INT64", "2")]
        served = serve(loader, ScalarsIn(), text(inputs, [tensor("y", dims="2")], "max_batch_size: 4 "))
        x = np.concatenate([X, Y])
        values = {
            "n": np.array([3, 3]),
            "f": np.array([0.5, 0.5], np.float32),
            "b": np.array([True, True]),
            "s": np.array([b"four", b"four"], object),
            "sizes": np.array([[1, 2], [1, 2]]),
        }
        assert served.execute({"x": x, **values})["y"].tolist() == ((x + 1.5) * 4 + 3).tolist()
        with pytest.raises(
            InvalidArgumentError, match="'s' is str for all rows of a request: expected equal rows"
        ):
            served.execute({"x": x, **values, "s": np.array([b"four", b"for"], object)})

    def test_requests_with_different_values_are_never_merged(self, loader: Any) -> None:
        inputs = [tensor("x", dims="2"), tensor("sr", "INT64", "1")]
        configuration = text(inputs, [tensor("y", dims="2")], "max_batch_size: 4 dynamic_batching { } ")
        assert "'sr' is for all rows of a batch, as 'sr' is int: requests" in refusal(
            loader, IntArgument(), configuration
        )

    def test_a_configuration_is_completed(self, loader: Any) -> None:
        config = loader.complete(TorchScriptBackend(), loader.source({"model.pt": saved(IntArgument())}))
        assert [(each.name, each.data_type, list(each.dims)) for each in config.input] == [
            ("x", 0, []),
            ("sr", BY_NAME["INT64"].config_enum, [1]),
        ]

    def test_what_may_be_missing(self, loader: Any) -> None:
        optional = "optional: true"
        inputs = [
            tensor("x"),
            tensor("n", "INT64", "1", optional),
            tensor("pair__0", more=optional),
            tensor("pair__1", more=optional),
            tensor("k", "INT64", "1", optional),
        ]
        served = serve(loader, OptionalIn(), text(inputs, [tensor("y")]))
        assert served.execute({"x": X})["y"].tolist() == (2 * X).tolist()
        assert served.execute({"x": X, "k": np.array([3])})["y"].tolist() == (3 * X).tolist()
        everything = {"x": X, "n": np.array([5]), "pair__0": Y, "pair__1": Z, "k": np.array([1])}
        assert served.execute(everything)["y"].tolist() == (X + 5 + Y - Z).tolist()
        del everything["pair__1"]
        with pytest.raises(InvalidArgumentError, match="input 'pair__1' is missing: other parts"):
            served.execute(everything)


class IntOut(nn.Module):
    def forward(self, x: Tensor) -> int:
        return x.size(0)


class ScalarsOut(nn.Module):
    def forward(self, x: Tensor) -> tuple[int, float, bool, str]:
        return x.size(0), 0.5, True, "text"


class NumbersOut(nn.Module):
    def forward(self, x: Tensor) -> tuple[list[int], list[float], list[bool]]:
        return [1, 2], [0.5], [True, False]


class NestedOut(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, tuple[Tensor, int]], list[Tensor]]:
        return x, (x + 1, (x + 2, 7)), [x + 3, x + 4]


class PairInTupleOut(nn.Module):
    def forward(self, x: Tensor) -> tuple[Pair, Tensor]:
        return Pair(x, x + 1), x + 2


class DictOfIntsOut(nn.Module):
    def forward(self, x: Tensor) -> dict[str, int]:
        return {"rows": x.size(0), "columns": x.size(1)}


class OptionalOut(nn.Module):
    def forward(self, x: Tensor) -> Tensor | None:
        return x if bool(x.sum() > 10) else None


class ListFirstOut(nn.Module):
    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        return [x, x], x


class ListOfListsOut(nn.Module):
    def forward(self, x: Tensor) -> list[list[Tensor]]:
        return [[x]]


class DetectionsOut(nn.Module):
    """As torchvision's detectors do."""

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
        return {"loss": x}, [{"boxes": x}]


class DictOfListsOut(nn.Module):
    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {"a": [x]}


class IntKeysOut(nn.Module):
    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return {1: x}


class NothingOut(nn.Module):
    def forward(self, x: Tensor) -> None:
        pass


class DictBesideIn(nn.Module):
    def forward(self, x: Tensor, more: dict[str, Tensor]) -> Tensor:
        return x + more["a"]


class ListOfTuplesIn(nn.Module):
    def forward(self, x: list[tuple[Tensor, Tensor]]) -> Tensor:
        return x[0][0]


class TestResults:
    @pytest.mark.parametrize("data_type", ["INT64", "INT32", "UINT8"])
    def test_an_int_is_a_tensor_of_one_element(self, loader: Any, data_type: str) -> None:
        served = serve(loader, IntOut(), named("x", tensor("OUTPUT__0", data_type, "1")))
        result = served.execute({"x": X})["OUTPUT__0"]
        assert (result.dtype.name.upper(), result.tolist()) == (data_type, [1])

    def test_an_int_that_has_no_place_is_an_error(self, loader: Any) -> None:
        served = serve(loader, IntOut(), named("x", tensor("y", "INT8", "1")))
        with pytest.raises(InternalError, match=r"forward failed: .*out of bounds"):
            served.execute({"x": np.zeros((300, 2), np.float32)})

    def test_scalars_of_all_kinds(self, loader: Any) -> None:
        kinds = {"n": "INT64", "f": "FP32", "b": "BOOL", "s": "STRING"}
        outputs = [tensor(name, kind, "1") for name, kind in kinds.items()]
        results = serve(loader, ScalarsOut(), named("x", *outputs)).execute({"x": X})
        assert {name: result.tolist() for name, result in results.items()} == {
            "n": [1],
            "f": [0.5],
            "b": [True],
            "s": [b"text"],
        }

    def test_lists_of_numbers(self, loader: Any) -> None:
        kinds = {"n": "INT32", "f": "FP64", "b": "BOOL"}
        outputs = [tensor(name, kind, "-1") for name, kind in kinds.items()]
        results = serve(loader, NumbersOut(), named("x", *outputs)).execute({"x": X})
        assert [result.tolist() for result in results.values()] == [[1, 2], [0.5], [True, False]]

    @pytest.mark.parametrize("names", ["a b c n d e", "o__0 o__1 o__2 o__3 o__4 o__5", "o__4 o__3"])
    def test_nested_results_are_taken_apart_in_order(self, loader: Any, names: str) -> None:
        places = [int(name[-1]) if "__" in name else place for place, name in enumerate(names.split())]
        outputs = [
            tensor(name, *(("INT64", "1") if place == 3 else ()))
            for name, place in zip(names.split(), places, strict=True)
        ]
        results = serve(loader, NestedOut(), named("x", *outputs)).execute({"x": X})
        everything = [X.tolist(), (X + 1).tolist(), (X + 2).tolist(), [7], (X + 3).tolist(), (X + 4).tolist()]
        assert [results[name].tolist() for name in names.split()] == [everything[place] for place in places]

    def test_a_named_tuple_in_a_tuple(self, loader: Any) -> None:
        outputs = [tensor(name) for name in ("a", "b", "c")]
        results = serve(loader, PairInTupleOut(), named("x", *outputs)).execute({"x": X})
        assert [results[name].tolist() for name in "abc"] == [(X + n).tolist() for n in range(3)]

    def test_a_dictionary_of_numbers(self, loader: Any) -> None:
        outputs = [tensor("columns", "INT64", "1"), tensor("rows", "INT64", "1")]
        results = serve(loader, DictOfIntsOut(), named("x", *outputs)).execute({"x": X})
        assert {name: result.tolist() for name, result in results.items()} == {"columns": [2], "rows": [1]}

    def test_none_is_an_error_of_that_request_alone(self, loader: Any) -> None:
        served = serve(loader, OptionalOut(), named("x"))
        with pytest.raises(InternalError, match="output 'y': forward returned None"):
            served.execute({"x": X})
        assert served.execute({"x": Y})["y"].tolist() == Y.tolist()

    @pytest.mark.parametrize(
        ("module", "configuration", "expected"),
        [
            (
                IntOut(),
                named("x"),
                "output 'y' is TYPE_FP32, but forward returns int for it: expected TYPE_INT64",
            ),
            (IntOut(), named("x", tensor("o__1", "INT64", "1")), "so there is no output 'o__1'"),
            (
                IntOut(),
                text([tensor("x")], [tensor("y", "INT64", "1")], "max_batch_size: 2 "),
                "output 'y' is one int for all rows of a batch: set max_batch_size to 0",
            ),
            (
                OptionalOut(),
                named("x", tensor("y", "STRING", "1")),
                "but what forward returns for it is a tensor",
            ),
            (
                DictOfIntsOut(),
                named("x", tensor("rows")),
                "output 'rows' is TYPE_FP32, but forward returns int",
            ),
            (ListFirstOut(), named("x"), "List[Tensor] of any length before others"),
            (ListOfListsOut(), named("x"), "forward returns List[List[Tensor]], which is no output"),
            (DetectionsOut(), named("x"), "forward returns Dict[str, Tensor], which is no output"),
            (DictOfListsOut(), named("x"), "forward returns a dict of List[Tensor], which are no outputs"),
            (IntKeysOut(), named("x"), "forward returns Dict[int, Tensor], which is no output"),
            (NothingOut(), named("x"), "forward returns NoneType, which is no output"),
            (
                DictBesideIn(),
                named("x more"),
                "cannot be made into its argument 'more', which is Dict[str, Tensor]",
            ),
            (ListOfTuplesIn(), named("x"), "argument 'x', which is List[Tuple[Tensor, Tensor]]"),
        ],
    )
    def test_what_has_no_form_fails_the_load(
        self, loader: Any, module: nn.Module, configuration: str, expected: str
    ) -> None:
        assert expected in refusal(loader, module, configuration)

    def test_a_configuration_is_completed(self, loader: Any) -> None:
        config = loader.complete(TorchScriptBackend(), loader.source({"model.pt": saved(ScalarsOut())}))
        assert [each.name for each in config.output] == [f"OUTPUT__{index}" for index in range(4)]
        assert all(each.data_type and list(each.dims) == [1] for each in config.output)


def test_a_traced_module_takes_inputs_in_their_order(loader: Any) -> None:
    """What `torch.jit.trace` calls the arguments depends on how the module was written."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(lambda x, y: x - y, (torch.ones(1, 2), torch.ones(1, 2))), buffer)
    source = loader.source({"model.pt": buffer.getvalue()})
    served = loader.serve(TorchScriptBackend(), source, named("images masks", tensor("scores")))
    assert served.execute({"masks": X, "images": Y})["scores"].tolist() == (Y - X).tolist()
