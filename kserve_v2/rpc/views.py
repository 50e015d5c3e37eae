"""Answers of the control RPCs as protobuf messages."""

from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.messages import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.scheduling.statistics import Duration


def server_metadata_view(metadata: ServerMetadata) -> pb.ServerMetadataResponse:
    """Answer of ServerMetadata."""
    return pb.ServerMetadataResponse(
        name=metadata.name, version=metadata.version, extensions=metadata.extensions
    )


def model_metadata_view(metadata: ModelMetadata) -> pb.ModelMetadataResponse:
    """Answer of ModelMetadata."""
    return pb.ModelMetadataResponse(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        inputs=[_tensor_view(tensor) for tensor in metadata.inputs],
        outputs=[_tensor_view(tensor) for tensor in metadata.outputs],
        properties={f"label:{label}": version for label, version in metadata.labels.items()},
    )


def _tensor_view(tensor: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )


def index_view(entry: IndexEntry) -> pb.RepositoryIndexResponse.ModelIndex:
    """One element of RepositoryIndex's answer."""
    return pb.RepositoryIndexResponse.ModelIndex(
        name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
    )


def statistics_view(model: LoadedModel) -> pb.ModelStatistics:
    """One element of ModelStatistics' answer."""
    statistics = model.statistics
    return pb.ModelStatistics(
        name=model.name,
        version=str(model.version),
        last_inference=statistics.last_inference_ms,
        inference_count=statistics.inference_count,
        execution_count=statistics.execution_count,
        inference_stats=pb.InferStatistics(**_durations(statistics.durations())),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=size, **_durations(batch.durations()))
            for size, batch in sorted(statistics.batches.items())
        ],
        response_stats={
            str(index): pb.InferResponseStatistics(**_durations(responses.durations()))
            for index, responses in statistics.responses.items()
        },
    )


def _durations(durations: dict[str, Duration]) -> dict[str, Any]:
    return {
        name: pb.StatisticDuration(count=duration.count, ns=duration.ns)
        for name, duration in durations.items()
    }
