# Generated from protos/grpc_service.proto by `python tools/generate_protos.py`. Do not edit.
import builtins
import collections.abc
import google.protobuf.descriptor
import google.protobuf.internal.containers
import google.protobuf.message
from . import model_config_pb2
import typing

DESCRIPTOR: google.protobuf.descriptor.FileDescriptor

@typing.final
class ServerLiveRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___ServerLiveRequest = ServerLiveRequest

@typing.final
class ServerLiveResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    LIVE_FIELD_NUMBER: builtins.int
    live: builtins.bool
    def __init__(
        self,
        *,
        live: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["live", b"live"]) -> None: ...

global___ServerLiveResponse = ServerLiveResponse

@typing.final
class ServerReadyRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___ServerReadyRequest = ServerReadyRequest

@typing.final
class ServerReadyResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    READY_FIELD_NUMBER: builtins.int
    ready: builtins.bool
    def __init__(
        self,
        *,
        ready: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["ready", b"ready"]) -> None: ...

global___ServerReadyResponse = ServerReadyResponse

@typing.final
class ModelReadyRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name", "version", b"version"]) -> None: ...

global___ModelReadyRequest = ModelReadyRequest

@typing.final
class ModelReadyResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    READY_FIELD_NUMBER: builtins.int
    ready: builtins.bool
    def __init__(
        self,
        *,
        ready: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["ready", b"ready"]) -> None: ...

global___ModelReadyResponse = ModelReadyResponse

@typing.final
class ServerMetadataRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___ServerMetadataRequest = ServerMetadataRequest

@typing.final
class ServerMetadataResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    EXTENSIONS_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    @property
    def extensions(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
        extensions: collections.abc.Iterable[builtins.str] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["extensions", b"extensions", "name", b"name", "version", b"version"]) -> None: ...

global___ServerMetadataResponse = ServerMetadataResponse

@typing.final
class ModelMetadataRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name", "version", b"version"]) -> None: ...

global___ModelMetadataRequest = ModelMetadataRequest

@typing.final
class ModelMetadataResponse(google.protobuf.message.Message):
    """`properties` belongs to the Open Inference Protocol, the rest to both."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class TensorMetadata(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        DATATYPE_FIELD_NUMBER: builtins.int
        SHAPE_FIELD_NUMBER: builtins.int
        name: builtins.str
        datatype: builtins.str
        @property
        def shape(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            datatype: builtins.str = ...,
            shape: collections.abc.Iterable[builtins.int] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["datatype", b"datatype", "name", b"name", "shape", b"shape"]) -> None: ...

    @typing.final
    class PropertiesEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        value: builtins.str
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: builtins.str = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    NAME_FIELD_NUMBER: builtins.int
    VERSIONS_FIELD_NUMBER: builtins.int
    PLATFORM_FIELD_NUMBER: builtins.int
    INPUTS_FIELD_NUMBER: builtins.int
    OUTPUTS_FIELD_NUMBER: builtins.int
    PROPERTIES_FIELD_NUMBER: builtins.int
    name: builtins.str
    platform: builtins.str
    @property
    def versions(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    @property
    def inputs(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelMetadataResponse.TensorMetadata]: ...
    @property
    def outputs(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelMetadataResponse.TensorMetadata]: ...
    @property
    def properties(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        versions: collections.abc.Iterable[builtins.str] | None = ...,
        platform: builtins.str = ...,
        inputs: collections.abc.Iterable[global___ModelMetadataResponse.TensorMetadata] | None = ...,
        outputs: collections.abc.Iterable[global___ModelMetadataResponse.TensorMetadata] | None = ...,
        properties: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["inputs", b"inputs", "name", b"name", "outputs", b"outputs", "platform", b"platform", "properties", b"properties", "versions", b"versions"]) -> None: ...

global___ModelMetadataResponse = ModelMetadataResponse

@typing.final
class InferParameter(google.protobuf.message.Message):
    """A named value that travels with a request, a response or a tensor."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BOOL_PARAM_FIELD_NUMBER: builtins.int
    INT64_PARAM_FIELD_NUMBER: builtins.int
    STRING_PARAM_FIELD_NUMBER: builtins.int
    DOUBLE_PARAM_FIELD_NUMBER: builtins.int
    UINT64_PARAM_FIELD_NUMBER: builtins.int
    bool_param: builtins.bool
    int64_param: builtins.int
    string_param: builtins.str
    double_param: builtins.float
    uint64_param: builtins.int
    def __init__(
        self,
        *,
        bool_param: builtins.bool = ...,
        int64_param: builtins.int = ...,
        string_param: builtins.str = ...,
        double_param: builtins.float = ...,
        uint64_param: builtins.int = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["bool_param", b"bool_param", "double_param", b"double_param", "int64_param", b"int64_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint64_param", b"uint64_param"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["bool_param", b"bool_param", "double_param", b"double_param", "int64_param", b"int64_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint64_param", b"uint64_param"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["parameter_choice", b"parameter_choice"]) -> typing.Literal["bool_param", "int64_param", "string_param", "double_param", "uint64_param"] | None: ...

global___InferParameter = InferParameter

@typing.final
class InferTensorContents(google.protobuf.message.Message):
    """Typed tensor elements, row by row. The field depends on the datatype; FP16 and BF16 have none."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BOOL_CONTENTS_FIELD_NUMBER: builtins.int
    INT_CONTENTS_FIELD_NUMBER: builtins.int
    INT64_CONTENTS_FIELD_NUMBER: builtins.int
    UINT_CONTENTS_FIELD_NUMBER: builtins.int
    UINT64_CONTENTS_FIELD_NUMBER: builtins.int
    FP32_CONTENTS_FIELD_NUMBER: builtins.int
    FP64_CONTENTS_FIELD_NUMBER: builtins.int
    BYTES_CONTENTS_FIELD_NUMBER: builtins.int
    @property
    def bool_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bool]: ...
    @property
    def int_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def int64_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def uint_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def uint64_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def fp32_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.float]: ...
    @property
    def fp64_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.float]: ...
    @property
    def bytes_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bytes]: ...
    def __init__(
        self,
        *,
        bool_contents: collections.abc.Iterable[builtins.bool] | None = ...,
        int_contents: collections.abc.Iterable[builtins.int] | None = ...,
        int64_contents: collections.abc.Iterable[builtins.int] | None = ...,
        uint_contents: collections.abc.Iterable[builtins.int] | None = ...,
        uint64_contents: collections.abc.Iterable[builtins.int] | None = ...,
        fp32_contents: collections.abc.Iterable[builtins.float] | None = ...,
        fp64_contents: collections.abc.Iterable[builtins.float] | None = ...,
        bytes_contents: collections.abc.Iterable[builtins.bytes] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["bool_contents", b"bool_contents", "bytes_contents", b"bytes_contents", "fp32_contents", b"fp32_contents", "fp64_contents", b"fp64_contents", "int64_contents", b"int64_contents", "int_contents", b"int_contents", "uint64_contents", b"uint64_contents", "uint_contents", b"uint_contents"]) -> None: ...

global___InferTensorContents = InferTensorContents

@typing.final
class ModelInferRequest(google.protobuf.message.Message):
    """Either every input has `contents`, or `raw_input_contents` has one entry for each input."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class InferInputTensor(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class ParametersEntry(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            KEY_FIELD_NUMBER: builtins.int
            VALUE_FIELD_NUMBER: builtins.int
            key: builtins.str
            @property
            def value(self) -> global___InferParameter: ...
            def __init__(
                self,
                *,
                key: builtins.str = ...,
                value: global___InferParameter | None = ...,
            ) -> None: ...
            def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
            def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

        NAME_FIELD_NUMBER: builtins.int
        DATATYPE_FIELD_NUMBER: builtins.int
        SHAPE_FIELD_NUMBER: builtins.int
        PARAMETERS_FIELD_NUMBER: builtins.int
        CONTENTS_FIELD_NUMBER: builtins.int
        name: builtins.str
        datatype: builtins.str
        @property
        def shape(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        @property
        def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferParameter]: ...
        @property
        def contents(self) -> global___InferTensorContents: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            datatype: builtins.str = ...,
            shape: collections.abc.Iterable[builtins.int] | None = ...,
            parameters: collections.abc.Mapping[builtins.str, global___InferParameter] | None = ...,
            contents: global___InferTensorContents | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["contents", b"contents"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["contents", b"contents", "datatype", b"datatype", "name", b"name", "parameters", b"parameters", "shape", b"shape"]) -> None: ...

    @typing.final
    class InferRequestedOutputTensor(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class ParametersEntry(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            KEY_FIELD_NUMBER: builtins.int
            VALUE_FIELD_NUMBER: builtins.int
            key: builtins.str
            @property
            def value(self) -> global___InferParameter: ...
            def __init__(
                self,
                *,
                key: builtins.str = ...,
                value: global___InferParameter | None = ...,
            ) -> None: ...
            def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
            def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

        NAME_FIELD_NUMBER: builtins.int
        PARAMETERS_FIELD_NUMBER: builtins.int
        name: builtins.str
        @property
        def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferParameter]: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            parameters: collections.abc.Mapping[builtins.str, global___InferParameter] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["name", b"name", "parameters", b"parameters"]) -> None: ...

    @typing.final
    class ParametersEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___InferParameter: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___InferParameter | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    ID_FIELD_NUMBER: builtins.int
    PARAMETERS_FIELD_NUMBER: builtins.int
    INPUTS_FIELD_NUMBER: builtins.int
    OUTPUTS_FIELD_NUMBER: builtins.int
    RAW_INPUT_CONTENTS_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    id: builtins.str
    @property
    def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferParameter]: ...
    @property
    def inputs(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInferRequest.InferInputTensor]: ...
    @property
    def outputs(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInferRequest.InferRequestedOutputTensor]: ...
    @property
    def raw_input_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bytes]: ...
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
        id: builtins.str = ...,
        parameters: collections.abc.Mapping[builtins.str, global___InferParameter] | None = ...,
        inputs: collections.abc.Iterable[global___ModelInferRequest.InferInputTensor] | None = ...,
        outputs: collections.abc.Iterable[global___ModelInferRequest.InferRequestedOutputTensor] | None = ...,
        raw_input_contents: collections.abc.Iterable[builtins.bytes] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["id", b"id", "inputs", b"inputs", "model_name", b"model_name", "model_version", b"model_version", "outputs", b"outputs", "parameters", b"parameters", "raw_input_contents", b"raw_input_contents"]) -> None: ...

global___ModelInferRequest = ModelInferRequest

@typing.final
class ModelInferResponse(google.protobuf.message.Message):
    """Tensors are in `contents`, or in `raw_output_contents` in the order of `outputs`."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class InferOutputTensor(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class ParametersEntry(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            KEY_FIELD_NUMBER: builtins.int
            VALUE_FIELD_NUMBER: builtins.int
            key: builtins.str
            @property
            def value(self) -> global___InferParameter: ...
            def __init__(
                self,
                *,
                key: builtins.str = ...,
                value: global___InferParameter | None = ...,
            ) -> None: ...
            def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
            def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

        NAME_FIELD_NUMBER: builtins.int
        DATATYPE_FIELD_NUMBER: builtins.int
        SHAPE_FIELD_NUMBER: builtins.int
        PARAMETERS_FIELD_NUMBER: builtins.int
        CONTENTS_FIELD_NUMBER: builtins.int
        name: builtins.str
        datatype: builtins.str
        @property
        def shape(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        @property
        def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferParameter]: ...
        @property
        def contents(self) -> global___InferTensorContents: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            datatype: builtins.str = ...,
            shape: collections.abc.Iterable[builtins.int] | None = ...,
            parameters: collections.abc.Mapping[builtins.str, global___InferParameter] | None = ...,
            contents: global___InferTensorContents | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["contents", b"contents"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["contents", b"contents", "datatype", b"datatype", "name", b"name", "parameters", b"parameters", "shape", b"shape"]) -> None: ...

    @typing.final
    class ParametersEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___InferParameter: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___InferParameter | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    MODEL_NAME_FIELD_NUMBER: builtins.int
    MODEL_VERSION_FIELD_NUMBER: builtins.int
    ID_FIELD_NUMBER: builtins.int
    PARAMETERS_FIELD_NUMBER: builtins.int
    OUTPUTS_FIELD_NUMBER: builtins.int
    RAW_OUTPUT_CONTENTS_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    model_version: builtins.str
    id: builtins.str
    @property
    def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferParameter]: ...
    @property
    def outputs(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInferResponse.InferOutputTensor]: ...
    @property
    def raw_output_contents(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bytes]: ...
    def __init__(
        self,
        *,
        model_name: builtins.str = ...,
        model_version: builtins.str = ...,
        id: builtins.str = ...,
        parameters: collections.abc.Mapping[builtins.str, global___InferParameter] | None = ...,
        outputs: collections.abc.Iterable[global___ModelInferResponse.InferOutputTensor] | None = ...,
        raw_output_contents: collections.abc.Iterable[builtins.bytes] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["id", b"id", "model_name", b"model_name", "model_version", b"model_version", "outputs", b"outputs", "parameters", b"parameters", "raw_output_contents", b"raw_output_contents"]) -> None: ...

global___ModelInferResponse = ModelInferResponse

@typing.final
class ModelStreamInferResponse(google.protobuf.message.Message):
    """One message of a stream: an error, or a response."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    ERROR_MESSAGE_FIELD_NUMBER: builtins.int
    INFER_RESPONSE_FIELD_NUMBER: builtins.int
    error_message: builtins.str
    @property
    def infer_response(self) -> global___ModelInferResponse: ...
    def __init__(
        self,
        *,
        error_message: builtins.str = ...,
        infer_response: global___ModelInferResponse | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["infer_response", b"infer_response"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["error_message", b"error_message", "infer_response", b"infer_response"]) -> None: ...

global___ModelStreamInferResponse = ModelStreamInferResponse

@typing.final
class ModelConfigRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name", "version", b"version"]) -> None: ...

global___ModelConfigRequest = ModelConfigRequest

@typing.final
class ModelConfigResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    CONFIG_FIELD_NUMBER: builtins.int
    @property
    def config(self) -> model_config_pb2.ModelConfig: ...
    def __init__(
        self,
        *,
        config: model_config_pb2.ModelConfig | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["config", b"config"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["config", b"config"]) -> None: ...

global___ModelConfigResponse = ModelConfigResponse

@typing.final
class ModelStatisticsRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name", "version", b"version"]) -> None: ...

global___ModelStatisticsRequest = ModelStatisticsRequest

@typing.final
class StatisticDuration(google.protobuf.message.Message):
    """How often something happened, and its total time."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    COUNT_FIELD_NUMBER: builtins.int
    NS_FIELD_NUMBER: builtins.int
    count: builtins.int
    ns: builtins.int
    def __init__(
        self,
        *,
        count: builtins.int = ...,
        ns: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["count", b"count", "ns", b"ns"]) -> None: ...

global___StatisticDuration = StatisticDuration

@typing.final
class InferStatistics(google.protobuf.message.Message):
    """Durations over requests."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    SUCCESS_FIELD_NUMBER: builtins.int
    FAIL_FIELD_NUMBER: builtins.int
    QUEUE_FIELD_NUMBER: builtins.int
    COMPUTE_INPUT_FIELD_NUMBER: builtins.int
    COMPUTE_INFER_FIELD_NUMBER: builtins.int
    COMPUTE_OUTPUT_FIELD_NUMBER: builtins.int
    CACHE_HIT_FIELD_NUMBER: builtins.int
    CACHE_MISS_FIELD_NUMBER: builtins.int
    @property
    def success(self) -> global___StatisticDuration: ...
    @property
    def fail(self) -> global___StatisticDuration: ...
    @property
    def queue(self) -> global___StatisticDuration: ...
    @property
    def compute_input(self) -> global___StatisticDuration: ...
    @property
    def compute_infer(self) -> global___StatisticDuration: ...
    @property
    def compute_output(self) -> global___StatisticDuration: ...
    @property
    def cache_hit(self) -> global___StatisticDuration: ...
    @property
    def cache_miss(self) -> global___StatisticDuration: ...
    def __init__(
        self,
        *,
        success: global___StatisticDuration | None = ...,
        fail: global___StatisticDuration | None = ...,
        queue: global___StatisticDuration | None = ...,
        compute_input: global___StatisticDuration | None = ...,
        compute_infer: global___StatisticDuration | None = ...,
        compute_output: global___StatisticDuration | None = ...,
        cache_hit: global___StatisticDuration | None = ...,
        cache_miss: global___StatisticDuration | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["cache_hit", b"cache_hit", "cache_miss", b"cache_miss", "compute_infer", b"compute_infer", "compute_input", b"compute_input", "compute_output", b"compute_output", "fail", b"fail", "queue", b"queue", "success", b"success"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["cache_hit", b"cache_hit", "cache_miss", b"cache_miss", "compute_infer", b"compute_infer", "compute_input", b"compute_input", "compute_output", b"compute_output", "fail", b"fail", "queue", b"queue", "success", b"success"]) -> None: ...

global___InferStatistics = InferStatistics

@typing.final
class InferResponseStatistics(google.protobuf.message.Message):
    """Durations over the responses of a decoupled model."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    COMPUTE_INFER_FIELD_NUMBER: builtins.int
    COMPUTE_OUTPUT_FIELD_NUMBER: builtins.int
    SUCCESS_FIELD_NUMBER: builtins.int
    FAIL_FIELD_NUMBER: builtins.int
    EMPTY_RESPONSE_FIELD_NUMBER: builtins.int
    CANCEL_FIELD_NUMBER: builtins.int
    @property
    def compute_infer(self) -> global___StatisticDuration: ...
    @property
    def compute_output(self) -> global___StatisticDuration: ...
    @property
    def success(self) -> global___StatisticDuration: ...
    @property
    def fail(self) -> global___StatisticDuration: ...
    @property
    def empty_response(self) -> global___StatisticDuration: ...
    @property
    def cancel(self) -> global___StatisticDuration: ...
    def __init__(
        self,
        *,
        compute_infer: global___StatisticDuration | None = ...,
        compute_output: global___StatisticDuration | None = ...,
        success: global___StatisticDuration | None = ...,
        fail: global___StatisticDuration | None = ...,
        empty_response: global___StatisticDuration | None = ...,
        cancel: global___StatisticDuration | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["cancel", b"cancel", "compute_infer", b"compute_infer", "compute_output", b"compute_output", "empty_response", b"empty_response", "fail", b"fail", "success", b"success"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["cancel", b"cancel", "compute_infer", b"compute_infer", "compute_output", b"compute_output", "empty_response", b"empty_response", "fail", b"fail", "success", b"success"]) -> None: ...

global___InferResponseStatistics = InferResponseStatistics

@typing.final
class InferBatchStatistics(google.protobuf.message.Message):
    """Durations over executions of one batch size."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BATCH_SIZE_FIELD_NUMBER: builtins.int
    COMPUTE_INPUT_FIELD_NUMBER: builtins.int
    COMPUTE_INFER_FIELD_NUMBER: builtins.int
    COMPUTE_OUTPUT_FIELD_NUMBER: builtins.int
    batch_size: builtins.int
    @property
    def compute_input(self) -> global___StatisticDuration: ...
    @property
    def compute_infer(self) -> global___StatisticDuration: ...
    @property
    def compute_output(self) -> global___StatisticDuration: ...
    def __init__(
        self,
        *,
        batch_size: builtins.int = ...,
        compute_input: global___StatisticDuration | None = ...,
        compute_infer: global___StatisticDuration | None = ...,
        compute_output: global___StatisticDuration | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["compute_infer", b"compute_infer", "compute_input", b"compute_input", "compute_output", b"compute_output"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["batch_size", b"batch_size", "compute_infer", b"compute_infer", "compute_input", b"compute_input", "compute_output", b"compute_output"]) -> None: ...

global___InferBatchStatistics = InferBatchStatistics

@typing.final
class MemoryUsage(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    TYPE_FIELD_NUMBER: builtins.int
    ID_FIELD_NUMBER: builtins.int
    BYTE_SIZE_FIELD_NUMBER: builtins.int
    type: builtins.str
    id: builtins.int
    byte_size: builtins.int
    def __init__(
        self,
        *,
        type: builtins.str = ...,
        id: builtins.int = ...,
        byte_size: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["byte_size", b"byte_size", "id", b"id", "type", b"type"]) -> None: ...

global___MemoryUsage = MemoryUsage

@typing.final
class ModelStatistics(google.protobuf.message.Message):
    """Statistics of one model version since it was loaded."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class ResponseStatsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___InferResponseStatistics: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___InferResponseStatistics | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    NAME_FIELD_NUMBER: builtins.int
    VERSION_FIELD_NUMBER: builtins.int
    LAST_INFERENCE_FIELD_NUMBER: builtins.int
    INFERENCE_COUNT_FIELD_NUMBER: builtins.int
    EXECUTION_COUNT_FIELD_NUMBER: builtins.int
    INFERENCE_STATS_FIELD_NUMBER: builtins.int
    BATCH_STATS_FIELD_NUMBER: builtins.int
    MEMORY_USAGE_FIELD_NUMBER: builtins.int
    RESPONSE_STATS_FIELD_NUMBER: builtins.int
    name: builtins.str
    version: builtins.str
    last_inference: builtins.int
    inference_count: builtins.int
    execution_count: builtins.int
    @property
    def inference_stats(self) -> global___InferStatistics: ...
    @property
    def batch_stats(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___InferBatchStatistics]: ...
    @property
    def memory_usage(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___MemoryUsage]: ...
    @property
    def response_stats(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___InferResponseStatistics]: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        version: builtins.str = ...,
        last_inference: builtins.int = ...,
        inference_count: builtins.int = ...,
        execution_count: builtins.int = ...,
        inference_stats: global___InferStatistics | None = ...,
        batch_stats: collections.abc.Iterable[global___InferBatchStatistics] | None = ...,
        memory_usage: collections.abc.Iterable[global___MemoryUsage] | None = ...,
        response_stats: collections.abc.Mapping[builtins.str, global___InferResponseStatistics] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["inference_stats", b"inference_stats"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["batch_stats", b"batch_stats", "execution_count", b"execution_count", "inference_count", b"inference_count", "inference_stats", b"inference_stats", "last_inference", b"last_inference", "memory_usage", b"memory_usage", "name", b"name", "response_stats", b"response_stats", "version", b"version"]) -> None: ...

global___ModelStatistics = ModelStatistics

@typing.final
class ModelStatisticsResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    MODEL_STATS_FIELD_NUMBER: builtins.int
    @property
    def model_stats(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelStatistics]: ...
    def __init__(
        self,
        *,
        model_stats: collections.abc.Iterable[global___ModelStatistics] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_stats", b"model_stats"]) -> None: ...

global___ModelStatisticsResponse = ModelStatisticsResponse

@typing.final
class ModelRepositoryParameter(google.protobuf.message.Message):
    """A named value of a load or unload request."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BOOL_PARAM_FIELD_NUMBER: builtins.int
    INT64_PARAM_FIELD_NUMBER: builtins.int
    STRING_PARAM_FIELD_NUMBER: builtins.int
    BYTES_PARAM_FIELD_NUMBER: builtins.int
    bool_param: builtins.bool
    int64_param: builtins.int
    string_param: builtins.str
    bytes_param: builtins.bytes
    def __init__(
        self,
        *,
        bool_param: builtins.bool = ...,
        int64_param: builtins.int = ...,
        string_param: builtins.str = ...,
        bytes_param: builtins.bytes = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["bool_param", b"bool_param", "bytes_param", b"bytes_param", "int64_param", b"int64_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["bool_param", b"bool_param", "bytes_param", b"bytes_param", "int64_param", b"int64_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["parameter_choice", b"parameter_choice"]) -> typing.Literal["bool_param", "int64_param", "string_param", "bytes_param"] | None: ...

global___ModelRepositoryParameter = ModelRepositoryParameter

@typing.final
class RepositoryIndexRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    REPOSITORY_NAME_FIELD_NUMBER: builtins.int
    READY_FIELD_NUMBER: builtins.int
    repository_name: builtins.str
    ready: builtins.bool
    def __init__(
        self,
        *,
        repository_name: builtins.str = ...,
        ready: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["ready", b"ready", "repository_name", b"repository_name"]) -> None: ...

global___RepositoryIndexRequest = RepositoryIndexRequest

@typing.final
class RepositoryIndexResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class ModelIndex(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        VERSION_FIELD_NUMBER: builtins.int
        STATE_FIELD_NUMBER: builtins.int
        REASON_FIELD_NUMBER: builtins.int
        name: builtins.str
        version: builtins.str
        state: builtins.str
        reason: builtins.str
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            version: builtins.str = ...,
            state: builtins.str = ...,
            reason: builtins.str = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["name", b"name", "reason", b"reason", "state", b"state", "version", b"version"]) -> None: ...

    MODELS_FIELD_NUMBER: builtins.int
    @property
    def models(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___RepositoryIndexResponse.ModelIndex]: ...
    def __init__(
        self,
        *,
        models: collections.abc.Iterable[global___RepositoryIndexResponse.ModelIndex] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["models", b"models"]) -> None: ...

global___RepositoryIndexResponse = RepositoryIndexResponse

@typing.final
class RepositoryModelLoadRequest(google.protobuf.message.Message):
    """`config` and `file:<version>/<path>` parameters replace what is on disk."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class ParametersEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___ModelRepositoryParameter: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___ModelRepositoryParameter | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    REPOSITORY_NAME_FIELD_NUMBER: builtins.int
    MODEL_NAME_FIELD_NUMBER: builtins.int
    PARAMETERS_FIELD_NUMBER: builtins.int
    repository_name: builtins.str
    model_name: builtins.str
    @property
    def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelRepositoryParameter]: ...
    def __init__(
        self,
        *,
        repository_name: builtins.str = ...,
        model_name: builtins.str = ...,
        parameters: collections.abc.Mapping[builtins.str, global___ModelRepositoryParameter] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_name", b"model_name", "parameters", b"parameters", "repository_name", b"repository_name"]) -> None: ...

global___RepositoryModelLoadRequest = RepositoryModelLoadRequest

@typing.final
class RepositoryModelLoadResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___RepositoryModelLoadResponse = RepositoryModelLoadResponse

@typing.final
class RepositoryModelUnloadRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class ParametersEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___ModelRepositoryParameter: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___ModelRepositoryParameter | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    REPOSITORY_NAME_FIELD_NUMBER: builtins.int
    MODEL_NAME_FIELD_NUMBER: builtins.int
    PARAMETERS_FIELD_NUMBER: builtins.int
    repository_name: builtins.str
    model_name: builtins.str
    @property
    def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelRepositoryParameter]: ...
    def __init__(
        self,
        *,
        repository_name: builtins.str = ...,
        model_name: builtins.str = ...,
        parameters: collections.abc.Mapping[builtins.str, global___ModelRepositoryParameter] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_name", b"model_name", "parameters", b"parameters", "repository_name", b"repository_name"]) -> None: ...

global___RepositoryModelUnloadRequest = RepositoryModelUnloadRequest

@typing.final
class RepositoryModelUnloadResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___RepositoryModelUnloadResponse = RepositoryModelUnloadResponse

@typing.final
class SystemSharedMemoryStatusRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    name: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name"]) -> None: ...

global___SystemSharedMemoryStatusRequest = SystemSharedMemoryStatusRequest

@typing.final
class SystemSharedMemoryStatusResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class RegionStatus(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        KEY_FIELD_NUMBER: builtins.int
        OFFSET_FIELD_NUMBER: builtins.int
        BYTE_SIZE_FIELD_NUMBER: builtins.int
        name: builtins.str
        key: builtins.str
        offset: builtins.int
        byte_size: builtins.int
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            key: builtins.str = ...,
            offset: builtins.int = ...,
            byte_size: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["byte_size", b"byte_size", "key", b"key", "name", b"name", "offset", b"offset"]) -> None: ...

    @typing.final
    class RegionsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___SystemSharedMemoryStatusResponse.RegionStatus: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___SystemSharedMemoryStatusResponse.RegionStatus | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    REGIONS_FIELD_NUMBER: builtins.int
    @property
    def regions(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___SystemSharedMemoryStatusResponse.RegionStatus]: ...
    def __init__(
        self,
        *,
        regions: collections.abc.Mapping[builtins.str, global___SystemSharedMemoryStatusResponse.RegionStatus] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["regions", b"regions"]) -> None: ...

global___SystemSharedMemoryStatusResponse = SystemSharedMemoryStatusResponse

@typing.final
class SystemSharedMemoryRegisterRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    KEY_FIELD_NUMBER: builtins.int
    OFFSET_FIELD_NUMBER: builtins.int
    BYTE_SIZE_FIELD_NUMBER: builtins.int
    name: builtins.str
    key: builtins.str
    offset: builtins.int
    byte_size: builtins.int
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        key: builtins.str = ...,
        offset: builtins.int = ...,
        byte_size: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["byte_size", b"byte_size", "key", b"key", "name", b"name", "offset", b"offset"]) -> None: ...

global___SystemSharedMemoryRegisterRequest = SystemSharedMemoryRegisterRequest

@typing.final
class SystemSharedMemoryRegisterResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___SystemSharedMemoryRegisterResponse = SystemSharedMemoryRegisterResponse

@typing.final
class SystemSharedMemoryUnregisterRequest(google.protobuf.message.Message):
    """An empty name stands for every region."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    name: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name"]) -> None: ...

global___SystemSharedMemoryUnregisterRequest = SystemSharedMemoryUnregisterRequest

@typing.final
class SystemSharedMemoryUnregisterResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___SystemSharedMemoryUnregisterResponse = SystemSharedMemoryUnregisterResponse

@typing.final
class CudaSharedMemoryStatusRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    name: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name"]) -> None: ...

global___CudaSharedMemoryStatusRequest = CudaSharedMemoryStatusRequest

@typing.final
class CudaSharedMemoryStatusResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class RegionStatus(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        DEVICE_ID_FIELD_NUMBER: builtins.int
        BYTE_SIZE_FIELD_NUMBER: builtins.int
        name: builtins.str
        device_id: builtins.int
        byte_size: builtins.int
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            device_id: builtins.int = ...,
            byte_size: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["byte_size", b"byte_size", "device_id", b"device_id", "name", b"name"]) -> None: ...

    @typing.final
    class RegionsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___CudaSharedMemoryStatusResponse.RegionStatus: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___CudaSharedMemoryStatusResponse.RegionStatus | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    REGIONS_FIELD_NUMBER: builtins.int
    @property
    def regions(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___CudaSharedMemoryStatusResponse.RegionStatus]: ...
    def __init__(
        self,
        *,
        regions: collections.abc.Mapping[builtins.str, global___CudaSharedMemoryStatusResponse.RegionStatus] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["regions", b"regions"]) -> None: ...

global___CudaSharedMemoryStatusResponse = CudaSharedMemoryStatusResponse

@typing.final
class CudaSharedMemoryRegisterRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    RAW_HANDLE_FIELD_NUMBER: builtins.int
    DEVICE_ID_FIELD_NUMBER: builtins.int
    BYTE_SIZE_FIELD_NUMBER: builtins.int
    name: builtins.str
    raw_handle: builtins.bytes
    device_id: builtins.int
    byte_size: builtins.int
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        raw_handle: builtins.bytes = ...,
        device_id: builtins.int = ...,
        byte_size: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["byte_size", b"byte_size", "device_id", b"device_id", "name", b"name", "raw_handle", b"raw_handle"]) -> None: ...

global___CudaSharedMemoryRegisterRequest = CudaSharedMemoryRegisterRequest

@typing.final
class CudaSharedMemoryRegisterResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___CudaSharedMemoryRegisterResponse = CudaSharedMemoryRegisterResponse

@typing.final
class CudaSharedMemoryUnregisterRequest(google.protobuf.message.Message):
    """An empty name stands for every region."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    name: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name"]) -> None: ...

global___CudaSharedMemoryUnregisterRequest = CudaSharedMemoryUnregisterRequest

@typing.final
class CudaSharedMemoryUnregisterResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    def __init__(
        self,
    ) -> None: ...

global___CudaSharedMemoryUnregisterResponse = CudaSharedMemoryUnregisterResponse

@typing.final
class TraceSettingRequest(google.protobuf.message.Message):
    """An empty model name stands for the server's own settings."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class SettingValue(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        VALUE_FIELD_NUMBER: builtins.int
        @property
        def value(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
        def __init__(
            self,
            *,
            value: collections.abc.Iterable[builtins.str] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["value", b"value"]) -> None: ...

    @typing.final
    class SettingsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___TraceSettingRequest.SettingValue: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___TraceSettingRequest.SettingValue | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    SETTINGS_FIELD_NUMBER: builtins.int
    MODEL_NAME_FIELD_NUMBER: builtins.int
    model_name: builtins.str
    @property
    def settings(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___TraceSettingRequest.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: collections.abc.Mapping[builtins.str, global___TraceSettingRequest.SettingValue] | None = ...,
        model_name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["model_name", b"model_name", "settings", b"settings"]) -> None: ...

global___TraceSettingRequest = TraceSettingRequest

@typing.final
class TraceSettingResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class SettingValue(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        VALUE_FIELD_NUMBER: builtins.int
        @property
        def value(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
        def __init__(
            self,
            *,
            value: collections.abc.Iterable[builtins.str] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["value", b"value"]) -> None: ...

    @typing.final
    class SettingsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___TraceSettingResponse.SettingValue: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___TraceSettingResponse.SettingValue | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    SETTINGS_FIELD_NUMBER: builtins.int
    @property
    def settings(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___TraceSettingResponse.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: collections.abc.Mapping[builtins.str, global___TraceSettingResponse.SettingValue] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["settings", b"settings"]) -> None: ...

global___TraceSettingResponse = TraceSettingResponse

@typing.final
class LogSettingsRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class SettingValue(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        BOOL_PARAM_FIELD_NUMBER: builtins.int
        UINT32_PARAM_FIELD_NUMBER: builtins.int
        STRING_PARAM_FIELD_NUMBER: builtins.int
        bool_param: builtins.bool
        uint32_param: builtins.int
        string_param: builtins.str
        def __init__(
            self,
            *,
            bool_param: builtins.bool = ...,
            uint32_param: builtins.int = ...,
            string_param: builtins.str = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["bool_param", b"bool_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint32_param", b"uint32_param"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["bool_param", b"bool_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint32_param", b"uint32_param"]) -> None: ...
        def WhichOneof(self, oneof_group: typing.Literal["parameter_choice", b"parameter_choice"]) -> typing.Literal["bool_param", "uint32_param", "string_param"] | None: ...

    @typing.final
    class SettingsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___LogSettingsRequest.SettingValue: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___LogSettingsRequest.SettingValue | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    SETTINGS_FIELD_NUMBER: builtins.int
    @property
    def settings(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___LogSettingsRequest.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: collections.abc.Mapping[builtins.str, global___LogSettingsRequest.SettingValue] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["settings", b"settings"]) -> None: ...

global___LogSettingsRequest = LogSettingsRequest

@typing.final
class LogSettingsResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class SettingValue(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        BOOL_PARAM_FIELD_NUMBER: builtins.int
        UINT32_PARAM_FIELD_NUMBER: builtins.int
        STRING_PARAM_FIELD_NUMBER: builtins.int
        bool_param: builtins.bool
        uint32_param: builtins.int
        string_param: builtins.str
        def __init__(
            self,
            *,
            bool_param: builtins.bool = ...,
            uint32_param: builtins.int = ...,
            string_param: builtins.str = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["bool_param", b"bool_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint32_param", b"uint32_param"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["bool_param", b"bool_param", "parameter_choice", b"parameter_choice", "string_param", b"string_param", "uint32_param", b"uint32_param"]) -> None: ...
        def WhichOneof(self, oneof_group: typing.Literal["parameter_choice", b"parameter_choice"]) -> typing.Literal["bool_param", "uint32_param", "string_param"] | None: ...

    @typing.final
    class SettingsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___LogSettingsResponse.SettingValue: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___LogSettingsResponse.SettingValue | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    SETTINGS_FIELD_NUMBER: builtins.int
    @property
    def settings(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___LogSettingsResponse.SettingValue]: ...
    def __init__(
        self,
        *,
        settings: collections.abc.Mapping[builtins.str, global___LogSettingsResponse.SettingValue] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["settings", b"settings"]) -> None: ...

global___LogSettingsResponse = LogSettingsResponse
