# Generated from protos/reflection.proto by `python tools/generate_protos.py`. Do not edit.
import builtins
import collections.abc
import google.protobuf.descriptor
import google.protobuf.internal.containers
import google.protobuf.message
import typing

DESCRIPTOR: google.protobuf.descriptor.FileDescriptor

@typing.final
class ServerReflectionRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    HOST_FIELD_NUMBER: builtins.int
    FILE_BY_FILENAME_FIELD_NUMBER: builtins.int
    FILE_CONTAINING_SYMBOL_FIELD_NUMBER: builtins.int
    FILE_CONTAINING_EXTENSION_FIELD_NUMBER: builtins.int
    ALL_EXTENSION_NUMBERS_OF_TYPE_FIELD_NUMBER: builtins.int
    LIST_SERVICES_FIELD_NUMBER: builtins.int
    host: builtins.str
    file_by_filename: builtins.str
    file_containing_symbol: builtins.str
    all_extension_numbers_of_type: builtins.str
    list_services: builtins.str
    @property
    def file_containing_extension(self) -> global___ExtensionRequest: ...
    def __init__(
        self,
        *,
        host: builtins.str = ...,
        file_by_filename: builtins.str = ...,
        file_containing_symbol: builtins.str = ...,
        file_containing_extension: global___ExtensionRequest | None = ...,
        all_extension_numbers_of_type: builtins.str = ...,
        list_services: builtins.str = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["all_extension_numbers_of_type", b"all_extension_numbers_of_type", "file_by_filename", b"file_by_filename", "file_containing_extension", b"file_containing_extension", "file_containing_symbol", b"file_containing_symbol", "list_services", b"list_services", "message_request", b"message_request"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["all_extension_numbers_of_type", b"all_extension_numbers_of_type", "file_by_filename", b"file_by_filename", "file_containing_extension", b"file_containing_extension", "file_containing_symbol", b"file_containing_symbol", "host", b"host", "list_services", b"list_services", "message_request", b"message_request"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["message_request", b"message_request"]) -> typing.Literal["file_by_filename", "file_containing_symbol", "file_containing_extension", "all_extension_numbers_of_type", "list_services"] | None: ...

global___ServerReflectionRequest = ServerReflectionRequest

@typing.final
class ExtensionRequest(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    CONTAINING_TYPE_FIELD_NUMBER: builtins.int
    EXTENSION_NUMBER_FIELD_NUMBER: builtins.int
    containing_type: builtins.str
    extension_number: builtins.int
    def __init__(
        self,
        *,
        containing_type: builtins.str = ...,
        extension_number: builtins.int = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["containing_type", b"containing_type", "extension_number", b"extension_number"]) -> None: ...

global___ExtensionRequest = ExtensionRequest

@typing.final
class ServerReflectionResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    VALID_HOST_FIELD_NUMBER: builtins.int
    ORIGINAL_REQUEST_FIELD_NUMBER: builtins.int
    FILE_DESCRIPTOR_RESPONSE_FIELD_NUMBER: builtins.int
    ALL_EXTENSION_NUMBERS_RESPONSE_FIELD_NUMBER: builtins.int
    LIST_SERVICES_RESPONSE_FIELD_NUMBER: builtins.int
    ERROR_RESPONSE_FIELD_NUMBER: builtins.int
    valid_host: builtins.str
    @property
    def original_request(self) -> global___ServerReflectionRequest: ...
    @property
    def file_descriptor_response(self) -> global___FileDescriptorResponse: ...
    @property
    def all_extension_numbers_response(self) -> global___ExtensionNumberResponse: ...
    @property
    def list_services_response(self) -> global___ListServiceResponse: ...
    @property
    def error_response(self) -> global___ErrorResponse: ...
    def __init__(
        self,
        *,
        valid_host: builtins.str = ...,
        original_request: global___ServerReflectionRequest | None = ...,
        file_descriptor_response: global___FileDescriptorResponse | None = ...,
        all_extension_numbers_response: global___ExtensionNumberResponse | None = ...,
        list_services_response: global___ListServiceResponse | None = ...,
        error_response: global___ErrorResponse | None = ...,
    ) -> None: ...
    def HasField(self, field_name: typing.Literal["all_extension_numbers_response", b"all_extension_numbers_response", "error_response", b"error_response", "file_descriptor_response", b"file_descriptor_response", "list_services_response", b"list_services_response", "message_response", b"message_response", "original_request", b"original_request"]) -> builtins.bool: ...
    def ClearField(self, field_name: typing.Literal["all_extension_numbers_response", b"all_extension_numbers_response", "error_response", b"error_response", "file_descriptor_response", b"file_descriptor_response", "list_services_response", b"list_services_response", "message_response", b"message_response", "original_request", b"original_request", "valid_host", b"valid_host"]) -> None: ...
    def WhichOneof(self, oneof_group: typing.Literal["message_response", b"message_response"]) -> typing.Literal["file_descriptor_response", "all_extension_numbers_response", "list_services_response", "error_response"] | None: ...

global___ServerReflectionResponse = ServerReflectionResponse

@typing.final
class FileDescriptorResponse(google.protobuf.message.Message):
    """Serialized FileDescriptorProto messages: the file asked for and those it imports."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    FILE_DESCRIPTOR_PROTO_FIELD_NUMBER: builtins.int
    @property
    def file_descriptor_proto(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.bytes]: ...
    def __init__(
        self,
        *,
        file_descriptor_proto: collections.abc.Iterable[builtins.bytes] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["file_descriptor_proto", b"file_descriptor_proto"]) -> None: ...

global___FileDescriptorResponse = FileDescriptorResponse

@typing.final
class ExtensionNumberResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    BASE_TYPE_NAME_FIELD_NUMBER: builtins.int
    EXTENSION_NUMBER_FIELD_NUMBER: builtins.int
    base_type_name: builtins.str
    @property
    def extension_number(self) -> google.protobuf.internal.containers.RepeatedScalarFieldContainer[builtins.int]: ...
    def __init__(
        self,
        *,
        base_type_name: builtins.str = ...,
        extension_number: collections.abc.Iterable[builtins.int] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["base_type_name", b"base_type_name", "extension_number", b"extension_number"]) -> None: ...

global___ExtensionNumberResponse = ExtensionNumberResponse

@typing.final
class ListServiceResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    SERVICE_FIELD_NUMBER: builtins.int
    @property
    def service(self) -> google.protobuf.internal.containers.RepeatedCompositeFieldContainer[global___ServiceResponse]: ...
    def __init__(
        self,
        *,
        service: collections.abc.Iterable[global___ServiceResponse] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["service", b"service"]) -> None: ...

global___ListServiceResponse = ListServiceResponse

@typing.final
class ServiceResponse(google.protobuf.message.Message):
    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    NAME_FIELD_NUMBER: builtins.int
    name: builtins.str
    def __init__(
        self,
        *,
        name: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["name", b"name"]) -> None: ...

global___ServiceResponse = ServiceResponse

@typing.final
class ErrorResponse(google.protobuf.message.Message):
    """`error_code` is a gRPC status code."""

    DESCRIPTOR: google.protobuf.descriptor.Descriptor

    ERROR_CODE_FIELD_NUMBER: builtins.int
    ERROR_MESSAGE_FIELD_NUMBER: builtins.int
    error_code: builtins.int
    error_message: builtins.str
    def __init__(
        self,
        *,
        error_code: builtins.int = ...,
        error_message: builtins.str = ...,
    ) -> None: ...
    def ClearField(self, field_name: typing.Literal["error_code", b"error_code", "error_message", b"error_message"]) -> None: ...

global___ErrorResponse = ErrorResponse
