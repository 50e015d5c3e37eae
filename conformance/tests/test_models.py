"""The test models: the catalogue, what they compute, and the files that are written for each server."""

import json
import shlex
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2_conformance._generated import model_config_pb2
from kserve_v2_conformance.models import OMITTED, SERVERS, how_to_start, write
from kserve_v2_conformance.models.catalogue import BY_NAME, CATALOGUE, DATATYPES, Behaviour, ModelSpec
from kserve_v2_conformance.models.templates.computations import (
    COMPUTATIONS,
    STREAMS,
    respond,
    seconds_to_wait,
    stream,
)
from kserve_v2_conformance.models.triton_config import config_text
from kserve_v2_conformance.profile import Profile, read_profile


def test_names_are_unique():
    assert len(BY_NAME) == len(CATALOGUE)


def test_there_is_an_identity_for_each_datatype():
    for datatype in DATATYPES:
        model = BY_NAME[f"identity_{datatype.lower()}"]
        assert {each.datatype for each in (*model.inputs, *model.outputs)} == {datatype}


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.name)
def test_configuration_says_what_the_catalogue_says(model: ModelSpec):
    config = text_format.Parse(config_text(model), model_config_pb2.ModelConfig())
    assert config.max_batch_size == model.max_batch_size
    for written, specified in ((config.input, model.inputs), (config.output, model.outputs)):
        assert [(each.name, _datatype(each), tuple(each.dims)) for each in written] == [
            (each.name, each.datatype, each.dims) for each in specified
        ]
    assert [each.optional for each in config.input] == [each.optional for each in model.inputs]
    assert config.model_transaction_policy.decoupled == model.decoupled
    assert config.HasField("sequence_batching") == model.sequential


def test_configuration_has_the_queue_policy():
    config = text_format.Parse(config_text(BY_NAME["prioritized"]), model_config_pb2.ModelConfig())
    batching = config.dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == (2, 2)
    assert batching.default_queue_policy.default_timeout_microseconds == 30_000_000
    assert batching.default_queue_policy.max_queue_size == 8
    assert batching.default_queue_policy.allow_timeout_override


def _datatype(tensor) -> str:
    name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


INTEGERS = np.array([1, -2, 2**31 - 1], np.int32)
TEXTS = np.array([b"a\x00", "é", b""], np.object_)


@pytest.mark.parametrize(
    ("behaviour", "inputs", "outputs"),
    [
        (
            "IDENTITY",
            {"INPUT0": INTEGERS, "INPUT1": TEXTS},
            {"OUTPUT0": INTEGERS, "OUTPUT1": TEXTS},
        ),
        (
            "ADD_SUB",
            {"INPUT0": INTEGERS, "INPUT1": np.array([1, 5, 1], np.int32)},
            {
                "OUTPUT0": np.array([2, 3, -(2**31)], np.int32),
                "OUTPUT1": np.array([0, -7, 2**31 - 2], np.int32),
            },
        ),
        ("ADD_VERSION", {"INPUT0": np.array([7], np.int32)}, {"OUTPUT0": np.array([307], np.int32)}),
        ("ADD_OPTIONAL", {"INPUT0": INTEGERS}, {"OUTPUT0": INTEGERS}),
        (
            "ADD_OPTIONAL",
            {"INPUT0": np.float32([1, 2]), "INPUT1": np.float32([0.5, 4])},
            {"OUTPUT0": np.float32([1.5, 6])},
        ),
        ("LENGTH", {"INPUT0": TEXTS}, {"OUTPUT0": np.array([2, 2, 0], np.int32)}),
        (
            "CONCATENATE",
            {"INPUT0": TEXTS, "INPUT1": np.array([b"b", b"\xff", "c"], np.object_)},
            {"OUTPUT0": np.array([b"a\x00b", b"\xc3\xa9\xff", b"c"], np.object_)},
        ),
        (
            "ECHO_PARAMETERS",
            {"INPUT0": INTEGERS},
            {"OUTPUT0": np.array([b'{"a":1,"b":true}'], np.object_)},
        ),
        ("ANSWER_PARAMETERS", {"INPUT0": INTEGERS}, {"OUTPUT0": INTEGERS}),
        ("WAIT", {"INPUT0": np.array([0], np.int32)}, {"OUTPUT0": np.array([0], np.int32)}),
        (
            "UPPER",
            {"text_input": np.array(["aé"], np.object_)},
            {"text_output": np.array(["Aé".encode()], np.object_)},
        ),
    ],
)
def test_models_compute_what_they_are_said_to(behaviour: str, inputs, outputs):
    computed = respond(behaviour, inputs, 3, {"b": True, "a": 1})
    assert computed.keys() == outputs.keys()
    for name, expected in outputs.items():
        assert computed[name].dtype == expected.dtype
        assert computed[name].tolist() == expected.tolist()


def test_the_failing_model_fails():
    with pytest.raises(RuntimeError, match="told to fail"):
        respond("FAIL", {"INPUT0": INTEGERS}, 1, {})


def test_streams_have_as_many_responses_as_they_are_told():
    three = {"INPUT0": np.array([9], np.int32), "COUNT": np.array([3], np.int32)}
    responses = list(stream("REPEAT", three))
    assert [(each["OUTPUT0"].item(), each["INDEX"].item()) for each in responses] == [(9, 0), (9, 1), (9, 2)]
    none = {"text_input": TEXTS[:1], "count": np.array([0], np.int32)}
    assert list(stream("REPEAT_TEXT", none)) == []


def test_milliseconds_to_wait():
    assert seconds_to_wait({"INPUT0": np.array([[1500]], np.int32)}) == 1.5


def test_every_behaviour_is_computed_but_those_that_only_a_server_can_have():
    computed = set(COMPUTATIONS) | set(STREAMS)
    assert computed == {each.name for each in Behaviour} - {"ACCUMULATE", "BROKEN"}


@pytest.mark.parametrize("server", SERVERS)
def test_writes_every_model_that_the_server_can_have(server: str, tmp_path: Path):
    written = write(server, tmp_path / "models", broken=True)
    assert {model.name for model in written} | set(OMITTED[server]) == set(BY_NAME)
    assert not {model.name for model in written} & set(OMITTED[server])
    for file in (tmp_path / "models").rglob("*.py"):
        compile(file.read_text(), file.name, "exec")


@pytest.mark.parametrize("server", ["kserve-v2", "triton"])
def test_layout_of_a_model_repository(server: str, tmp_path: Path):
    write(server, tmp_path)
    files = {
        path.relative_to(tmp_path / "versions").as_posix() for path in (tmp_path / "versions").rglob("*.*")
    }
    assert files == {"config.pbtxt"} | {
        f"{version}/{name}.py" for version in (1, 2, 3) for name in ("model", "computations")
    }
    assert (tmp_path / "classes" / "labels.txt").read_text() == "cat\ndog\nbird\nfish\n"


def test_settings_for_mlserver(tmp_path: Path):
    write("mlserver", tmp_path)
    settings = json.loads((tmp_path / "versions" / "2" / "model-settings.json").read_text())
    assert settings["name"] == "versions"
    assert settings["parameters"] == {"version": "2", "extra": {"behaviour": "ADD_VERSION"}}
    assert settings["versions"] == ["1", "2", "3"]


def test_descriptions_for_kserve(tmp_path: Path):
    write("kserve", tmp_path)
    described = {each["name"]: each for each in json.loads((tmp_path / "models.json").read_text())}
    assert described["identity_batched"]["inputs"] == [
        {"name": "INPUT0", "datatype": "FP32", "shape": [-1, 3]}
    ]
    assert (tmp_path / "server.py").is_file()


def test_archives_for_torchserve(tmp_path: Path):
    write("torchserve", tmp_path)
    with ZipFile(tmp_path / "store" / "add_sub.mar") as archive:
        assert sorted(archive.namelist()) == ["MAR-INF/MANIFEST.json", "computations.py", "handler.py"]
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        compile(archive.read("handler.py"), "handler.py", "exec")
    assert manifest == {"modelName": "add_sub", "modelVersion": "1.0", "handler": "handler.py:handle"}
    assert "ts_open_inference_protocol=true" in (tmp_path / "config.properties").read_text()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("broken", [False, True])
def test_how_to_start(server: str, broken: bool, tmp_path: Path):
    """The server's line names the models' directory; the suite's is one that it takes, with a profile that is shipped."""
    directory = tmp_path / "my models"
    *start, run = how_to_start(server, directory, write(server, directory, broken))
    assert str(directory) in " ".join(start)
    assert shlex.split(" ".join(start).replace("\\ ", " "))
    command, subcommand, *options = shlex.split(run)
    assert (command, subcommand) == ("conformance", "run")
    named = dict(zip(options[::2], options[1::2], strict=True))
    assert named.keys() == {"--rest", "--grpc", "--profile"}
    assert isinstance(read_profile(named["--profile"]), Profile)
    if server in ("kserve-v2", "triton"):
        assert ("load-model" in " ".join(start)) and ("'*'" in " ".join(start)) is not broken


def test_refuses_another_server(tmp_path: Path):
    with pytest.raises(
        ValueError, match="expected one of kserve-v2, triton, mlserver, kserve, torchserve, got 'seldon'"
    ):
        write("seldon", tmp_path / "models")


def test_refuses_a_directory_that_is_not_empty(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        write("triton", tmp_path)
