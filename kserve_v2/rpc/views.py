"""Answers of the control RPCs as protobuf messages."""

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.messages import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from kserve_v2.repository.model import LoadedModel
from kserve_v2.statistics import Duration


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
        inference_stats=pb.InferStatistics(
            success=_duration(statistics.success),
            fail=_duration(statistics.fail),
            queue=_duration(statistics.queue),
            compute_input=_duration(statistics.compute_input),
            compute_infer=_duration(statistics.compute_infer),
            compute_output=_duration(statistics.compute_output),
            cache_hit=pb.StatisticDuration(),
            cache_miss=pb.StatisticDuration(),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
            for size, batch in sorted(statistics.batches.items())
        ],
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
