"""MLServer's settings of a server, and where its models are found. The rules are those of MLServer 1.7.1."""

import json
import logging
from pathlib import Path

import pytest
from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.commands.mlserver_settings import defaults
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.locations.area import tree_of
from kserve_v2.repository.locations.linked import LinkArea, lies_at
from kserve_v2.repository.locations.locations import Locations, Where
from kserve_v2.repository.locations.mlserver import (
    MLServerModels,
    Version,
    links_of,
    number,
    settings_folders,
)
from kserve_v2.repository.locations.operands import Kind, read_operand
from kserve_v2.repository.reading.scan import scan
from kserve_v2.settings import flags
from kserve_v2.settings.options import SettingsError


def write(folder: Path, settings: object = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = settings if isinstance(settings, str) else json.dumps(settings or {})
    (folder / "model-settings.json").write_text(text)
    return folder


# --- the server's -----------------------------------------------------------------------------------------------------


def test_keys_are_defaults_of_our_options(tmp_path: Path) -> None:
    write(tmp_path / "model")
    said = {
        "host": "0.0.0.0",
        "http_port": 9000,
        "load_models_at_startup": False,
        "cors_settings": {"allow_origins": ["*"]},
    }
    (tmp_path / "settings.json").write_text(
        json.dumps(said | {"parallel_workers": 2, "environments_dir": "x"})
    )
    options, warnings = defaults([tmp_path], {"MLSERVER_GRPC_PORT": "9001", "MLSERVER_HTTP_PORT": "1"})
    settings, _ = flags.resolve(
        {"http_address": ["127.0.0.1"], "model_repository": [str(tmp_path)]},
        {"KSERVE_V2_GRPC_PORT": "9009"},
        options,
    )
    assert (settings.http_address, settings.grpc_address) == ("127.0.0.1", "0.0.0.0")
    # The file goes before the environment there, and our own words before both.
    assert (settings.http_port, settings.grpc_port) == (9000, 9009)
    assert settings.model_control_mode == "explicit"
    assert settings.http_cors_allow_origin == ("*",)
    assert warnings == (f"{tmp_path / 'settings.json'}: environments_dir has no effect",)


def test_only_folders_with_models_of_mlserver_s_count(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"http_port": 9000}')
    assert defaults([tmp_path], {"MLSERVER_HTTP_PORT": "1"}) == ({}, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"kafka_enabled": true}', "kafka_enabled is not supported: requests by Kafka"),
        ('{"model_repository_implementation": "a.B"}', "models are found by their model-settings.json"),
        ('{"cors_settings": 1}', "cors_settings: expected an object, got 1"),
        ("[1]", "expected a JSON object"),
        ("{", "is no JSON"),
    ],
)
def test_what_must_not_be_ignored_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path)
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(SettingsError, match=problem):
        defaults([tmp_path], {})


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "numbered"),
    [
        ([""], {1: ""}),
        (["3", "12"], {3: "3", 12: "12"}),
        # Numbers by value, and one without a version is the highest.
        (["12", "3", ""], {1: "3", 2: "12", 3: ""}),
        (["v2", "v10", "v1"], {1: "v1", 2: "v10", 3: "v2"}),
    ],
)
def test_versions_are_numbered_in_mlserver_s_order(labels: list[str], numbered: dict[int, str]) -> None:
    found = number("m", [Version("m", Path(label or "none"), label) for label in labels])
    assert {number: each.label for number, each in found.items()} == numbered


def test_two_folders_of_one_version_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="version 'v1' of model 'm' is in two folders, a and b"):
        number("m", [Version("m", Path("a"), "v1"), Version("m", Path("b"), "v1")])


def test_a_version_that_no_path_can_name_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert list(number("m", [Version("m", Path("a"), "1.0")])) == [1]
    assert "version '1.0' is served, but no path can name it" in caplog.text


def test_a_model_is_a_directory_of_links(tmp_path: Path) -> None:
    versions = [Version("m", tmp_path / "a", "v1"), Version("m", tmp_path / "b", "v2")]
    links = links_of("m", versions, {"parallel_workers": 3})
    config = text_format.Parse(links.files["config.pbtxt"].decode(), ModelConfig())
    assert links.links == {"1": tmp_path / "a", "2": tmp_path / "b"}
    assert config.backend == "mlserver" and config.instance_group[0].count == 3
    assert json.loads(config.parameters["release"].string_value) == {"labels": {"v1": 1, "v2": 2}}


def test_more_workers_than_there_can_be_are_refused(tmp_path: Path) -> None:
    for workers in (2**31, "9" * 5000):
        with pytest.raises(InvalidArgumentError, match="parallel_workers: expected at most 999999999, got"):
            links_of("m", [Version("m", tmp_path, "v1")], {"parallel_workers": workers})


def test_models_are_found_wherever_they_lie_and_go_when_they_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "models" / "plain")
    write(tmp_path / "models" / "deep" / "er" / "named", {"name": "other", "parameters": {"version": "2"}})
    write(tmp_path / "models" / "broken", "{")
    write(tmp_path / "models" / "outside", {"name": "../outside"})
    write(tmp_path / "models" / "hidden", {"name": ".hidden"})
    ours = write(tmp_path / "models" / "ours")
    (ours / "config.pbtxt").write_text("")
    area = LinkArea()
    try:
        location = MLServerModels(tmp_path / "models", area, {})
        wrong = ["broken", "hidden", "outside"]
        assert sorted(location.materialize_all()) == wrong
        assert sorted(location.names()) == sorted([*wrong, "other", "plain"])
        assert "broken/model-settings.json: is no JSON" in caplog.text
        assert "name: '../outside' has a slash" in caplog.text
        assert location.root is not None
        assert (location.root / "other" / "2" / "model-settings.json").is_file()
        shown = tree_of(location.root / "other") / "2" / "model-settings.json"
        assert lies_at(shown) == tmp_path / "models" / "deep" / "er" / "named" / "model-settings.json"
        # The folder itself shows none of them, but for the one that is ours.
        found = scan([tmp_path / "models"])
        assert list(found.models) == [] or list(found.models) == ["ours"]
        (tmp_path / "models" / "plain" / "model-settings.json").unlink()
        location.materialize("plain")
        assert not (location.root / "plain").exists()
    finally:
        area.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[" * 100_000, "is no JSON: "),
        (
            {"name": "m", "parameters": {"version": "9" * 5000}},
            "version: it has 5000 characters, and may have 128",
        ),
    ],
)
def test_settings_that_cannot_be_read_hide_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: object, said: str
) -> None:
    write(tmp_path / "good", {"name": "m"})
    write(tmp_path / "bad", settings)
    area = LinkArea()
    try:
        models = MLServerModels(tmp_path, area, {})
        assert [*models.names()] == ["m", "bad"]
        assert [*models.materialize_all()] == ["bad"]
    finally:
        area.close()
    assert said in caplog.text


def test_links_that_lead_back_are_not_followed_for_ever(tmp_path: Path) -> None:
    folder = write(tmp_path / "a" / "b")
    for name in "abc":
        (folder / f"back_{name}").symlink_to(tmp_path)
    assert list(settings_folders(tmp_path)) == [folder]


def test_the_environment_says_what_settings_do_not(tmp_path: Path) -> None:
    write(tmp_path / "folder")
    environ = {"MLSERVER_MODEL_NAME": "named", "MLSERVER_MODEL_VERSION": "v7"}
    assert list(MLServerModels(tmp_path, LinkArea(), environ).names()) == ["named"]
    write(tmp_path / "folder", {"name": "own"})
    assert list(MLServerModels(tmp_path, LinkArea(), environ).names()) == ["own"]


def test_a_model_may_be_described_by_the_environment_alone(tmp_path: Path) -> None:
    # As KServe does it: the model's files lie in the folder, whose name says nothing.
    (tmp_path / "model.joblib").write_text("")
    environ = {
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_sklearn.SKLearnModel",
        "MLSERVER_MODEL_NAME": "iris",
        "MLSERVER_MODEL_URI": str(tmp_path),
    }
    locations = Locations(Where((tmp_path,)), environ)
    try:
        locations.prepare()
        locations.refresh()
        assert locations.names() == ["iris"]
        found = scan(locations.roots)
        assert list(found.models) == ["iris"]
        settings = json.loads((found.models["iris"].path / "1" / "model-settings.json").read_text())
        assert settings["parameters"] == {"uri": str(tmp_path)}
    finally:
        locations.close()


def test_a_folder_of_mlserver_s_is_a_repository(tmp_path: Path) -> None:
    write(tmp_path / "one")
    (tmp_path / "one" / "model.joblib").write_text("")
    assert read_operand(str(tmp_path)).kind is Kind.REPOSITORY
    assert read_operand(str(tmp_path / "one")).kind is Kind.REPOSITORY
    assert list(settings_folders(tmp_path)) == [tmp_path / "one"]
