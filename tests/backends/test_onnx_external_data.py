"""Weights that lie in other files: found where people, caches and clusters put them, and never where a file's content
wants to lead.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from onnx import TensorProto, helper, numpy_helper

from kserve_v2.errors import InvalidArgumentError

FLOAT = TensorProto.FLOAT
info = helper.make_tensor_value_info
WEIGHTS = np.eye(2, dtype=np.float32).tobytes()
X = np.array([[1, 2]], np.float32)


def model_proto(nodes: list[Any], initializers: list[Any]) -> onnx.ModelProto:
    """From x to y, both FP32 [N, 2]."""
    graph = helper.make_graph(
        nodes, "g", [info("x", FLOAT, ["N", 2])], [info("y", FLOAT, ["N", 2])], initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def external(location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="16")
    return tensor


def with_external_weights(location: str, place: str = "initializer") -> bytes:
    """A model whose weights lie elsewhere, referred to from one of the places where ONNX allows it."""
    tensor = external(location)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    if place == "initializer":
        proto = model_proto(nodes, [tensor])
    elif place == "attribute":
        proto = model_proto([constant, *nodes], [])
    elif place == "subgraph":
        branch = helper.make_graph([constant], "b", [], [info("w", FLOAT, [2, 2])])
        choice = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
        proto = model_proto([choice, *nodes], [helper.make_tensor("c", TensorProto.BOOL, [], [True])])
    else:
        proto = model_proto(nodes, [external("w.bin")])
        proto.functions.append(
            helper.make_function("d", "F", [], ["w"], [constant], [helper.make_opsetid("", 21)])
        )
    content: bytes = proto.SerializeToString()
    return content


class TestNames:
    """What a file may say."""

    @pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
    @pytest.mark.parametrize("location", ["w.bin", "data/w.bin", "./w.bin"])
    def test_weights_beside_the_model_are_read(self, loader: Any, location: str, place: str) -> None:
        files = {
            "model.onnx": with_external_weights(location, place),
            "w.bin": WEIGHTS,
            "data/w.bin": WEIGHTS,
        }
        served = loader.serve(OnnxBackend(), loader.source(files))
        assert served.execute({"x": X})["y"].tolist() == X.tolist()

    @pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
    @pytest.mark.parametrize(
        ("location", "expected"),
        [
            ("../secret.bin", "must be a relative path without '..'"),
            ("data/../../secret.bin", "must be a relative path without '..'"),
            ("..\\secret.bin", "must be a relative path without '..'"),
            ("C:\\secret.bin", "must be a relative path without '..'"),
            ("absent.bin", "does not exist beside it"),
            ("x" * 5000, "does not exist beside it"),
            ("*/_ORT_MEM_ADDR_/*", "does not exist beside it"),
            ("data", "is no regular file"),
            ("pipe", "is no regular file"),
            ("", "is no file name"),
            ("w\0.bin", "is no file name"),
        ],
    )
    def test_any_other_is_refused(self, loader: Any, place: str, location: str, expected: str) -> None:
        source = loader.source({"model.onnx": with_external_weights(location, place), "data/w.bin": WEIGHTS})
        (source.model_path / "secret.bin").write_bytes(WEIGHTS)
        (source.version_path / "w.bin").write_bytes(WEIGHTS)
        os.mkfifo(source.version_path / "pipe")
        with pytest.raises(InvalidArgumentError) as caught:
            loader.complete(OnnxBackend(), source)
        assert caught.value.message == f"model.onnx: external data '{location}' {expected}"

    def test_an_absolute_path_is_refused(self, loader: Any, tmp_path: Path) -> None:
        (tmp_path / "secret.bin").write_bytes(WEIGHTS)
        source = loader.source({"model.onnx": with_external_weights(str(tmp_path / "secret.bin"))})
        with pytest.raises(InvalidArgumentError, match="must be a relative path"):
            OnnxBackend().load(source, loader.config(OnnxBackend(), source))

    def test_what_only_looks_like_one_does_no_harm(self, loader: Any) -> None:
        proto = model_proto([helper.make_node("Identity", ["x"], ["y"], doc_string="external_data")], [])
        proto.graph.node[0].name = "location"
        source = loader.source({"model.onnx": proto.SerializeToString()})
        assert loader.complete(OnnxBackend(), source).input[0].name == "x"


MODEL = with_external_weights("w.bin")


def write(folder: Path, **files: bytes) -> Path:
    """Write files with these names; `_` stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def link(place: Path, target: Path | str) -> None:
    place.symlink_to(target)


def hugging_face_cache(version: Path, outside: Path) -> None:
    blobs = write(outside / "models--org--name" / "blobs", a=MODEL, b=WEIGHTS)
    snapshot = write(blobs.parent / "snapshots" / "1f" / "onnx")
    link(snapshot / "model.onnx", "../../../blobs/a")
    link(snapshot / "w.bin", "../../../blobs/b")
    version.rmdir()
    link(version, snapshot)


def links_to_blobs(version: Path, outside: Path) -> None:
    blobs = write(outside / "blobs", a=MODEL, b=WEIGHTS)
    link(version / "model.onnx", blobs / "a")
    link(version / "w.bin", blobs / "b")


def config_map(version: Path, _: Path) -> None:
    write(version / "..2026_11_28", model_onnx=MODEL, w_bin=WEIGHTS)
    link(version / "..data", "..2026_11_28")
    link(version / "model.onnx", "..data/model.onnx")
    link(version / "w.bin", "..data/w.bin")


def dvc_cache(version: Path, outside: Path) -> None:
    store = outside / ".dvc" / "cache" / "files" / "md5"
    write(store / "ab", c1=MODEL)
    write(store / "0f", c2=WEIGHTS)
    link(version / "model.onnx", store / "ab" / "c1")
    link(version / "w.bin", store / "0f" / "c2")


def hard_links(version: Path, outside: Path) -> None:
    write(outside, model_onnx=MODEL, w_bin=WEIGHTS)
    for name in ("model.onnx", "w.bin"):
        os.link(outside / name, version / name)


def shared_by_versions(version: Path, _: Path) -> None:
    write(version, model_onnx=MODEL)
    write(version.parent / "shared", w_bin=WEIGHTS)
    link(version / "w.bin", "../shared/w.bin")


def shared_by_models(version: Path, _: Path) -> None:
    write(version, model_onnx=MODEL)
    write(version.parents[1] / "other" / "1", w_bin=WEIGHTS)
    link(version / "w.bin", "../../other/1/w.bin")


def a_folder(version: Path, _: Path) -> None:
    write(version, model_onnx=with_external_weights("folder/w.bin"))
    write(version / "real", w_bin=WEIGHTS)
    link(version / "folder", "real")


def only_the_model_is_linked(version: Path, outside: Path) -> None:
    write(outside / "export", model_onnx=MODEL, w_bin=WEIGHTS)
    link(version / "model.onnx", outside / "export" / "model.onnx")


def the_model_directory_is_linked(version: Path, outside: Path) -> None:
    write(outside / "models" / "m" / "1", model_onnx=MODEL)
    write(outside / "models" / "m" / "shared", w_bin=WEIGHTS)
    link(outside / "models" / "m" / "1" / "w.bin", "../shared/w.bin")
    version.rmdir()
    version.parent.rmdir()
    link(version.parent, outside / "models" / "m")


Layout = Callable[[Path, Path], None]
LAYOUTS = [
    hugging_face_cache,
    links_to_blobs,
    config_map,
    dvc_cache,
    hard_links,
    shared_by_versions,
    shared_by_models,
    a_folder,
    only_the_model_is_linked,
    the_model_directory_is_linked,
]


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is not in the repository."""
    return tmp_path_factory.mktemp("outside")


class TestLinks:
    """What a repository may be laid out with."""

    @pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
    def test_weights_behind_links_are_read(self, loader: Any, outside: Path, layout: Layout) -> None:
        source = loader.source({})
        layout(source.version_path, outside)
        served = loader.serve(OnnxBackend(), source)
        assert served.execute({"x": X})["y"].tolist() == X.tolist()

    @pytest.mark.parametrize("location", ["link.bin", "chain.bin", "folder/w.bin", "dangling.bin"])
    def test_a_link_out_of_the_repository_is_refused(self, loader: Any, outside: Path, location: str) -> None:
        """An archive or a checkout may hold one beside the file that names it."""
        source = loader.source({"model.onnx": with_external_weights(location)})
        write(outside / "folder", w_bin=WEIGHTS)
        version = source.version_path
        link(version / "link.bin", outside / "folder" / "w.bin")
        link(version / "chain.bin", "link.bin")
        link(version / "folder", outside / "folder")
        link(version / "dangling.bin", outside / "absent.bin")
        for call in (loader.complete, loader.load):
            with pytest.raises(InvalidArgumentError) as caught:
                call(OnnxBackend(), source)
            assert f"external data '{location}'" in caught.value.message
            assert str(outside) not in caught.value.message
        with pytest.raises(InvalidArgumentError, match=location):
            OnnxBackend().load(source, loader.config(OnnxBackend(), source))

    def test_links_in_a_circle(self, loader: Any) -> None:
        source = loader.source({"model.onnx": MODEL})
        link(source.version_path / "w.bin", "other.bin")
        link(source.version_path / "other.bin", "w.bin")
        with pytest.raises(InvalidArgumentError, match=r"external data 'w\.bin' does not exist beside it"):
            loader.complete(OnnxBackend(), source)
