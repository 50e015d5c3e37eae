"""Repositories as people lay them out: what is found is named, and what to do about it."""

import io
import logging
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.executed import _load_weights
from kserve_v2.repository.preparing.candidate import read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.repository.reading.file_content import content_problem
from kserve_v2.repository.reading.scan import scan, scan_model

CASES = Path(__file__).parent.parent / "cases"
ONNX = (CASES / "layout_messages" / "no_version" / "model.onnx").read_bytes()
EXAMPLES = CASES.parent.parent / "model_repository"
SCRIPT = (EXAMPLES / "digits_torchscript" / "1" / "model.pt").read_bytes()
EXPORTED = (EXAMPLES / "digits_export" / "1" / "model.pt2").read_bytes()
REGISTRY = BackendRegistry()


def load(root: Path, name: str) -> None:
    """Do what a load does, up to the weights."""
    options = RepositoryOptions((root,))
    candidate = read_candidate(name, options)
    for version in candidate.versions:
        _load_weights(prepare_version(candidate, version, options, REGISTRY)).close()


def reason(root: Path, name: str) -> str:
    with pytest.raises(ServingError) as caught:
        load(root, name)
    assert caught.value.code.value.http in (400, 404)
    assert str(root) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("no_version", "model.onnx lies in no_version/, where versions are expected: move it to no_version/1/model.onnx"),
        ("lead_zero", "001/ is no version, which is a whole number from 1 without zeros in front: rename it to 1/"),
        ("zero_version", "0/ is no version, which is a whole number from 1 without zeros in front: rename it to 1/"),
        ("two_onnx", "two_onnx/1/ has a.onnx and b.onnx: rename the one to serve to model.onnx, or name it in "),
        ("lfs_pointer", "model.onnx is a Git LFS pointer in place of the file: run `git lfs pull`"),
        ("dims_with_batch", "leave the batch dimension out"),
    ],
)  # fmt: skip
def test_the_cases(name: str, advice: str) -> None:
    assert advice in reason(CASES / "layout_messages", name)


# Files of the model `m`, and what is said about them.
LAYOUTS: dict[str, tuple[dict[str, bytes], str]] = {
    "empty version": ({"1/.keep": b""}, "m/1/ is empty: put model.onnx, model.pt2, model.pt or model.py into it"),
    "beside the version": ({"1/.keep": b"", "model.onnx": ONNX}, "model.onnx lies beside 1/: move it to m/1/model.onnx"),
    "v1": ({"v1/model.onnx": ONNX}, "v1/ is no version, which is a whole number from 1"),
    "1.0": ({"1.0/model.pt": b"x"}, "1.0/ is no version"),
    "unpacked too deep": ({"1/export/model.onnx": ONNX}, "model.onnx lies in 1/export/: move it to m/1/model.onnx"),
    "model in a model": ({"m/1/model.onnx": ONNX}, "one level too deep: move what is in m/m/ up"),
    "capitals": ({"1/Model.ONNX": ONNX}, "Model.ONNX is written with capital letters: rename it to model.onnx"),
    "one suffix too many": ({"1/model.onnx.txt": ONNX}, "model.onnx.txt has one suffix too many: rename it to model.onnx"),
    "an archive": ({"1/model.onnx.gz": b"x"}, "model.onnx.gz is an archive: unpack it"),
    "a handler by another name": ({"1/serve.py": b""}, "a handler's file is called model.py: rename serve.py"),
    "nothing known": ({"1/notes.txt": b"", "1/data.csv": b""}, "m/1/ has data.csv and notes.txt; expected is model.onnx"),
    "no version at all": ({"config.pbtxt": b""}, "m/ has config.pbtxt: put model.onnx, model.pt2, model.pt or model.py into m/1/"),
    "policy": (
        {"1/model.onnx": ONNX, "2/model.onnx": ONNX, "config.pbtxt": b"version_policy { specific { versions: 7 } }"},
        "under the version policy of model 'm': it selects none of 1, 2",
    ),
    "named file missing": (
        {"1/net.onnx": ONNX, "config.pbtxt": b'default_model_filename: "other.onnx"'},
        "version 1 has no file other.onnx: m/1/ has net.onnx",
    ),
    "backend without its file": (
        {"1/notes.txt": b"", "config.pbtxt": b'backend: "onnxruntime"'},
        "version 1 has no file model.onnx: m/1/ has notes.txt",
    ),
    "pickle": ({"1/model.pkl": b""}, "model.pkl is a pickled Python object: export the model to ONNX"),
    "joblib": ({"1/forest.joblib": b""}, "forest.joblib is a pickled Python object"),
    "TorchServe": ({"1/model.mar": b""}, "m/1/model.mar cannot be unpacked: it is empty"),
    "torch.export by another name": (
        {"1/model.pt2": b"", "config.pbtxt": b'platform: "pytorch_libtorch"'},
        'model.pt2 lies in m/1/: write platform: "torch_aoti", or backend: "pytorch" and no platform',
    ),
    "Keras": ({"1/model.h5": b""}, "model.h5 is a Keras model: convert it with"),
    "SavedModel": ({"1/model.savedmodel/saved_model.pb": b""}, "model.savedmodel is a TensorFlow model"),
    "SavedModel itself": ({"1/saved_model.pb": b"", "1/variables/x": b""}, "saved_model.pb is a TensorFlow model"),
    "gguf": ({"1/llama.gguf": b""}, "llama.gguf is a model for llama.cpp"),
    "engine": ({"1/model.engine": b""}, "model.engine is a TensorRT engine"),
    "plan": ({"1/model.plan": b""}, "model.plan is a TensorRT engine"),
    "weights": ({"1/model.safetensors": b""}, "model.safetensors holds weights and no model"),
    "checkpoint": ({"1/best.pth": b""}, "best.pth holds weights and no model"),
}  # fmt: skip


@pytest.mark.parametrize("label", LAYOUTS)
def test_mistakes_of_the_kind(tmp_path: Path, label: str) -> None:
    files, advice = LAYOUTS[label]
    for name, content in files.items():
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert advice in reason(tmp_path, "m")
    # None of them is taken for no model at all: the table of models shows it.
    assert list(scan([tmp_path]).models) == ["m"]


def test_labels_beside_the_model_s_file(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    config = ModelConfig()
    config.output.add(name="y", label_filename="labels.txt")
    with pytest.raises(InvalidArgumentError) as caught:
        read_labels(config, tmp_path)
    missing = "output 'y': label file 'labels.txt' does not exist in the model's directory"
    assert caught.value.message == missing
    (tmp_path / "1" / "labels.txt").write_text("a")
    with pytest.raises(InvalidArgumentError) as caught:
        read_labels(config, tmp_path)
    assert caught.value.message == f"{missing}; it lies in 1/: move it beside the versions"
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog")
    assert read_labels(config, tmp_path) == {"y": ("cat", "dog")}


def test_the_repository_is_the_model(tmp_path: Path) -> None:
    (tmp_path / "flowers" / "1").mkdir(parents=True)
    (tmp_path / "flowers" / "1" / "model.onnx").write_bytes(ONNX)
    assert "'1' looks like a version of a model: --model-repository is the directory" in reason(
        tmp_path / "flowers", "1"
    )


def torch_bytes(value: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def zip_bytes(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "{}")
    return stream.getvalue()


STATE = {"weight": torch.zeros(2)}

CONTENTS: dict[str, tuple[str, bytes, str]] = {
    "git-annex": ("model.pt", b"/annex/objects/SHA256E-s9--0\n", "a git-annex pointer"),
    "web page": ("model.onnx", b"\n<!DOCTYPE html><html>Sign in</html>", "a web page (HTML)"),
    "web page as a handler": ("model.py", b"<html>404</html>", "a web page (HTML)"),
    "pointer as a handler": ("model.py", b"version https://git-lfs.github.com/spec/v1\noid x", "a Git LFS pointer"),
    "error of a store": ("model.onnx", b'<?xml version="1.0"?><Error>AccessDenied</Error>', "XML, such as the error"),
    "pickle": ("model.onnx", pickle.dumps({"a": 1}), "a pickled Python object"),
    "state_dict": ("model.onnx", torch_bytes(STATE), "what torch.save makes, such as a state_dict"),
    "state_dict as .pt": ("model.pt", torch_bytes(STATE), "torch.save makes, such as a state_dict"),
    "old state_dict": ("model.pt", torch_bytes(STATE, _use_new_zipfile_serialization=False), "what torch.save makes"),
    "state_dict as .pt2": ("model.pt2", torch_bytes(STATE), "export the model with torch.export.save"),
    "module": ("model.pt", torch_bytes(torch.nn.Linear(2, 2)), "it needs the class torch.nn.modules.linear.Linear"),
    "module as .pt2": ("model.pt2", torch_bytes(torch.nn.ReLU()), "a whole module that torch.save has pickled"),
    "TorchScript as .pt2": ("model.pt2", SCRIPT, "a TorchScript archive: rename it to model.pt"),
    "torch.export as .pt": ("model.pt", EXPORTED, "a program of torch.export: rename it to model.pt2"),
    "torch.export as .onnx": ("model.onnx", EXPORTED, "a program of torch.export: rename it to model.pt2"),
    "ONNX as .pt2": ("model.pt2", ONNX, "an ONNX file: rename it to model.onnx"),
    "zip as .pt2": ("model.pt2", zip_bytes("model.pt2"), "a zip file: unpack it"),
    "broken .pt2": ("model.pt2", EXPORTED[:3000], "a broken zip file: perhaps it was not copied to its end"),
    "empty .pt2": ("model.pt2", b"", "empty"),
    "TorchScript": ("model.onnx", SCRIPT, "a TorchScript archive: rename it to model.pt"),
    "ONNX": ("model.pt", ONNX, "an ONNX file: rename it to model.onnx"),
    "HDF5": ("model.onnx", b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "safetensors": ("model.pt", (20).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}', "a safetensors file"),
    "gguf": ("model.onnx", b"GGUF\3\0\0\0", "a model for llama.cpp"),
    "gzip": ("model.onnx", b"\x1f\x8b\x08" + bytes(20), "compressed with gzip"),
    "zip": ("model.onnx", zip_bytes("model.onnx"), "a zip file: unpack it"),
    "TorchServe": ("model.pt", zip_bytes("MAR-INF/MANIFEST.json"), "a TorchServe archive"),
    "broken zip": ("model.pt", SCRIPT[:300], "a broken zip file"),
    "empty": ("model.onnx", b"", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("label", CONTENTS)
def test_files_that_are_something_else(tmp_path: Path, label: str) -> None:
    name, content, advice = CONTENTS[label]
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / name).write_bytes(content)
    message = reason(tmp_path, "m")
    assert message.startswith(f"{name} is ")
    assert advice in message


@pytest.mark.parametrize(
    ("name", "content"), [("model.onnx", ONNX), ("model.pt", SCRIPT), ("model.pt2", EXPORTED)]
)
def test_files_that_are_what_they_should_be(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert content_problem(tmp_path / name) is None


def test_what_is_no_model_is_skipped_with_its_reason(tmp_path: Path) -> None:
    shutil.copytree(CASES / "repository_junk" / "good", tmp_path / "good")
    for junk in ("lost+found", "__MACOSX/good/1", "@eaDir", "docs/pictures", "empty", "notebooks"):
        (tmp_path / junk).mkdir(parents=True)
    (tmp_path / "docs" / "README.md").write_text("")
    (tmp_path / "notebooks" / "train.py").write_text("")
    (tmp_path / "notebooks" / "baseline.pkl").write_text("")
    (tmp_path / "stray.onnx").write_bytes(ONNX)
    (tmp_path / "README.md").write_text("")
    snapshot = scan([tmp_path])
    assert list(snapshot.models) == ["good"]
    nothing, foreign = (
        "has neither a version nor a config.pbtxt",
        "belongs to the file system or to another program",
    )
    assert set(map(str, snapshot.skipped)) == {
        f"'lost+found' {foreign}", f"'__MACOSX' {foreign}", f"'@eaDir' {foreign}", f"'docs' {nothing}",
        f"'empty' {nothing}", f"'notebooks' {nothing}",
        "'stray.onnx' lies in the repository itself: move it to stray/1/model.onnx",
    }  # fmt: skip
    load(tmp_path, "good")
    # Asked for by name, it says why it cannot be loaded.
    assert "its directory is empty: put model.onnx" in reason(tmp_path, "empty")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_lost_and_found_that_only_root_may_read_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(mode=0)
    assert list(scan([tmp_path]).models) == []


def test_what_is_no_model_hides_none_of_its_name_in_another_repository(tmp_path: Path) -> None:
    shutil.copytree(CASES / "repository_junk" / "good", tmp_path / "second" / "docs")
    (tmp_path / "first" / "docs").mkdir(parents=True)
    roots = [tmp_path / "first", tmp_path / "second"]
    found = scan(roots).models["docs"]
    assert (found.path, found.problem) == (roots[1] / "docs", None)
    assert scan_model(roots, "docs") == found


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("config.pbtxt.txt", "config.pbtxt.txt is not read: if it is the model's configuration, rename it to config.pbtxt"),
        ("Config.pbtxt", "Config.pbtxt is not read"),
        ("config.prototxt", "config.prototxt is not read"),
        ("1/config.pbtxt", "1/config.pbtxt is not read: it belongs beside the versions, at m/config.pbtxt"),
        ("config.yaml", "config.yaml is not read: the configuration of a model is in config.pbtxt"),
        ("config.json", "config.json is not read"),
    ],
)  # fmt: skip
def test_a_configuration_that_nobody_reads_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, warning: str
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(ONNX)
    (tmp_path / "m" / name).write_text("max_batch_size: 0")
    with caplog.at_level(logging.WARNING, logger="kserve_v2"):
        read_candidate("m", RepositoryOptions((tmp_path,)))
    assert warning in caplog.text


@pytest.mark.parametrize(
    ("name", "handler", "said"),
    [
        ("config.yml", False, True),
        ("model-settings.json", False, True),
        ("preprocessor_config.json", False, False),
        # It may be the handler's own.
        ("config.yml", True, False),
    ],
)
def test_one_beside_that_which_is_read_is_named_too_unless_code_may_read_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, handler: bool, said: bool
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / ("model.py" if handler else "model.onnx")).write_bytes(ONNX)
    (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: 0")
    (tmp_path / "m" / name).write_text("max_batch_size: 4")
    with caplog.at_level(logging.WARNING, logger="kserve_v2"):
        read_candidate("m", RepositoryOptions((tmp_path,)))
    warning = f"model 'm': {name} is not read: the configuration of a model is in config.pbtxt"
    assert [record.getMessage() for record in caplog.records] == ([warning] if said else [])


def test_what_was_perhaps_meant_to_be_a_version_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1", "v2", "weights"):
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "model.onnx").write_bytes(ONNX)
    (tmp_path / "m" / "003").mkdir()
    with caplog.at_level(logging.WARNING, logger="kserve_v2"):
        assert read_candidate("m", RepositoryOptions((tmp_path,))).versions == (1,)
    rule = "which is a whole number from 1 without zeros in front"
    assert [record.getMessage() for record in caplog.records] == [
        f"model 'm': not served: v2/ is no version, {rule}: rename it to 2/"
    ]


def test_what_no_torchscript_file_says_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.pt").write_bytes(SCRIPT)
    asked = 'write it into m/config.pbtxt, as in input { name: "image" data_type: TYPE_FP32 dims: [ 4 ] }, for every'
    assert asked in reason(tmp_path, "m")


def test_what_a_handler_does_not_declare_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.py").write_text("class Model:\n    def __call__(self, inputs): ...\n")
    asked = "neither model.py nor config.pbtxt says what the model takes and gives: write inputs = {"
    assert asked in reason(tmp_path, "m")
