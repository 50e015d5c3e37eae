"""The process's options: one table, from which flags, environment variables, checks and printout come.

Names and meanings are Triton's, where Triton has the option.
"""

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from kserve_v2.caching.config import CacheConfig
from kserve_v2.net.repository_url import RepositoryUrl, is_archive
from kserve_v2.net.tls import TlsFiles
from kserve_v2.settings import options
from kserve_v2.settings.options import BackendConfig, Kind, Option, SettingsError
from kserve_v2.tensors.written import WrittenTensor
from kserve_v2.tracing.config import TraceConfig

T = TypeVar("T")

# Of one that is not hidden, and leads nowhere else.
_FOLDER_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")

LOG_FORMATS = ("default", "ISO8601", "json")
"""The first two are Triton's names, the last is ours."""

CONTROL_MODES = ("none", "explicit", "poll", "on-demand")
"""Triton's, and one of ours."""

REPOSITORY = "Model repository"
HTTP = "REST over HTTP"
GRPC = "gRPC"
METRICS = "Metrics"
SERVER = "Server"
LOGS = "Logs"
TRACING = "Tracing"
BACKENDS = "Backends"
TORCHSERVE = "TorchServe"


def _option(default: T, kind: Kind[T], group: str, text: str, aliases: tuple[str, ...] = ()) -> T:
    """A field of Settings together with its row in the table of options."""
    option = Option(default, kind, group, text, aliases)
    return field(default_factory=lambda: default, metadata={"option": option})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective options of one server. Raises SettingsError if one does not fit. Each is a keyword argument, with
    the name and meaning of the flag of `kserve-v2 serve`; `kserve_v2.serve` takes them, too, and has them as
    `Server.settings`.

        settings = kserve_v2.Settings(model_repository=(Path("models"),), http_port=9000)
        settings.grpc_port  # 8001
    """

    model_repository: tuple[Path | RepositoryUrl, ...] = _option(
        (),
        options.REPOSITORIES,
        REPOSITORY,
        "Directory with one sub-directory, or .zip or .tar.gz archive, per model; or where that lies elsewhere: "
        "s3://BUCKET/PATH, s3://https://HOST:PORT/BUCKET/PATH, gs://, az://, as://ACCOUNT/CONTAINER/PATH, "
        "hf://ORG/REPOSITORY, or an archive at https:// (pip install fsspec and s3fs, gcsfs, adlfs or "
        "huggingface_hub). May be repeated.",
        ("--model-store",),
    )
    model_name: str = _option(
        "",
        options.TEXT,
        REPOSITORY,
        "The repository is one model, which is served under this name: its files lie directly in it, as KServe mounts "
        "them at /mnt/models. Without folders for versions they are version 1.",
    )
    model: tuple[str, ...] = _option(
        (),
        options.MODELS,
        REPOSITORY,
        "One model, wherever it lies, beside those of the repositories: its file (.onnx, .pt2, .pt, or .py with its "
        "class), its folder, or package.module:Class from the current directory. Its name is the file's, or NAME. May "
        "be repeated; what stands on the command line without a flag is one, or a repository.",
    )
    input: tuple[WrittenTensor, ...] = _option(
        (),
        options.TENSORS,
        REPOSITORY,
        "An input of the one model that is given as a file, where the file does not say it, as of TorchScript: such as "
        "x:FP32[-1,4], with -1 where a dimension varies, or x:FP32[N,4], with N for the rows of a batch, so that "
        "requests are merged. May be repeated, in the order of the model's arguments.",
    )
    output: tuple[WrittenTensor, ...] = _option(
        (), options.TENSORS, REPOSITORY, "An output of that model, in the order in which it returns them."
    )
    staging_dir: Path | None = _option(
        None,
        options.DIRECTORY,
        REPOSITORY,
        "Where models that come from elsewhere, or out of archives, are kept; of one server at a time. Kept between "
        "starts, so that only what has changed is fetched. By default kserve-v2/staging in the user's cache directory, "
        "or a temporary one if that is in use.",
    )
    staging_size_limit: int = _option(
        0,
        options.whole_number(0),
        REPOSITORY,
        "Bytes that may be kept there; 0: as many as there is room for on the disk.",
    )
    model_control_mode: str = _option(
        "none",
        options.choice(CONTROL_MODES),
        REPOSITORY,
        "none: load every model at start. explicit: load those of --load-model, then as the API is told. poll: load "
        "every model, then load and unload as the repository changes. on-demand: load those of --load-model, and each "
        "other one when it is first asked for; the API may load and unload, too.",
    )
    repository_poll_secs: int = _option(
        15,
        options.whole_number(1),
        REPOSITORY,
        "Seconds between looks at the repository in control mode poll; where the file system tells of changes and "
        "watchfiles is installed (pip install watchfiles), the next look comes at once.",
    )
    repository_settle_secs: int = _option(
        2,
        options.whole_number(0),
        REPOSITORY,
        "Seconds that a model's directory has to stay as it is before control mode poll loads it, so that one which is "
        "being copied is not loaded before it is whole; more than the longest pause of whatever copies it.",
    )
    on_demand_wait_secs: int = _option(
        120,
        options.whole_number(0),
        REPOSITORY,
        "Seconds that a request waits for its model in control mode on-demand, unless its own deadline comes first; "
        "then, or at once with 0, it is refused with 503 (UNAVAILABLE), to be tried again. The load goes on.",
    )
    reload: bool = _option(
        False,
        options.BOOLEAN,
        REPOSITORY,
        "For work on models: load each again about a second after one of its files was changed, and say on the "
        "console what came of it; what is broken does not replace what answers. As control mode poll; with explicit "
        "and on-demand only what is loaded is loaded again.",
    )
    load_model: tuple[str, ...] = _option(
        (),
        options.NAMES,
        REPOSITORY,
        "Model to load at start in control modes explicit and on-demand; * for all of them. May be repeated.",
    )
    memory_budget: options.Sizes = _option(
        (),
        options.SIZES,
        REPOSITORY,
        "What models may use of each device, such as cpu=8G,gpu0=40G (K, M, G, T: powers of 1024). Before a load would "
        "go over, idle models that were not asked for longest go, but for those with the parameter pin; they are "
        "loaded again when they are asked for. What has no budget may be used freely.",
    )
    memory_min_idle_secs: int = _option(
        10,
        options.whole_number(0),
        REPOSITORY,
        "Seconds that a model has not been asked before it may make room for another one.",
    )
    model_load_thread_count: int = _option(
        4, options.whole_number(1), REPOSITORY, "How many models are loaded at the same time."
    )
    disable_auto_complete_config: bool = _option(
        False,
        options.BOOLEAN,
        REPOSITORY,
        "Take config.pbtxt as it is; do not complete it from the model file.",
        ("--strict-model-config",),
    )
    model_config_name: str = _option(
        "",
        options.TEXT,
        REPOSITORY,
        "Use configs/NAME.pbtxt of each model that has it in place of config.pbtxt.",
    )
    auto_warmup: bool = _option(
        False,
        options.BOOLEAN,
        REPOSITORY,
        "Execute made-up inputs of batch size 1, the preferred sizes and the largest before a model is ready, so that "
        "its first requests are not slow; of models without model_warmup whose shapes are known. The parameter "
        "auto_warmup says otherwise for one model.",
    )
    release_directory: Path | None = _option(
        None,
        options.DIRECTORY,
        REPOSITORY,
        "Keep releases that are changed while the server runs (labels of versions, splits, shadows) in "
        "DIR/MODEL/release.json, for repositories that cannot be written to; by default in the model's directory.",
    )
    model_environments: Path | None = _option(
        None,
        options.DIRECTORY,
        REPOSITORY,
        "Make an environment for each model with a requirements.txt beside it, with uv or pip, and keep it in DIR; "
        "archives of EXECUTION_ENV_PATH are unpacked there, too. What is installed there is code that runs.",
    )
    model_cache_dir: Path | None = _option(
        None,
        options.DIRECTORY,
        REPOSITORY,
        "Where models keep what is to outlive the server, each in a directory of its own (a handler's "
        "context.cache_dir); by default kserve-v2/models in the user's cache directory.",
    )

    model_namespacing: bool = _option(
        False,
        options.BOOLEAN,
        REPOSITORY,
        "Tell models of the same name in several repositories apart by the names of these; steps of an ensemble mean "
        "the model beside it first. Otherwise a name must be unique.",
    )
    allow_file_override: bool = _option(
        False,
        options.BOOLEAN,
        REPOSITORY,
        "Let load calls bring the model's files along (file:VERSION/PATH). These can be code, which runs as the "
        "server's user: only where every caller may be trusted with that; see SECURITY.md.",
    )

    allow_http: bool = _option(True, options.BOOLEAN, HTTP, "Serve REST.")
    allow_ui: bool = _option(
        True,
        options.BOOLEAN,
        HTTP,
        "Answer / with a page that shows the models and tries them, in a browser, and what the server does, and /docs "
        "with the description of the API. It can do what any client of this port can, and no more; false: neither "
        "they nor what lies under /ui exist. /openapi.json does in any case, and programs get at / what the server is.",
    )
    http_address: str = _option(
        "127.0.0.1",
        options.ADDRESS,
        HTTP,
        "Address to listen on; 0.0.0.0 for all of them. unix:PATH for a Unix socket, to which those connect who may "
        "write to it: the server's user, and others as the umask has it (curl --unix-socket PATH http://localhost/v2).",
    )
    http_port: int = _option(8000, options.PORT, HTTP, "Port to listen on; 0 for any free one.")
    http_max_input_size: int = _option(
        64 * 1024 * 1024,
        options.whole_number(1),
        HTTP,
        "Largest request body in bytes; holds for gRPC messages too.",
    )
    http_read_timeout_secs: int = _option(
        60,
        options.whole_number(1),
        HTTP,
        "Seconds that a client may take for the head of a request, or pass without sending more of its body or "
        "reading more of its answer.",
    )
    http_fast_lane: bool = _option(
        True,
        options.BOOLEAN,
        HTTP,
        "Answer inference requests of the usual form without the layers of ASGI; the answers are the same.",
    )
    v1_flavour: str = _option(
        "kserve",
        options.choice(("kserve", "tfserving")),
        HTTP,
        "Whose answers clients of the v1 protocol (/v1/models/MODEL:predict) get where those of KServe and TF Serving "
        "differ: the status of a model, texts of errors, what is unknown in a request. See docs/migration/v1.md.",
    )
    http_cors_allow_origin: tuple[str, ...] = _option(
        (),
        options.ORIGINS,
        HTTP,
        "Origin whose pages may call the server from a browser, such as https://app.example.com; * for all of them. "
        "May be repeated. All requests then go through the layers of ASGI.",
    )
    http_use_ssl: bool = _option(False, options.BOOLEAN, HTTP, "Serve REST over TLS only.")
    http_use_ssl_mutual: bool = _option(
        False,
        options.BOOLEAN,
        HTTP,
        "As --http-use-ssl, and only to clients with a certificate that --http-root-cert has signed.",
    )
    http_server_cert: Path | None = _option(
        None, options.FILE, HTTP, "PEM file with the server's certificate, intermediate ones behind it."
    )
    http_server_key: Path | None = _option(
        None, options.FILE, HTTP, "PEM file with the certificate's private key, not encrypted."
    )
    http_root_cert: Path | None = _option(
        None, options.FILE, HTTP, "PEM file with the certificates that sign those of clients."
    )

    allow_grpc: bool = _option(True, options.BOOLEAN, GRPC, "Serve gRPC.")
    grpc_address: str = _option(
        "127.0.0.1",
        options.ADDRESS,
        GRPC,
        "Address to listen on; 0.0.0.0 for all of them. unix:PATH for a Unix socket, as clients of gRPC name it, too.",
    )
    grpc_port: int = _option(8001, options.PORT, GRPC, "Port to listen on; 0 for any free one.")
    grpc_keepalive_time: int = _option(
        7_200_000,
        options.whole_number(1),
        GRPC,
        "Milliseconds without traffic after which a client is pinged.",
    )
    grpc_keepalive_timeout: int = _option(
        20_000, options.whole_number(1), GRPC, "Milliseconds that a client has to answer a ping."
    )
    grpc_keepalive_permit_without_calls: bool = _option(
        False, options.BOOLEAN, GRPC, "Ping clients that have no call under way, too."
    )
    grpc_http2_max_pings_without_data: int = _option(
        2,
        options.whole_number(0),
        GRPC,
        "Pings that are sent when there is nothing else to send; 0: any number.",
    )
    grpc_http2_min_recv_ping_interval_without_data: int = _option(
        300_000,
        options.whole_number(0),
        GRPC,
        "Milliseconds that a client has to leave between pings when it sends nothing else.",
    )
    grpc_http2_max_ping_strikes: int = _option(
        2, options.whole_number(0), GRPC, "Pings too many before a client is disconnected; 0: any number."
    )
    grpc_max_connection_age: int = _option(
        0,
        options.whole_number(0),
        GRPC,
        "Milliseconds after which a connection takes no new calls; 0: it lives as long as it likes.",
    )
    grpc_max_connection_age_grace: int = _option(
        0,
        options.whole_number(0),
        GRPC,
        "Milliseconds that calls on such a connection are given to finish; 0: as long as they take.",
    )
    grpc_infer_response_compression_level: str = _option(
        "none", options.choice(("none", "low", "medium", "high")), GRPC, "Compression of responses."
    )
    grpc_use_ssl: bool = _option(False, options.BOOLEAN, GRPC, "Serve gRPC over TLS only.")
    grpc_use_ssl_mutual: bool = _option(
        False,
        options.BOOLEAN,
        GRPC,
        "As --grpc-use-ssl, and only to clients with a certificate that --grpc-root-cert has signed.",
    )
    grpc_server_cert: Path | None = _option(
        None, options.FILE, GRPC, "PEM file with the server's certificate, intermediate ones behind it."
    )
    grpc_server_key: Path | None = _option(
        None, options.FILE, GRPC, "PEM file with the certificate's private key, not encrypted."
    )
    grpc_root_cert: Path | None = _option(
        None, options.FILE, GRPC, "PEM file with the certificates that sign those of clients."
    )

    allow_metrics: bool = _option(True, options.BOOLEAN, METRICS, "Serve Prometheus metrics at /metrics.")
    metrics_address: str = _option(
        "127.0.0.1",
        options.ADDRESS,
        METRICS,
        "Address to listen on; 0.0.0.0 for all of them. unix:PATH for a Unix socket.",
    )
    metrics_port: int = _option(8002, options.PORT, METRICS, "Port to listen on; 0 for any free one.")

    id: str = _option("kserve-v2", options.TEXT, SERVER, "Name of the server in its metadata.")
    processes: int | str = _option(
        1,
        options.PROCESSES,
        SERVER,
        "How many processes answer requests, as one server. Small models without state are in all of them (see "
        "--replicate-up-to), others in the first process alone, to which the other processes pass requests for them. "
        "auto: three quarters of the CPUs that the server may use, and 16 at most.",
    )
    replicate_up_to: int = _option(
        64 * 1024 * 1024,
        options.SIZE,
        SERVER,
        "With --processes: how large the files of a model may be for it to be loaded in each process, in bytes or as "
        "in 64M (K, M, G, T: powers of 1024). The parameter home of a model's configuration, single or replicated, "
        "outweighs this.",
    )
    exit_on_error: bool = _option(
        False,
        options.BOOLEAN,
        SERVER,
        "End with an error if a model does not load at start, as Triton does by default; false: serve the others, and "
        "be not ready.",
    )
    allow_client_shm: bool = _option(
        False,
        options.BOOLEAN,
        SERVER,
        "Let clients register shared memory of this machine and use it for tensors (Linux); see SECURITY.md.",
    )
    strict_readiness: bool = _option(
        True,
        options.BOOLEAN,
        SERVER,
        "Ready only when every model is; false: ready as soon as requests are answered.",
    )
    max_inflight_bytes: int = _option(
        0,
        options.whole_number(0),
        SERVER,
        "Memory that requests in flight may take in all, in bytes; 0: a quarter of what the process may use. Beyond "
        "it they are refused, to be tried again.",
    )
    rate_limit: str = _option(
        "off",
        options.choice(("execution_count", "off")),
        SERVER,
        "execution_count: executions of all models share the resources that their instance groups name. off: they do "
        "not wait for each other.",
    )
    rate_limit_resource: tuple[options.Resource, ...] = _option(
        (),
        options.RESOURCES,
        SERVER,
        "How many units of a resource there are, for the server or for each device, or on the given device; as many as "
        "the most demanding instance needs by default. May be repeated.",
    )
    cache_config: CacheConfig = _option(
        CacheConfig(),
        options.CACHE_CONFIG,
        SERVER,
        "Response cache for models with response_cache { enable: true }: local,size=BYTES in the server's memory, or "
        "redis,host=HOST and redis,port=PORT for one that servers share (pip install redis). May be "
        "repeated, for one cache.",
    )
    exit_timeout_secs: int = _option(
        25,
        options.whole_number(0),
        SERVER,
        "Seconds that whatever is under way is given when the server ends. Fewer than the 30 after which Kubernetes "
        "kills a container: answers to what was given up are sent after it.",
    )

    drain_timeout_secs: int = _option(
        600,
        options.whole_number(0),
        REPOSITORY,
        "Seconds in which a version that was replaced or unloaded finishes the requests, sequences and streams that "
        "have begun in it; then they end with an error. 0: any time.",
    )
    exit_delay_secs: int = _option(
        0,
        options.whole_number(0),
        SERVER,
        "Seconds after SIGTERM in which requests are answered as before while the server says that it is not ready, so "
        "that load balancers can look elsewhere first; --exit-timeout-secs begins after it.",
    )
    stall_log_secs: int = _option(
        10,
        options.whole_number(0),
        SERVER,
        "Log where the event loop is when it has answered nobody for that many seconds; 0: never.",
    )
    exit_on_stall_secs: int = _option(
        0,
        options.whole_number(0),
        SERVER,
        "End the process, with the stacks of all threads on stderr and exit status 1, when its event loop has answered "
        "nobody for that many seconds; 0: never. For where nothing else asks whether the server is alive.",
    )

    log_verbose: int = _option(0, options.whole_number(0), LOGS, "1 or more: log in detail.")
    log_info: bool = _option(True, options.BOOLEAN, LOGS, "Log what happens in the course of things.")
    log_warning: bool = _option(True, options.BOOLEAN, LOGS, "Log warnings.")
    log_error: bool = _option(True, options.BOOLEAN, LOGS, "Log errors.")
    log_format: str = _option(
        "default",
        options.choice(LOG_FORMATS, synonyms={"text": "default"}),
        LOGS,
        "Form of a log line: text, text with the head that Triton's ISO8601 has, or JSON.",
    )
    log_access: bool = _option(False, options.BOOLEAN, LOGS, "Log one line per inference request.")

    trace_config: TraceConfig = _option(
        TraceConfig(),
        options.TRACE_CONFIG,
        TRACING,
        "Trace requests, e.g. level=TIMESTAMPS with rate=100 and triton,file=trace.json. May be repeated.",
    )

    backend_config: BackendConfig = _option(
        options.NO_BACKEND_CONFIG,
        options.BACKEND_CONFIG,
        BACKENDS,
        "Setting of one backend, e.g. onnxruntime,default-max-batch-size=8, or of all. May be repeated.",
    )
    isolate: tuple[str, ...] = _option(
        (),
        options.BACKENDS,
        BACKENDS,
        "Backends whose models run in processes of their own, unless their configuration says something else. May be "
        "repeated.",
    )

    torchserve: bool = _option(
        False,
        options.BOOLEAN,
        TORCHSERVE,
        "Answer TorchServe's APIs as well, on its ports: inference 8080, management 8081, metrics 8082, gRPC 7070 and "
        "7071, all on 127.0.0.1 unless config.properties says otherwise. --model-store is a folder of its archives.",
    )
    models: tuple[str, ...] = _option(
        (),
        options.ARCHIVES,
        TORCHSERVE,
        "Archive of the model store to load at start, under its own name or NAME; all for each of them. May be "
        "repeated; by default those that config.properties names.",
    )
    ts_config: Path | None = _option(
        None,
        options.FILE,
        TORCHSERVE,
        "TorchServe's config.properties; by default config.properties in the current directory, if there is one. The "
        "variable TS_CONFIG_FILE outweighs it, as in TorchServe.",
    )
    workflow_store: Path | None = _option(
        None,
        options.DIRECTORY,
        TORCHSERVE,
        "Folder of TorchServe's archives of workflows, .war; by default --model-store. --models all loads those, too.",
    )
    enable_model_api: bool = _option(
        False,
        options.BOOLEAN,
        TORCHSERVE,
        "Let clients register and unregister models through TorchServe's management API: an archive that is registered "
        "is code that runs. Only from the model store, and from URLs that allowed_urls in config.properties matches.",
    )
    token_auth: bool = _option(
        False,
        options.BOOLEAN,
        TORCHSERVE,
        "Ask for TorchServe's tokens, which are written to key_file.json in the current directory.",
    )
    torchserve_networks: tuple[str, ...] = _option(
        (),
        options.NETWORKS,
        TORCHSERVE,
        "Network, such as 10.0.0.0/8, from which archives may be fetched although its addresses are local. May be "
        "repeated.",
    )
    torchserve_archive_limit: int = _option(
        4 << 30,
        options.whole_number(1),
        TORCHSERVE,
        "Bytes that an archive may have that is fetched by its URL.",
    )

    def __post_init__(self) -> None:
        for option in OPTIONS:
            option.check(getattr(self, option.name))
        self._check_models()
        if 0 < self.max_inflight_bytes < self.http_max_input_size:
            raise SettingsError(
                f"--max-inflight-bytes: {self.max_inflight_bytes} is less than --http-max-input-size "
                f"({self.http_max_input_size}): the largest request would never fit"
            )
        if self.load_model and not self.controlled:
            raise SettingsError("--load-model: works only with --model-control-mode=explicit or on-demand")
        if self.allow_file_override and not self.controlled:
            raise SettingsError(
                "--allow-file-override: works only with --model-control-mode=explicit or on-demand"
            )
        if self.model_namespacing and len(self.namespaces) < len(self.model_repository):
            raise SettingsError(
                "--model-namespacing: the model repositories are told apart by the names of their directories, and two "
                f"have the same: {', '.join(str(root) for root in self.model_repository)}"
            )
        if problem := self.trace_config.problem():
            raise SettingsError(f"--trace-config: {problem}")
        if problem := self.cache_config.problem():
            raise SettingsError(f"--cache-config: {problem}")
        if not (self.allow_http or self.allow_grpc):
            raise SettingsError(
                "--allow-http and --allow-grpc are both false: at least one of them must be true"
            )
        self.tls("http")
        self.tls("grpc")

    def _check_models(self) -> None:
        """Raise SettingsError if what is to be served does not go together."""
        self._check_torchserve()
        if not (self.model_repository or self.model or self.torchserve):
            raise SettingsError(
                "nothing to serve: name a model or a repository, as in kserve-v2 serve model.onnx, or give "
                "--model-repository DIR (or KSERVE_V2_MODEL_REPOSITORY)"
            )
        if (self.input or self.output) and len(self.model) != 1:
            raise SettingsError(
                f"--input and --output: work with one model that is given as a file, got {len(self.model)}; write a "
                "config.pbtxt for each of several (kserve-v2 init)"
            )
        if self.model_namespacing and self.model:
            raise SettingsError("--model-namespacing: works with repositories only, not with single models")
        if self.model_name and len(self.model_repository) != 1:
            raise SettingsError(
                f"--model-name: works with one --model-repository, of that model; got {len(self.model_repository)}"
                + ("; a single model is named as in NAME=PATH" if self.model else "")
            )
        if self.model_namespacing and (self.model_name or not all(map(_is_folder, self.model_repository))):
            raise SettingsError(
                "--model-namespacing: works with local directories of models, not with URLs, archives or --model-name"
            )
        if self.model_name and not _FOLDER_NAME.fullmatch(self.model_name):
            raise SettingsError(
                f"--model-name: expected a name that a folder could have, got {self.model_name!r}"
            )

    def _check_torchserve(self) -> None:
        """Raise SettingsError for what only works with TorchServe's APIs, or not with them."""
        if not self.torchserve:
            for name in (
                "models",
                "ts_config",
                "workflow_store",
                "enable_model_api",
                "token_auth",
                "torchserve_networks",
                "torchserve_archive_limit",
            ):
                if getattr(self, name) != _BY_NAME[name].default:
                    raise SettingsError(f"{_BY_NAME[name].flag}: works only with --torchserve")
            return
        if len(self.model_repository) > 1 or not all(map(_is_folder, self.model_repository)):
            raise SettingsError(
                "--torchserve: works with one --model-store, which is a local folder of archives; other models are "
                "given one by one, as in kserve-v2 serve --torchserve --model-store DIR NAME=PATH"
            )
        if self.model_namespacing or self.model_name:
            raise SettingsError("--torchserve: works neither with --model-namespacing nor with --model-name")

    @property
    def controlled(self) -> bool:
        """Whether clients and models may load and unload models."""
        return self.model_control_mode in {"explicit", "on-demand"}

    @property
    def namespaces(self) -> dict[str, Path]:
        """The model repositories by name, if they tell models apart."""
        if not self.model_namespacing:
            return {}
        return {root.absolute().name: root for root in self.model_repository if isinstance(root, Path)}

    def tls(self, protocol: str) -> TlsFiles | None:
        """The files for TLS on the port of `http` or `grpc`; None without TLS.

        Raises SettingsError if one is missing. Triton's rule: mutual TLS needs no other flag that turns TLS on.
        """
        mutual = getattr(self, f"{protocol}_use_ssl_mutual")
        if not (mutual or getattr(self, f"{protocol}_use_ssl")):
            return None
        needed = ("server_cert", "server_key", "root_cert") if mutual else ("server_cert", "server_key")
        files = [getattr(self, f"{protocol}_{name}") for name in needed]
        if None in files:
            flags = " and ".join(f"--{protocol}-{name.replace('_', '-')}" for name in needed)
            raise SettingsError(f"--{protocol}-use-ssl{'-mutual' if mutual else ''}: needs {flags}")
        return TlsFiles(*files)

    def backend_settings(self, backend: str) -> dict[str, str]:
        """What `--backend-config` says for one backend: its own settings over those for every backend."""
        return {**self.backend_config.get("", {}), **self.backend_config.get(backend, {})}


OPTIONS: tuple[Option[Any], ...] = tuple(replace(f.metadata["option"], name=f.name) for f in fields(Settings))
"""The table of options, in the order of the help text."""

_BY_NAME = {option.name: option for option in OPTIONS}


def _is_folder(repository: Path | RepositoryUrl) -> bool:
    return isinstance(repository, Path) and not is_archive(repository.name)
