# Generated from protos/model_config.proto by `python tools/generate_protos.py`. Do not edit.
import builtins
import collections.abc
import google.protobuf.descriptor
import google.protobuf.internal.containers
import google.protobuf.internal.enum_type_wrapper
import google.protobuf.message
import sys
import typing

if sys.version_info >= (3, 10):
    import typing as typing_extensions
else:
    import typing_extensions

DESCRIPTOR: google.protobuf.descriptor.FileDescriptor

class _DataType:
    ValueType = typing.NewType("ValueType", builtins.int)
    V: typing_extensions.TypeAlias = ValueType

class _DataTypeEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[_DataType.ValueType], builtins.type):
    DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
    TYPE_INVALID: _DataType.ValueType  # 0
    TYPE_BOOL: _DataType.ValueType  # 1
    TYPE_UINT8: _DataType.ValueType  # 2
    TYPE_UINT16: _DataType.ValueType  # 3
    TYPE_UINT32: _DataType.ValueType  # 4
    TYPE_UINT64: _DataType.ValueType  # 5
    TYPE_INT8: _DataType.ValueType  # 6
    TYPE_INT16: _DataType.ValueType  # 7
    TYPE_INT32: _DataType.ValueType  # 8
    TYPE_INT64: _DataType.ValueType  # 9
    TYPE_FP16: _DataType.ValueType  # 10
    TYPE_FP32: _DataType.ValueType  # 11
    TYPE_FP64: _DataType.ValueType  # 12
    TYPE_STRING: _DataType.ValueType  # 13
    TYPE_BF16: _DataType.ValueType  # 14

class DataType(_DataType, metaclass=_DataTypeEnumTypeWrapper):
    """Element types of tensors. TYPE_STRING is called BYTES on the wire."""

TYPE_INVALID: DataType.ValueType  # 0
TYPE_BOOL: DataType.ValueType  # 1
TYPE_UINT8: DataType.ValueType  # 2
TYPE_UINT16: DataType.ValueType  # 3
TYPE_UINT32: DataType.ValueType  # 4
TYPE_UINT64: DataType.ValueType  # 5
TYPE_INT8: DataType.ValueType  # 6
TYPE_INT16: DataType.ValueType  # 7
TYPE_INT32: DataType.ValueType  # 8
TYPE_INT64: DataType.ValueType  # 9
TYPE_FP16: DataType.ValueType  # 10
TYPE_FP32: DataType.ValueType  # 11
TYPE_FP64: DataType.ValueType  # 12
TYPE_STRING: DataType.ValueType  # 13
TYPE_BF16: DataType.ValueType  # 14
global___DataType = DataType

@typing.final
class ModelRateLimiter(google.protobuf.message.Message):
    """Resources that an instance holds while it executes."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Resource(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        GLOBAL_FIELD_NUMBER: builtins.int
        COUNT_FIELD_NUMBER: builtins.int
        name: builtins.str
        count: builtins.int
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            count: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["count", b"count", "global", b"global", "name", b"name"]) -> None: ...

    RESOURCES_FIELD_NUMBER: builtins.int
    PRIORITY_FIELD_NUMBER: builtins.int
    priority: builtins.int
    @property
    def resources(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelRateLimiter.Resource]: ...
    def __init__(
        self,
        *,
        resources: collections.abc.Iterable[global___ModelRateLimiter.Resource] | None = ...,
        priority: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["priority", b"priority", "resources", b"resources"]) -> None: ...

global___ModelRateLimiter = ModelRateLimiter

@typing.final
class ModelInstanceGroup(google.protobuf.message.Message):
    """How many execution instances of a model there are, and on which devices."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _Kind:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _KindEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelInstanceGroup._Kind.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        KIND_AUTO: ModelInstanceGroup._Kind.ValueType  # 0
        KIND_GPU: ModelInstanceGroup._Kind.ValueType  # 1
        KIND_CPU: ModelInstanceGroup._Kind.ValueType  # 2
        KIND_MODEL: ModelInstanceGroup._Kind.ValueType  # 3

    class Kind(_Kind, metaclass=_KindEnumTypeWrapper): ...
    KIND_AUTO: ModelInstanceGroup.Kind.ValueType  # 0
    KIND_GPU: ModelInstanceGroup.Kind.ValueType  # 1
    KIND_CPU: ModelInstanceGroup.Kind.ValueType  # 2
    KIND_MODEL: ModelInstanceGroup.Kind.ValueType  # 3

    @typing.final
    class SecondaryDevice(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        class _SecondaryDeviceKind:
            ValueType = typing.NewType("ValueType", builtins.int)
            V: typing_extensions.TypeAlias = ValueType

        class _SecondaryDeviceKindEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelInstanceGroup.SecondaryDevice._SecondaryDeviceKind.ValueType], builtins.type):
            DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
            KIND_NVDLA: ModelInstanceGroup.SecondaryDevice._SecondaryDeviceKind.ValueType  # 0

        class SecondaryDeviceKind(_SecondaryDeviceKind, metaclass=_SecondaryDeviceKindEnumTypeWrapper): ...
        KIND_NVDLA: ModelInstanceGroup.SecondaryDevice.SecondaryDeviceKind.ValueType  # 0

        KIND_FIELD_NUMBER: builtins.int
        DEVICE_ID_FIELD_NUMBER: builtins.int
        kind: global___ModelInstanceGroup.SecondaryDevice.SecondaryDeviceKind.ValueType
        device_id: builtins.int
        def __init__(
            self,
            *,
            kind: global___ModelInstanceGroup.SecondaryDevice.SecondaryDeviceKind.ValueType = ...,
            device_id: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["device_id", b"device_id", "kind", b"kind"]) -> None: ...

    NAME_FIELD_NUMBER: builtins.int
    KIND_FIELD_NUMBER: builtins.int
    COUNT_FIELD_NUMBER: builtins.int
    RATE_LIMITER_FIELD_NUMBER: builtins.int
    GPUS_FIELD_NUMBER: builtins.int
    SECONDARY_DEVICES_FIELD_NUMBER: builtins.int
    PROFILE_FIELD_NUMBER: builtins.int
    PASSIVE_FIELD_NUMBER: builtins.int
    HOST_POLICY_FIELD_NUMBER: builtins.int
    name: builtins.str
    kind: global___ModelInstanceGroup.Kind.ValueType
    count: builtins.int
    passive: builtins.bool
    host_policy: builtins.str
    @property
    def rate_limiter(self) -> global___ModelRateLimiter: ...
    @property
    def gpus(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def secondary_devices(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInstanceGroup.SecondaryDevice]: ...
    @property
    def profile(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        kind: global___ModelInstanceGroup.Kind.ValueType = ...,
        count: builtins.int = ...,
        rate_limiter: global___ModelRateLimiter | None = ...,
        gpus: collections.abc.Iterable[builtins.int] | None = ...,
        secondary_devices: collections.abc.Iterable[global___ModelInstanceGroup.SecondaryDevice] | None = ...,
        profile: collections.abc.Iterable[builtins.str] | None = ...,
        passive: builtins.bool = ...,
        host_policy: builtins.str = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["rate_limiter", b"rate_limiter"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["count", b"count", "gpus", b"gpus", "host_policy", b"host_policy", "kind", b"kind", "name", b"name", "passive", b"passive", "profile", b"profile", "rate_limiter", b"rate_limiter", "secondary_devices", b"secondary_devices"]) -> None: ...

global___ModelInstanceGroup = ModelInstanceGroup

@typing.final
class ModelTensorReshape(google.protobuf.message.Message):
    """Shape in which the backend wants a tensor, where it differs from `dims`."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    SHAPE_FIELD_NUMBER: builtins.int
    @property
    def shape(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    def __init__(
        self,
        *,
        shape: collections.abc.Iterable[builtins.int] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["shape", b"shape"]) -> None: ...

global___ModelTensorReshape = ModelTensorReshape

@typing.final
class ModelInput(google.protobuf.message.Message):
    """An input tensor. `dims` leaves out the batch dimension; -1 is a variable size."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _Format:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _FormatEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelInput._Format.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        FORMAT_NONE: ModelInput._Format.ValueType  # 0
        FORMAT_NHWC: ModelInput._Format.ValueType  # 1
        FORMAT_NCHW: ModelInput._Format.ValueType  # 2

    class Format(_Format, metaclass=_FormatEnumTypeWrapper): ...
    FORMAT_NONE: ModelInput.Format.ValueType  # 0
    FORMAT_NHWC: ModelInput.Format.ValueType  # 1
    FORMAT_NCHW: ModelInput.Format.ValueType  # 2

    NAME_FIELD_NUMBER: builtins.int
    DATA_TYPE_FIELD_NUMBER: builtins.int
    FORMAT_FIELD_NUMBER: builtins.int
    DIMS_FIELD_NUMBER: builtins.int
    RESHAPE_FIELD_NUMBER: builtins.int
    IS_SHAPE_TENSOR_FIELD_NUMBER: builtins.int
    ALLOW_RAGGED_BATCH_FIELD_NUMBER: builtins.int
    OPTIONAL_FIELD_NUMBER: builtins.int
    IS_NON_LINEAR_FORMAT_IO_FIELD_NUMBER: builtins.int
    name: builtins.str
    data_type: global___DataType.ValueType
    format: global___ModelInput.Format.ValueType
    is_shape_tensor: builtins.bool
    allow_ragged_batch: builtins.bool
    optional: builtins.bool
    is_non_linear_format_io: builtins.bool
    @property
    def dims(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def reshape(self) -> global___ModelTensorReshape: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        data_type: global___DataType.ValueType = ...,
        format: global___ModelInput.Format.ValueType = ...,
        dims: collections.abc.Iterable[builtins.int] | None = ...,
        reshape: global___ModelTensorReshape | None = ...,
        is_shape_tensor: builtins.bool = ...,
        allow_ragged_batch: builtins.bool = ...,
        optional: builtins.bool = ...,
        is_non_linear_format_io: builtins.bool = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["reshape", b"reshape"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["allow_ragged_batch", b"allow_ragged_batch", "data_type", b"data_type", "dims", b"dims", "format", b"format", "is_non_linear_format_io", b"is_non_linear_format_io", "is_shape_tensor", b"is_shape_tensor", "name", b"name", "optional", b"optional", "reshape", b"reshape"]) -> None: ...

global___ModelInput = ModelInput

@typing.final
class ModelOutput(google.protobuf.message.Message):
    """An output tensor. `dims` leaves out the batch dimension; -1 is a variable size."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    DATA_TYPE_FIELD_NUMBER: builtins.int
    DIMS_FIELD_NUMBER: builtins.int
    RESHAPE_FIELD_NUMBER: builtins.int
    LABEL_FILENAME_FIELD_NUMBER: builtins.int
    IS_SHAPE_TENSOR_FIELD_NUMBER: builtins.int
    IS_NON_LINEAR_FORMAT_IO_FIELD_NUMBER: builtins.int
    name: builtins.str
    data_type: global___DataType.ValueType
    label_filename: builtins.str
    is_shape_tensor: builtins.bool
    is_non_linear_format_io: builtins.bool
    @property
    def dims(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def reshape(self) -> global___ModelTensorReshape: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        data_type: global___DataType.ValueType = ...,
        dims: collections.abc.Iterable[builtins.int] | None = ...,
        reshape: global___ModelTensorReshape | None = ...,
        label_filename: builtins.str = ...,
        is_shape_tensor: builtins.bool = ...,
        is_non_linear_format_io: builtins.bool = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["reshape", b"reshape"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["data_type", b"data_type", "dims", b"dims", "is_non_linear_format_io", b"is_non_linear_format_io", "is_shape_tensor", b"is_shape_tensor", "label_filename", b"label_filename", "name", b"name", "reshape", b"reshape"]) -> None: ...

global___ModelOutput = ModelOutput

@typing.final
class BatchInput(google.protobuf.message.Message):
    """An extra input that the server computes from the requests of a batch."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _Kind:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _KindEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[BatchInput._Kind.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        BATCH_ELEMENT_COUNT: BatchInput._Kind.ValueType  # 0
        BATCH_ACCUMULATED_ELEMENT_COUNT: BatchInput._Kind.ValueType  # 1
        BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: BatchInput._Kind.ValueType  # 2
        BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: BatchInput._Kind.ValueType  # 3
        BATCH_ITEM_SHAPE: BatchInput._Kind.ValueType  # 4
        BATCH_ITEM_SHAPE_FLATTEN: BatchInput._Kind.ValueType  # 5

    class Kind(_Kind, metaclass=_KindEnumTypeWrapper): ...
    BATCH_ELEMENT_COUNT: BatchInput.Kind.ValueType  # 0
    BATCH_ACCUMULATED_ELEMENT_COUNT: BatchInput.Kind.ValueType  # 1
    BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: BatchInput.Kind.ValueType  # 2
    BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: BatchInput.Kind.ValueType  # 3
    BATCH_ITEM_SHAPE: BatchInput.Kind.ValueType  # 4
    BATCH_ITEM_SHAPE_FLATTEN: BatchInput.Kind.ValueType  # 5

    KIND_FIELD_NUMBER: builtins.int
    TARGET_NAME_FIELD_NUMBER: builtins.int
    DATA_TYPE_FIELD_NUMBER: builtins.int
    SOURCE_INPUT_FIELD_NUMBER: builtins.int
    kind: global___BatchInput.Kind.ValueType
    data_type: global___DataType.ValueType
    @property
    def target_name(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    @property
    def source_input(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    def __init__(
        self,
        *,
        kind: global___BatchInput.Kind.ValueType = ...,
        target_name: collections.abc.Iterable[builtins.str] | None = ...,
        data_type: global___DataType.ValueType = ...,
        source_input: collections.abc.Iterable[builtins.str] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["data_type", b"data_type", "kind", b"kind", "source_input", b"source_input", "target_name", b"target_name"]) -> None: ...

global___BatchInput = BatchInput

@typing.final
class BatchOutput(google.protobuf.message.Message):
    """An output that the server scatters by the shapes of an input."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _Kind:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _KindEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[BatchOutput._Kind.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        BATCH_SCATTER_WITH_INPUT_SHAPE: BatchOutput._Kind.ValueType  # 0

    class Kind(_Kind, metaclass=_KindEnumTypeWrapper): ...
    BATCH_SCATTER_WITH_INPUT_SHAPE: BatchOutput.Kind.ValueType  # 0

    TARGET_NAME_FIELD_NUMBER: builtins.int
    KIND_FIELD_NUMBER: builtins.int
    SOURCE_INPUT_FIELD_NUMBER: builtins.int
    kind: global___BatchOutput.Kind.ValueType
    @property
    def target_name(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    @property
    def source_input(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    def __init__(
        self,
        *,
        target_name: collections.abc.Iterable[builtins.str] | None = ...,
        kind: global___BatchOutput.Kind.ValueType = ...,
        source_input: collections.abc.Iterable[builtins.str] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["kind", b"kind", "source_input", b"source_input", "target_name", b"target_name"]) -> None: ...

global___BatchOutput = BatchOutput

@typing.final
class ModelVersionPolicy(google.protobuf.message.Message):
    """Which of the versions on disk are served."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Latest(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NUM_VERSIONS_FIELD_NUMBER: builtins.int
        num_versions: builtins.int
        def __init__(
            self,
            *,
            num_versions: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["num_versions", b"num_versions"]) -> None: ...

    @typing.final
    class All(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        def __init__(
            self,
        ) -> None: ...

    @typing.final
    class Specific(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        VERSIONS_FIELD_NUMBER: builtins.int
        @property
        def versions(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        def __init__(
            self,
            *,
            versions: collections.abc.Iterable[builtins.int] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["versions", b"versions"]) -> None: ...

    LATEST_FIELD_NUMBER: builtins.int
    ALL_FIELD_NUMBER: builtins.int
    SPECIFIC_FIELD_NUMBER: builtins.int
    @property
    def latest(self) -> global___ModelVersionPolicy.Latest: ...
    @property
    def all(self) -> global___ModelVersionPolicy.All: ...
    @property
    def specific(self) -> global___ModelVersionPolicy.Specific: ...
    def __init__(
        self,
        *,
        latest: global___ModelVersionPolicy.Latest | None = ...,
        all: global___ModelVersionPolicy.All | None = ...,
        specific: global___ModelVersionPolicy.Specific | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["all", b"all", "latest", b"latest", "policy_choice", b"policy_choice", "specific", b"specific"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["all", b"all", "latest", b"latest", "policy_choice", b"policy_choice", "specific", b"specific"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["policy_choice", b"policy_choice"]) -> typing.Literal["latest", "all", "specific"] | None: ...

global___ModelVersionPolicy = ModelVersionPolicy

@typing.final
class ModelOptimizationPolicy(google.protobuf.message.Message):
    """Hints for backends; a backend may ignore all of them."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _ModelPriority:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _ModelPriorityEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelOptimizationPolicy._ModelPriority.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        PRIORITY_DEFAULT: ModelOptimizationPolicy._ModelPriority.ValueType  # 0
        PRIORITY_MAX: ModelOptimizationPolicy._ModelPriority.ValueType  # 1
        PRIORITY_MIN: ModelOptimizationPolicy._ModelPriority.ValueType  # 2

    class ModelPriority(_ModelPriority, metaclass=_ModelPriorityEnumTypeWrapper): ...
    PRIORITY_DEFAULT: ModelOptimizationPolicy.ModelPriority.ValueType  # 0
    PRIORITY_MAX: ModelOptimizationPolicy.ModelPriority.ValueType  # 1
    PRIORITY_MIN: ModelOptimizationPolicy.ModelPriority.ValueType  # 2

    @typing.final
    class Graph(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        LEVEL_FIELD_NUMBER: builtins.int
        level: builtins.int
        def __init__(
            self,
            *,
            level: builtins.int = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["level", b"level"]) -> None: ...

    @typing.final
    class Cuda(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class GraphSpec(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            @typing.final
            class Shape(google.protobuf.message.Message):
                DESCRIPTOR: google.protobuf.descriptor.Descriptor

                DIM_FIELD_NUMBER: builtins.int
                @property
                def dim(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
                def __init__(
                    self,
                    *,
                    dim: collections.abc.Iterable[builtins.int] | None = ...,
                ) -> None: ...
                def ClearField(self, field_name: typing.Literal["dim", b"dim"]) -> None: ...

            @typing.final
            class LowerBound(google.protobuf.message.Message):
                DESCRIPTOR: google.protobuf.descriptor.Descriptor

                @typing.final
                class InputEntry(google.protobuf.message.Message):
                    DESCRIPTOR: google.protobuf.descriptor.Descriptor

                    KEY_FIELD_NUMBER: builtins.int
                    VALUE_FIELD_NUMBER: builtins.int
                    key: builtins.str
                    @property
                    def value(self) -> global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape: ...
                    def __init__(
                        self,
                        *,
                        key: builtins.str = ...,
                        value: global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape | None = ...,
                    ) -> None: ...
                    def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
                    def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

                BATCH_SIZE_FIELD_NUMBER: builtins.int
                INPUT_FIELD_NUMBER: builtins.int
                batch_size: builtins.int
                @property
                def input(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape]: ...
                def __init__(
                    self,
                    *,
                    batch_size: builtins.int = ...,
                    input: collections.abc.Mapping[builtins.str, global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape] | None = ...,
                ) -> None: ...
                def ClearField(self, field_name: typing.Literal["batch_size", b"batch_size", "input", b"input"]) -> None: ...

            @typing.final
            class InputEntry(google.protobuf.message.Message):
                DESCRIPTOR: google.protobuf.descriptor.Descriptor

                KEY_FIELD_NUMBER: builtins.int
                VALUE_FIELD_NUMBER: builtins.int
                key: builtins.str
                @property
                def value(self) -> global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape: ...
                def __init__(
                    self,
                    *,
                    key: builtins.str = ...,
                    value: global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape | None = ...,
                ) -> None: ...
                def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
                def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

            BATCH_SIZE_FIELD_NUMBER: builtins.int
            INPUT_FIELD_NUMBER: builtins.int
            GRAPH_LOWER_BOUND_FIELD_NUMBER: builtins.int
            batch_size: builtins.int
            @property
            def input(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape]: ...
            @property
            def graph_lower_bound(self) -> global___ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound: ...
            def __init__(
                self,
                *,
                batch_size: builtins.int = ...,
                input: collections.abc.Mapping[builtins.str, global___ModelOptimizationPolicy.Cuda.GraphSpec.Shape] | None = ...,
                graph_lower_bound: global___ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound | None = ...,
            ) -> None: ...
            def HasField(self, field_name: typing.Literal["graph_lower_bound", b"graph_lower_bound"]) -> builtins.bool: ...
            def ClearField(self, field_name: typing.Literal["batch_size", b"batch_size", "graph_lower_bound", b"graph_lower_bound", "input", b"input"]) -> None: ...

        GRAPHS_FIELD_NUMBER: builtins.int
        BUSY_WAIT_EVENTS_FIELD_NUMBER: builtins.int
        GRAPH_SPEC_FIELD_NUMBER: builtins.int
        OUTPUT_COPY_STREAM_FIELD_NUMBER: builtins.int
        graphs: builtins.bool
        busy_wait_events: builtins.bool
        output_copy_stream: builtins.bool
        @property
        def graph_spec(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelOptimizationPolicy.Cuda.GraphSpec]: ...
        def __init__(
            self,
            *,
            graphs: builtins.bool = ...,
            busy_wait_events: builtins.bool = ...,
            graph_spec: collections.abc.Iterable[global___ModelOptimizationPolicy.Cuda.GraphSpec] | None = ...,
            output_copy_stream: builtins.bool = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["busy_wait_events", b"busy_wait_events", "graph_spec", b"graph_spec", "graphs", b"graphs", "output_copy_stream", b"output_copy_stream"]) -> None: ...

    @typing.final
    class ExecutionAccelerators(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class Accelerator(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            @typing.final
            class ParametersEntry(google.protobuf.message.Message):
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
            PARAMETERS_FIELD_NUMBER: builtins.int
            name: builtins.str
            @property
            def parameters(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
            def __init__(
                self,
                *,
                name: builtins.str = ...,
                parameters: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
            ) -> None: ...
            def ClearField(self, field_name: typing.Literal["name", b"name", "parameters", b"parameters"]) -> None: ...

        GPU_EXECUTION_ACCELERATOR_FIELD_NUMBER: builtins.int
        CPU_EXECUTION_ACCELERATOR_FIELD_NUMBER: builtins.int
        @property
        def gpu_execution_accelerator(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelOptimizationPolicy.ExecutionAccelerators.Accelerator]: ...
        @property
        def cpu_execution_accelerator(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelOptimizationPolicy.ExecutionAccelerators.Accelerator]: ...
        def __init__(
            self,
            *,
            gpu_execution_accelerator: collections.abc.Iterable[global___ModelOptimizationPolicy.ExecutionAccelerators.Accelerator] | None = ...,
            cpu_execution_accelerator: collections.abc.Iterable[global___ModelOptimizationPolicy.ExecutionAccelerators.Accelerator] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["cpu_execution_accelerator", b"cpu_execution_accelerator", "gpu_execution_accelerator", b"gpu_execution_accelerator"]) -> None: ...

    @typing.final
    class PinnedMemoryBuffer(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        ENABLE_FIELD_NUMBER: builtins.int
        enable: builtins.bool
        def __init__(
            self,
            *,
            enable: builtins.bool = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["enable", b"enable"]) -> None: ...

    GRAPH_FIELD_NUMBER: builtins.int
    PRIORITY_FIELD_NUMBER: builtins.int
    CUDA_FIELD_NUMBER: builtins.int
    EXECUTION_ACCELERATORS_FIELD_NUMBER: builtins.int
    INPUT_PINNED_MEMORY_FIELD_NUMBER: builtins.int
    OUTPUT_PINNED_MEMORY_FIELD_NUMBER: builtins.int
    GATHER_KERNEL_BUFFER_THRESHOLD_FIELD_NUMBER: builtins.int
    EAGER_BATCHING_FIELD_NUMBER: builtins.int
    priority: global___ModelOptimizationPolicy.ModelPriority.ValueType
    gather_kernel_buffer_threshold: builtins.int
    eager_batching: builtins.bool
    @property
    def graph(self) -> global___ModelOptimizationPolicy.Graph: ...
    @property
    def cuda(self) -> global___ModelOptimizationPolicy.Cuda: ...
    @property
    def execution_accelerators(self) -> global___ModelOptimizationPolicy.ExecutionAccelerators: ...
    @property
    def input_pinned_memory(self) -> global___ModelOptimizationPolicy.PinnedMemoryBuffer: ...
    @property
    def output_pinned_memory(self) -> global___ModelOptimizationPolicy.PinnedMemoryBuffer: ...
    def __init__(
        self,
        *,
        graph: global___ModelOptimizationPolicy.Graph | None = ...,
        priority: global___ModelOptimizationPolicy.ModelPriority.ValueType = ...,
        cuda: global___ModelOptimizationPolicy.Cuda | None = ...,
        execution_accelerators: global___ModelOptimizationPolicy.ExecutionAccelerators | None = ...,
        input_pinned_memory: global___ModelOptimizationPolicy.PinnedMemoryBuffer | None = ...,
        output_pinned_memory: global___ModelOptimizationPolicy.PinnedMemoryBuffer | None = ...,
        gather_kernel_buffer_threshold: builtins.int = ...,
        eager_batching: builtins.bool = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["cuda", b"cuda", "execution_accelerators", b"execution_accelerators", "graph", b"graph", "input_pinned_memory", b"input_pinned_memory", "output_pinned_memory", b"output_pinned_memory"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["cuda", b"cuda", "eager_batching", b"eager_batching", "execution_accelerators", b"execution_accelerators", "gather_kernel_buffer_threshold", b"gather_kernel_buffer_threshold", "graph", b"graph", "input_pinned_memory", b"input_pinned_memory", "output_pinned_memory", b"output_pinned_memory", "priority", b"priority"]) -> None: ...

global___ModelOptimizationPolicy = ModelOptimizationPolicy

@typing.final
class ModelQueuePolicy(google.protobuf.message.Message):
    """Limits of one queue: waiting time and length. Zero means no limit."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    class _TimeoutAction:
        ValueType = typing.NewType("ValueType", builtins.int)
        V: typing_extensions.TypeAlias = ValueType

    class _TimeoutActionEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelQueuePolicy._TimeoutAction.ValueType], builtins.type):
        DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
        REJECT: ModelQueuePolicy._TimeoutAction.ValueType  # 0
        DELAY: ModelQueuePolicy._TimeoutAction.ValueType  # 1

    class TimeoutAction(_TimeoutAction, metaclass=_TimeoutActionEnumTypeWrapper): ...
    REJECT: ModelQueuePolicy.TimeoutAction.ValueType  # 0
    DELAY: ModelQueuePolicy.TimeoutAction.ValueType  # 1

    TIMEOUT_ACTION_FIELD_NUMBER: builtins.int
    DEFAULT_TIMEOUT_MICROSECONDS_FIELD_NUMBER: builtins.int
    ALLOW_TIMEOUT_OVERRIDE_FIELD_NUMBER: builtins.int
    MAX_QUEUE_SIZE_FIELD_NUMBER: builtins.int
    timeout_action: global___ModelQueuePolicy.TimeoutAction.ValueType
    default_timeout_microseconds: builtins.int
    allow_timeout_override: builtins.bool
    max_queue_size: builtins.int
    def __init__(
        self,
        *,
        timeout_action: global___ModelQueuePolicy.TimeoutAction.ValueType = ...,
        default_timeout_microseconds: builtins.int = ...,
        allow_timeout_override: builtins.bool = ...,
        max_queue_size: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["allow_timeout_override", b"allow_timeout_override", "default_timeout_microseconds", b"default_timeout_microseconds", "max_queue_size", b"max_queue_size", "timeout_action", b"timeout_action"]) -> None: ...

global___ModelQueuePolicy = ModelQueuePolicy

@typing.final
class ModelDynamicBatching(google.protobuf.message.Message):
    """Requests of several clients are joined into one execution."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class PriorityQueuePolicyEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.int
        @property
        def value(self) -> global___ModelQueuePolicy: ...
        def __init__(
            self,
            *,
            key: builtins.int = ...,
            value: global___ModelQueuePolicy | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    PREFERRED_BATCH_SIZE_FIELD_NUMBER: builtins.int
    MAX_QUEUE_DELAY_MICROSECONDS_FIELD_NUMBER: builtins.int
    PRESERVE_ORDERING_FIELD_NUMBER: builtins.int
    PRIORITY_LEVELS_FIELD_NUMBER: builtins.int
    DEFAULT_PRIORITY_LEVEL_FIELD_NUMBER: builtins.int
    DEFAULT_QUEUE_POLICY_FIELD_NUMBER: builtins.int
    PRIORITY_QUEUE_POLICY_FIELD_NUMBER: builtins.int
    max_queue_delay_microseconds: builtins.int
    preserve_ordering: builtins.bool
    priority_levels: builtins.int
    default_priority_level: builtins.int
    @property
    def preferred_batch_size(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    @property
    def default_queue_policy(self) -> global___ModelQueuePolicy: ...
    @property
    def priority_queue_policy(self) -> google.protobuf.internal.containers.MessageMap[builtins.int, global___ModelQueuePolicy]: ...
    def __init__(
        self,
        *,
        preferred_batch_size: collections.abc.Iterable[builtins.int] | None = ...,
        max_queue_delay_microseconds: builtins.int = ...,
        preserve_ordering: builtins.bool = ...,
        priority_levels: builtins.int = ...,
        default_priority_level: builtins.int = ...,
        default_queue_policy: global___ModelQueuePolicy | None = ...,
        priority_queue_policy: collections.abc.Mapping[builtins.int, global___ModelQueuePolicy] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["default_queue_policy", b"default_queue_policy"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["default_priority_level", b"default_priority_level", "default_queue_policy", b"default_queue_policy", "max_queue_delay_microseconds", b"max_queue_delay_microseconds", "preferred_batch_size", b"preferred_batch_size", "preserve_ordering", b"preserve_ordering", "priority_levels", b"priority_levels", "priority_queue_policy", b"priority_queue_policy"]) -> None: ...

global___ModelDynamicBatching = ModelDynamicBatching

@typing.final
class ModelSequenceBatching(google.protobuf.message.Message):
    """Requests of one sequence go to the same instance, with its state."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Control(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        class _Kind:
            ValueType = typing.NewType("ValueType", builtins.int)
            V: typing_extensions.TypeAlias = ValueType

        class _KindEnumTypeWrapper(google.protobuf.internal.enum_type_wrapper._EnumTypeWrapper[ModelSequenceBatching.Control._Kind.ValueType], builtins.type):
            DESCRIPTOR: google.protobuf.descriptor.EnumDescriptor
            CONTROL_SEQUENCE_START: ModelSequenceBatching.Control._Kind.ValueType  # 0
            CONTROL_SEQUENCE_READY: ModelSequenceBatching.Control._Kind.ValueType  # 1
            CONTROL_SEQUENCE_END: ModelSequenceBatching.Control._Kind.ValueType  # 2
            CONTROL_SEQUENCE_CORRID: ModelSequenceBatching.Control._Kind.ValueType  # 3

        class Kind(_Kind, metaclass=_KindEnumTypeWrapper): ...
        CONTROL_SEQUENCE_START: ModelSequenceBatching.Control.Kind.ValueType  # 0
        CONTROL_SEQUENCE_READY: ModelSequenceBatching.Control.Kind.ValueType  # 1
        CONTROL_SEQUENCE_END: ModelSequenceBatching.Control.Kind.ValueType  # 2
        CONTROL_SEQUENCE_CORRID: ModelSequenceBatching.Control.Kind.ValueType  # 3

        KIND_FIELD_NUMBER: builtins.int
        INT32_FALSE_TRUE_FIELD_NUMBER: builtins.int
        FP32_FALSE_TRUE_FIELD_NUMBER: builtins.int
        BOOL_FALSE_TRUE_FIELD_NUMBER: builtins.int
        DATA_TYPE_FIELD_NUMBER: builtins.int
        kind: global___ModelSequenceBatching.Control.Kind.ValueType
        data_type: global___DataType.ValueType
        @property
        def int32_false_true(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        @property
        def fp32_false_true(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.float]: ...
        @property
        def bool_false_true(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bool]: ...
        def __init__(
            self,
            *,
            kind: global___ModelSequenceBatching.Control.Kind.ValueType = ...,
            int32_false_true: collections.abc.Iterable[builtins.int] | None = ...,
            fp32_false_true: collections.abc.Iterable[builtins.float] | None = ...,
            bool_false_true: collections.abc.Iterable[builtins.bool] | None = ...,
            data_type: global___DataType.ValueType = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["bool_false_true", b"bool_false_true", "data_type", b"data_type", "fp32_false_true", b"fp32_false_true", "int32_false_true", b"int32_false_true", "kind", b"kind"]) -> None: ...

    @typing.final
    class ControlInput(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        NAME_FIELD_NUMBER: builtins.int
        CONTROL_FIELD_NUMBER: builtins.int
        name: builtins.str
        @property
        def control(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelSequenceBatching.Control]: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            control: collections.abc.Iterable[global___ModelSequenceBatching.Control] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["control", b"control", "name", b"name"]) -> None: ...

    @typing.final
    class InitialState(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        DATA_TYPE_FIELD_NUMBER: builtins.int
        DIMS_FIELD_NUMBER: builtins.int
        ZERO_DATA_FIELD_NUMBER: builtins.int
        DATA_FILE_FIELD_NUMBER: builtins.int
        NAME_FIELD_NUMBER: builtins.int
        data_type: global___DataType.ValueType
        zero_data: builtins.bool
        data_file: builtins.str
        name: builtins.str
        @property
        def dims(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        def __init__(
            self,
            *,
            data_type: global___DataType.ValueType = ...,
            dims: collections.abc.Iterable[builtins.int] | None = ...,
            zero_data: builtins.bool = ...,
            data_file: builtins.str = ...,
            name: builtins.str = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["data_file", b"data_file", "state_data", b"state_data", "zero_data", b"zero_data"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["data_file", b"data_file", "data_type", b"data_type", "dims", b"dims", "name", b"name", "state_data", b"state_data", "zero_data", b"zero_data"]) -> None: ...
        def WhichOneof(self, oneof_group: typing.Literal["state_data", b"state_data"]) -> typing.Literal["zero_data", "data_file"] | None: ...

    @typing.final
    class State(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        INPUT_NAME_FIELD_NUMBER: builtins.int
        OUTPUT_NAME_FIELD_NUMBER: builtins.int
        DATA_TYPE_FIELD_NUMBER: builtins.int
        DIMS_FIELD_NUMBER: builtins.int
        INITIAL_STATE_FIELD_NUMBER: builtins.int
        USE_SAME_BUFFER_FOR_INPUT_OUTPUT_FIELD_NUMBER: builtins.int
        USE_GROWABLE_MEMORY_FIELD_NUMBER: builtins.int
        input_name: builtins.str
        output_name: builtins.str
        data_type: global___DataType.ValueType
        use_same_buffer_for_input_output: builtins.bool
        use_growable_memory: builtins.bool
        @property
        def dims(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        @property
        def initial_state(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelSequenceBatching.InitialState]: ...
        def __init__(
            self,
            *,
            input_name: builtins.str = ...,
            output_name: builtins.str = ...,
            data_type: global___DataType.ValueType = ...,
            dims: collections.abc.Iterable[builtins.int] | None = ...,
            initial_state: collections.abc.Iterable[global___ModelSequenceBatching.InitialState] | None = ...,
            use_same_buffer_for_input_output: builtins.bool = ...,
            use_growable_memory: builtins.bool = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["data_type", b"data_type", "dims", b"dims", "initial_state", b"initial_state", "input_name", b"input_name", "output_name", b"output_name", "use_growable_memory", b"use_growable_memory", "use_same_buffer_for_input_output", b"use_same_buffer_for_input_output"]) -> None: ...

    @typing.final
    class StrategyDirect(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        MAX_QUEUE_DELAY_MICROSECONDS_FIELD_NUMBER: builtins.int
        MINIMUM_SLOT_UTILIZATION_FIELD_NUMBER: builtins.int
        max_queue_delay_microseconds: builtins.int
        minimum_slot_utilization: builtins.float
        def __init__(
            self,
            *,
            max_queue_delay_microseconds: builtins.int = ...,
            minimum_slot_utilization: builtins.float = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["max_queue_delay_microseconds", b"max_queue_delay_microseconds", "minimum_slot_utilization", b"minimum_slot_utilization"]) -> None: ...

    @typing.final
    class StrategyOldest(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        MAX_CANDIDATE_SEQUENCES_FIELD_NUMBER: builtins.int
        PREFERRED_BATCH_SIZE_FIELD_NUMBER: builtins.int
        MAX_QUEUE_DELAY_MICROSECONDS_FIELD_NUMBER: builtins.int
        PRESERVE_ORDERING_FIELD_NUMBER: builtins.int
        max_candidate_sequences: builtins.int
        max_queue_delay_microseconds: builtins.int
        preserve_ordering: builtins.bool
        @property
        def preferred_batch_size(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        def __init__(
            self,
            *,
            max_candidate_sequences: builtins.int = ...,
            preferred_batch_size: collections.abc.Iterable[builtins.int] | None = ...,
            max_queue_delay_microseconds: builtins.int = ...,
            preserve_ordering: builtins.bool = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["max_candidate_sequences", b"max_candidate_sequences", "max_queue_delay_microseconds", b"max_queue_delay_microseconds", "preferred_batch_size", b"preferred_batch_size", "preserve_ordering", b"preserve_ordering"]) -> None: ...

    DIRECT_FIELD_NUMBER: builtins.int
    OLDEST_FIELD_NUMBER: builtins.int
    MAX_SEQUENCE_IDLE_MICROSECONDS_FIELD_NUMBER: builtins.int
    CONTROL_INPUT_FIELD_NUMBER: builtins.int
    STATE_FIELD_NUMBER: builtins.int
    ITERATIVE_SEQUENCE_FIELD_NUMBER: builtins.int
    max_sequence_idle_microseconds: builtins.int
    iterative_sequence: builtins.bool
    @property
    def direct(self) -> global___ModelSequenceBatching.StrategyDirect: ...
    @property
    def oldest(self) -> global___ModelSequenceBatching.StrategyOldest: ...
    @property
    def control_input(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelSequenceBatching.ControlInput]: ...
    @property
    def state(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelSequenceBatching.State]: ...
    def __init__(
        self,
        *,
        direct: global___ModelSequenceBatching.StrategyDirect | None = ...,
        oldest: global___ModelSequenceBatching.StrategyOldest | None = ...,
        max_sequence_idle_microseconds: builtins.int = ...,
        control_input: collections.abc.Iterable[global___ModelSequenceBatching.ControlInput] | None = ...,
        state: collections.abc.Iterable[global___ModelSequenceBatching.State] | None = ...,
        iterative_sequence: builtins.bool = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["direct", b"direct", "oldest", b"oldest", "strategy_choice", b"strategy_choice"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["control_input", b"control_input", "direct", b"direct", "iterative_sequence", b"iterative_sequence", "max_sequence_idle_microseconds", b"max_sequence_idle_microseconds", "oldest", b"oldest", "state", b"state", "strategy_choice", b"strategy_choice"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["strategy_choice", b"strategy_choice"]) -> typing.Literal["direct", "oldest"] | None: ...

global___ModelSequenceBatching = ModelSequenceBatching

@typing.final
class ModelEnsembling(google.protobuf.message.Message):
    """A graph of models, connected by named tensors."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Step(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class InputMapEntry(google.protobuf.message.Message):
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

        @typing.final
        class OutputMapEntry(google.protobuf.message.Message):
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

        MODEL_NAME_FIELD_NUMBER: builtins.int
        MODEL_VERSION_FIELD_NUMBER: builtins.int
        INPUT_MAP_FIELD_NUMBER: builtins.int
        OUTPUT_MAP_FIELD_NUMBER: builtins.int
        MODEL_NAMESPACE_FIELD_NUMBER: builtins.int
        model_name: builtins.str
        model_version: builtins.int
        model_namespace: builtins.str
        @property
        def input_map(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
        @property
        def output_map(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
        def __init__(
            self,
            *,
            model_name: builtins.str = ...,
            model_version: builtins.int = ...,
            input_map: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
            output_map: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
            model_namespace: builtins.str = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["input_map", b"input_map", "model_name", b"model_name", "model_namespace", b"model_namespace", "model_version", b"model_version", "output_map", b"output_map"]) -> None: ...

    STEP_FIELD_NUMBER: builtins.int
    MAX_INFLIGHT_REQUESTS_FIELD_NUMBER: builtins.int
    max_inflight_requests: builtins.int
    @property
    def step(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelEnsembling.Step]: ...
    def __init__(
        self,
        *,
        step: collections.abc.Iterable[global___ModelEnsembling.Step] | None = ...,
        max_inflight_requests: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["max_inflight_requests", b"max_inflight_requests", "step", b"step"]) -> None: ...

global___ModelEnsembling = ModelEnsembling

@typing.final
class ModelParameter(google.protobuf.message.Message):
    """A backend's own setting."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    STRING_VALUE_FIELD_NUMBER: builtins.int
    string_value: builtins.str
    def __init__(
        self,
        *,
        string_value: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["string_value", b"string_value"]) -> None: ...

global___ModelParameter = ModelParameter

@typing.final
class ModelWarmup(google.protobuf.message.Message):
    """A request that the server executes before the model becomes ready."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Input(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        DATA_TYPE_FIELD_NUMBER: builtins.int
        DIMS_FIELD_NUMBER: builtins.int
        ZERO_DATA_FIELD_NUMBER: builtins.int
        RANDOM_DATA_FIELD_NUMBER: builtins.int
        INPUT_DATA_FILE_FIELD_NUMBER: builtins.int
        data_type: global___DataType.ValueType
        zero_data: builtins.bool
        random_data: builtins.bool
        input_data_file: builtins.str
        @property
        def dims(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
        def __init__(
            self,
            *,
            data_type: global___DataType.ValueType = ...,
            dims: collections.abc.Iterable[builtins.int] | None = ...,
            zero_data: builtins.bool = ...,
            random_data: builtins.bool = ...,
            input_data_file: builtins.str = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["input_data_file", b"input_data_file", "input_data_type", b"input_data_type", "random_data", b"random_data", "zero_data", b"zero_data"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["data_type", b"data_type", "dims", b"dims", "input_data_file", b"input_data_file", "input_data_type", b"input_data_type", "random_data", b"random_data", "zero_data", b"zero_data"]) -> None: ...
        def WhichOneof(self, oneof_group: typing.Literal["input_data_type", b"input_data_type"]) -> typing.Literal["zero_data", "random_data", "input_data_file"] | None: ...

    @typing.final
    class InputsEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___ModelWarmup.Input: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___ModelWarmup.Input | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    NAME_FIELD_NUMBER: builtins.int
    BATCH_SIZE_FIELD_NUMBER: builtins.int
    INPUTS_FIELD_NUMBER: builtins.int
    COUNT_FIELD_NUMBER: builtins.int
    name: builtins.str
    batch_size: builtins.int
    count: builtins.int
    @property
    def inputs(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelWarmup.Input]: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        batch_size: builtins.int = ...,
        inputs: collections.abc.Mapping[builtins.str, global___ModelWarmup.Input] | None = ...,
        count: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["batch_size", b"batch_size", "count", b"count", "inputs", b"inputs", "name", b"name"]) -> None: ...

global___ModelWarmup = ModelWarmup

@typing.final
class ModelOperations(google.protobuf.message.Message):
    """Libraries of custom operations."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    OP_LIBRARY_FILENAME_FIELD_NUMBER: builtins.int
    @property
    def op_library_filename(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.str]: ...
    def __init__(
        self,
        *,
        op_library_filename: collections.abc.Iterable[builtins.str] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["op_library_filename", b"op_library_filename"]) -> None: ...

global___ModelOperations = ModelOperations

@typing.final
class ModelTransactionPolicy(google.protobuf.message.Message):
    """Whether a request may have any number of responses."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    DECOUPLED_FIELD_NUMBER: builtins.int
    decoupled: builtins.bool
    def __init__(
        self,
        *,
        decoupled: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["decoupled", b"decoupled"]) -> None: ...

global___ModelTransactionPolicy = ModelTransactionPolicy

@typing.final
class ModelRepositoryAgents(google.protobuf.message.Message):
    """Programs that act on the model directory before it is loaded."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class Agent(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class ParametersEntry(google.protobuf.message.Message):
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
        PARAMETERS_FIELD_NUMBER: builtins.int
        name: builtins.str
        @property
        def parameters(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
        def __init__(
            self,
            *,
            name: builtins.str = ...,
            parameters: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
        ) -> None: ...
        def ClearField(self, field_name: typing.Literal["name", b"name", "parameters", b"parameters"]) -> None: ...

    AGENTS_FIELD_NUMBER: builtins.int
    @property
    def agents(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelRepositoryAgents.Agent]: ...
    def __init__(
        self,
        *,
        agents: collections.abc.Iterable[global___ModelRepositoryAgents.Agent] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["agents", b"agents"]) -> None: ...

global___ModelRepositoryAgents = ModelRepositoryAgents

@typing.final
class ModelResponseCache(google.protobuf.message.Message):
    """Whether equal requests may be answered from the cache."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    ENABLE_FIELD_NUMBER: builtins.int
    enable: builtins.bool
    def __init__(
        self,
        *,
        enable: builtins.bool = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["enable", b"enable"]) -> None: ...

global___ModelResponseCache = ModelResponseCache

@typing.final
class ModelMetrics(google.protobuf.message.Message):
    """Settings of this model's metrics."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class MetricControl(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        @typing.final
        class MetricIdentifier(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            FAMILY_FIELD_NUMBER: builtins.int
            family: builtins.str
            def __init__(
                self,
                *,
                family: builtins.str = ...,
            ) -> None: ...
            def ClearField(self, field_name: typing.Literal["family", b"family"]) -> None: ...

        @typing.final
        class HistogramOptions(google.protobuf.message.Message):
            DESCRIPTOR: google.protobuf.descriptor.Descriptor

            BUCKETS_FIELD_NUMBER: builtins.int
            @property
            def buckets(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.float]: ...
            def __init__(
                self,
                *,
                buckets: collections.abc.Iterable[builtins.float] | None = ...,
            ) -> None: ...
            def ClearField(self, field_name: typing.Literal["buckets", b"buckets"]) -> None: ...

        METRIC_IDENTIFIER_FIELD_NUMBER: builtins.int
        HISTOGRAM_OPTIONS_FIELD_NUMBER: builtins.int
        @property
        def metric_identifier(self) -> global___ModelMetrics.MetricControl.MetricIdentifier: ...
        @property
        def histogram_options(self) -> global___ModelMetrics.MetricControl.HistogramOptions: ...
        def __init__(
            self,
            *,
            metric_identifier: global___ModelMetrics.MetricControl.MetricIdentifier | None = ...,
            histogram_options: global___ModelMetrics.MetricControl.HistogramOptions | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["histogram_options", b"histogram_options", "metric_identifier", b"metric_identifier", "metric_options", b"metric_options"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["histogram_options", b"histogram_options", "metric_identifier", b"metric_identifier", "metric_options", b"metric_options"]) -> None: ...
        def WhichOneof(self, oneof_group: typing.Literal["metric_options", b"metric_options"]) -> typing.Literal["histogram_options"] | None: ...

    METRIC_CONTROL_FIELD_NUMBER: builtins.int
    @property
    def metric_control(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelMetrics.MetricControl]: ...
    def __init__(
        self,
        *,
        metric_control: collections.abc.Iterable[global___ModelMetrics.MetricControl] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["metric_control", b"metric_control"]) -> None: ...

global___ModelMetrics = ModelMetrics

@typing.final
class ModelConfig(google.protobuf.message.Message):
    """Everything the server knows about a model. The order of declaration is the order of JSON output."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    @typing.final
    class CcModelFilenamesEntry(google.protobuf.message.Message):
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

    @typing.final
    class MetricTagsEntry(google.protobuf.message.Message):
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

    @typing.final
    class ParametersEntry(google.protobuf.message.Message):
        DESCRIPTOR: google.protobuf.descriptor.Descriptor

        KEY_FIELD_NUMBER: builtins.int
        VALUE_FIELD_NUMBER: builtins.int
        key: builtins.str
        @property
        def value(self) -> global___ModelParameter: ...
        def __init__(
            self,
            *,
            key: builtins.str = ...,
            value: global___ModelParameter | None = ...,
        ) -> None: ...
        def HasField(self, field_name: typing.Literal["value", b"value"]) -> builtins.bool: ...
        def ClearField(self, field_name: typing.Literal["key", b"key", "value", b"value"]) -> None: ...

    NAME_FIELD_NUMBER: builtins.int
    PLATFORM_FIELD_NUMBER: builtins.int
    BACKEND_FIELD_NUMBER: builtins.int
    RUNTIME_FIELD_NUMBER: builtins.int
    VERSION_POLICY_FIELD_NUMBER: builtins.int
    MAX_BATCH_SIZE_FIELD_NUMBER: builtins.int
    INPUT_FIELD_NUMBER: builtins.int
    OUTPUT_FIELD_NUMBER: builtins.int
    BATCH_INPUT_FIELD_NUMBER: builtins.int
    BATCH_OUTPUT_FIELD_NUMBER: builtins.int
    OPTIMIZATION_FIELD_NUMBER: builtins.int
    DYNAMIC_BATCHING_FIELD_NUMBER: builtins.int
    SEQUENCE_BATCHING_FIELD_NUMBER: builtins.int
    ENSEMBLE_SCHEDULING_FIELD_NUMBER: builtins.int
    INSTANCE_GROUP_FIELD_NUMBER: builtins.int
    DEFAULT_MODEL_FILENAME_FIELD_NUMBER: builtins.int
    CC_MODEL_FILENAMES_FIELD_NUMBER: builtins.int
    METRIC_TAGS_FIELD_NUMBER: builtins.int
    PARAMETERS_FIELD_NUMBER: builtins.int
    MODEL_WARMUP_FIELD_NUMBER: builtins.int
    MODEL_OPERATIONS_FIELD_NUMBER: builtins.int
    MODEL_TRANSACTION_POLICY_FIELD_NUMBER: builtins.int
    MODEL_REPOSITORY_AGENTS_FIELD_NUMBER: builtins.int
    RESPONSE_CACHE_FIELD_NUMBER: builtins.int
    MODEL_METRICS_FIELD_NUMBER: builtins.int
    name: builtins.str
    platform: builtins.str
    backend: builtins.str
    runtime: builtins.str
    max_batch_size: builtins.int
    default_model_filename: builtins.str
    @property
    def version_policy(self) -> global___ModelVersionPolicy: ...
    @property
    def input(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInput]: ...
    @property
    def output(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelOutput]: ...
    @property
    def batch_input(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___BatchInput]: ...
    @property
    def batch_output(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___BatchOutput]: ...
    @property
    def optimization(self) -> global___ModelOptimizationPolicy: ...
    @property
    def dynamic_batching(self) -> global___ModelDynamicBatching: ...
    @property
    def sequence_batching(self) -> global___ModelSequenceBatching: ...
    @property
    def ensemble_scheduling(self) -> global___ModelEnsembling: ...
    @property
    def instance_group(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelInstanceGroup]: ...
    @property
    def cc_model_filenames(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
    @property
    def metric_tags(self) -> google.protobuf.internal.containers.ScalarMap[builtins.str, builtins.str]: ...
    @property
    def parameters(self) -> google.protobuf.internal.containers.MessageMap[builtins.str, global___ModelParameter]: ...
    @property
    def model_warmup(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ModelWarmup]: ...
    @property
    def model_operations(self) -> global___ModelOperations: ...
    @property
    def model_transaction_policy(self) -> global___ModelTransactionPolicy: ...
    @property
    def model_repository_agents(self) -> global___ModelRepositoryAgents: ...
    @property
    def response_cache(self) -> global___ModelResponseCache: ...
    @property
    def model_metrics(self) -> global___ModelMetrics: ...
    def __init__(
        self,
        *,
        name: builtins.str = ...,
        platform: builtins.str = ...,
        backend: builtins.str = ...,
        runtime: builtins.str = ...,
        version_policy: global___ModelVersionPolicy | None = ...,
        max_batch_size: builtins.int = ...,
        input: collections.abc.Iterable[global___ModelInput] | None = ...,
        output: collections.abc.Iterable[global___ModelOutput] | None = ...,
        batch_input: collections.abc.Iterable[global___BatchInput] | None = ...,
        batch_output: collections.abc.Iterable[global___BatchOutput] | None = ...,
        optimization: global___ModelOptimizationPolicy | None = ...,
        dynamic_batching: global___ModelDynamicBatching | None = ...,
        sequence_batching: global___ModelSequenceBatching | None = ...,
        ensemble_scheduling: global___ModelEnsembling | None = ...,
        instance_group: collections.abc.Iterable[global___ModelInstanceGroup] | None = ...,
        default_model_filename: builtins.str = ...,
        cc_model_filenames: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
        metric_tags: collections.abc.Mapping[builtins.str, builtins.str] | None = ...,
        parameters: collections.abc.Mapping[builtins.str, global___ModelParameter] | None = ...,
        model_warmup: collections.abc.Iterable[global___ModelWarmup] | None = ...,
        model_operations: global___ModelOperations | None = ...,
        model_transaction_policy: global___ModelTransactionPolicy | None = ...,
        model_repository_agents: global___ModelRepositoryAgents | None = ...,
        response_cache: global___ModelResponseCache | None = ...,
        model_metrics: global___ModelMetrics | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["dynamic_batching", b"dynamic_batching", "ensemble_scheduling", b"ensemble_scheduling", "model_metrics", b"model_metrics", "model_operations", b"model_operations", "model_repository_agents", b"model_repository_agents", "model_transaction_policy", b"model_transaction_policy", "optimization", b"optimization", "response_cache", b"response_cache", "scheduling_choice", b"scheduling_choice", "sequence_batching", b"sequence_batching", "version_policy", b"version_policy"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["backend", b"backend", "batch_input", b"batch_input", "batch_output", b"batch_output", "cc_model_filenames", b"cc_model_filenames", "default_model_filename", b"default_model_filename", "dynamic_batching", b"dynamic_batching", "ensemble_scheduling", b"ensemble_scheduling", "input", b"input", "instance_group", b"instance_group", "max_batch_size", b"max_batch_size", "metric_tags", b"metric_tags", "model_metrics", b"model_metrics", "model_operations", b"model_operations", "model_repository_agents", b"model_repository_agents", "model_transaction_policy", b"model_transaction_policy", "model_warmup", b"model_warmup", "name", b"name", "optimization", b"optimization", "output", b"output", "parameters", b"parameters", "platform", b"platform", "response_cache", b"response_cache", "runtime", b"runtime", "scheduling_choice", b"scheduling_choice", "sequence_batching", b"sequence_batching", "version_policy", b"version_policy"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["scheduling_choice", b"scheduling_choice"]) -> typing.Literal["dynamic_batching", "sequence_batching", "ensemble_scheduling"] | None: ...

global___ModelConfig = ModelConfig
