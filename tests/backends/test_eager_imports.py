"""What handlers import, and what is looked up by name for them, is beside them; no two models ever meet."""

import gc
import importlib
import io
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve_v2_backends.eager.backend import EagerBackend

from kserve_v2.errors import InternalError
from kserve_v2.messages import Tensors

# What `torch.save(Net(), ...)` gives in a script beside net.py.
WHOLE_NETWORK = Path(__file__).parent.parent / "cases" / "handler_whole_network" / "net.pth"

WHOLE = """
import torch
class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}
    max_batch_size = 8
    tensors = "torch"
    def load(self, context): self.net = torch.load(context.path / "net.pth", weights_only=False)
    def __call__(self, inputs): return {"y": self.net(inputs["x"]).detach()}
"""

NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.l = torch.nn.Linear(2, 2)
    def forward(self, x): return self.l(x)
"""

PREPROCESS = """
class Scale:
    def __init__(self, k): self.k = k
    def transform(self, x): return x * self.k * {factor}
"""

# What `pickle.dumps(preprocess.Scale(3))` gives in a script beside preprocess.py.
PIPE = b"\x80\x04\x95%\x00\x00\x00\x00\x00\x00\x00\x8c\npreprocess\x94\x8c\x05Scale\x94\x93\x94)\x81\x94}\x94\x8c\x01k\x94K\x03sb."

PYTHON_PICKLE = """
import io
class Model:
    inputs = {{"x": ("FP32", [2])}}
    outputs = {{"y": ("FP32", [2])}}
    max_batch_size = 8
    def load(self, context):
        path = context.path / "pipe.pkl"
        {load}
    def __call__(self, inputs):
        return {{"y": self.pipe.transform(inputs["x"]).astype("f4")}}
"""

LOADS = {
    "pickle.load": "import pickle\n        self.pipe = pickle.load(io.BytesIO(path.read_bytes()))",
    "pickle.loads": "from pickle import loads\n        self.pipe = loads(path.read_bytes())",
    "Unpickler": "from pickle import Unpickler\n        self.pipe = Unpickler(io.BytesIO(path.read_bytes())).load()",
    "in Python": "import pickle\n        self.pipe = pickle._Unpickler(io.BytesIO(path.read_bytes())).load()",
    "joblib": "import joblib\n        self.pipe = joblib.load(path)",
    "cloudpickle": "import cloudpickle\n        self.pipe = cloudpickle.load(io.BytesIO(path.read_bytes()))",
    "numpy": ("import numpy as np\n        self.pipe = np.load(path, allow_pickle=True)"),
    "importlib": "import importlib\n        self.pipe = importlib.import_module('preprocess').Scale(3)",
    "resolve_name": "import pkgutil\n        self.pipe = pkgutil.resolve_name('preprocess:Scale')(3)",
    "find_spec": (
        "import importlib.util\n"
        "        assert importlib.util.find_spec('preprocess') and not importlib.util.find_spec('preproces')\n"
        "        from preprocess import Scale\n"
        "        self.pipe = Scale(3)"
    ),
    "in a pool": (
        "import pickle\n"
        "        from concurrent.futures import ThreadPoolExecutor\n"
        "        with ThreadPoolExecutor(2) as pool:\n"
        "            [self.pipe, _] = pool.map(pickle.loads, [path.read_bytes()] * 2)"
    ),
    "in a thread": (
        "import pickle, threading\n"
        "        def work(): self.pipe = pickle.load(io.BytesIO(path.read_bytes()))\n"
        "        thread = threading.Thread(target=work)\n"
        "        thread.start()\n"
        "        thread.join()"
    ),
}


def floats(*values: float) -> Tensors:
    return {"x": np.array([values], np.float32)}


def serve(loader: Any, code: str, name: str = "m", version: int = 1, **files: str | bytes) -> Any:
    """One instance of a handler with these files beside it; `__` in their names is a slash, and `_` before the end a dot."""
    named = {
        key.replace("__", "/").replace("_py", ".py").replace("_pkl", ".pkl"): text
        for key, text in files.items()
    }
    source = loader.source({"model.py": code, **named}, name=name, version=version)
    return loader.serve(EagerBackend(), source)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    assert "preprocess" not in sys.modules


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_two_models_find_each_its_own_neighbour(loader: Any, load: str) -> None:
    if "joblib" in load:
        pytest.importorskip("joblib")
    if "cloudpickle" in load:
        pytest.importorskip("cloudpickle")
    code = PYTHON_PICKLE.format(load=load)
    served = {
        factor: serve(
            loader, code, f"m{factor}", preprocess_py=PREPROCESS.format(factor=factor), pipe_pkl=PIPE
        )
        for factor in (1, 10)
    }
    assert served[1].execute(floats(1, 2))["y"].tolist() == [[3, 6]]
    assert served[10].execute(floats(1, 2))["y"].tolist() == [[30, 60]]


def test_a_new_version_unpickles_with_its_own_code(loader: Any) -> None:
    """Also where both are loaded, and where the pickle was written by the old one."""
    code = PYTHON_PICKLE.format(
        load="import pickle\n"
        "        from preprocess import Scale\n"
        "        self.pipe = pickle.load(io.BytesIO(path.read_bytes()))\n"
        "        path.with_name('pipe.pkl').write_bytes(pickle.dumps(self.pipe))"
    )
    files = {"preprocess_py": PREPROCESS.format(factor=1), "pipe_pkl": PIPE}
    old = serve(loader, code, **files)
    written = (Path(loader._root) / "m" / "1" / "pipe.pkl").read_bytes()
    assert b"_handler_" in written
    new = serve(loader, code, preprocess_py=PREPROCESS.format(factor=2), pipe_pkl=written)
    other = serve(loader, code, version=2, preprocess_py=PREPROCESS.format(factor=3), pipe_pkl=written)
    results = [each.execute(floats(1, 2))["y"].tolist() for each in (old, new, other)]
    assert results == [[[3, 6]], [[6, 12]], [[9, 18]]]


def test_a_class_of_the_script_that_wrote_the_pickle_is_the_handler_file_s(loader: Any) -> None:
    pipe = b"c__main__\nScale\n)\x81}(X\x01\x00\x00\x00kK\x03ub."  # protocol 2, without its header
    code = PYTHON_PICKLE.format(load=LOADS["pickle.load"]) + PREPROCESS.format(factor=1)
    assert serve(loader, code, pipe_pkl=pipe).execute(floats(1, 2))["y"].tolist() == [[3, 6]]


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_a_whole_network_is_loaded_by_torch(loader: Any) -> None:
    files = {"model.py": WHOLE, "net.py": NET, "net.pth": WHOLE_NETWORK.read_bytes()}
    import torch  # noqa: PLC0415 - only where it is installed

    served = loader.serve(EagerBackend(), loader.source(files))
    weights = served.instance._handler.model.net.l
    expected = (torch.tensor([[1.0, 2.0]]) @ weights.weight.T + weights.bias).tolist()
    assert np.allclose(served.execute(floats(1, 2))["y"], expected)
    assert "net" not in sys.modules


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_without_leave_torch_says_how_to_give_it(loader: Any) -> None:
    code = WHOLE.replace(", weights_only=False", "")
    files = {"model.py": code, "net.py": NET, "net.pth": WHOLE_NETWORK.read_bytes()}
    with pytest.raises(InternalError) as caught:
        loader.serve(EagerBackend(), loader.source(files))
    assert caught.value.message.startswith("model.py, line 8: UnpicklingError: Weights only load failed")
    assert "weights_only" in caught.value.message


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize(
    "allow",
    [
        "torch.serialization.add_safe_globals([net.Net, torch.nn.Linear])",
        "torch.serialization.add_safe_globals([(net.Net, 'net.Net'), torch.nn.Linear])",
    ],
)
def test_what_handlers_let_torch_read_is_each_model_s_own(
    loader: Any, instance_thread: Any, allow: str
) -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    allow += "; torch.serialization.add_safe_globals([getattr, set])"
    code = WHOLE.replace(", weights_only=False", "").replace(
        "import torch\n", f"import torch, net\n{allow}\n"
    )
    before = set(torch.serialization.get_safe_globals())
    models = []
    for number in (1, 2):
        net = NET.replace("return self.l(x)", f"return self.l(x) * 0 + {number}")
        files = {"model.py": code, "net.py": net, "net.pth": WHOLE_NETWORK.read_bytes()}
        source = loader.source(files, name=f"m{number}")
        models.append(EagerBackend().load(source, loader.complete(EagerBackend(), source)))
    instances = [instance_thread(model) for model in models]
    assert [each.execute(floats(0, 0))["y"].tolist() for each in instances] == [[[1, 1]], [[2, 2]]]
    with pytest.raises(InternalError, match="UnpicklingError"):
        files["model.py"] = WHOLE.replace(", weights_only=False", "")
        loader.serve(EagerBackend(), loader.source(files, name="m3"))
    for instance, model in zip(instances, models, strict=True):
        instance.close()
        model.close()
    left = set(torch.serialization.get_safe_globals()) - before
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*before])
    assert left <= {getattr, set, torch.nn.Linear}


class TestFolders:
    CODE = """
{top}
class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}
    def __call__(self, inputs):
        {body}
        return {{"y": scale(inputs["x"])}}
"""
    SCALE = "def scale(x): return x * 5"

    @pytest.mark.parametrize(
        ("top", "body"),
        [
            ("from utils.pre import scale", ""),
            ("", "from utils.pre import scale"),
            ("", "from utils import pre; scale = pre.scale"),
            ("import utils.pre", "scale = utils.pre.scale"),
            ("from .utils.pre import scale", ""),
            ("", "from .utils import pre; scale = pre.scale"),
            ("import importlib", "scale = importlib.import_module('utils.pre').scale"),
            ("import importlib", "scale = importlib.import_module('.utils.pre', __package__).scale"),
            ("", "scale = __import__('utils.pre').pre.scale"),
        ],
    )
    def test_a_folder_needs_no_init_file(self, loader: Any, top: str, body: str) -> None:
        code = self.CODE.format(top=top, body=body)
        served = serve(loader, code, utils__pre_py=self.SCALE)
        assert served.execute({"x": np.ones(1, np.float32)})["y"].tolist() == [5]

    def test_a_package_that_is_installed_goes_before_such_a_folder(self, loader: Any) -> None:
        body = "import json.decoder\n        from json import loads as scale\n        scale = abs"
        served = serve(loader, self.CODE.format(top="", body=body), json__pre_py=self.SCALE)
        assert served.execute({"x": -np.ones(1, np.float32)})["y"].tolist() == [1]

    def test_a_folder_shares_its_name_with_one_that_is_installed(
        self, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such as google/."""
        (tmp_path / "site" / "shared_folder").mkdir(parents=True)
        (tmp_path / "site" / "shared_folder" / "installed.py").write_text("FACTOR = 5")
        monkeypatch.syspath_prepend(tmp_path / "site")
        body = "from shared_folder.installed import FACTOR\n        from shared_folder import beside\n"
        body += "        import shared_folder.beside\n        scale = lambda x: x * FACTOR * beside.FACTOR"
        served = serve(loader, self.CODE.format(top="", body=body), shared_folder__beside_py="FACTOR = 2")
        assert served.execute({"x": np.ones(1, np.float32)})["y"].tolist() == [10]
        del sys.modules["shared_folder"], sys.modules["shared_folder.installed"]


class TestIsolation:
    def test_code_of_no_model_finds_nothing_of_a_model(self, loader: Any) -> None:
        code = PYTHON_PICKLE.format(load=LOADS["pickle.load"])
        serve(loader, code, preprocess_py=PREPROCESS.format(factor=1), pipe_pkl=PIPE)
        with pytest.raises(ModuleNotFoundError, match="nothing here says which model asks for it"):
            pickle.loads(PIPE)  # noqa: S301 - it is ours
        with pytest.raises(ModuleNotFoundError, match="nothing here says which model asks for it"):
            pickle._Unpickler(io.BytesIO(PIPE)).load()
        with pytest.raises(ModuleNotFoundError, match=r"^No module named 'preprocess'$"):
            importlib.import_module("preprocess")
        assert importlib.util.find_spec("preprocess") is None
        with ThreadPoolExecutor(1) as pool, pytest.raises(ModuleNotFoundError):
            pool.submit(pickle.loads, PIPE).result()

    def test_a_model_without_the_module_does_not_get_another_s(self, loader: Any) -> None:
        code = PYTHON_PICKLE.format(load=LOADS["pickle.load"])
        serve(loader, code, "has", preprocess_py=PREPROCESS.format(factor=1), pipe_pkl=PIPE)
        with pytest.raises(InternalError) as caught:
            serve(loader, code, "has_not", pipe_pkl=PIPE)
        assert caught.value.message == "model.py, line 10: ModuleNotFoundError: No module named 'preprocess'"

    def test_a_pool_that_models_share_works_for_who_asks(self, loader: Any) -> None:
        """Its one thread was started for the first of them."""
        pool = ThreadPoolExecutor(1)
        load = "import pickle, builtins\n        self.pipe = builtins.shared_pool.submit(pickle.loads, path.read_bytes()).result()"
        builtins: Any = importlib.import_module("builtins")
        builtins.shared_pool = pool
        try:
            served = [
                serve(
                    loader,
                    PYTHON_PICKLE.format(load=load),
                    f"m{factor}",
                    preprocess_py=PREPROCESS.format(factor=factor),
                    pipe_pkl=PIPE,
                )
                for factor in (1, 2)
            ]
        finally:
            del builtins.shared_pool
            pool.shutdown()
        assert [each.execute(floats(1, 1))["y"].tolist() for each in served] == [[[3, 3]], [[6, 6]]]

    def test_a_message_has_the_names_that_the_file_has(self, loader: Any) -> None:
        code = PYTHON_PICKLE.format(load=LOADS["pickle.load"])
        with pytest.raises(InternalError) as caught:
            serve(loader, code, preprocess_py="", pipe_pkl=PIPE)
        assert (
            "Can't get attribute 'Scale' on <module 'preprocess' from 'preprocess.py'>"
            in caught.value.message
        )


def test_an_async_handler_s_tasks_look_up_for_it(loader: Any) -> None:
    code = """
import asyncio, pickle

class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}
    max_batch_size = 8
    def load(self, context):
        self.pickled = (context.path / "pipe.pkl").read_bytes()
    async def __call__(self, inputs):
        pipe = await asyncio.create_task(asyncio.to_thread(pickle.loads, self.pickled))
        return {"y": pipe.transform(inputs["x"])}
"""
    served = serve(loader, code, preprocess_py=PREPROCESS.format(factor=1), pipe_pkl=PIPE)
    assert served.execute(floats(1, 2))["y"].tolist() == [[3, 6]]


class TestOnce:
    """A handler file is executed once for a load, and nothing stays of it."""

    CODE = "import builtins\nbuiltins.executions += 1\nimport helper\n" + PYTHON_PICKLE.format(load="...")

    @pytest.fixture(autouse=True)
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        self.builtins: Any = importlib.import_module("builtins")
        monkeypatch.setattr(self.builtins, "executions", 0, raising=False)
        yield
        assert not [name for name in sys.modules if name.startswith("_handler_")]

    def test_a_load_that_works(self, loader: Any) -> None:
        source = loader.source({"model.py": self.CODE, "helper.py": "class Helper: ..."})
        config = loader.complete(EagerBackend(), source)
        model = EagerBackend().load(source, config)
        assert self.builtins.executions == 1
        references = [
            weakref.ref(model._module.module),
            weakref.ref(model._module.module.Model),
            weakref.ref(model._module.module.helper),
            weakref.ref(model._module.module.helper.Helper),
        ]
        model.close()
        del model, config, source
        gc.collect()
        assert [reference() for reference in references] == [None] * 4

    def test_what_completes_and_is_never_loaded(self, loader: Any) -> None:
        source = loader.source({"model.py": self.CODE, "helper.py": ""})
        loader.complete(EagerBackend(), source)
        assert self.builtins.executions == 1
        source.handover.close()
        assert not [name for name in sys.modules if name.startswith("_handler_")]

    @pytest.mark.parametrize("more", ["raise OSError('no weights')", "Model = 3; raise SystemExit"])
    def test_a_load_that_fails(self, loader: Any, more: str) -> None:
        source = loader.source({"model.py": self.CODE + more, "helper.py": ""})
        with pytest.raises(InternalError):
            loader.load(EagerBackend(), source)
        assert self.builtins.executions == 1
