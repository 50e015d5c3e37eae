import io
import logging
import subprocess
import sys
import zipfile
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from kserve_v2_backends.pytorch.threads import set_inter_op_threads
from kserve_v2_backends.pytorch.torchscript.backend import TorchScriptBackend
from torch import Tensor, nn

from kserve_v2.backend import Placement, keeps_nothing
from kserve_v2.errors import InternalError, InvalidArgumentError

# The deprecation is for whoever makes such files, which only these tests do here.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def script(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


class Pair(NamedTuple):
    total: Tensor
    difference: Tensor


class TupleModel(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a + b, a - b


class PairModel(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Pair:
        return Pair(a + b, a - b)


class ListModel(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> list[Tensor]:
        return [a + b, a - b]


class DictModel(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return {"difference": a - b, "total": a + b}


class DictToDictModel(nn.Module):
    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"total": features["a"] + features["b"]}


class SingleModel(nn.Module):
    def forward(self, a: Tensor, bias: Tensor | None = None, scale: float = 2.0) -> Tensor:
        return a * scale if bias is None else a * scale + bias


class InPlaceModel(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a.mul_(2)


class StringsModel(nn.Module):
    def forward(self, texts: list[str]) -> tuple[Tensor, list[str]]:
        return torch.tensor([len(text) for text in texts]), [text.upper() for text in texts]


class StringListModel(nn.Module):
    def forward(self, texts: list[str]) -> list[str]:
        return [text + "!" for text in texts]


class CountModel(nn.Module):
    def forward(self, count: int) -> Tensor:
        return torch.zeros(count)


class FailingModel(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a @ torch.zeros(3, 1)


class StatefulModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, a: Tensor) -> Tensor:
        self.calls += 1
        return self.calls.clone()


def io_text(inputs: str, outputs: str, datatype: str = "TYPE_FP32") -> str:
    fields = [f'input {{ name: "{name}" data_type: {datatype} dims: -1 }}' for name in inputs.split()]
    fields += [f'output {{ name: "{name}" data_type: {datatype} dims: -1 }}' for name in outputs.split()]
    return " ".join(fields)


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


A, B = np.array([5, 6], np.float32), np.array([1, 2], np.float32)
TOTAL, DIFFERENCE = [6, 8], [4, 4]


class TestNames:
    @pytest.mark.parametrize("inputs", ["a b", "INPUT__0 INPUT__1", "a x__1", "left right", "z y"])
    @pytest.mark.parametrize(
        ("model", "outputs", "expected"),
        [
            (TupleModel, "OUTPUT__0 OUTPUT__1", [TOTAL, DIFFERENCE]),
            (TupleModel, "OUTPUT__1", [DIFFERENCE]),
            (TupleModel, "x__1 y__0", [DIFFERENCE, TOTAL]),
            (TupleModel, "first second", [TOTAL, DIFFERENCE]),
            (ListModel, "first second", [TOTAL, DIFFERENCE]),
            (ListModel, "OUTPUT__1", [DIFFERENCE]),
            (PairModel, "difference", [DIFFERENCE]),
            (PairModel, "difference total", [DIFFERENCE, TOTAL]),
            (PairModel, "first second", [TOTAL, DIFFERENCE]),
            (DictModel, "total", [TOTAL]),
            (DictModel, "total difference", [TOTAL, DIFFERENCE]),
        ],
    )
    def test_tensors_are_found(
        self, loader: Any, model: type[nn.Module], inputs: str, outputs: str, expected: list[list[float]]
    ) -> None:
        source = loader.source({"model.pt": script(model())})
        served = loader.serve(TorchScriptBackend(), source, io_text(inputs, outputs))
        results = served.execute(dict(zip(inputs.split(), (A, B), strict=True)))
        assert [results[name].tolist() for name in outputs.split()] == expected

    def test_a_dictionary_takes_the_inputs_by_key(self, loader: Any) -> None:
        source = loader.source({"model.pt": script(DictToDictModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a b", "total"))
        assert served.execute({"a": A, "b": B})["total"].tolist() == TOTAL

    @pytest.mark.parametrize("output", ["y", "OUTPUT__0"])
    def test_a_single_tensor_may_have_any_name(self, loader: Any, output: str) -> None:
        source = loader.source({"model.pt": script(SingleModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a", output))
        assert served.execute({"a": A})[output].tolist() == [10, 12]

    def test_an_optional_argument_may_be_missing(self, loader: Any) -> None:
        source = loader.source({"model.pt": script(SingleModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a bias", "y"))
        assert served.execute({"a": A, "bias": B})["y"].tolist() == [11, 14]
        assert served.execute({"a": A})["y"].tolist() == [10, 12]

    @pytest.mark.parametrize(
        ("model", "inputs", "outputs", "expected"),
        [
            (
                TupleModel,
                "a z",
                "x y",
                "input[1]: 'z' is neither the name of an argument nor an index as in INPUT__0",
            ),
            (TupleModel, "a b__2", "x y", "input[1]: 'b__2' is neither the name of an argument nor an index"),
            (TupleModel, "a b__0", "x y", "input[1]: 'b__0' and another input both mean the argument 'a'"),
            (TupleModel, "a", "x y", "argument 'b' has no input"),
            (TupleModel, "left", "x y", "argument 'b' has no input"),
            (TupleModel, "left right more", "x y", "input[2]: 'more' is neither the name of an argument nor"),
            (
                TupleModel,
                "left x__1",
                "x y",
                "input[0]: 'left' is neither the name of an argument nor an index",
            ),
            (TupleModel, "a b", "x", "2 value(s) are returned, but 1 output(s) are configured"),
            (TupleModel, "a b", "OUTPUT__2", "2 value(s) are returned, so there is no output 'OUTPUT__2'"),
            (SingleModel, "a", "x y", "1 value(s) are returned, but 2 output(s) are configured"),
            (
                CountModel,
                "count",
                "y",
                "'count' is TYPE_FP32, but 'count' is int, which is made from TYPE_INT64",
            ),
            (
                StringsModel,
                "texts",
                "n s",
                "'texts' is TYPE_FP32, but 'texts' is List[str], which is made from TYPE_STRING",
            ),
        ],
    )
    def test_what_does_not_fit_fails_the_load(
        self, loader: Any, model: type[nn.Module], inputs: str, outputs: str, expected: str
    ) -> None:
        source = loader.source({"model.pt": script(model())})
        with pytest.raises(InvalidArgumentError) as caught:
            loader.load(TorchScriptBackend(), source, io_text(inputs, outputs))
        assert expected in caught.value.message
        assert "forward(" in caught.value.message

    @pytest.mark.parametrize(
        ("model", "outputs", "expected"),
        [
            (
                DictModel,
                "total ratio",
                "forward returned a dict without 'ratio'; it has: 'difference', 'total'",
            ),
            (ListModel, "x", "forward: 2 value(s) are returned, but 1 output(s) are configured"),
        ],
    )
    def test_what_only_a_run_can_show_is_an_internal_error(
        self, loader: Any, model: type[nn.Module], outputs: str, expected: str
    ) -> None:
        source = loader.source({"model.pt": script(model())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a b", outputs))
        with pytest.raises(InternalError) as caught:
            served.execute({"a": A, "b": B})
        assert expected in caught.value.message


class TestCompletion:
    def test_names_are_filled_from_the_file(self, loader: Any) -> None:
        config = loader.complete(TorchScriptBackend(), loader.source({"model.pt": script(TupleModel())}))
        assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.input] == [
            ("a", 0, []),
            ("b", 0, []),
        ]
        assert [tensor.name for tensor in config.output] == ["OUTPUT__0", "OUTPUT__1"]

    def test_arguments_with_a_default_are_optional(self, loader: Any) -> None:
        config = loader.complete(TorchScriptBackend(), loader.source({"model.pt": script(SingleModel())}))
        assert [(tensor.name, tensor.optional) for tensor in config.input] == [("a", False), ("bias", True)]

    def test_what_is_given_stays(self, loader: Any) -> None:
        text = io_text("INPUT__0 INPUT__1", "x y")
        config = loader.complete(TorchScriptBackend(), loader.source({"model.pt": b"not even read"}), text)
        assert [tensor.name for tensor in config.input] == ["INPUT__0", "INPUT__1"]

    @pytest.mark.parametrize(
        ("model", "text", "expected"),
        [
            (
                DictModel,
                "",
                "output: forward(a: Tensor, b: Tensor) -> Dict[str, Tensor] does not say what it returns",
            ),
            (
                DictToDictModel,
                "",
                "input: forward(features: Dict[str, Tensor]) -> Dict[str, Tensor] takes its inputs",
            ),
        ],
    )
    def test_what_the_file_does_not_record_is_asked_for(
        self, loader: Any, model: type[nn.Module], text: str, expected: str
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            loader.complete(TorchScriptBackend(), loader.source({"model.pt": script(model())}), text)
        assert expected in caught.value.message


def state_dict() -> bytes:
    buffer = io.BytesIO()
    torch.save(nn.Linear(1, 1).state_dict(), buffer)
    return buffer.getvalue()


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, "model 'm': version 1 has no file model.pt"),
            (b"", "model.pt is no TorchScript archive but something else"),
            (b"junk", "model.pt is no TorchScript archive but something else"),
            (
                state_dict(),
                "model.pt is no TorchScript archive but what torch.save makes, such as a state_dict",
            ),
            (b"PK\x03\x04 cut short", "model.pt is no TorchScript archive but something else"),
        ],
    )
    def test_what_is_no_archive_is_named(self, loader: Any, content: bytes | None, expected: str) -> None:
        source = loader.source({} if content is None else {"model.pt": content})
        with pytest.raises(InvalidArgumentError) as caught:
            loader.load(TorchScriptBackend(), source, io_text("a b", "x y"))
        assert expected in caught.value.message

    def test_a_damaged_archive_is_named(self, loader: Any) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("m/constants.pkl", b"damaged")
        with pytest.raises(InvalidArgumentError, match=r"^model\.pt: torch cannot load it: "):
            loader.load(
                TorchScriptBackend(), loader.source({"model.pt": buffer.getvalue()}), io_text("a", "x")
            )

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    def test_a_gpu_that_is_not_there_fails_the_load(self, loader: Any) -> None:
        source = loader.source({"model.pt": script(SingleModel())})
        source = type(source)(
            source.name, 1, source.model_path, source.version_path, placements=(Placement("m_0_0", "GPU", 1),)
        )
        with pytest.raises(InvalidArgumentError, match=r"model.pt: there is no cuda:1, torch sees 0 GPU"):
            loader.load(TorchScriptBackend(), source, io_text("a", "x"))

    def test_an_old_torch_is_warned_of(
        self, loader: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = loader.source({"model.pt": script(SingleModel())})
        monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1"))
        with caplog.at_level(logging.WARNING):
            loader.load(TorchScriptBackend(), source, io_text("a", "x"))
        assert "CVE-2026-24747" in caplog.text


class TestExecution:
    def test_a_read_only_input_survives_a_model_that_works_in_place(self, loader: Any) -> None:
        source = loader.source({"model.pt": script(InPlaceModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a", "y"))
        a = np.frombuffer(bytes(8), np.float32)
        b = np.frombuffer(np.array([1, 2], np.float32).tobytes(), np.float32)
        assert served.execute({"a": a})["y"].tolist() == [0, 0]
        assert served.execute({"a": b})["y"].tolist() == [2, 4]
        assert b.tolist() == [1, 2]

    def test_strings_go_in_and_out_as_lists(self, loader: Any) -> None:
        text = (
            'max_batch_size: 4 input { name: "texts" data_type: TYPE_STRING dims: 1 } '
            'output { name: "length" data_type: TYPE_INT64 dims: 1 reshape { } } '
            'output { name: "upper" data_type: TYPE_STRING dims: 1 }'
        )
        served = loader.serve(TorchScriptBackend(), loader.source({"model.pt": script(StringsModel())}), text)
        outputs = served.execute({"texts": np.array([[b"abc"], ["é".encode()]], object)})
        assert outputs["length"].tolist() == [3, 2]  # TorchScript counts bytes
        assert outputs["upper"].shape == (2, 1)
        assert outputs["upper"].tolist() == [[b"ABC"], ["é".encode()]]
        with pytest.raises(InvalidArgumentError, match="input 'texts': TorchScript strings must be UTF-8"):
            served.execute({"texts": np.array([[b"\xff"]], object)})

    @pytest.mark.parametrize("texts", [[b"a", b"b"], []])
    def test_one_list_of_strings_is_one_output(self, loader: Any, texts: list[bytes]) -> None:
        source = loader.source({"model.pt": script(StringListModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("texts", "y", "TYPE_STRING"))
        result = served.execute({"texts": np.array(texts, object)})["y"]
        assert (result.dtype, result.tolist()) == (object, [text + b"!" for text in texts])

    def test_a_failing_forward_is_an_internal_error_in_one_line(self, loader: Any) -> None:
        source = loader.source({"model.pt": script(FailingModel())})
        served = loader.serve(TorchScriptBackend(), source, io_text("a", "y"))
        with pytest.raises(InternalError) as caught:
            served.execute({"a": np.ones((1, 2), np.float32)})
        assert caught.value.message.startswith(
            "forward failed: RuntimeError: mat1 and mat2 shapes cannot be multiplied"
        )
        assert "\n" not in caught.value.message
        assert served.execute({"a": np.ones((1, 3), np.float32)})["y"].tolist() == [[0]]

    @pytest.mark.parametrize(
        "parameters",
        ["", parameter("INFERENCE_MODE", "false"), parameter("DISABLE_OPTIMIZED_EXECUTION", "true")],
    )
    def test_modes_of_execution_agree(self, loader: Any, parameters: str) -> None:
        model = nn.Linear(2, 2)
        source = loader.source({"model.pt": script(model)})
        served = loader.serve(TorchScriptBackend(), source, io_text("input", "y") + parameters)
        expected = model(torch.from_numpy(A)).tolist()
        assert [served.execute({"input": A})["y"].tolist() for _ in range(3)] == [expected] * 3

    @pytest.mark.parametrize(
        ("parameters", "tolerance"),
        [
            (parameter("autocast", "bf16"), 2e-2),
            (parameter("memory_format", "channels_last"), 1e-5),
            (parameter("memory_format", "channels_last") + parameter("autocast", "fp16"), 5e-3),
            (parameter("compile", "false"), 0.0),
        ],
    )
    def test_other_datatypes_and_memory_formats_agree(
        self, loader: Any, parameters: str, tolerance: float
    ) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        source = loader.source({"model.pt": script(model)}, instances=2)
        served = loader.serve(TorchScriptBackend(), source, io_text("input", "y") + parameters)
        image = np.random.default_rng(0).random((2, 3, 8, 7), np.float32)
        expected = model(torch.from_numpy(image)).detach().numpy()
        for _ in range(3):
            answer = served.execute({"input": image})["y"]
            assert answer.dtype == np.float32
            assert answer.flags.c_contiguous
            np.testing.assert_allclose(answer, expected, atol=tolerance, rtol=0)

    @pytest.mark.parametrize(
        ("parameters", "text"),
        [
            (parameter("compile", "default"), "torch.compile does not take TorchScript"),
            (parameter("compile", "yes"), "parameters['compile']: expected one of false, default, "),
            (
                parameter("autocast", "half"),
                "parameters['autocast']: expected one of false, bf16, fp16, got 'half'",
            ),
            (parameter("memory_format", "NHWC"), "parameters['memory_format']: expected one of contiguous, "),
        ],
    )
    def test_options_that_it_cannot_have(self, loader: Any, parameters: str, text: str) -> None:
        source = loader.source({"model.pt": b"not looked at"})
        with pytest.raises(InvalidArgumentError) as caught:
            loader.complete(TorchScriptBackend(), source, io_text("input", "y") + parameters)
        assert text in caught.value.message

    @pytest.mark.parametrize(
        ("sharing", "calls", "warning"),
        [
            ("", [1, 1], "so each instance has a module of its own"),
            ("true", [1, 2], "so instances that share it, as ENABLE_WEIGHT_SHARING asks"),
            ("false", [1, 1], None),
        ],
    )
    def test_a_stateful_module_is_shared_only_if_that_is_asked_for(
        self,
        loader: Any,
        instance_thread: Any,
        caplog: pytest.LogCaptureFixture,
        sharing: str,
        calls: list[int],
        warning: str | None,
    ) -> None:
        source = loader.source({"model.pt": script(StatefulModel())}, instances=2)
        text = io_text("a", "y") + (parameter("ENABLE_WEIGHT_SHARING", sharing) if sharing else "")
        model = loader.load(TorchScriptBackend(), source, text)
        # What it keeps must not depend on which process of a server is asked.
        assert keeps_nothing(model) is False
        instances = [instance_thread(model) for _ in range(2)]
        assert [instance.execute({"a": A})["y"].tolist() for instance in instances] == [[n] for n in calls]
        for instance in instances:
            instance.close()
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(told) == (warning is not None)
        assert warning is None or warning in told[0]

    def test_one_instance_has_nobody_to_share_a_stateful_module_with(
        self, loader: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        loader.serve(
            TorchScriptBackend(), loader.source({"model.pt": script(StatefulModel())}), io_text("a", "y")
        )
        assert not [record for record in caplog.records if record.levelname == "WARNING"]


class TestThreads:
    @pytest.mark.parametrize(
        ("parameters", "expected"), [("", 3), (parameter("INTRA_OP_THREAD_COUNT", "2"), 2)]
    )
    def test_an_instance_has_its_share_of_threads(self, loader: Any, parameters: str, expected: int) -> None:
        before = torch.get_num_threads()
        source = loader.source({"model.pt": script(SingleModel())}, threads=3)
        served = loader.serve(TorchScriptBackend(), source, io_text("a", "y") + parameters)
        assert served.call(torch.get_num_threads) == expected
        assert torch.get_num_threads() == before

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of the process in /proc")
    def test_a_thread_computes_with_exactly_the_threads_it_was_given(self) -> None:
        code = """
import os, threading, torch
from kserve_v2.backend import ThreadBudget
from kserve_v2_backends.pytorch.threads import enter_instance_thread

def threads():
    return len(os.listdir("/proc/self/task"))

def compute():
    enter_instance_thread(ThreadBudget(3))
    before = threads()
    torch.randn(1 << 20).sin().sum()
    print(threads() - before)

thread = threading.Thread(target=compute)
thread.start()
thread.join()
"""
        finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert (finished.stdout, finished.stderr) == ("2\n", "")

    def test_a_pool_that_cannot_be_changed_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            set_inter_op_threads(torch.get_num_interop_threads())
            assert not caplog.text
            set_inter_op_threads(torch.get_num_interop_threads() + 1)
            set_inter_op_threads(torch.get_num_interop_threads() + 1)
        assert "cannot be changed" in caplog.text
