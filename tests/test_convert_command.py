"""`kserve-v2 convert`: archives of every kind become models that answer; nothing in an archive is run by it."""

import ast
import io
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_child.torchserve.manifest import Manifest
from PIL import Image

import kserve_v2
from kserve_v2.cli import main
from kserve_v2.client.sync import Client
from kserve_v2.commands.converting.content import Content
from kserve_v2.commands.converting.handlers import network_code
from kserve_v2.commands.converting.result import Result
from tests.conftest import RunningServer, StartServer

ROOT = Path(__file__).resolve().parent.parent
CLASSES = {"0": "ant", "1": ["n01", "bee"], "2": "cat", "3": "dog", "4": "emu", "5": "fox"}
NAMES = ["ant", "bee", "cat", "dog", "emu", "fox"]
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

# Each says, by a file, that it has been run.
NETWORKS = """
import torch
from torch import nn
{touch}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(3, 6)

    def forward(self, x):
        {forward}
"""
FORWARD = {
    "classifier": "return self.scores(x.mean(dim=(2, 3)))",
    "segmenter": 'return {"out": torch.stack([x[:, 0], x[:, 1] * 2], dim=1)}',
    "detector": """return [
            {"boxes": torch.tensor([[0.0, 0, 1, 2], [3, 4, 5, 6]]), "labels": torch.tensor([2, 9]),
             "scores": torch.stack([each.mean(), each.mean() / 2])} for each in x
        ]""",
    "numbers": "return self.scores(x), x.sum(dim=1, keepdim=True)",
}
TEXT_NETWORK = """
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(8, 2, mode="sum")

    def forward(self, text, offsets):
        return self.embedding(text, offsets)
"""
HANDLER = """
{touch}

class Echo:
    def initialize(self, context): pass
    def handle(self, data, context):
        return [bytes(row.get("body")).decode().upper() for row in data]
"""


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "scores.weight": torch.randn(6, 3, generator=generator),
        "scores.bias": torch.randn(6, generator=generator),
    }


class Scripted(torch.nn.Module):
    """The classifier, to be saved as TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = torch.nn.Linear(3, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(x.mean(dim=[2, 3]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, torch.Tensor]) -> Path:
    """A folder with archives of all kinds, and what they were made of."""
    folder = tmp_path_factory.mktemp("archives")
    touch = f"open({str(folder / 'was_run')!r}, 'w').close()"
    (folder / "index_to_name.json").write_text(json.dumps(CLASSES))
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "config.yaml").write_text(
        "minWorkers: 2\nmaxWorkers: 4\nbatchSize: 4\nmaxBatchDelay: 20\nresponseTimeout: 60\njobQueueSize: 50\n"
        "deviceType: cpu\nhandler: {top: 3}\n"
    )
    torch.save(weights, folder / "weights.pth")
    torch.save({"embedding.weight": torch.arange(16.0).reshape(8, 2) / 10}, folder / "bag.pth")
    words = ["free", "is", "it", "not", "it is", "is not", "not free", "."]
    torch.save({word: number for number, word in enumerate(words)}, folder / "source_vocab.pt")
    network = Scripted()
    network.load_state_dict(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network.eval()).save(folder / "net.pt")
    for kind, forward in FORWARD.items():
        (folder / kind).mkdir()
        # As most are called, and as a handler is here.
        (folder / kind / "model.py").write_text(NETWORKS.format(touch=touch, forward=forward))
    (folder / "bag.py").write_text(TEXT_NETWORK)
    (folder / "echo.py").write_text(HANDLER.format(touch=touch))
    (folder / "two").mkdir()
    (folder / "two" / "model.py").write_text("class A: pass\nclass B: pass\n")

    def archive(name: str, handler: str, form: str = "default", **more: Any) -> None:
        given = {
            key: [folder / each for each in value] if isinstance(value, list) else folder / value
            for key, value in more.items()
        }
        where: Any = {"export_path": folder, "archive_format": form}
        kserve_v2.archive_model(name, version="2.0", handler=handler, **where, **given)

    names = ["index_to_name.json"]
    archive(
        "scripted",
        "image_classifier",
        serialized_file="net.pt",
        extra_files=names,
        config_file="config.yaml",
        requirements_file="requirements.txt",
    )
    eager = {"model_file": "classifier/model.py", "serialized_file": "weights.pth"}
    archive("eager", "image_classifier", **eager)
    archive("segmented", "image_segmenter", **{**eager, "model_file": "segmenter/model.py"})
    archive("detected", "object_detector", extra_files=names, **{**eager, "model_file": "detector/model.py"})
    archive(
        "classified",
        "text_classifier",
        model_file="bag.py",
        serialized_file="bag.pth",
        extra_files=["source_vocab.pt"],
        config_file="config.yaml",
    )
    archive("foreign", "vllm_handler")
    archive("tensors", "base_handler", serialized_file="net.pt")
    archive("numbers", "base_handler", **{**eager, "model_file": "numbers/model.py"})
    archive("custom", str(folder / "echo.py"))
    shutil.copy(ROOT / "model_repository/add_sub/1/model.onnx", folder / "sums.onnx")
    archive("sums", "base_handler", serialized_file="sums.onnx", config_file="config.yaml")
    archive("packed", str(folder / "echo.py"), "tgz")
    archive("folder", str(folder / "echo.py"), "no-archive")
    archive("two_classes", "image_classifier", **{**eager, "model_file": "two/model.py"})
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """A repository of what became of them."""
    repository = folder / "models"
    for name, *options in (
        ("scripted",), ("eager",), ("segmented",), ("detected",), ("classified",), ("custom",), ("sums",),
        ("tensors", "--input", "x:FP32[N,3,-1,-1]", "--output", "scores:FP32[N,6]"),
        ("numbers", "--input", "x:FP32[N,3]", "--output", "scores:FP32[N,6]", "--output", "sum:FP32[N,1]"),
    ):  # fmt: skip
        assert main(["convert", str(folder / f"{name}.mar"), str(repository), *options]) == 0
    for name in ("packed.tar.gz", "folder"):
        assert main(["convert", str(folder / name), str(repository)]) == 0
    beginnings = str(folder / "beginnings")
    assert main(["convert", str(folder / "custom.mar"), beginnings, "--name", "mine", "--skeleton"]) == 0
    assert main(["convert", str(folder / "two_classes.mar"), beginnings]) == 0
    # Not one line of theirs was run for that.
    assert not (folder / "was_run").exists()
    assert [path for path in repository.iterdir() if path.name.startswith(".")] == []
    return repository


def files(model: Path) -> list[str]:
    return sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())


@pytest.mark.slow
def test_what_was_made_of_an_archive(made: Path) -> None:
    assert files(made / "scripted") == [
        "2/class_names.json", "2/model.py", "2/net.pt", "2/requirements.txt", "CONVERTED.md", "config.pbtxt",
    ]  # fmt: skip
    assert files(made / "eager") == [
        "2/class_names.json", "2/model.py", "2/network_definition.py", "2/weights.pth", "CONVERTED.md", "config.pbtxt",
    ]  # fmt: skip
    assert files(made / "tensors") == ["2/model.pt", "CONVERTED.md", "config.pbtxt"]
    assert files(made / "custom") == ["2/model.mar", "CONVERTED.md", "config.pbtxt"]
    assert (made / "scripted" / "config.pbtxt").read_text().splitlines()[1:] == [
        'backend: "python"',
        "max_batch_size: 4",
        "dynamic_batching { max_queue_delay_microseconds: 20000  default_queue_policy { max_queue_size: 50 } }",
        "instance_group [ { count: 2  kind: KIND_CPU } ]",
    ]
    for code in made.glob("*/2/model.py"):
        text = code.read_text()
        compile(text, str(code), "exec")
        assert not re.search(r"@[A-Z]+@", text)


@pytest.mark.slow
def test_the_report_says_what_is_left_to_a_person(made: Path) -> None:
    report = (made / "scripted" / "CONVERTED.md").read_text()
    assert report.startswith("# scripted, converted from scripted.mar\n")
    for said in (
        "Images are RGB",
        "maxWorkers, 4, has no counterpart",
        "responseTimeout: 60 s",
        "config.yaml: handler: those were for the handler",
        "--model-environments",
    ):
        assert said in report
    # Or the check of the model would say more than the report.
    assert "max_batch_size is 64" in (made / "tensors" / "CONVERTED.md").read_text()
    assert "no index_to_name.json" in (made / "eager" / "CONVERTED.md").read_text()
    assert (
        "model.py should define one class, the network; it has A, B"
        in (made.parent / "beginnings" / "two_classes" / "CONVERTED.md").read_text()
    )
    beginning = made.parent / "beginnings" / "mine"
    assert files(beginning) == ["2/echo.py", "2/model.py", "CONVERTED.md", "config.pbtxt"]
    assert (
        "move what class Echo of echo.py does (initialize, handle) into model.py"
        in (beginning / "CONVERTED.md").read_text()
    )


@pytest.fixture(scope="module")
def server(made: Path, start_server: StartServer) -> RunningServer:
    return start_server(made)


def probabilities(colour: np.ndarray[Any, Any], weights: dict[str, torch.Tensor]) -> np.ndarray[Any, Any]:
    """What the classifier says of a picture of which all pixels are of one colour, 0 to 1."""
    scores = weights["scores.weight"].numpy() @ ((colour - MEAN) / DEVIATION) + weights["scores.bias"].numpy()
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum())


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(written, "PNG")
    return written.getvalue()


def answer(server: RunningServer, model: str, **inputs: Any) -> Any:
    with Client(server.rest) as client:
        return client.infer(model, inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "names"), [("scripted", NAMES), ("eager", list("012345"))])
def test_an_image_classifier_answers_the_best_classes(
    server: RunningServer, weights: dict[str, torch.Tensor], model: str, names: list[str]
) -> None:
    # Of the second, what lies outside of the middle, 224 x 224 of 256 x 300, is black.
    middle = np.zeros((256, 300, 3))
    middle[16:240, 38:262] = (40, 90, 200)
    colours = [np.array([250, 120, 3]), np.array([40, 90, 200])]
    pictures = [png(np.full((61, 90, 3), colours[0])), png(middle)]
    rows = [[each] for each in pictures]
    # One of them had batchSize 4, the other says nothing of batches.
    batches = [rows] if model == "scripted" else [[each] for each in rows]
    answers = [answer(server, model, image=np.array(batch, object)) for batch in batches]
    labels, probability = (
        np.concatenate([each[name] for each in answers]) for name in ("label", "probability")
    )
    for row, colour in enumerate(colours):
        expected = probabilities(colour / 255, weights)
        best = np.argsort(-expected)[:5]
        assert [each.decode() for each in labels[row]] == [names[number] for number in best]
        np.testing.assert_allclose(probability[row], expected[best], rtol=1e-4)


@pytest.mark.slow
def test_a_segmenter_answers_the_best_class_of_each_pixel(server: RunningServer) -> None:
    colour = np.array([200, 100, 0])
    outputs = answer(server, "segmented", image=np.array([[png(np.full((300, 300, 3), colour))]], object))
    red, green, _ = (colour / 255 - MEAN) / DEVIATION
    scores = np.exp([red, green * 2])
    assert (outputs["class_of_pixel"] == scores.argmax()).all()
    assert outputs["class_of_pixel"].shape == (1, 224, 224)
    np.testing.assert_allclose(outputs["probability"], scores.max() / scores.sum(), rtol=1e-4)


@pytest.mark.slow
def test_a_detector_answers_what_it_is_sure_of(server: RunningServer) -> None:
    for brightness, labels in ((255, [b"cat", b"9"]), (200, [b"cat"]), (10, [])):
        outputs = answer(server, "detected", image=np.array([png(np.full((5, 9, 3), brightness))], object))
        assert outputs["label"].tolist() == labels
        assert outputs["box"].tolist() == [[0, 0, 1, 2], [3, 4, 5, 6]][: len(labels)]
        np.testing.assert_allclose(
            outputs["score"], [brightness / 255, brightness / 510][: len(labels)], rtol=1e-5
        )


@pytest.mark.slow
def test_a_text_classifier_answers_all_classes(server: RunningServer) -> None:
    texts = np.array([[b"<b>It isn't FREE</b>"], [b"It"]], object)
    outputs = answer(server, "classified", text=texts)
    # it, is, not, free, and the pairs of them; each row of the table is n/5, n/5 + 0.1.
    assert outputs["label"].tolist() == [[b"0", b"1"]] * 2
    for row, count in enumerate((7, 1)):
        np.testing.assert_allclose(outputs["probability"][row, 1], 1 / (1 + np.exp(-0.1 * count)), rtol=1e-4)


@pytest.mark.slow
def test_networks_take_and_give_the_tensors_that_were_said(
    server: RunningServer, weights: dict[str, torch.Tensor]
) -> None:
    matrix, bias = (weights[f"scores.{name}"].numpy() for name in ("weight", "bias"))
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    outputs = answer(server, "numbers", x=x)
    np.testing.assert_allclose(outputs["scores"], x @ matrix.T + bias, rtol=1e-4)
    assert outputs["sum"].tolist() == [[6], [15]]
    image = np.ones((1, 3, 4, 5), np.float32)
    np.testing.assert_allclose(
        answer(server, "tensors", x=image)["scores"], [matrix.sum(axis=1) + bias], rtol=1e-4
    )


@pytest.mark.slow
def test_an_onnx_file_says_itself_what_it_takes(made: Path, server: RunningServer) -> None:
    assert files(made / "sums") == ["2/model.onnx", "CONVERTED.md", "config.pbtxt"]
    numbers = np.arange(16, dtype=np.int32).reshape(1, 16)
    outputs = answer(server, "sums", INPUT0=numbers, INPUT1=numbers + 1)
    assert [outputs[name].tolist() for name in ("OUTPUT0", "OUTPUT1")] == [
        (2 * numbers + 1).tolist(),
        [[-1] * 16],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["custom", "packed", "folder"])
def test_a_handler_of_its_own_is_run_as_it_is(server: RunningServer, model: str) -> None:
    outputs = answer(server, model, body=np.array([[b"abc"]], object))
    assert outputs["prediction"].tolist() == [[b"ABC"]]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archive", "options", "said"),
    [
        ("nothing.mar", [], "nothing.mar does not exist"),
        ("weights.pth", [], "names no handler"),
        ("tensors.mar", [], "give --input and --output for each of them, as NAME:DATATYPE[DIM,…]"),
        (
            "tensors.mar",
            ["--input", "x:FP32[N,3]", "--output", "y:FP32[6]"],
            "either all tensors have a batch",
        ),
        (
            "custom.mar",
            ["--input", "x:FP32[N,3]"],
            "--input and --output belong to archives with base_handler",
        ),
        ("foreign.mar", [], "TorchServe's vllm_handler is not served here; --skeleton makes"),
        ("config.yaml", [], "it is neither a zip nor a tar file"),
    ],
)
def test_what_is_refused_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    archive: str,
    options: list[str],
    said: str,
) -> None:
    assert main(["convert", str(folder / archive), str(tmp_path / "models"), *options]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_names_in_an_archive_do_not_become_code(folder: Path, tmp_path: Path) -> None:
    name = '"+open("was_run","w").close()+".pt'
    (tmp_path / name).write_bytes((folder / "net.pt").read_bytes())
    kserve_v2.archive_model(
        "net", version="1", handler="image_classifier", serialized_file=tmp_path / name, export_path=tmp_path
    )
    (tmp_path / "net.mar").rename(tmp_path / '"""\nimport os\n"""\\.mar')
    assert main(["convert", str(tmp_path / '"""\nimport os\n"""\\.mar'), str(tmp_path / "models")]) == 0
    code = (tmp_path / "models/net/1/model.py").read_text()
    assert json.dumps(name) in code
    assert "\nimport os\n" not in code


@pytest.mark.parametrize("file", ["weights.pt", "🦊.pt", 'a"b.pt'])
def test_a_file_is_found_whatever_it_is_called(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    content = Content(tmp_path / "x.mar", tmp_path, Manifest(serialized_file=file))
    _, loads = network_code(content, Result(""))
    texts = [each.value for each in ast.walk(ast.parse(loads.strip())) if isinstance(each, ast.Constant)]
    assert texts == [file]
