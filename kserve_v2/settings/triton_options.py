"""Triton's options that are understood and not acted on: command lines and Helm values can be pasted.

What only costs speed, or something to look at, is ignored with a warning. What promises protection, or would change
answers, ends the start: nobody shall think to be protected.
"""

REFUSED_OPTIONS = {
    "grpc-header-forward-pattern": "headers are not forwarded to models yet, so models would answer without them",
    "grpc-restricted-protocol": "access cannot be restricted yet: every caller may use every call",
    "http-header-forward-pattern": "headers are not forwarded to models yet, so models would answer without them",
    "http-restricted-api": "access cannot be restricted yet: every caller may use every route",
    "model-load-gpu-limit": "GPU memory is not limited at load",
}
"""Name of the option, without dashes, to why the server does not start with it."""

IGNORED_OPTIONS = {
    "allow-cpu-metrics": "CPU metrics are not exported yet",
    "allow-gpu-metrics": "GPU metrics are not exported yet",
    "allow-sagemaker": "the SageMaker routes are not supported yet",
    "allow-vertex-ai": "the Vertex AI routes are not supported yet",
    "backend-directory": "backends are Python packages, found by their entry point",
    "buffer-manager-thread-count": "there is no buffer manager",
    "cache-directory": "both caches, local and redis, are parts of the server: choose one with --cache-config",
    "cuda-memory-pool-byte-size": "the frameworks own the GPU memory",
    "cuda-virtual-address-size": "the frameworks own the GPU memory",
    "enable-peer-access": "the frameworks own the GPU memory",
    "grpc-infer-allocation-pool-size": "there is no pool of responses",
    "grpc-infer-thread-count": "one event loop of each process serves gRPC: see --processes",
    "grpc-max-response-pool-size": "there is no pool of responses",
    "host-policy": "set the CPU affinity of the process instead",
    "http-thread-count": "one event loop of each process serves HTTP: see --processes",
    "log-file": "logs go to stderr: redirect it",
    "metrics-config": "metrics have no settings yet",
    "metrics-interval-ms": "metrics are read when they are asked for",
    "min-supported-compute-capability": "the frameworks choose the GPUs that they can use",
    "model-load-retry-count": "a model that fails to load is not tried again",
    "pinned-memory-pool-byte-size": "the frameworks own the pinned memory",
    "repoagent-directory": "repository agents are not supported",
    "response-cache-byte-size": "it has been replaced by --cache-config local,size=BYTES",
    "reuse-grpc-port": "servers do not share ports; one server answers with several processes: --processes",
    "reuse-http-port": "servers do not share ports; one server answers with several processes: --processes",
    "sagemaker-port": "the SageMaker routes are not supported yet",
    "sagemaker-safe-port-range": "the SageMaker routes are not supported yet",
    "sagemaker-thread-count": "the SageMaker routes are not supported yet",
    "trace-count": "it has been replaced by --trace-config count=N",
    "trace-file": "it has been replaced by --trace-config triton,file=PATH",
    "trace-level": "it has been replaced by --trace-config level=LEVEL",
    "trace-log-frequency": "it has been replaced by --trace-config triton,log-frequency=N",
    "trace-rate": "it has been replaced by --trace-config rate=N",
    "vertex-ai-default-model": "the Vertex AI routes are not supported yet",
    "vertex-ai-port": "the Vertex AI routes are not supported yet",
    "vertex-ai-thread-count": "the Vertex AI routes are not supported yet",
}
"""Name of the option, without dashes, to what the user has to know about it."""

BACKEND_SETTINGS = {
    "mlserver": {"allow-pickles"},
    "onnxruntime": {"default-max-batch-size"},
    "python": set[str](),
    "pytorch": set[str](),
}
"""What the backends that come with the server read of `--backend-config`."""
