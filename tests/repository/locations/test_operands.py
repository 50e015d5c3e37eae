"""What is served of what a person names: decided by tables, from what lies there."""

from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.locations.operands import Found, Kind, kind_of, look, read_operand, read_operands
from tests.repository.locations.test_locations import write

FILE, NOTHING = Found("file"), Found()


def folder(*files: str, versions: tuple[str, ...] = (), models: tuple[str, ...] = ()) -> Found:
    return Found("folder", files, versions, models)


@pytest.mark.parametrize(
    ("where", "found", "kind"),
    [
        ("cats.onnx", FILE, Kind.FILE),
        ("cats.ort", FILE, Kind.FILE),
        ("cats.pt2", FILE, Kind.FILE),
        ("cats.pt", FILE, Kind.FILE),
        ("cats.pth", FILE, Kind.FILE),
        ("deep/er/cats.py", FILE, Kind.HANDLER),
        ("models.zip", FILE, Kind.REPOSITORY),
        ("models.tar.gz", FILE, Kind.REPOSITORY),
        ("models", folder(models=("a", "b")), Kind.REPOSITORY),
        ("models", folder("README.md", models=("a",)), Kind.REPOSITORY),
        ("models", folder("a.zip"), Kind.REPOSITORY),
        ("cats", folder("config.pbtxt", versions=("1", "3")), Kind.VERSIONS),
        ("cats", folder(versions=("1",)), Kind.VERSIONS),
        ("cats", folder("config.pbtxt"), Kind.FLAT),
        ("cats", folder("cats.onnx"), Kind.FLAT),
        ("cats", folder("cats.onnx", "labels.txt", "notes.md"), Kind.FLAT),
        ("cats", folder("model.onnx", "other.onnx"), Kind.FLAT),
        # A handler loads what lies beside it.
        ("cats", folder("model.py", "a.onnx", "b.onnx"), Kind.FLAT),
        ("cats", folder("config.pbtxt", "a.onnx", "b.onnx"), Kind.FLAT),
        ("cats.mar", FILE, Kind.FILE),
        ("cats.MAR", FILE, Kind.FILE),
        ("MODELS.TAR.GZ", FILE, Kind.REPOSITORY),
        ("models", folder("A.ZIP"), Kind.REPOSITORY),
        ("cats", folder("MAR-INF", "handler.py", "a.pt", "b.pt"), Kind.FLAT),
    ],
)
def test_what_is_served(where: str, found: Found, kind: Kind) -> None:
    assert kind_of(where, found) is kind


@pytest.mark.parametrize(
    ("where", "found", "text"),
    [
        ("cats.onxx", NOTHING, "cats.onxx does not exist; expected a repository, a model's folder, a file .onnx"),
        ("cats.onxx", Found(similar="cats.onnx"), "cats.onxx does not exist; did you mean cats.onnx?"),
        ("pipe", Found("other"), "pipe is neither a file nor a folder"),
        ("cats.ONNX", FILE, "cats.ONNX is written with capital letters: rename it to *.onnx"),
        ("my-cats.py", FILE, "my-cats.py: a Python file is imported by its name, and 'my-cats' is none"),
        ("my-cats.py", FILE, "rename it to my_cats.py"),
        ("cats/config.pbtxt", FILE, "is a model's configuration: name its folder, cats"),
        ("cats.ipynb", FILE, "is a notebook: call kserve_v2.serve(model, block=False) in it"),
        ("cats.pkl", FILE, "cats.pkl is a pickled Python object: export the model to ONNX"),
        ("cats.safetensors", FILE, "holds weights and no model: build the network and load them in a handler"),
        ("cats.ckpt", FILE, "holds weights and no model"),
        ("cats.h5", FILE, "is a Keras model: convert it"),
        ("cats.txt", FILE, "cats.txt is no model's file; expected a repository"),
        ("empty", folder(), "empty/ has nothing in it that could be served"),
        ("empty", folder(), "A repository that is empty yet is given as --model-repository empty"),
        ("both", folder("model.py", models=("a", "b")), "both could be one model, because it has model.py, or a"),
        ("both", folder("model.py", models=("a", "b")), "give --model-repository both or, for one model"),
        ("both", folder(versions=("1",), models=("a",)), "folders that are called like versions, 1, beside folders"),
        ("cats", folder("a.onnx", "b.onnx"), "the files of several models, a.onnx, b.onnx: name those to serve, as in"),
        ("pets", folder("a.mar", "b.MAR"), "as in pets/a.mar; or all of them, as in TorchServe, with --torchserve --model-"),
        ("flow.war", FILE, "flow.war is the archive of a workflow of TorchServe's: put it into a model store"),
        ("cats/1", folder("model.onnx"), "cats/1 is called like a version of a model: serve the folder above it, cats"),
        ("cats", folder("handle.py", "__init__.py"), "no model's file, but handle.py: name the handler to serve, as in"),
        ("cats", folder("cats.pkl"), "cats/ has no model's file; cats.pkl is a pickled Python object"),
        ("cats", folder("a.md", "b.md", "c.md", "d.md"), "no model's file, but a.md, b.md, c.md and 1 more; expected"),
    ],
)  # fmt: skip
def test_what_is_not(where: str, found: Found, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        kind_of(where, found)
    assert text in caught.value.message


def test_a_version_s_folder_can_be_served_under_a_name() -> None:
    assert kind_of("cats/1", folder("model.onnx"), named=True) is Kind.FLAT


@pytest.mark.parametrize(
    ("files", "operand", "expected"),
    [
        ({"cats.onnx": ""}, "cats.onnx", (Kind.FILE, "cats", "")),
        ({"my cats (2).onnx": ""}, "my cats (2).onnx", (Kind.FILE, "my_cats_2", "")),
        ({"cats.v2.onnx": ""}, "cats.v2.onnx", (Kind.FILE, "cats.v2", "")),
        ({"cats.onnx": ""}, "felines=cats.onnx", (Kind.FILE, "felines", "")),
        ({"a=b.onnx": ""}, "a=b.onnx", (Kind.FILE, "a_b", "")),
        ({"a=b.onnx": ""}, "c=a=b.onnx", (Kind.FILE, "c", "")),
        ({"cats.py": ""}, "cats.py", (Kind.HANDLER, "cats", "")),
        ({"cats.py": ""}, "cats.py:Tabby", (Kind.HANDLER, "cats", "Tabby")),
        ({}, "shop.models:Recommender", (Kind.CLASS, "Recommender", "Recommender")),
        ({}, "r=shop.models:Recommender", (Kind.CLASS, "r", "Recommender")),
        ({"cats/1/model.onnx": ""}, "cats", (Kind.VERSIONS, "cats", "")),
        ({"cats/1/model.onnx": ""}, "cats/", (Kind.VERSIONS, "cats", "")),
        ({"cats/model.onnx": ""}, "cats", (Kind.FLAT, "cats", "")),
        ({"cats/model.onnx": ""}, ".", (Kind.REPOSITORY, "", "")),
        ({"model.onnx": ""}, "x=.", (Kind.FLAT, "x", "")),
        ({"deep/model.onnx": "", "deep/er/x": ""}, "deep/er/..", (Kind.FLAT, "deep", "")),
        ({}, "s3://bucket/models", (Kind.REPOSITORY, "", "")),
        ({}, "o=object://123", (Kind.OBJECT, "o", "")),
    ],
)
def test_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    operand: str,
    expected: tuple[Kind, str, str],
) -> None:
    monkeypatch.chdir(write(tmp_path, files))
    found = read_operand(operand)
    assert (found.kind, found.name, found.member) == expected


@pytest.mark.parametrize(
    ("files", "operands", "text"),
    [
        ({}, ["nosuch.onnx"], "nosuch.onnx does not exist"),
        ({"cats.onnx": ""}, ["cat.onnx"], "cat.onnx does not exist; did you mean cats.onnx?"),
        ({}, ["nosuch.py:Model"], "nosuch.py does not exist"),
        ({}, ["a-b:Model"], "a-b:Model: 'a-b' is no name of a module"),
        (
            {"a.onnx": ""},
            ["=a.onnx"],
            "expected a model's name that a folder could have, without '/', '=' or a dot in front, got ''",
        ),
        (
            {"a.onnx": ""},
            ["..=a.onnx"],
            "expected a model's name that a folder could have, without '/', '=' or a dot in front, got '..'",
        ),
        ({"a.onnx": ""}, ["name="], "'name=': expected a repository"),
        ({"m/a/1/model.py": ""}, ["x=m"], "m is a repository of models, which have their names already"),
        (
            {"m.ZIP": ""},
            ["x=m.ZIP"],
            "m.ZIP is taken for a repository of models, which have their names already: leave 'x=' out; if it is one "
            "model, give --model-name x in its place",
        ),
        ({}, ["x=s3://models/m"], "if it is one model, give --model-name x in its place"),
        (
            {},
            ["nowhere.ZIP"],
            "a file .onnx, .pt2, .pt, .py or .mar, an archive .zip or .tar.gz, or package.module:Class",
        ),
        ({"___.onnx": ""}, ["___.onnx"], "no name can be made of this: give one, as in NAME="),
        (
            {"a/cats.onnx": "", "b/cats.py": ""},
            ["a/cats.onnx", "b/cats.py"],
            "a/cats.onnx and b/cats.py would both be the model 'cats': give one of them a name, as in NAME=b/cats.py",
        ),
        ({}, ["object://123"], "object://123: an object has no name of its own"),
        ({}, ["a.b:Model", "c.d:Model"], "would both be the model 'Model'"),
    ],
)
def test_wrong_operands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], operands: list[str], text: str
) -> None:
    monkeypatch.chdir(write(tmp_path, files))
    with pytest.raises(InvalidArgumentError) as caught:
        read_operands(operands)
    assert text in caught.value.message


def test_what_lies_in_a_folder_is_seen(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"1/model.onnx": "", "2/x": "", "a/1/model.py": "", "b/model.onnx": "", "data/x.csv": "", ".hidden": "", "f": ""},
    )  # fmt: skip
    assert look(tmp_path) == Found("folder", ("f",), ("1", "2"), ("a", "b"))
    assert look(tmp_path / "dta") == Found(similar=str(tmp_path / "data"))
