# Generated from protos/torchserve_inference.proto by `python tools/generate_protos.py`. Do not edit.
import builtins
import collections.abc
import google.protobuf.descriptor
import google.protobuf.internal.containers
import google.protobuf.message
import typing

DESCRIPTOR: google.protobuf.descriptor.FileDescriptor

@typing.final
class PingRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___PingRequest = PingRequest

@typing.final
class TorchServeHealthResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    HEALTH_FIELD_NUMBER: builtins.int
    health: builtins.str
    """The body of GET /ping."""
    def __init__(
        self,
        *,
        health: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["health", b"health"]) -> None: ...

global___TorchServeHealthResponse = TorchServeHealthResponse

@typing.final
class PredictionsRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class InputEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        value: builtins.bytes
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: builtins.bytes = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    INPUT_FIELD_NUMBER: builtins.int
    SEQUENCE_ID_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    """The default version if it is empty."""
    sequence_id: builtins.str
    @property
    def input(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.bytes]:
        """What the handler finds in its row."""

    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
        input: collections.abc.Mapping[builtins.str, builtins.bytes] | None = ...,
        sequence_id: builtins.str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["_sequence_id", b"_sequence_id", "sequence_id", b"sequence_id"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["_sequence_id", b"_sequence_id", "input", b"input", "model_name", b"model_name", "model_version", b"model_version", "sequence_id", b"sequence_id"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["_sequence_id", b"_sequence_id"]) -> typing.Literal["sequence_id"] | None: ...

global___PredictionsRequest = PredictionsRequest

@typing.final
class Status(google.protobuf.message.Message):
    """google.rpc.Status, without its details."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    CODE_FIELD_NUMBER: builtins.int
    MESSAGE_FIELD_NUMBER: builtins.int
    code: builtins.int
    message: builtins.str
    def __init__(
        self,
        *,
        code: builtins.int = ...,
        message: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["code", b"code", "message", b"message"]) -> None: ...

global___Status = Status

@typing.final
class PredictionResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    PREDICTION_FIELD_NUMBER: builtins.int
    SEQUENCE_ID_FIELD_NUMBER: builtins.int
    STATUS_FIELD_NUMBER: builtins.int
    prediction: builtins.bytes
    sequence_id: builtins.str
    @property
    def status(self) -> global___Status: ...
    def __init__(
        self,
        *,
        prediction: builtins.bytes = ...,
        sequence_id: builtins.str | None = ...,
        status: global___Status | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["_sequence_id", b"_sequence_id", "_status", b"_status", "sequence_id", b"sequence_id", "status", b"status"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["_sequence_id", b"_sequence_id", "_status", b"_status", "prediction", b"prediction", "sequence_id", b"sequence_id", "status", b"status"]) -> None: ...
    @typing.overload
    def WhichOneof(self, oneof_group: typing.Literal["_sequence_id", b"_sequence_id"]) -> typing.Literal["sequence_id"] | None: ...
    @typing.overload
    def WhichOneof(self, oneof_group: typing.Literal["_status", b"_status"]) -> typing.Literal["status"] | None: ...

global___PredictionResponse = PredictionResponse
