"""What clients are shown of the statistics of a model, over either protocol, in the order of REST."""

from typing import Any

from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.scheduling.statistics import Duration


def shown_statistics(model: LoadedModel) -> dict[str, Any]:
    """One element of `model_stats`."""
    statistics = model.statistics
    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": statistics.last_inference_ms,
        "inference_count": statistics.inference_count,
        "execution_count": statistics.execution_count,
        "inference_stats": _durations(statistics.durations()),
        "response_stats": {
            str(index): _durations(responses.durations()) for index, responses in statistics.responses.items()
        },
        "batch_stats": [
            {"batch_size": size, **_durations(batch.durations())}
            for size, batch in sorted(statistics.batches.items())
        ],
        "memory_usage": [],
    }


def _durations(durations: dict[str, Duration]) -> dict[str, Any]:
    return {name: {"count": duration.count, "ns": duration.ns} for name, duration in durations.items()}
