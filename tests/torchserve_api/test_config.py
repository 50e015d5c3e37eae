"""Expectations: TorchServe's documentation of its configuration, and what 0.12 does."""

import json
from pathlib import Path

import pytest

from kserve_v2.torchserve_api.addresses import Address, merged, parse_address
from kserve_v2.torchserve_api.config import (
    Given,
    TorchServeConfig,
    TorchServeConfigError,
    config_file,
    load_config,
    make_config,
)
from kserve_v2.torchserve_api.config_models import VersionSettings, Wanted, snapshot_models

FILE = "config.properties"


def config_of(properties: dict[str, str], environ: dict[str, str] | None = None) -> TorchServeConfig:
    return make_config(properties, Given(model_store=Path("store")), environ or {}, FILE)[0]


def test_defaults_are_those_of_torchserve_and_closed() -> None:
    config = config_of({})
    assert str(config.inference_address) == "http://127.0.0.1:8080"
    assert str(config.management_address) == "http://127.0.0.1:8081"
    assert str(config.metrics_address) == "http://127.0.0.1:8082"
    # TorchServe had 0.0.0.0 here (CVE-2024-35199).
    assert (config.grpc_inference_address, config.grpc_inference_port) == ("127.0.0.1", 7070)
    assert (config.grpc_management_address, config.grpc_management_port) == ("127.0.0.1", 7071)
    assert (config.max_request_size, config.max_response_size, config.job_queue_size) == (
        6553500,
        6553500,
        100,
    )
    assert (config.default_response_timeout, config.default_startup_timeout) == (120, 120)
    # Nothing is fetched, and nothing registered, unless somebody says so.
    assert config.allowed_urls == ()
    assert not config.enable_model_api
    assert not config.token_authorization
    assert config.load_models == "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://0.0.0.0:8085", Address("0.0.0.0", 8085)),
        ("https://localhost:8443", Address("localhost", 8443, True)),
        ("http://localhost", Address("localhost", 80)),
        ("https://localhost/", Address("localhost", 443, True)),
        ("http://[::1]:8080", Address("::1", 8080)),
        ("unix:/tmp/ts.sock", Address("unix:/tmp/ts.sock")),
        ("unix:///tmp/ts.sock", Address("unix:/tmp/ts.sock")),
    ],
)
def test_reads_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "localhost:8080", "ftp://x:1", "http://", "http://x:99999", "http://x:1/p", "unix:"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        parse_address(text)


def test_equal_addresses_are_one_place() -> None:
    one, other, free = Address("127.0.0.1", 8085), Address("127.0.0.1", 8082), Address("127.0.0.1", 0)
    assert merged({"inference": one, "management": one, "metrics": other}) == [
        (one, ("inference", "management")),
        (other, ("metrics",)),
    ]
    # Each gets a port of its own.
    assert len(merged({"inference": free, "management": free})) == 2
    unix = Address("unix:/tmp/ts.sock")
    assert merged({"inference": unix, "management": unix}) == [(unix, ("inference", "management"))]


def test_reads_kserves_own_sample() -> None:
    """The config.properties of KServe's documentation of its TorchServe runtime."""
    config, warnings = load_sample(
        {
            "inference_address": "http://0.0.0.0:8085",
            "management_address": "http://0.0.0.0:8085",
            "metrics_address": "http://0.0.0.0:8082",
            "grpc_inference_port": "7070",
            "grpc_management_port": "7071",
            "enable_metrics_api": "true",
            "metrics_format": "prometheus",
            "number_of_netty_threads": "4",
            "job_queue_size": "10",
            "enable_envvars_config": "true",
            "install_py_dep_per_model": "true",
            "model_store": "/mnt/models/model-store",
            "model_snapshot": json.dumps(
                {
                    "name": "startup.cfg",
                    "modelCount": 1,
                    "models": {
                        "mnist": {
                            "1.0": {
                                "defaultVersion": True,
                                "marName": "mnist.mar",
                                "minWorkers": 1,
                                "maxWorkers": 5,
                                "batchSize": 1,
                                "maxBatchDelay": 10,
                                "responseTimeout": 120,
                            }
                        }
                    },
                }
            ),
        },
        {"TS_SERVICE_ENVELOPE": "kserve"},
    )
    assert config.inference_address == config.management_address == Address("0.0.0.0", 8085)
    assert config.service_envelope == "kserve"
    assert config.job_queue_size == 10
    assert config.install_py_dep_per_model
    assert config.model_store == Path("/mnt/models/model-store")
    assert config.snapshot is not None
    assert snapshot_models(config.snapshot) == [
        Wanted(
            "mnist.mar",
            "mnist",
            "1.0",
            VersionSettings(
                default_version=True, mar_name="mnist.mar", min_workers=1, max_workers=5, batch_size=1,
                max_batch_delay=10, response_timeout=120,
            ),
        )
    ]  # fmt: skip
    assert [each.partition(" is ignored")[0] for each in warnings] == [
        "config.properties: metrics_format",
        "config.properties: number_of_netty_threads",
    ]


def load_sample(properties: dict[str, str], environ: dict[str, str]) -> tuple[TorchServeConfig, list[str]]:
    return make_config(properties, Given(), environ, FILE)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("all", "all"),
        ("none", "none"),
        ("a.mar", (Wanted("a.mar"),)),
        ("a.mar, n=b.mar ,c", (Wanted("a.mar"), Wanted("b.mar", "n"), Wanted("c"))),
        ("a.mar,all", "all"),
    ],
)
def test_models_to_load(texts: str, expected: object) -> None:
    assert config_of({"load_models": texts}).load_models == expected


def test_the_command_line_goes_before_the_file() -> None:
    given = Given(model_store=Path("mine"), models=["b.mar"], enable_model_api=True, token_authorization=True)
    snapshot = json.dumps({"models": {"m": {"1.0": {"marName": "m.mar"}}}})
    properties = {"model_store": "theirs", "load_models": "a.mar", "model_snapshot": snapshot}
    config, _ = make_config(properties, given, {}, FILE)
    assert (config.model_store, config.load_models, config.snapshot) == (
        Path("mine"),
        (Wanted("b.mar"),),
        None,
    )
    assert config.enable_model_api
    assert config.token_authorization


def test_variables_count_where_the_file_says_so() -> None:
    environ = {
        "TS_JOB_QUEUE_SIZE": "7",
        "TS_ALLOWED_URLS": "https://a/.*",
        "TS_NOSUCH": "1",
        "TS_CONFIG_FILE": "x",
    }
    assert config_of({"job_queue_size": "5"}, environ).job_queue_size == 5
    config, warnings = make_config(
        {"enable_envvars_config": "true", "job_queue_size": "5"}, Given(), environ, FILE
    )
    assert (config.job_queue_size, config.allowed_urls, warnings) == (7, (), [])
    both = {"enable_envvars_config": "true", "use_env_allowed_urls": "true"}
    assert [each.pattern for each in config_of(both, environ).allowed_urls] == ["https://a/.*"]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"job_queue_size": "many"},
            "config.properties: job_queue_size: expected a whole number of at least 1, got 'many'",
        ),
        (
            {"job_queue_size": "0"},
            "config.properties: job_queue_size: expected a whole number of at least 1, got '0'",
        ),
        (
            {"grpc_inference_port": "70000"},
            "config.properties: grpc_inference_port: expected a whole number of at least 0 and at most 65535, got '70000'",
        ),
        (
            {"enable_model_api": "yes"},
            "config.properties: enable_model_api: expected true or false, got 'yes'",
        ),
        (
            {"inference_address": "8080"},
            "config.properties: inference_address: expected http://HOST:PORT, https://HOST:PORT or unix:PATH, got '8080'",
        ),
        (
            {"service_envelope": "x"},
            "config.properties: service_envelope: expected body or json or kserve or kservev2, got 'x'",
        ),
        ({"models": "{"}, "config.properties: models: it is not JSON: "),
        ({"models": "[]"}, "config.properties: models: expected a JSON object, got '[]'"),
        (
            {"models": '{"m": {"1.0": {"minWorkers": "2"}}}'},
            "config.properties: models: m.1.0.minWorkers: expected a whole number, got '2'",
        ),
        (
            {"models": '{"m": {"1.0": {"minWorkers": true}}}'},
            "config.properties: models: m.1.0.minWorkers: expected a whole number, got True",
        ),
        ({"model_snapshot": "{}"}, "config.properties: model_snapshot: expected a member models, got '{}'"),
        (
            {"model_snapshot": '{"models": {"m": {"1.0": {}}}}'},
            "config.properties: model_snapshot: models.m.1.0: expected marName, the archive in the model store",
        ),
        (
            {"allowed_urls": "("},
            "config.properties: allowed_urls: expected regular expressions, separated by commas: ",
        ),
        (
            {"inference_address": "https://127.0.0.1:8443", "keystore": "x.p12"},
            "config.properties: addresses of https, and enable_grpc_ssl, need certificate_file and private_key_file, in PEM",
        ),
    ],
)
def test_says_what_is_wrong(properties: dict[str, str], message: str) -> None:
    with pytest.raises(TorchServeConfigError) as caught:
        config_of(properties)
    assert str(caught.value).startswith(message)


def test_needs_a_store_for_models() -> None:
    with pytest.raises(TorchServeConfigError, match="there is no model store"):
        make_config({"load_models": "all"}, Given(), {}, FILE)


@pytest.mark.parametrize(
    "value",
    [
        "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL [http://127.0.0.1/]]]]",
        "!!python/object/apply:os.system ['touch PWNED']",
        "__import__('os').system('touch PWNED')",
        "cos\nsystem\n(S'touch PWNED'\ntR.",
        '{"models": "!!python/object/apply:os.system [touch PWNED]"}',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("key", ["model_snapshot", "models"])
def test_a_snapshot_is_read_and_never_run(
    key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TorchServe's reading of such texts made possible (CVE-2022-1471 in SnakeYAML)."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TorchServeConfigError, match=rf"config\.properties: {key}: "):
        config_of({key: value})
    assert list(tmp_path.iterdir()) == []


def test_which_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "given.properties").write_text("job_queue_size=3\nmodel_store=$$HERE$$/store\nnosuch=1\n")
    given = Given(config_file=tmp_path / "given.properties")
    assert config_file(Given(), {}, tmp_path) is None
    config, warnings = load_config(given, {"HERE": "/data"}, tmp_path)
    assert (config.job_queue_size, config.model_store) == (3, Path("/data/store"))
    assert warnings == ["given.properties: nosuch is ignored: no such property is known"]
    (tmp_path / FILE).write_text("job_queue_size=4\n")
    assert load_config(Given(), {}, tmp_path)[0].job_queue_size == 4
    environ = {"TS_CONFIG_FILE": str(tmp_path / "given.properties")}
    assert config_file(Given(config_file=Path("other")), environ, tmp_path) == tmp_path / "given.properties"
    with pytest.raises(TorchServeConfigError, match=r"missing\.properties cannot be read: No such file"):
        load_config(Given(config_file=tmp_path / "missing.properties"), {}, tmp_path)


def test_a_misspelt_property_is_told_the_one_that_there_is() -> None:
    _, warnings = make_config({"default_worker_per_model": "2"}, Given(), {}, FILE)
    assert warnings == [
        f"{FILE}: default_worker_per_model is ignored: no such property is known, did you mean "
        "default_workers_per_model?"
    ]
