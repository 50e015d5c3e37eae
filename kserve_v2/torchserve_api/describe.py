"""What the management API tells of a version."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.torchserve_api.catalog import Registration

_FIRST_WORKER = 9000
_READY, _NOT_READY = "READY", "UNLOADING"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def described(found: Registration, model: LoadedModel | None) -> dict[str, Any]:
    """One version. `model`: None while it is not loaded. Reads a few small files of /proc."""
    said = found.served
    document: dict[str, Any] = {
        "modelName": found.name,
        "modelVersion": found.version,
        "modelUrl": found.url,
        "runtime": str(found.archive.manifest.whole.get("runtime") or "python"),
        "minWorkers": said.min_workers,
        "maxWorkers": said.max_workers,
        "batchSize": said.batch_size,
        "maxBatchDelay": said.max_batch_delay,
        "responseTimeout": said.response_timeout,
        "startupTimeout": said.startup_timeout,
        "maxRetryTimeoutInSec": said.max_retry_timeout,
        "clientTimeoutInMills": said.client_timeout_ms,
        "parallelType": "" if said.parallel_type == "none" else said.parallel_type,
        "parallelLevel": said.parallel_level,
        "deviceType": said.device_type or _device(model),
        "continuousBatching": False,
        "useJobTicket": False,
        "useVenv": False,
        "stateful": False,
        "sequenceMaxIdleMSec": 0,
        "sequenceTimeoutMSec": 0,
        "maxNumSequence": 0,
        "maxSequenceJobQueueSize": 0,
        "loadedAtStartup": found.at_startup,
        "workers": workers(found, model),
        "jobQueueStatus": _queue(said.job_queue_size, model),
    }
    if said.device_ids:
        document["deviceIds"] = list(said.device_ids)
    return document


def workers(found: Registration, model: LoadedModel | None) -> list[dict[str, Any]]:
    """The processes of a version, one for each that there is to be. One that is starting has no pid yet."""
    pids: Sequence[int] = model.pids if model is not None else ()
    ready = model is not None and not model.down
    started = datetime.fromtimestamp(found.started_at, UTC).isoformat(timespec="milliseconds")
    gpus = _gpus(model)
    shown = []
    for number in range(found.workers):
        pid = pids[number] if number < len(pids) else -1
        shown.append(
            {
                "id": str(_FIRST_WORKER + number),
                "startTime": started.replace("+00:00", "Z"),
                "status": _READY if ready and pid != -1 else _NOT_READY,
                "memoryUsage": _memory(pid),
                "pid": pid,
                "gpu": bool(gpus),
                "gpuUsage": f"gpuId::{gpus[number % len(gpus)]}" if gpus else "N/A",
            }
        )
    return shown


def with_metadata(document: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The same, with what the handler's `describe_handle` has returned."""
    try:
        told = json.loads(body)
    except ValueError:
        told = body.decode("utf-8", "replace")
    return {**document, "customizedMetadata": _without_null(told)}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(each) for key, each in value.items() if each is not None}
    return value


def _device(model: LoadedModel | None) -> str:
    return "gpu" if _gpus(model) else "cpu"


def _gpus(model: LoadedModel | None) -> list[int]:
    if model is None:
        return []
    groups = model.config.instance_group
    return [gpu for group in groups if group.kind == group.KIND_GPU for gpu in group.gpus]


def _queue(size: int, model: LoadedModel | None) -> Mapping[str, int]:
    pending = model.depth if model is not None else 0
    return {"remainingCapacity": max(0, size - pending), "pendingRequests": pending}


def _memory(pid: int) -> int:
    """What a process takes up; 0 where that cannot be told."""
    if pid < 0:
        return 0
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0
