# Generated from protos/torchserve_management.proto by `python tools/generate_protos.py`. Do not edit.
import builtins
import google.protobuf.descriptor
import google.protobuf.message
import typing

DESCRIPTOR: google.protobuf.descriptor.FileDescriptor

@typing.final
class ManagementResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MSG_FIELD_NUMBER: builtins.int
    msg: builtins.str
    """The body of the call over HTTP, or its status text."""
    def __init__(
        self,
        *,
        msg: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["msg", b"msg"]) -> None: ...

global___ManagementResponse = ManagementResponse

@typing.final
class DescribeModelRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    CUSTOMIZED_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    customized: builtins.bool
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
        customized: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["customized", b"customized", "model_name", b"model_name", "model_version", b"model_version"]) -> None: ...

global___DescribeModelRequest = DescribeModelRequest

@typing.final
class ListModelsRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    LIMIT_FIELD_NUMBER: builtins.int
    NEXT_PAGE_TOKEN_FIELD_NUMBER: builtins.int
    limit: builtins.int
    next_page_token: builtins.int
    def __init__(
        self,
        *,
        limit: builtins.int = ...,
        next_page_token: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["limit", b"limit", "next_page_token", b"next_page_token"]) -> None: ...

global___ListModelsRequest = ListModelsRequest

@typing.final
class RegisterModelRequest(google.protobuf.message.Message):
    """Numbers that are 0 are as good as not there."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BATCH_SIZE_FIELD_NUMBER: builtins.int
    HANDLER_FIELD_NUMBER: builtins.int
    INITIAL_WORKERS_FIELD_NUMBER: builtins.int
    MAX_BATCH_DELAY_FIELD_NUMBER: builtins.int
    MODEL_NAME_FIELD_NUMBER: builtins.int
    RESPONSE_TIMEOUT_FIELD_NUMBER: builtins.int
    RUNTIME_FIELD_NUMBER: builtins.int
    SYNCHRONOUS_FIELD_NUMBER: builtins.int
    URL_FIELD_NUMBER: builtins.int
    S3_SSE_KMS_FIELD_NUMBER: builtins.int
    STARTUP_TIMEOUT_FIELD_NUMBER: builtins.int
    batch_size: builtins.int
    handler: builtins.str
    initial_workers: builtins.int
    max_batch_delay: builtins.int
    """Milliseconds."""
    model_name: builtins.str
    response_timeout: builtins.int
    """Seconds."""
    runtime: builtins.str
    synchronous: builtins.bool
    url: builtins.str
    s3_sse_kms: builtins.bool
    startup_timeout: builtins.int
    def __init__(
        self,
        *,
        batch_size: builtins.int = ...,
        handler: builtins.str = ...,
        initial_workers: builtins.int = ...,
        max_batch_delay: builtins.int = ...,
        model_name: builtins.str = ...,
        response_timeout: builtins.int = ...,
        runtime: builtins.str = ...,
        synchronous: builtins.bool = ...,
        url: builtins.str = ...,
        s3_sse_kms: builtins.bool = ...,
        startup_timeout: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["batch_size", b"batch_size", "handler", b"handler", "initial_workers", b"initial_workers", "max_batch_delay", b"max_batch_delay", "model_name", b"model_name", "response_timeout", b"response_timeout", "runtime", b"runtime", "s3_sse_kms", b"s3_sse_kms", "startup_timeout", b"startup_timeout", "synchronous", b"synchronous", "url", b"url"]) -> None: ...

global___RegisterModelRequest = RegisterModelRequest

@typing.final
class ScaleWorkerRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    MAX_WORKER_FIELD_NUMBER: builtins.int
    MIN_WORKER_FIELD_NUMBER: builtins.int
    NUMBER_GPU_FIELD_NUMBER: builtins.int
    SYNCHRONOUS_FIELD_NUMBER: builtins.int
    TIMEOUT_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    max_worker: builtins.int
    min_worker: builtins.int
    number_gpu: builtins.int
    synchronous: builtins.bool
    timeout: builtins.int
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
        max_worker: builtins.int = ...,
        min_worker: builtins.int = ...,
        number_gpu: builtins.int = ...,
        synchronous: builtins.bool = ...,
        timeout: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["max_worker", b"max_worker", "min_worker", b"min_worker", "model_name", b"model_name", "model_version", b"model_version", "number_gpu", b"number_gpu", "synchronous", b"synchronous", "timeout", b"timeout"]) -> None: ...

global___ScaleWorkerRequest = ScaleWorkerRequest

@typing.final
class SetDefaultRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_name", b"model_name", "model_version", b"model_version"]) -> None: ...

global___SetDefaultRequest = SetDefaultRequest

@typing.final
class UnregisterModelRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_name", b"model_name", "model_version", b"model_version"]) -> None: ...

global___UnregisterModelRequest = UnregisterModelRequest
