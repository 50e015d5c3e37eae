"""Options: where values come from, what is refused, what is only warned about."""

import argparse
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from kserve_v2.caching.config import CacheConfig, RedisOptions
from kserve_v2.net.tls import TlsFiles
from kserve_v2.settings.flags import add_flags, did_you_mean, resolve, texts
from kserve_v2.settings.options import SettingsError
from kserve_v2.settings.settings import OPTIONS, Settings
from kserve_v2.settings.triton_options import IGNORED_OPTIONS, REFUSED_OPTIONS
from kserve_v2.tracing.config import TraceConfig

FLAGS = [flag for option in OPTIONS for flag in (option.flag, *option.aliases)]

REPOSITORY = ("--model-repository", "models")


def read(*argv: str, **environ: str) -> tuple[Settings, tuple[str, ...]]:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_flags(parser)
    return resolve(vars(parser.parse_args(argv)), environ)


def settings(*argv: str, **environ: str) -> Settings:
    effective, warnings = read(*REPOSITORY, *argv, **environ)
    # The settings of backends in these tests are made up.
    assert [warning for warning in warnings if not warning.startswith("--backend-config ")] == []
    return effective


def test_the_defaults_are_tritons_except_that_addresses_are_loopback_and_a_bad_model_ends_nothing() -> None:
    # Triton's `--help`: ports, control mode, exit options, thread count and input size.
    assert settings() == Settings(
        model_repository=(Path("models"),),
        model_control_mode="none",
        load_model=(),
        model_load_thread_count=4,
        disable_auto_complete_config=False,
        model_config_name="",
        model_environments=None,
        model_cache_dir=None,
        release_directory=None,
        allow_http=True,
        allow_ui=True,
        http_address="127.0.0.1",
        http_port=8000,
        http_max_input_size=67108864,
        allow_grpc=True,
        grpc_address="127.0.0.1",
        grpc_port=8001,
        allow_metrics=True,
        metrics_address="127.0.0.1",
        metrics_port=8002,
        id="kserve-v2",
        # One model's mistake takes no other down on the machine of whoever has made it.
        exit_on_error=False,
        strict_readiness=True,
        allow_client_shm=False,
        allow_file_override=False,
        cache_config=CacheConfig(),
        exit_timeout_secs=25,
        log_verbose=0,
        log_info=True,
        log_warning=True,
        log_error=True,
        log_format="default",
        log_access=False,
        trace_config=TraceConfig(),
        backend_config={},
    )


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--http-port", "9000"], "http_port", 9000),
        (["--http-port=9000"], "http_port", 9000),
        (["--http-port=1", "--http-port=2"], "http_port", 2),
        (["--http-port=0"], "http_port", 0),
        (["--grpc-address=0.0.0.0"], "grpc_address", "0.0.0.0"),
        (["--metrics-address", "::1"], "metrics_address", "::1"),
        (["--id", "east"], "id", "east"),
        (["--exit-on-error"], "exit_on_error", True),
        (["--exit-on-error=false"], "exit_on_error", False),
        (["--exit-on-error", "0"], "exit_on_error", False),
        (["--exit-on-error", "--http-port=1"], "exit_on_error", True),
        (["--log-access", "1"], "log_access", True),
        (["--strict-readiness=FALSE"], "strict_readiness", False),
        (["--allow-client-shm"], "allow_client_shm", True),
        (["--model-namespacing=true"], "model_namespacing", True),
        (["--model-namespacing", "--model-namespacing=0"], "model_namespacing", False),
        (["--allow-file-override", "--model-control-mode=explicit"], "allow_file_override", True),
        (["--log-format=json"], "log_format", "json"),
        (["--log-format=text"], "log_format", "default"),
        (["--log-format=ISO8601"], "log_format", "ISO8601"),
        (["--log-info=false"], "log_info", False),
        (
            ["--trace-config=level=TIMESTAMPS", "--trace-config", "triton,file=t.json"],
            "trace_config",
            TraceConfig(levels=("TIMESTAMPS",), file="t.json"),
        ),
        (["--model-config-name=fast"], "model_config_name", "fast"),
        (["--model-environments=made"], "model_environments", Path("made")),
        (["--strict-model-config"], "disable_auto_complete_config", True),
        (["--http-server-cert="], "http_server_cert", None),
        (
            ["--model-repository=a", "--model-store", "b"],
            "model_repository",
            tuple(map(Path, ("models", "a", "b"))),
        ),
        (["--model-control-mode=explicit", "--load-model=a", "--load-model", "*"], "load_model", ("a", "*")),
        (["--backend-config=onnxruntime,x=1"], "backend_config", {"onnxruntime": {"x": "1"}}),
        (
            ["--backend-config", "a,x=1", "--backend-config=a,y=2"],
            "backend_config",
            {"a": {"x": "1", "y": "2"}},
        ),
        (
            ["--backend-config=a,x=1", "--backend-config=y=2"],
            "backend_config",
            {"a": {"x": "1"}, "": {"y": "2"}},
        ),
        (["--backend-config=a,x=k=v"], "backend_config", {"a": {"x": "k=v"}}),
    ],
)
def test_flags(argv: list[str], name: str, value: object) -> None:
    # Of the same one, the last counts, which is told.
    assert getattr(read(*REPOSITORY, *argv)[0], name) == value


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("KSERVE_V2_HTTP_PORT", "9000", "http_port", 9000),
        ("KSERVE_V2_HTTP_PORT", "", "http_port", 8000),
        ("KSERVE_V2_ALLOW_GRPC", "false", "allow_grpc", False),
        ("KSERVE_V2_LOG_FORMAT", "json", "log_format", "json"),
        ("KSERVE_V2_EXIT_TIMEOUT_SECS", "5", "exit_timeout_secs", 5),
        (
            "KSERVE_V2_BACKEND_CONFIG",
            "a,x=1,b,y=2,z=3",
            "backend_config",
            {"a": {"x": "1"}, "b": {"y": "2", "z": "3"}},
        ),
        ("KSERVE_V2_BACKEND_CONFIG", ",x=1", "backend_config", {"": {"x": "1"}}),
    ],
)
def test_environment(variable: str, text: str, name: str, value: object) -> None:
    assert getattr(settings(**{variable: text}), name) == value


def test_repeatable_options_are_separated_by_commas_in_the_environment() -> None:
    effective, _ = read(
        KSERVE_V2_MODEL_REPOSITORY="a, b/c",
        KSERVE_V2_MODEL_CONTROL_MODE="explicit",
        KSERVE_V2_LOAD_MODEL="x,y",
    )
    assert effective.model_repository == (Path("a"), Path("b/c"))
    assert effective.load_model == ("x", "y")


def test_a_flag_outweighs_its_variable() -> None:
    assert settings("--http-port=1", KSERVE_V2_HTTP_PORT="2").http_port == 1
    assert settings(KSERVE_V2_MODEL_REPOSITORY="other").model_repository == (Path("models"),)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_shows_its_value_as_a_user_would_write_it(option: object) -> None:
    example = Settings(
        model_repository=(Path("models"),),
        model_control_mode="explicit",
        load_model=("digits",),
        http_cors_allow_origin=("https://a.example", "http://localhost:3000"),
        http_server_cert=Path("server.pem"),
        model_config_name="fast",
        model_environments=Path("made"),
        trace_config=TraceConfig(levels=("TENSORS",), file="t.json"),
        backend_config={"onnxruntime": {"x": "1"}},
        cache_config=CacheConfig(redis=RedisOptions(host="h", port=1)),
    )
    value = getattr(example, option.name)  # type: ignore[attr-defined]
    texts = option.kind.show(value).split() if isinstance(value, tuple) else [option.kind.show(value)]  # type: ignore[attr-defined]
    assert option.from_flag(texts) == value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--http-port=x"], "--http-port: expected a whole number from 0 to 65535, got 'x'"),
        (["--http-port=65536"], "--http-port: expected a whole number from 0 to 65535, got '65536'"),
        (["--grpc-port=-1"], "--grpc-port: expected a whole number from 0 to 65535, got '-1'"),
        (
            ["--http-max-input-size=0"],
            "--http-max-input-size: expected a whole number of at least 1, got '0'",
        ),
        (
            ["--exit-timeout-secs=1.5"],
            "--exit-timeout-secs: expected a whole number of at least 0, got '1.5'",
        ),
        (
            ["--http-cors-allow-origin=a.example"],
            "--http-cors-allow-origin: expected * or a scheme and a host, such as https://app.example.com or "
            "http://localhost:3000, without a path, got 'a.example'",
        ),
        (["--allow-http=yes"], "--allow-http: expected true, false, 1 or 0, got 'yes'"),
        (
            ["--http-address="],
            "--http-address: expected an address or host name without a port, or unix:PATH, got ''",
        ),
        (
            ["--http-address=unix:"],
            "--http-address: expected an address or host name without a port, or unix:PATH, got 'unix:'",
        ),
        (
            ["--grpc-address=unix-abstract:a"],
            "--grpc-address: expected an address or host name without a port, or unix:PATH, got 'unix-abstract:a'",
        ),
        (["--log-format=xml"], "--log-format: expected 'default' or 'ISO8601' or 'json', got 'xml'"),
        (
            ["--model-control-mode=polling"],
            "--model-control-mode: expected 'none' or 'explicit' or 'poll' or 'on-demand', got 'polling'",
        ),
        (
            ["--model-repository=hdfs://host/models"],
            "--model-repository: expected a local directory, or a URL with one of s3://, gs://, az://, as://, https://, "
            "http://, hf://, got 'models', 'hdfs://host/models'",
        ),
        (
            ["--model-repository=other", "--model-name=a"],
            "--model-name: works with one --model-repository, of that model; got 2",
        ),
        (["--model-name=a/b"], "--model-name: expected a name that a folder could have, got 'a/b'"),
        (["--model-name=.."], "--model-name: expected a name that a folder could have, got '..'"),
        (
            ["--staging-size-limit=-1"],
            "--staging-size-limit: expected a whole number of at least 0, got '-1'",
        ),
        (["--backend-config=onnxruntime"], "--backend-config: expected NAME,key=value, got 'onnxruntime'"),
        (["--backend-config=a,=1"], "--backend-config: expected NAME,key=value, got 'a,=1'"),
        (
            ["--trace-config=level=TIMESTAMPS"],
            "--trace-config: level=TIMESTAMPS needs triton,file=PATH, or mode=opentelemetry",
        ),
        (["--load-model=a"], "--load-model: works only with --model-control-mode=explicit or on-demand"),
        (
            ["--allow-file-override"],
            "--allow-file-override: works only with --model-control-mode=explicit or on-demand",
        ),
        (
            ["--model-control-mode=explicit", "--load-model="],
            "--load-model: expected the name of a model, got ''",
        ),
        (
            ["--allow-http=false", "--allow-grpc=0"],
            "--allow-http and --allow-grpc are both false: at least one of them must be true",
        ),
        (["--http-use-ssl"], "--http-use-ssl: needs --http-server-cert and --http-server-key"),
        (
            ["--grpc-use-ssl", "--grpc-server-cert=c"],
            "--grpc-use-ssl: needs --grpc-server-cert and --grpc-server-key",
        ),
        (
            ["--grpc-use-ssl-mutual", "--grpc-server-cert=c", "--grpc-server-key=k"],
            "--grpc-use-ssl-mutual: needs --grpc-server-cert and --grpc-server-key and --grpc-root-cert",
        ),
        (
            ["--http-server-key=https://x/key"],
            "--http-server-key: expected a local file, got 'https://x/key'",
        ),
        (["--torchserve-networks=10.0.0.0/8"], "--torchserve-networks: works only with --torchserve"),
    ],
)
def test_a_wrong_flag_is_named_with_what_was_expected(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(*REPOSITORY, *argv)
    assert str(caught.value) == message


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("switches", "tls"),
    [
        ([], None),
        (["use-ssl"], TlsFiles(Path("c"), Path("k"))),
        (["use-ssl-mutual"], TlsFiles(Path("c"), Path("k"), Path("r"))),
        (["use-ssl=false", "use-ssl-mutual"], TlsFiles(Path("c"), Path("k"), Path("r"))),
    ],
)
def test_tls(protocol: str, switches: list[str], tls: TlsFiles | None) -> None:
    files = ["server-cert=c", "server-key=k", "root-cert=r"]
    effective, _ = read(*REPOSITORY, *(f"--{protocol}-{flag}" for flag in [*switches, *files]))
    assert effective.tls(protocol) == tls
    assert effective.tls("grpc" if protocol == "http" else "http") is None


@pytest.mark.parametrize(("protocol", "name"), [("http", "HTTP"), ("grpc", "gRPC")])
def test_files_for_tls_that_protect_nothing_are_warned_about(protocol: str, name: str) -> None:
    flags = [f"--{protocol}-{flag}" for flag in ("server-cert=c", "server-key=k", "root-cert=r")]
    unencrypted = f"is ignored: {name} connections are NOT encrypted without --{protocol}-use-ssl"
    assert read(*REPOSITORY, *flags)[1] == tuple(f"{flag.partition('=')[0]} {unencrypted}" for flag in flags)
    assert read(*REPOSITORY, *flags, f"--{protocol}-use-ssl")[1] == (
        f"--{protocol}-root-cert is ignored: clients are NOT asked for certificates without --{protocol}-use-ssl-mutual",
    )
    assert read(*REPOSITORY, *flags, f"--{protocol}-use-ssl-mutual")[1] == ()


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(
        SettingsError, match=r"^KSERVE_V2_LOG_VERBOSE: expected a whole number of at least 0, got 'much'$"
    ):
        settings(KSERVE_V2_LOG_VERBOSE="much")


def test_a_repository_is_needed() -> None:
    with pytest.raises(
        SettingsError,
        match="nothing to serve: name a model or a repository",
    ):
        read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_port", 70000),
        ("http_port", "8000"),
        ("http_port", True),
        ("allow_http", "true"),
        ("allow_ui", "true"),
        ("model_repository", "models"),
        ("load_model", ("",)),
        ("log_format", "text"),
        ("backend_config", {"onnxruntime": "x"}),
    ],
)
def test_a_callers_value_passes_the_same_check(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected "):
        Settings(**{"model_repository": (Path("models"),), name: value})  # type: ignore[arg-type]


def test_settings_cannot_be_changed() -> None:
    effective = settings("--backend-config=a,x=1")
    with pytest.raises(FrozenInstanceError):
        effective.http_port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        effective.backend_config["a"]["x"] = "2"  # type: ignore[index]


def test_a_backends_own_settings_outweigh_those_of_all_backends() -> None:
    effective = settings("--backend-config=x=1", "--backend-config=,y=2", "--backend-config=python,x=3")
    assert effective.backend_settings("python") == {"x": "3", "y": "2"}
    assert effective.backend_settings("onnxruntime") == {"x": "1", "y": "2"}


@pytest.mark.parametrize("name", sorted(IGNORED_OPTIONS))
def test_tritons_other_options_are_ignored_with_a_warning(name: str) -> None:
    for argv in ([f"--{name}=level=x,y"], [f"--{name}", "-1"], [f"--{name}"]):
        effective, warnings = read(*argv, "--http-port=9", *REPOSITORY)
        assert effective.http_port == 9
        assert warnings == (f"--{name} is ignored: {IGNORED_OPTIONS[name]}",)


def test_an_ignored_option_given_twice_warns_once() -> None:
    assert len(read(*REPOSITORY, "--cache-directory=a", "--cache-directory=b")[1]) == 1


@pytest.mark.parametrize("name", sorted(REFUSED_OPTIONS))
def test_what_promises_protection_or_changes_answers_ends_the_start(name: str) -> None:
    variable = f"KSERVE_V2_{name.upper().replace('-', '_')}"
    for argv, environ, source in (
        ([f"--{name}=inference:key=secret"], {}, f"--{name}"),
        ([f"--{name}", "x"], {}, f"--{name}"),
        ([f"--{name}"], {}, f"--{name}"),
        ([], {variable: "x"}, variable),
        ([f"--{name}=y"], {variable: "x"}, f"--{name}"),
    ):
        with pytest.raises(SettingsError) as caught:
            read(*REPOSITORY, *argv, **environ)
        assert str(caught.value) == f"{source} is not supported: {REFUSED_OPTIONS[name]}"


# Every option of `tritonserver --help`, 2.51 to 2.63, whose name says that it protects or limits something.
@pytest.mark.parametrize("name", ["http-restricted-api", "grpc-restricted-protocol", "model-load-gpu-limit"])
def test_options_that_protect_are_not_ignored(name: str) -> None:
    assert name in REFUSED_OPTIONS
    assert name not in IGNORED_OPTIONS


def test_an_option_is_known_ignored_or_refused() -> None:
    kinds = [
        {f"--{name}" for name in IGNORED_OPTIONS},
        {f"--{name}" for name in REFUSED_OPTIONS},
        set(FLAGS),
    ]
    assert sum(map(len, kinds)) == len(set().union(*kinds))


def test_tritons_older_name_for_taking_configurations_as_they_are() -> None:
    assert settings("--strict-model-config=true").disable_auto_complete_config
    assert not settings("--strict-model-config=false").disable_auto_complete_config


def test_settings_of_backends_that_nobody_reads_are_warned_about() -> None:
    argv = [
        "--backend-config=onnxruntime,default-max-batch-size=8,default-max-batchsize=9",
        "--backend-config=python,shm-default-byte-size=1",
        "--backend-config=default-max-batch-size=4,nonsense=1",
        "--backend-config=third_party,x=1",
    ]
    assert read(*REPOSITORY, *argv)[1] == (
        "--backend-config onnxruntime,default-max-batchsize=9 is ignored: backend 'onnxruntime' has no such setting, "
        "did you mean default-max-batch-size?",
        "--backend-config python,shm-default-byte-size=1 is ignored: backend 'python' has no such setting",
        "--backend-config nonsense=1 is ignored by the server's own backends: none has such a setting",
    )


def test_an_unknown_variable_of_ours_is_a_warning() -> None:
    assert read(*REPOSITORY, KSERVE_V2_HTTP_PROT="1", KSERVE="x", OTHER="y")[1] == (
        "environment variable KSERVE_V2_HTTP_PROT is ignored: no option has this name, "
        "did you mean KSERVE_V2_HTTP_PORT?",
    )


def test_did_you_mean_says_nothing_where_nothing_is_close() -> None:
    assert did_you_mean("--xyzzy", FLAGS) == ""


def test_every_field_is_an_option_with_a_flag_a_variable_and_a_help_text() -> None:
    assert [option.name for option in OPTIONS] == [field.name for field in fields(Settings)]
    for option in OPTIONS:
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.variable == "KSERVE_V2_" + option.name.upper()
        assert option.help.endswith(".")


def test_the_largest_request_fits_into_the_budget_for_requests_in_flight() -> None:
    with pytest.raises(
        SettingsError, match=r"^--max-inflight-bytes: 100 is less than --http-max-input-size \(101\)"
    ):
        settings("--max-inflight-bytes=100", "--http-max-input-size=101")
    assert settings("--max-inflight-bytes=101", "--http-max-input-size=101").max_inflight_bytes == 101
    assert settings(KSERVE_V2_MAX_INFLIGHT_BYTES="200000000").max_inflight_bytes == 200_000_000
    assert settings().max_inflight_bytes == 0


def test_resources_are_read_as_triton_reads_them() -> None:
    given = ["--rate-limit=execution_count", "--rate-limit-resource=R1:4", "--rate-limit-resource", "R2:10:1"]
    effective = settings(*given)
    assert effective.rate_limit == "execution_count"
    assert effective.rate_limit_resource == (("R1", 4, None), ("R2", 10, 1))
    environ = {"KSERVE_V2_RATE_LIMIT": "execution_count", "KSERVE_V2_RATE_LIMIT_RESOURCE": "R1:4,R2:10:1"}
    assert settings(**environ) == effective


@pytest.mark.parametrize("text", ["R1", "R1:", "R1:x", "R1:1:x", "R1:1:0:0", ":1", "R1:-1", "R1:1:-1", ""])
def test_resources_of_another_form_end_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--rate-limit-resource: expected NAME:COUNT"):
        settings("--rate-limit=execution_count", f"--rate-limit-resource={text}")


def test_resources_that_no_execution_waits_for_are_a_warning() -> None:
    _, warnings = read(*REPOSITORY, "--rate-limit-resource=R1:4")
    assert warnings == (
        "--rate-limit-resource is ignored: no execution waits for it without --rate-limit execution_count",
    )


@pytest.mark.parametrize(
    ("flags", "config"),
    [
        (("--cache-config=local,size=5",), CacheConfig(size=5)),
        (
            ("--cache-config", "redis,host=h", "--cache-config", "redis,port=1"),
            CacheConfig(redis=RedisOptions("h", 1)),
        ),
    ],
)
def test_a_response_cache(flags: tuple[str, ...], config: CacheConfig) -> None:
    assert settings(*flags).cache_config == config


def test_a_response_cache_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--cache-config: redis needs both host=HOST and port=PORT$"):
        settings("--cache-config=redis,host=h")
    with pytest.raises(
        SettingsError, match=r"^--cache-config: expected local,size=BYTES, or redis.* got 'local'$"
    ):
        settings("--cache-config=local")


def test_triton_s_older_flag_for_it_names_the_new_one() -> None:
    _, warnings = read(*REPOSITORY, "--response-cache-byte-size=5")
    assert warnings == (
        "--response-cache-byte-size is ignored: it has been replaced by --cache-config local,size=BYTES",
    )


@pytest.mark.parametrize("key", ["password", "pasword", "passwd", "pwd"])
def test_a_password_is_not_repeated_in_an_error(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(f"--cache-config=redis,host=h,{key}=secret,port=x")
    assert "secret" not in str(caught.value)
    assert f"{key}=***" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--http-port=1", "--http-port=2", "--http-port=2"], ["--http-port is given 3 times: the last value, 2, counts"]),
        (["--http-port=1", "--http-port=1", "--load-model=a", "--load-model=b", "--model-control-mode=explicit"], []),
        (["--cache-config=redis,host=h", "--cache-config=redis,port=1"], []),
        (["--allow-http=false", "--allow-http"], ["--allow-http is given 2 times: the last value, true, counts"]),
        (["--allow-http=false", "--http-port=9", "--http-max-input-size=5"],
         ["--http-port is ignored: REST is not served with --allow-http=false"]),
        (["--allow-grpc=false", "--grpc-port=9", "--grpc-keepalive-time=5", "--grpc-server-cert=c"],
         ["--grpc-server-cert is ignored: gRPC connections are NOT encrypted without --grpc-use-ssl",
          "--grpc-port is ignored: gRPC is not served with --allow-grpc=false",
          "--grpc-keepalive-time is ignored: gRPC is not served with --allow-grpc=false"]),
        (["--allow-metrics=false", "--metrics-port=9"],
         ["--metrics-port is ignored: /metrics is not served with --allow-metrics=false"]),
        (["--memory-min-idle-secs=3"], ["--memory-min-idle-secs is ignored: nothing makes room without --memory-budget"]),
        (["--memory-min-idle-secs=3", "--memory-budget=cpu=1G"], []),
        (["--replicate-up-to=3"], ["--replicate-up-to is ignored: there is one process without --processes"]),
        (["--replicate-up-to=3", "--processes=auto"], []),
        (["--grpc-max-connection-age-grace=3"],
         ["--grpc-max-connection-age-grace is ignored: no connection is ended without --grpc-max-connection-age"]),
        (["--repository-poll-secs=3"], ["--repository-poll-secs is ignored: nobody polls without --model-control-mode poll"]),
        (["--repository-poll-secs=15"], []),
        (["--repository-poll-secs=3", "--repository-settle-secs=0", "--model-control-mode=poll"], []),
        (["--repository-settle-secs=9", "--reload"],
         ["--repository-settle-secs is ignored: --reload looks at the repository every second"]),
        (["--on-demand-wait-secs=0"],
         ["--on-demand-wait-secs is ignored: no request waits without --model-control-mode on-demand"]),
        (["--on-demand-wait-secs=0", "--model-control-mode=on-demand"], []),
    ],
)  # fmt: skip
def test_what_belongs_to_another_control_mode_is_named(argv: list[str], expected: list[str]) -> None:
    assert list(read(*REPOSITORY, *argv)[1]) == expected


def test_budgets_of_memory_have_units_and_devices() -> None:
    sizes = (("cpu", 8 << 30), ("gpu0", 40 << 30), ("gpu11", 1536))
    for given in ("cpu=8G,gpu0=40G,gpu11=1536", "CPU=8192MiB, gpu0=40g ,gpu11=1536B"):
        effective = settings(f"--memory-budget={given}")
        assert effective.memory_budget == sizes
        option = next(option for option in OPTIONS if option.name == "memory_budget")
        assert option.kind.show(effective.memory_budget) == "cpu=8G,gpu0=40G,gpu11=1536"
    assert settings("--memory-budget=cpu=8G", "--memory-budget", "gpu0=1T").memory_budget == (
        ("cpu", 8 << 30),
        ("gpu0", 1 << 40),
    )
    assert settings(KSERVE_V2_MEMORY_BUDGET="cpu=0").memory_budget == (("cpu", 0),)
    assert settings().memory_budget == ()


@pytest.mark.parametrize(
    "text", ["", "8G", "cpu", "cpu=", "cpu=8X", "cpu=-1", "tpu=8G", "cpu=1.5G", "cpu=1G,CPU=2G"]
)
def test_budgets_of_another_form_end_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--memory-budget: expected sizes by device"):
        settings(f"--memory-budget={text}")


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--model-repository", "more models", "--model-repository", "s3://https://key:secret@host:9000/bucket/path"),
        ("--model", "a=net.pt", "--model", "b=models/b,c.onnx"),
        ("--model", "net.pt", "--input", "x:FP32[N,4]", "--input", "y:BYTES[-1]", "--output", "z:INT64[N]"),
        ("--model-control-mode", "explicit", "--load-model", "a b", "--load-model", "c"),
        ("--memory-budget", "cpu=8G,gpu0=3000001"),
        ("--http-cors-allow-origin", "http://a.example", "--http-cors-allow-origin", "*"),
        ("--http-use-ssl", "--http-server-cert", "a b.pem", "--http-server-key", "k.pem"),
        ("--rate-limit", "execution_count", "--rate-limit-resource", "R1:4", "--rate-limit-resource", "R2:1:0"),
        ("--backend-config", "python,a=1,b=2", "--backend-config", "c=x y", "--isolate", "python,onnxruntime"),
        ("--cache-config", "local,size=1048576"),
        ("--cache-config", "redis,host=h,port=1,password=p***w,tls_enabled=true,cacert=c.pem"),
        ("--trace-config", "triton,file=t.json", "--trace-config", "level=TIMESTAMPS", "--trace-config", "rate=5"),
        ("--trace-config", "mode=opentelemetry", "--trace-config", "opentelemetry,url=http://h/p,resource=a=b"),
        ("--processes", "auto", "--replicate-up-to", "1536K", "--log-format", "json", "--log-access", "--log-info=0"),
    ],
)  # fmt: skip
def test_another_process_gets_the_same_settings_as_texts(argv: tuple[str, ...]) -> None:
    asked, _ = read(*REPOSITORY, *argv)
    again, _ = resolve(texts(asked), {})
    assert again == asked


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("16", 16), ("auto", "auto"), ("AUTO", "auto")])
def test_how_many_processes(text: str, value: int | str) -> None:
    assert settings("--processes", text).processes == value


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "2.5"])
def test_what_is_no_number_of_processes(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"--processes: expected a whole number from 1 to 256, or auto, got"
    ):
        settings("--processes", text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("67108864", 64 << 20), ("64M", 64 << 20), ("2g", 2 << 30), ("1KiB", 1024)]
)
def test_a_size(text: str, size: int) -> None:
    assert settings("--processes=2", "--replicate-up-to", text).replicate_up_to == size


def test_what_is_no_size() -> None:
    with pytest.raises(SettingsError, match="--replicate-up-to: expected a number of bytes"):
        settings("--replicate-up-to", "64 MB!")
