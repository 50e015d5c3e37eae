"""Everything that `kserve_v2.serve` takes answers as it does by itself."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import httpx
import numpy as np
import pytest

import kserve_v2
from kserve_v2 import FP32, Text

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent.parent / "model_repository"
Floats = Annotated[np.ndarray, FP32(2)]


class Both(TypedDict):
    total: Annotated[np.ndarray, FP32(1)]
    words: Text


def annotated(x: Floats, word: Text = "none") -> Both:
    return {"total": x.sum(keepdims=True), "words": word.upper()}


async def waiting(x: Floats) -> Floats:
    return x + 1


@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])})
def with_options(x: Any, factor: float = 3, **others: Any) -> Any:
    return x * factor


def streaming(x: Floats) -> Iterator[Floats]:
    for factor in (1, 2, 3):
        yield x * factor


@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])}, max_batch_size=8)
def decorated(x: Any) -> Any:
    return x * 10


class Counting:
    """A handler that was made by the program."""

    outputs = {"y": ("FP32", [2])}  # noqa: RUF012 - as people write them

    def __init__(self, step: float) -> None:
        self.inputs = {"x": ("FP32", [2])}
        self.step, self.closed = step, False

    def __call__(self, inputs: Any) -> Any:
        return {"y": inputs["x"] + self.step}

    def close(self) -> None:
        self.closed = True


class Loaded:
    inputs = outputs = {"x": ("FP32", [2])}  # noqa: RUF012 - as people write them

    def load(self, context: kserve_v2.Context) -> None:
        self.name = context.name

    def __call__(self, inputs: Any) -> Any:
        return {"x": inputs["x"] + len(self.name)}


COUNTING = Counting(5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kserve_v2.Server]:
    top = tmp_path_factory.mktemp("objects")
    shutil.copytree(EXAMPLES / "add_sub", top / "repository" / "add_sub")
    models = {
        "annotated": annotated,
        "waiting": waiting,
        "streaming": streaming,
        "decorated": decorated,
        "with_options": with_options,
        "counting": COUNTING,
        "loaded": Loaded,
        "digits": EXAMPLES / "digits_onnx" / "1" / "model.onnx",
        "bytes": (EXAMPLES / "digits_onnx" / "1" / "model.onnx").read_bytes(),
    }
    with kserve_v2.serve(models, port=0, block=False, model_repository=top / "repository") as running:
        yield running
    assert COUNTING.closed
    # What is given stays as it is.
    assert decorated(3) == 30
    assert "__kserve_v2_model__" not in vars(annotated)


X = np.array([1, 2], np.float32)


def test_functions(server: kserve_v2.Server) -> None:
    answer = server.infer("annotated", x=X, word="hello")
    assert (answer["total"].tolist(), answer["words"].tolist()) == ([3], [b"HELLO"])
    assert server.infer("annotated", x=X)["words"].tolist() == [b"NONE"]
    assert server.infer("waiting", x=X)["output"].tolist() == [2, 3]
    assert server.infer("decorated", x=[[1, 2], [3, 4]])["y"].tolist() == [[10, 20], [30, 40]]
    assert server.infer("with_options", x=X)["y"].tolist() == [3, 6]
    with pytest.raises(kserve_v2.UnsupportedError, match="gives any number of answers: ask it by Server"):
        server.infer("streaming", x=X)
    assert [each["output"].tolist() for each in server.stream("streaming", x=X)] == [[1, 2], [2, 4], [3, 6]]


def test_classes_and_objects(server: kserve_v2.Server) -> None:
    assert server.infer("counting", x=X)["y"].tolist() == [6, 7]
    # It is the object itself that answers.
    COUNTING.step = 7
    try:
        assert server.infer("counting", x=X)["y"].tolist() == [8, 9]
    finally:
        COUNTING.step = 5
    assert server.infer("loaded", x=X)["x"].tolist() == [7, 8]


def test_the_same_over_rest(server: kserve_v2.Server) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    answer = httpx.post(f"{server.url}/v2/models/decorated/infer", json=body).json()
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [10.0, 20.0]}]
    assert httpx.get(f"{server.url}/v2/models/add_sub/ready").status_code == 200
    assert "nv_inference_request_success" in httpx.get(server.metrics_url).text


def test_files_and_bytes(server: kserve_v2.Server) -> None:
    image = np.random.default_rng(1).random((2, 1, 8, 8), np.float32)
    left, right = (server.infer(name, image=image)["probabilities"] for name in ("digits", "bytes"))
    np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(left.sum(axis=1), [1, 1], rtol=1e-5)


def test_sessions_and_messages_of_onnx() -> None:
    import onnx  # noqa: PLC0415 - large
    import onnxruntime  # noqa: PLC0415

    path = EXAMPLES / "digits_onnx" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    expected = session.run(["probabilities"], {"image": image})[0]
    for model, size in ((session, 0), (session, 16), (onnx.load(path), None)):
        given = {} if size is None else {"max_batch_size": size}
        with kserve_v2.serve(model, name="digits", port=0, block=False, **given) as server:  # type: ignore[arg-type]
            np.testing.assert_allclose(
                server.infer("digits", image=image)["probabilities"], expected, rtol=1e-5
            )
    with pytest.raises(kserve_v2.InvalidArgumentError, match="these 4 bytes are no ONNX model"):
        kserve_v2.serve(b"what", port=0, block=False)


def test_estimators() -> None:
    from sklearn.datasets import load_iris  # noqa: PLC0415 - large
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415
    from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import FunctionTransformer, StandardScaler, scale  # noqa: PLC0415

    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    models = {
        "forest": RandomForestClassifier(5, random_state=0).fit(x, y),
        "texts": make_pipeline(StandardScaler(), LogisticRegression()).fit(x, names),
        "line": LinearRegression().fit(x, y),
        "lines": LinearRegression().fit(x[:, :2], x[:, 2:]),
    }
    with kserve_v2.serve(models, port=0, block=False) as server:
        forest = server.infer("forest", x=x)
        assert forest["label"].ravel().tolist() == models["forest"].predict(x).tolist()
        np.testing.assert_array_equal(forest["probabilities"], models["forest"].predict_proba(x))
        texts = server.infer("texts", x=x[:3].tolist())
        assert texts["label"].ravel().tolist() == [each.encode() for each in models["texts"].predict(x[:3])]
        np.testing.assert_allclose(
            server.infer("line", x=x)["prediction"].ravel(), models["line"].predict(x), rtol=1e-12
        )
        assert server.infer("lines", x=x[:, :2])["prediction"].shape == (150, 2)
        for name in models:
            assert httpx.get(f"{server.url}/v2/models/{name}/config").json()["max_batch_size"] == 1024
    # Of a pipeline that scales by what it is given, the requests of two clients must not meet.
    scaling = make_pipeline(FunctionTransformer(scale), LogisticRegression()).fit(x, y)
    with kserve_v2.serve(scaling, name="scaling", port=0, block=False) as server:
        assert httpx.get(f"{server.url}/v2/models/scaling/config").json()["max_batch_size"] == 0
        np.testing.assert_allclose(
            server.infer("scaling", x=x[:5])["probabilities"], scaling.predict_proba(x[:5])
        )
    with pytest.raises(
        kserve_v2.InvalidArgumentError, match="LinearRegression does not say how many features"
    ):
        kserve_v2.serve(LinearRegression(), port=0, block=False)


def test_modules() -> None:
    import torch  # noqa: PLC0415 - large

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.dropout = torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)

        def forward(self, rows: Any, scale: Any) -> Any:
            return {"scores": self.dropout(self.linear(rows)) * scale, "most": rows.argmax(dim=1)}

    class Untraceable(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2 if float(x.sum()) > 0 else -x

    net = Net()
    example = (torch.zeros(1, 4), torch.ones(1, 1))
    rows, scale = torch.randn(5, 4), torch.full((5, 1), 2.0)
    with kserve_v2.serve(net, example=example, name="net", port=0, block=False) as server:
        answer = server.infer("net", rows=rows, scale=scale)
        expected = net(rows, scale)
        np.testing.assert_allclose(answer["scores"], expected["scores"].detach().numpy(), rtol=1e-6)
        assert answer["most"].tolist() == expected["most"].tolist()
        metadata = httpx.get(f"{server.url}/v2/models/net").json()
        assert [(each["name"], each["datatype"], each["shape"]) for each in metadata["outputs"]] == [
            ("scores", "FP32", [-1, 3]), ("most", "INT64", [-1])
        ]  # fmt: skip
        assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [
            ("rows", [-1, 4]), ("scale", [-1, 1])
        ]  # fmt: skip
    with kserve_v2.serve(Untraceable(), example=torch.ones(2, 2), name="u", port=0, block=False) as server:
        assert server.infer("u", x=[[1.0, -2.0]])["output"].tolist() == [[-1.0, 2.0]]
    with kserve_v2.serve(
        Untraceable(), example={"x": torch.ones(2, 2)}, max_batch_size=4, name="u", port=0, block=False
    ) as server:
        assert server.infer("u", x=[[1.0, 2.0]])["output"].tolist() == [[2.0, 4.0]]
    with pytest.raises(
        kserve_v2.InvalidArgumentError, match="Net is a torch module, which does not say what its tensors"
    ):
        kserve_v2.serve(net, port=0, block=False)
    with pytest.raises(
        kserve_v2.InvalidArgumentError,
        match=r"Linear cannot be called with the example, input of torch.float64 \[1, 4\]: mat1 and mat2",
    ):
        kserve_v2.serve(torch.nn.Linear(4, 2), example=np.zeros((1, 4)), port=0, block=False)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((3,), {}, TypeError, "int cannot be served: expected a path, a function"),
        (({"a": None},), {}, TypeError, "NoneType cannot be served"),
        (({"a": decorated},), {"max_batch_size": 3}, TypeError, "describe each of several with @kserve_v2.model"),
        ((decorated,), {"example": 3}, TypeError, "example= is for torch modules, not for function"),
        ((decorated,), {"prot": 3}, TypeError, "unexpected argument 'prot'"),
        ((decorated,), {"http_prot": 3}, TypeError, "did you mean http_port?"),
        ((decorated,), {"grpc_port": "many"}, kserve_v2.SettingsError, "--grpc-port: expected a whole number from 0"),
        ((decorated,), {"grpc_port": 70000}, kserve_v2.SettingsError, "grpc_port: expected a whole number from 0"),
        (("/no/such.onnx",), {}, kserve_v2.InvalidArgumentError, "/no/such.onnx does not exist"),
        ((lambda x: x,), {}, kserve_v2.StartupError, "or of a function, into @kserve_v2.model(inputs=…, outputs=…)"),
        ((lambda x: x,), {"inputs": {"x": ("FP99", [1])}}, kserve_v2.StartupError, "expected a datatype out of BOOL"),
        ((), {}, kserve_v2.SettingsError, "nothing to serve"),
        (({"a/b": decorated},), {}, kserve_v2.InvalidArgumentError, "expected a model's name that a folder could have"),
        ((decorated,), {"name": "a=b"}, kserve_v2.InvalidArgumentError, "without '/', '=' or a dot in front, got 'a=b'"),
        ((decorated,), {"model_name": "m"}, kserve_v2.SettingsError, "a single model is named as in NAME=PATH"),
    ],
)  # fmt: skip
def test_what_cannot_be_served(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    given = {"port": 0, "block": False, **options}
    with pytest.raises(error) as caught:
        kserve_v2.serve(*arguments, **given)
    assert text in str(caught.value)
