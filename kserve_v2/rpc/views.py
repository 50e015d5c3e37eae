"""Answers of the control RPCs as protobuf messages."""

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.messages import IndexEntry, ModelMetadata, TensorMetadata
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.models.shown import shown_statistics


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
    shown = shown_statistics(model)
    responses = shown.pop("response_stats").items()
    made = pb.InferResponseStatistics
    return pb.ModelStatistics(**shown, response_stats={index: made(**each) for index, each in responses})
