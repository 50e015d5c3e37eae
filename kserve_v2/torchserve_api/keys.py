"""Properties of TorchServe's that have no effect here, each with the reason."""

from collections.abc import Mapping

_NO_JAVA = "it is about TorchServe's Java front end, and there is none"
_NO_KEY_STORES = "Java's key stores are not read: give certificate_file and private_key_file, in PEM"
_NO_PLUGINS = "plug-ins of TorchServe are Java archives"
_OWN_PROCESSES = "workers are the server's own processes, and need no ports"
_OWN_LOGS = "see --log-format and the other options of the log"
_SNAPSHOTS = "the server writes no snapshots; what is registered while it runs is gone when it ends"

IGNORED: Mapping[str, str] = {
    "number_of_netty_threads": _NO_JAVA,
    "netty_client_threads": _NO_JAVA,
    "use_native_io": _NO_JAVA,
    "io_ratio": _NO_JAVA,
    "prefer_direct_buffer": _NO_JAVA,
    "vmargs": _NO_JAVA,
    "initial_worker_port": _OWN_PROCESSES,
    "number_of_gpu": "GPUs are those that the process sees (CUDA_VISIBLE_DEVICES)",
    "unregister_model_timeout": "see --drain-timeout-secs",
    "async_logging": _OWN_LOGS,
    "snapshot_store": _SNAPSHOTS,
    "metrics_mode": "metrics are always to be had at the metrics address, and are not written to logs",
    "metrics_format": "metrics are always in Prometheus' format; TorchServe 0.12 ignores it, too",
    "metric_time_interval": "metrics of the system are measured when they are asked for",
    "system_metrics_cmd": "no commands are run for metrics",
    "cpu_launcher_enable": "the launcher is Intel's",
    "cpu_launcher_args": "the launcher is Intel's",
    "ipex_enable": "the extension is Intel's",
    "ipex_gpu_enable": "the extension is Intel's",
    "python": "models run with the server's Python, or in environments of their own",
    "blacklist_env_vars": "variables of the environment are shown to nobody",
    "model_server_home": "there is no such directory",
    "version": "it says nothing that is asked for",
    "name": "it says nothing that is asked for",
    "ts_config_version": "it says nothing that is asked for",
    "plugins_path": _NO_PLUGINS,
    # An address of https without the files in PEM is an error.
    "keystore": _NO_KEY_STORES,
    "keystore_pass": _NO_KEY_STORES,
    "keystore_type": _NO_KEY_STORES,
}
