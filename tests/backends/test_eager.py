import asyncio
import gc
import subprocess
import sys
import weakref
from importlib.util import find_spec
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from kserve_v2.backend import AsyncInstance, ModelConfig, MovableInstance, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError

HALVE = """
class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"y": inputs["x"] / 2}
"""


def model_with(call: str, *, output: str = '("FP32", [-1])', attributes: str = "", top: str = "") -> str:
    """A handler file with one input `x`, one output `y` and the given body of `__call__`."""
    return f"""
import numpy as np
{top}

class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": {output}}}
    {attributes}

    def __call__(self, inputs):
        {call}
"""


def floats(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float32)}


def failure(
    loader: Any, files: dict[str, str], text: str = "", kind: type[ServingError] = InvalidArgumentError
) -> str:
    """What completing and loading a handler that is wrong reports."""
    with pytest.raises(kind) as caught:
        loader.serve(EagerBackend(), loader.source(files), text)
    return caught.value.message


class TestCompletion:
    def test_an_empty_configuration_gets_everything_from_the_class(self, loader: Any) -> None:
        config = loader.complete(EagerBackend(), loader.source({"model.py": HALVE}))
        assert config.max_batch_size == 8
        assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
        assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("x", 11, [-1])]
        assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("y", 11, [-1])]

    def test_a_partial_configuration_is_filled_field_by_field(self, loader: Any) -> None:
        text = 'max_batch_size: 4 input { name: "x" dims: 3 } output { name: "y" label_filename: "l.txt" }'
        config = loader.complete(EagerBackend(), loader.source({"model.py": HALVE}), text)
        assert config.max_batch_size == 4
        assert (config.input[0].data_type, list(config.input[0].dims)) == (11, [3])
        output = config.output[0]
        assert (output.data_type, list(output.dims), output.label_filename) == (11, [-1], "l.txt")

    def test_a_class_that_declares_nothing_leaves_all_to_the_configuration(self, loader: Any) -> None:
        code = "class Model:\n    def __call__(self, inputs):\n        return inputs\n"
        text = 'max_batch_size: 2 input { name: "x" data_type: TYPE_FP32 dims: 1 }'
        config = loader.complete(EagerBackend(), loader.source({"model.py": code}), text)
        assert config.max_batch_size == 2
        assert config.WhichOneof("scheduling_choice") is None
        assert len(config.output) == 0

    def test_a_given_scheduler_is_kept(self, loader: Any) -> None:
        text = "dynamic_batching { max_queue_delay_microseconds: 5 }"
        config = loader.complete(EagerBackend(), loader.source({"model.py": HALVE}), text)
        assert config.dynamic_batching.max_queue_delay_microseconds == 5

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "max_batch_size: 16",
                "max_batch_size: Model.max_batch_size is 8 in model.py, the configuration says 16",
            ),
            ('input { name: "z" }', "input[0].name: model.py has no input 'z'; it has: 'x'"),
            (
                'input { name: "x" data_type: TYPE_INT32 }',
                "input[0].data_type: 'x' is TYPE_FP32 in model.py, the configuration says TYPE_INT32",
            ),
            (
                'output { name: "y" dims: [1, 2] }',
                "output[0].dims: 'y' has dims [-1] behind the batch dimension in model.py, the configuration says [1, 2]; "
                "with max_batch_size, dims leave the batch dimension out: write [2]",
            ),
        ],
    )
    def test_contradictions_name_the_field(self, loader: Any, text: str, expected: str) -> None:
        assert expected in failure(loader, {"model.py": HALVE}, text)

    def test_all_contradictions_are_reported_at_once(self, loader: Any) -> None:
        text = 'max_batch_size: 16 input { name: "z" } output { name: "y" data_type: TYPE_BOOL }'
        message = failure(loader, {"model.py": HALVE}, text)
        assert all(path in message for path in ("max_batch_size:", "input[0].name:", "output[0].data_type:"))

    @pytest.mark.parametrize(
        ("attribute", "expected"),
        [
            ("inputs = ['x']", "Model.inputs: expected a dict like"),
            ("inputs = {'x': 'FP32'}", "Model.inputs['x']: expected a pair of datatype and dims"),
            ("inputs = {'x': ('FLOAT', [1])}", "got 'FLOAT'"),
            ("outputs = {'y': ('FP32', [0])}", "Model.outputs['y']: expected dims like [1, 8, 8]"),
            ("outputs = {'y': ('FP32', [])}", "got []"),
            ("outputs = {3: ('FP32', [1])}", "expected names that are not empty, got 3"),
            ("max_batch_size = -1", "Model.max_batch_size: expected an integer >= 0, got -1"),
            ("max_concurrency = 0", "Model.max_concurrency: expected an integer >= 1, got 0"),
            ("tensors = 'jax'", 'Model.tensors: expected "numpy" or "torch", got \'jax\''),
            ("thread_safe = 1", "Model.thread_safe: expected True or False, got 1"),
            ("ragged = 1", "Model.ragged: expected True or False, got 1"),
            ("async def load(self, context): ...", "Model.load: expected a plain function, got an async one"),
        ],
    )
    def test_wrong_attributes_are_named(self, loader: Any, attribute: str, expected: str) -> None:
        code = f"class Model:\n    {attribute}\n    def __call__(self, inputs): ...\n"
        assert expected in failure(loader, {"model.py": code})

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("class Modell: ...", "model.py: expected a class named Model"),
            ("x = 1", "expected a class named Model, or TritonPythonModel"),
            (
                "class Model: ...\nclass TritonPythonModel: ...",
                "model.py has a class TritonPythonModel, as Triton's Python models have, and a class Model",
            ),
            ("class Model: ...", "Model has no method __call__(self, inputs)"),
            (
                "class Model:\n    ragged = True\n    def __call__(self, inputs): yield {}",
                "Model.ragged: a generator answers one request at a time",
            ),
        ],
    )
    def test_what_is_no_handler_is_refused(self, loader: Any, code: str, expected: str) -> None:
        assert expected in failure(loader, {"model.py": code})


class TestImport:
    def test_a_missing_file_is_named(self, loader: Any) -> None:
        assert failure(loader, {}) == "model 'm': version 1 has no file model.py"

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (
                {"model.py": "x = 1\nimport no_such_package\n"},
                "model.py, line 2: ModuleNotFoundError: No module",
            ),
            ({"model.py": "def f(:\n"}, "model.py, line 1: SyntaxError: invalid syntax"),
            ({"model.py": "import sys\n\nsys.exit(3)\n"}, "model.py, line 3: SystemExit: 3"),
            (
                {"model.py": "import helper\n", "helper.py": "\n\n1 / 0\n"},
                "helper.py, line 3: ZeroDivisionError",
            ),
            (
                {"model.py": "open('/no/such/dir/w.bin')\n"},
                "FileNotFoundError: [Errno 2] No such file or directory: 'w.bin'",
            ),
        ],
    )
    def test_an_error_in_the_file_is_named_with_its_line(
        self, loader: Any, files: dict[str, str], expected: str
    ) -> None:
        message = failure(loader, files, kind=InternalError)
        assert expected in message
        assert "Traceback" not in message
        assert not [name for name in sys.modules if name.startswith("_handler_")]

    @pytest.mark.parametrize("method", ["__init__(self)", "load(self, context)"])
    def test_an_error_while_loading_is_named_with_its_line(self, loader: Any, method: str) -> None:
        code = f"class Model:\n    def {method}:\n        raise OSError('no weights')\n"
        code += "    def __call__(self, inputs): ...\n"
        message = failure(loader, {"model.py": code}, kind=InternalError)
        assert message == "model.py, line 3: OSError: no weights"

    def test_two_models_may_have_helpers_of_one_name(self, loader: Any) -> None:
        code = model_with("return {'y': inputs['x'] * helper.FACTOR}", top="import helper")
        models = [
            loader.serve(
                EagerBackend(), loader.source({"model.py": code, "helper.py": f"FACTOR = {n}"}, name=f"m{n}")
            )
            for n in (2, 3)
        ]
        assert [model.execute(floats(1))["y"].tolist() for model in models] == [[2], [3]]
        assert "helper" not in sys.modules

    def test_helpers_may_be_imported_late_and_in_every_form(self, loader: Any) -> None:
        files = {
            "model.py": model_with(
                "import pkg.part, pkg.part as alias; from pkg import part; from . import pkg as relative\n"
                "        assert pkg.part is alias is part is relative.part\n"
                "        return {'y': inputs['x'] * part.FACTOR}"
            ),
            "pkg/__init__.py": "",
            "pkg/part.py": "from helper import FACTOR\nimport model\nassert model.Model",
            "helper.py": "FACTOR = 7",
        }
        assert loader.serve(EagerBackend(), loader.source(files)).execute(floats(1))["y"].tolist() == [7]

    def test_a_data_folder_does_not_hide_a_package(self, loader: Any) -> None:
        files = {"model.py": "import json\nassert json.loads\n" + HALVE, "json/vocabulary.txt": ""}
        assert loader.serve(EagerBackend(), loader.source(files)).execute(floats(4))["y"].tolist() == [2]

    def test_a_reload_runs_fresh_code_and_leaves_the_old_model_alone(self, loader: Any) -> None:
        files = {
            "model.py": model_with("return {'y': inputs['x'] + helper.N}", top="import helper"),
            "helper.py": "N = 1",
        }
        old = loader.serve(EagerBackend(), loader.source(files))
        new = loader.serve(EagerBackend(), loader.source({"helper.py": "N = 2"}))
        assert old.execute(floats(0))["y"].tolist() == [1]
        assert new.execute(floats(0))["y"].tolist() == [2]

    def test_nothing_is_left_in_the_process_or_written_to_the_repository(self, loader: Any) -> None:
        before = (list(sys.path), list(sys.meta_path))
        source = loader.source({"model.py": "import helper\n" + HALVE, "helper.py": ""})
        model = EagerBackend().load(source, loader.complete(EagerBackend(), source))
        model.close()
        assert (list(sys.path), list(sys.meta_path)) == before
        assert not [name for name in sys.modules if name.startswith("_handler_")]
        assert sorted(path.name for path in source.version_path.rglob("*")) == ["helper.py", "model.py"]


class TestContext:
    def test_load_is_told_where_it_is(self, loader: Any) -> None:
        code = model_with(
            "c = self.context; c.logger.debug('called')\n"
            "        seen = [c.name, str(c.version), c.device, c.placement.name, c.path.name,\n"
            "                c.model_path.name, c.parameters['threshold'], str(c.threads.intra_op)]\n"
            "        return {'y': seen}",
            output='("BYTES", [-1])',
            attributes="def load(self, context): self.context = context",
        )
        text = 'parameters { key: "threshold" value { string_value: "0.5" } }'
        served = loader.serve(
            EagerBackend(), loader.source({"model.py": code}, name="digits", threads=2), text
        )
        expected = [b"digits", b"1", b"cpu", b"digits_0_0", b"1", b"digits", b"0.5", b"2"]
        assert served.execute(floats(0))["y"].tolist() == expected


class TestOutputs:
    @pytest.mark.parametrize(
        ("expression", "output", "expected"),
        [
            ("inputs['x'] > 1", '("BOOL", [-1])', np.array([False, True])),
            ("[1, 2]", '("FP32", [-1])', np.array([1, 2], np.float32)),
            ("[1, 2]", '("BF16", [-1])', np.array([1, 2], ml_dtypes.bfloat16)),
            ("[[1], [2]]", '("UINT8", [-1, 1])', np.array([[1], [2]], np.uint8)),
            ("[]", '("INT32", [-1])', np.array([], np.int32)),
            ("np.float32(3)", '("FP32", [1])', np.array(3, np.float32)),
            ("np.ones((2, 3), np.float32).T", '("FP32", [3, 2])', np.ones((3, 2), np.float32)),
            ("['é', b'\\xff']", '("BYTES", [2])', np.array(["é".encode(), b"\xff"], object)),
            ("np.array(['a', 'bc'])", '("BYTES", [2])', np.array([b"a", b"bc"], object)),
            ("np.array([[b'a']])", '("BYTES", [1, 1])', np.array([[b"a"]], object)),
        ],
    )
    def test_values_become_arrays_of_the_declared_datatype(
        self, loader: Any, expression: str, output: str, expected: Any
    ) -> None:
        code = model_with(f"return {{'y': {expression}}}", output=output)
        result = loader.serve(EagerBackend(), loader.source({"model.py": code})).execute(floats(1, 2))["y"]
        assert result.dtype == expected.dtype
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize(
        ("expression", "output", "expected"),
        [
            (
                "{'y': inputs['x'].astype('f8')}",
                '("FP32", [-1])',
                "output 'y': expected FP32, got FP64: convert it",
            ),
            ("{'y': inputs['x'].astype('c8')}", '("FP32", [-1])', "output 'y': expected FP32, got complex64"),
            ("{'y': [1.5]}", '("INT32", [-1])', "output 'y': expected INT32: the fractions"),
            (
                "{'y': [1.0, 70000.0]}",
                '("FP16", [-1])',
                "output 'y': expected FP16: 70000.0 is out of range [-65504, 65504]",
            ),
            (
                "{'y': [[1e39]]}",
                '("FP32", [-1, 1])',
                "output 'y': expected FP32: 1e+39 is out of range [-3.4028235e+38, 3.4028235e+38]",
            ),
            (
                "{'y': [300]}",
                '("UINT8", [-1])',
                "output 'y': expected UINT8: Python integer 300 out of bounds",
            ),
            ("{'y': [[1], [2, 3]]}", '("FP32", [-1])', "output 'y': expected FP32"),
            (
                "{'y': ['a']}",
                '("FP32", [-1])',
                "output 'y': expected FP32: got list with elements that are not",
            ),
            ("{'y': None}", '("FP32", [-1])', "output 'y': expected FP32: got NoneType"),
            (
                "{'y': [1]}",
                '("BYTES", [-1])',
                "output 'y': expected str or bytes as elements of BYTES, got int",
            ),
            ("{'z': inputs['x']}", '("FP32", [-1])', "the handler did not return its output 'y', got 'z'"),
            ("{'y': inputs['x'], 'z': 1}", '("FP32", [-1])', "the handler returned 'z', expected only 'y'"),
            ("inputs['x']", '("FP32", [-1])', "the handler returned ndarray, expected a dict of 'y'"),
        ],
    )
    def test_what_does_not_fit_is_named(
        self, loader: Any, expression: str, output: str, expected: str
    ) -> None:
        code = model_with(f"return {expression}", output=output)
        served = loader.serve(EagerBackend(), loader.source({"model.py": code}))
        with pytest.raises(InternalError) as caught:
            served.execute(floats(1))
        assert expected in caught.value.message


class TestErrors:
    def test_the_clients_mistake_passes_through(self, loader: Any) -> None:
        top = "from kserve_v2.errors import InvalidArgumentError"
        code = model_with("raise InvalidArgumentError(\"input 'x': too dark\")", top=top)
        served = loader.serve(EagerBackend(), loader.source({"model.py": code}))
        with pytest.raises(InvalidArgumentError, match=r"^input 'x': too dark$"):
            served.execute(floats(1))

    @pytest.mark.parametrize(
        ("statement", "kind"),
        [
            ("{}['label']", KeyError),
            ("raise SystemExit(1)", SystemExit),
            ("assert False", AssertionError),
            ("raise StopIteration", StopIteration),
        ],
    )
    def test_any_other_exception_is_left_to_the_server(
        self, loader: Any, statement: str, kind: type[BaseException]
    ) -> None:
        served = loader.serve(EagerBackend(), loader.source({"model.py": model_with(statement)}))
        with pytest.raises(kind):
            served.execute(floats(1))

    def test_the_next_request_is_answered(self, loader: Any) -> None:
        code = model_with("assert inputs['x'][0] > 0; return {'y': inputs['x']}")
        served = loader.serve(EagerBackend(), loader.source({"model.py": code}))
        with pytest.raises(AssertionError):
            served.execute(floats(-1))
        assert served.execute(floats(1))["y"].tolist() == [1]

    def test_inputs_can_be_written_to(self, loader: Any) -> None:
        code = model_with("inputs['x'] *= 2; return {'y': inputs['x']}")
        served = loader.serve(EagerBackend(), loader.source({"model.py": code}))
        client_s = np.ones(2, np.float32)
        client_s.flags.writeable = False
        assert served.execute({"x": client_s})["y"].tolist() == [2, 2]
        assert client_s.tolist() == [1, 1]
        ours = np.ones(2, np.float32)
        assert served.execute({"x": ours})["y"].tolist() == [2, 2]
        assert ours.tolist() == [2, 2], "what is ours alone is not copied"


COUNTING = """
import itertools
made = itertools.count()

class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("INT64", [2])}
    thread_safe = %s
    closed = []

    def load(self, context):
        self.number = next(made)

    def __call__(self, inputs):
        return {"y": [self.number, len(self.closed)]}

    def close(self):
        self.closed.append(self.number)
"""


class TestSharing:
    def test_each_instance_has_a_handler_of_its_own(self, loader: Any, instance_thread: Any) -> None:
        model = loader.load(EagerBackend(), loader.source({"model.py": COUNTING % False}, instances=2))
        first, second = instance_thread(model), instance_thread(model)
        assert [i.execute(floats(0))["y"].tolist() for i in (first, second)] == [[0, 0], [1, 0]]
        first.close()
        assert second.execute(floats(0))["y"].tolist() == [1, 1]
        second.close()

    def test_a_thread_safe_handler_is_made_once_and_closed_with_the_model(
        self, loader: Any, instance_thread: Any
    ) -> None:
        source = loader.source({"model.py": COUNTING % True}, instances=2)
        model = EagerBackend().load(source, loader.complete(EagerBackend(), source))
        first, second = instance_thread(model), instance_thread(model)
        closed = first.instance._handler.model.closed
        assert [i.execute(floats(0))["y"].tolist() for i in (first, second)] == [[0, 0], [0, 0]]
        first.close()
        second.close()
        assert closed == []
        model.close()
        assert closed == [0]

    def test_a_load_that_fails_closes_what_it_made(self, loader: Any) -> None:
        code = (
            HALVE
            + "    thread_safe = True\n    def load(self, context):\n        raise OSError('no weights')\n"
        )
        before = list(sys.meta_path)
        assert "no weights" in failure(loader, {"model.py": code}, kind=InternalError)
        assert sys.meta_path == before


class TestAsync:
    CODE = """
import asyncio

class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_concurrency = 3
    waiting = 0

    async def __call__(self, inputs):
        Model.waiting += 1
        while Model.waiting < 3:
            await asyncio.sleep(0)
        if inputs["x"][0] < 0:
            raise ValueError("negative")
        return {"y": inputs["x"]}
"""

    def test_calls_run_at_the_same_time(self, loader: Any) -> None:
        served = loader.serve(EagerBackend(), loader.source({"model.py": self.CODE}))
        instance = served.instance
        assert isinstance(instance, AsyncInstance)
        assert instance.max_concurrency == 3

        async def run() -> list[Any]:
            calls = (instance.execute_async(floats(value), []) for value in (1, -1, 2))
            return await asyncio.gather(*calls, return_exceptions=True)

        first, failed, last = served.call(asyncio.run, run())
        assert (first["y"].tolist(), last["y"].tolist()) == ([1], [2])
        assert isinstance(failed, ValueError)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
class TestTorch:
    IDENTITY = """
import torch

class Model:
    inputs = {"x": ("FP32", [-1]), "s": ("BYTES", [1])}
    outputs = {"y": ("FP32", [-1]), "s": ("BYTES", [1])}
    tensors = "torch"

    def load(self, context):
        self.weight = torch.nn.Parameter(torch.full((1,), 2.0))
        self.threads = context.threads.intra_op

    def __call__(self, inputs):
        assert isinstance(inputs["x"], torch.Tensor) and torch.get_num_threads() == self.threads
        assert not torch.is_grad_enabled()
        inputs["s"][0] += b"!"
        return {"y": inputs["x"].mul_(self.weight), "s": inputs["s"]}
"""

    @pytest.mark.parametrize("writable", [True, False])
    def test_tensors_go_in_and_out(self, loader: Any, writable: bool) -> None:
        served = loader.serve(EagerBackend(), loader.source({"model.py": self.IDENTITY}, threads=3))
        x = np.array([1, 2], np.float32)
        x.flags.writeable = writable
        texts = np.array([b"\xff"], object)
        texts.flags.writeable = writable
        result = served.execute({"x": x, "s": texts})
        assert result["y"].tolist() == [2, 4]
        assert result["s"].tolist() == [b"\xff!"]
        if not writable:
            assert x.tolist() == [1, 2]
            assert texts.tolist() == [b"\xff"]

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("torch.zeros(1, dtype=torch.float64)", "output 'y': expected FP32, got FP64"),
            (
                "torch.zeros(1, dtype=torch.complex64)",
                "output 'y': the v2 protocol has no datatype for torch.complex64",
            ),
            ("torch.zeros(1).to_sparse()", "output 'y': a tensor of layout torch.sparse_coo cannot be sent"),
        ],
    )
    def test_tensors_that_do_not_fit_are_named(self, loader: Any, expression: str, expected: str) -> None:
        code = model_with(f"return {{'y': {expression}}}", top="import torch")
        served = loader.serve(EagerBackend(), loader.source({"model.py": code}))
        with pytest.raises(InternalError) as caught:
            served.execute(floats(1))
        assert expected in caught.value.message


@pytest.mark.slow
def test_the_backend_does_not_import_torch() -> None:
    code = "import sys, kserve_v2_backends.eager.backend; sys.exit(bool({'torch', 'onnxruntime'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_closing_releases_the_handler(loader: Any, instance_thread: Any) -> None:
    source = loader.source({"model.py": HALVE})
    config: ModelConfig = loader.complete(EagerBackend(), source)
    model = EagerBackend().load(source, config)
    instance = instance_thread(model)
    handler = weakref.ref(instance.instance._handler.model)
    instance.close()
    model.close()
    del model, instance
    gc.collect()
    assert handler() is None


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("body", ["return {'y': inputs['x']}", "yield {'y': inputs['x']}"])
@pytest.mark.parametrize("load", ["", "def load(self, context): ..."])
def test_handlers_may_block_and_so_stay_on_their_threads(
    loader: Any, kind: str, body: str, load: str
) -> None:
    code = model_with(body, attributes=load).replace("def __call__", f"{kind} __call__")
    model = loader.load(EagerBackend(), loader.source({"model.py": code}))
    assert not isinstance(model.instance(Placement("m_0", "CPU")), MovableInstance)
