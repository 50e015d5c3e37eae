"""From `model-config.yaml` to the lines of a config.pbtxt."""

from kserve_v2.commands.command import CommandError
from kserve_v2.commands.converting.content import Content
from kserve_v2.commands.converting.result import Result
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.torchserve.model_config import WorkerSettings, worker_settings

# What the server acts on; all else in the file is for the handler.
_ACTED_ON = frozenset(
    {"minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "clientTimeoutInMills",
     "jobQueueSize", "deviceType", "deviceIds", "parallelType", "torchrun", "sequenceBatching", "continuousBatching",
     "asyncCommunication", "startupTimeout", "maxRetryTimeoutInSec", "useJobTicket", "useVenv", "parallelLevel"}
)  # fmt: skip


def settings_lines(content: Content, result: Result, rows: int | None = 1) -> str:
    """The lines. `rows`: the largest batch where the file says nothing; 0 for a model that has no batches, None for one
    whose own file says it. What has no counterpart is added to the result. Raises CommandError.
    """
    shown = content.manifest.config_file or "model-config.yaml"
    try:
        settings = worker_settings(
            content.settings, {}, shown, lambda text: result.differences.append(f"{shown}: {text}.")
        )
    except InvalidArgumentError as error:
        raise CommandError(f"{error.message}; this model cannot be converted") from None
    lines = [*_batching(settings, rows, result), *_groups(settings, result)]
    if settings.response_timeout_s:
        result.differences.append(
            f"{shown}: responseTimeout: {settings.response_timeout_s} s ended a worker. Here a handler's process is "
            'ended by the parameters "isolation": "process" and "execution_timeout"; the model has neither.'
        )
    own = sorted(set(content.settings) - _ACTED_ON)
    if own:
        result.decisions.append(
            f"{shown}: {', '.join(own)}: those were for the handler. Here such values are parameters in config.pbtxt, "
            "and strings."
        )
    return "\n".join(lines)


def _batching(settings: WorkerSettings, rows: int | None, result: Result) -> list[str]:
    size = settings.batch_size
    if rows == 0:
        if size and size > 1:
            result.differences.append(
                f"Requests are not merged, as batchSize, {size}, asked for: there are no rows."
            )
        return ["max_batch_size: 0"]
    if (size or rows) == 1:
        result.decisions.append(
            "max_batch_size is 1, as batchSize was: each request is executed by itself. If the model answers each row "
            "of a batch as it answers it alone, a larger number, and dynamic_batching { }, serve more requests."
        )
    inner = []
    if size and size > 1:
        delay = 100 if settings.max_batch_delay_ms is None else settings.max_batch_delay_ms
        inner.append(f"max_queue_delay_microseconds: {delay * 1000}")
    policy = []
    if settings.job_queue_size:
        policy.append(f"max_queue_size: {settings.job_queue_size}")
    if settings.client_timeout_ms:
        policy.append(f"default_timeout_microseconds: {settings.client_timeout_ms * 1000}")
    if policy:
        inner.append(f"default_queue_policy {{ {'  '.join(policy)} }}")
    if size is None and rows is not None and rows > 1 and not inner:
        result.decisions.append(
            f"max_batch_size is {rows}: a request may have as many rows. Requests are not merged, as they were not. "
            "If the model answers each row of a batch as it answers it alone, dynamic_batching { } merges them."
        )
    lines = [] if size is rows is None else [f"max_batch_size: {size or rows}"]
    return [*lines, *([f"dynamic_batching {{ {'  '.join(inner)} }}"] if inner else [])]


def _groups(settings: WorkerSettings, result: Result) -> list[str]:
    workers, gpus = settings.min_workers, settings.device_ids
    if settings.max_workers and workers and settings.max_workers > workers:
        result.differences.append(
            f"There are {workers} instances, as minWorkers says; maxWorkers, {settings.max_workers}, has no "
            "counterpart."
        )
    if not (workers or gpus or settings.device_type):
        return []
    kind = ""
    if settings.device_type == "cpu":
        kind, gpus = "  kind: KIND_CPU", ()
    elif settings.device_type == "gpu" or gpus:
        kind = "  kind: KIND_GPU"
    if gpus:
        # There are so many instances on each GPU.
        count = -(-(workers or 1) // len(gpus))
        kind += f"  gpus: [ {', '.join(map(str, gpus))} ]"
        if workers and count * len(gpus) != workers:
            result.differences.append(
                f"{workers} workers on {len(gpus)} GPUs became {count} instances on each of them."
            )
        workers = count
    return [f"instance_group [ {{ count: {workers or 1}{kind} }} ]"]
