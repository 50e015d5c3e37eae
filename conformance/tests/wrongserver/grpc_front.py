"""The gRPC side of the deliberately wrong server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict
from wrongserver.changes import grpc_changes
from wrongserver.engine import DTYPES, Engine
from wrongserver.raw_tensors import check_shape, decode_bytes, encode_bytes
from wrongserver.requests import Input, Output, Pretended, Refused, Request, Response

from kserve_v2_conformance._generated import grpc_service_pb2 as pb

_CODES = {
    "INVALID": grpc.StatusCode.INVALID_ARGUMENT,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "UNIMPLEMENTED": grpc.StatusCode.UNIMPLEMENTED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}
_FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class GrpcFront(grpc.GenericRpcHandler):
    """Answers calls on a port of the system's choice."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        limit = 4 * 1024 * 1024 if "small-messages" in engine.defects else -1
        options = [("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)]
        self.server = grpc.server(ThreadPoolExecutor(80), options=options)
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def stop(self) -> None:
        self.server.stop(None).wait()

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if f"missing-call:{name}" in self.engine.defects:
            return None
        if name == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(
                self._stream,
                request_deserializer=pb.ModelInferRequest.FromString,
                response_serializer=pb.ModelStreamInferResponse.SerializeToString,
            )
        view = getattr(self, f"_{name}", None)
        if view is None:
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._call(name, view, request, context),
            request_deserializer=getattr(pb, f"{name}Request").FromString,
            response_serializer=getattr(pb, f"{name}Response").SerializeToString,
        )

    def _call(self, name: str, view: Any, request: Any, context: Any) -> Any:
        code, details, answer = grpc.StatusCode.OK, "", None
        try:
            answer = view(request)
        except Refused as error:
            code, details = _CODES[error.kind], str(error)
        except Pretended:
            answer = getattr(pb, f"{name}Response")()
        for change in grpc_changes(self.engine.defects, name):
            code, details, answer = change(code, details, answer, request)
        if code is not grpc.StatusCode.OK:
            context.abort(code, details)
        return answer

    def _ServerLive(self, _request: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def _ServerReady(self, _request: Any) -> Any:
        return pb.ServerReadyResponse(ready=self.engine.server_ready())

    def _ModelReady(self, request: Any) -> Any:
        return pb.ModelReadyResponse(ready=self.engine.ready(request.name, request.version))

    def _ServerMetadata(self, _request: Any) -> Any:
        return pb.ServerMetadataResponse(name="wrong", version="1.0", extensions=self.engine.extensions)

    def _ModelMetadata(self, request: Any) -> Any:
        return ParseDict(self.engine.metadata(request.name, request.version), pb.ModelMetadataResponse())

    def _ModelConfig(self, request: Any) -> Any:
        document = {"config": self.engine.configuration(request.name, request.version)}
        return ParseDict(document, pb.ModelConfigResponse())

    def _ModelStatistics(self, request: Any) -> Any:
        entries = self.engine.statistics(request.name, request.version)
        return ParseDict({"model_stats": entries}, pb.ModelStatisticsResponse())

    def _RepositoryIndex(self, request: Any) -> Any:
        return ParseDict({"models": self.engine.index(request.ready)}, pb.RepositoryIndexResponse())

    def _RepositoryModelLoad(self, request: Any) -> Any:
        parameters = {
            name: getattr(each, each.WhichOneof("parameter_choice"))
            for name, each in request.parameters.items()
        }
        self.engine.load(request.model_name, parameters)
        return pb.RepositoryModelLoadResponse()

    def _RepositoryModelUnload(self, request: Any) -> Any:
        self.engine.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _SystemSharedMemoryRegister(self, request: Any) -> Any:
        self.engine.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    def _SystemSharedMemoryUnregister(self, request: Any) -> Any:
        self.engine.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    def _SystemSharedMemoryStatus(self, request: Any) -> Any:
        answer = pb.SystemSharedMemoryStatusResponse()
        for name, (key, offset, size) in self.engine.region_named(request.name).items():
            status = answer.regions[name]
            status.name, status.key, status.offset, status.byte_size = name, key, offset, size
        return answer

    def _CudaSharedMemoryStatus(self, request: Any) -> Any:
        self.engine.cuda_region(request.name)
        return pb.CudaSharedMemoryStatusResponse()

    def _CudaSharedMemoryRegister(self, _request: Any) -> Any:
        self.engine.refuse("cuda-handle", "there is no device")

    def _CudaSharedMemoryUnregister(self, _request: Any) -> Any:
        return pb.CudaSharedMemoryUnregisterResponse()

    def _TraceSetting(self, request: Any) -> Any:
        changes: dict[str, Any] = {}
        for name, setting in request.settings.items():
            values = list(setting.value)
            changes[name] = values if name == "trace_level" else values[0] if values else None
        answer = pb.TraceSettingResponse()
        for name, value in self.engine.trace_setting(request.model_name, changes).items():
            answer.settings[name].value.extend(value if isinstance(value, list) else [value])
        return answer

    def _LogSettings(self, request: Any) -> Any:
        changes = {
            name: getattr(each, each.WhichOneof("parameter_choice"))
            for name, each in request.settings.items()
        }
        answer = pb.LogSettingsResponse()
        for name, value in self.engine.log_setting(changes).items():
            field = (
                "bool_param"
                if isinstance(value, bool)
                else "uint32_param"
                if isinstance(value, int)
                else "string_param"
            )
            setattr(answer.settings[name], field, value)
        return answer

    def _ModelInfer(self, message: Any) -> Any:
        return self._encode(self.engine.infer(self._request(message)))

    def _stream(self, messages: Iterator[Any], _context: Any) -> Iterator[Any]:
        if "requests-out-of-order" in self.engine.defects:
            messages = iter(list(messages)[::-1])
        for message in messages:
            model = self.engine.models.get(message.model_name)
            try:
                responses, error = self._responses(message)
            except Refused as refusal:
                responses, error = [], refusal
            if error and "stream-ends-on-error" in self.engine.defects:
                return
            self.engine.streaming = True
            yield from self._answers(message, responses, model is not None and model.decoupled)
            self.engine.streaming = False
            if error:
                yield pb.ModelStreamInferResponse(
                    error_message=str(error), infer_response=pb.ModelInferResponse(id=message.id)
                )

    def _responses(self, message: Any) -> tuple[list[Response], Refused | None]:
        """What a request is answered with, and the error behind it. Raises Refused."""
        request = self._request(message)
        if "stream-ids-lost" in self.engine.defects:
            request.id = ""
        if "sequences-of-a-stream-mixed" in self.engine.defects:
            request.parameters |= {"sequence_id": 1} if "sequence_id" in request.parameters else {}
        responses: list[Response] = []
        try:
            responses += self.engine.stream(request)
        except Refused as error:
            return [] if "responses-before-error-lost" in self.engine.defects else responses, error
        return responses, None

    def _answers(self, message: Any, responses: list[Response], decoupled: bool) -> Iterator[Any]:
        final = _values(message.parameters).get("triton_enable_empty_final_response")
        if "stream-response-lost" in self.engine.defects and decoupled:
            responses = responses[1:]
        if "responses-out-of-order" in self.engine.defects:
            responses = responses[::-1]
        for response in responses:
            encoded = self._encode(response)
            marked = not decoupled and "ordinary-response-not-final" not in self.engine.defects
            encoded.parameters["triton_final_response"].bool_param = marked
            yield pb.ModelStreamInferResponse(infer_response=encoded)
        wanted = final or "final-response-unasked" in self.engine.defects
        if decoupled and wanted and "no-final-response" not in self.engine.defects:
            last = pb.ModelInferResponse(model_name=message.model_name, id=message.id)
            last.parameters["triton_final_response"].bool_param = True
            yield pb.ModelStreamInferResponse(infer_response=last)

    def _request(self, message: Any) -> Request:
        engine = self.engine
        raw = list(message.raw_input_contents)
        if raw and any(each.HasField("contents") for each in message.inputs):
            engine.refuse("raw-and-typed", "contents must not be specified when using raw_input_contents")
        if "raw-reversed" in engine.defects:
            raw.reverse()
        inputs = [self._input(each, raw) for each in message.inputs]
        if "positions" in engine.defects and message.model_name in engine.models:
            for each, spec in zip(inputs, engine.models[message.model_name].inputs, strict=False):
                each.name = spec.name
        outputs = [(each.name, _values(each.parameters)) for each in message.outputs] or None
        if "empty-parameters-refused" in engine.defects and any(each.name for each in message.outputs):
            raise Refused("outputs are named")
        if "tensor-parameters-refused" in engine.defects and any(each.parameters for each in message.inputs):
            raise Refused("unknown parameters of an input")
        return Request(
            message.model_name,
            message.model_version,
            message.id,
            _values(message.parameters),
            inputs,
            outputs,
        )

    def _input(self, entry: Any, raw: list[bytes]) -> Input:
        engine = self.engine
        name, datatype, shape = entry.name, entry.datatype, tuple(entry.shape)
        if datatype not in DTYPES:
            engine.refuse("unknown-datatype", f"invalid datatype '{datatype}'")
        check_shape(engine, name, shape)
        parameters = _values(entry.parameters)
        engine.check_place(parameters)
        if "shared_memory_region" in parameters:
            if entry.HasField("contents"):
                engine.refuse("region-and-contents", "an input has either a region or contents")
            return Input(
                name,
                datatype,
                shape,
                decode_bytes(engine, name, datatype, shape, engine.read_region(parameters)),
            )
        if entry.HasField("contents"):
            return Input(name, datatype, shape, self._typed(name, datatype, shape, entry.contents))
        if not raw:
            engine.refuse("no-contents", f"unable to find data for input '{name}'")
        return Input(name, datatype, shape, decode_bytes(engine, name, datatype, shape, raw.pop(0)))

    def _typed(self, name: str, datatype: str, shape: tuple[int, ...], contents: Any) -> Any:
        engine = self.engine
        filled = [field.name for field, _ in contents.ListFields()]
        if datatype in ("FP16", "BF16"):
            engine.refuse("typed-half-precision", f"{datatype} has no typed contents")
        if filled and filled != [_FIELDS.get(datatype)]:
            engine.refuse("wrong-field", f"contents of {datatype} are in {filled}")
        if "typed-refused" in engine.defects:
            raise Refused("typed contents are not supported")
        listed = list(getattr(contents, _FIELDS[datatype]))
        if datatype == "BYTES":
            values = np.empty(len(listed), np.object_)
            values[:] = listed
        else:
            values = np.array(listed, DTYPES[datatype])
        count = int(np.prod([int(size) for size in shape], dtype=object))
        if not filled and count:
            engine.refuse("no-contents", f"unable to find data for input '{name}'")
        if len(listed) != count:
            engine.refuse(
                "too-few" if len(listed) < count else "too-many", f"input '{name}' has {len(listed)} elements"
            )
        return values

    def _encode(self, response: Response) -> Any:
        message = pb.ModelInferResponse(
            model_name=response.model, model_version=response.version, id=response.id
        )
        for name, value in response.parameters.items():
            field = (
                "bool_param"
                if isinstance(value, bool)
                else "int64_param"
                if isinstance(value, int)
                else "string_param"
            )
            setattr(message.parameters[name], field, value)
        for output in response.outputs:
            message.outputs.add(name=output.name, datatype=output.datatype, shape=output.values.shape)
            message.raw_output_contents.append(self._raw(output))
        return message

    def _raw(self, output: Output) -> bytes:
        if "shared_memory_region" in output.parameters:
            self.engine.write_region(output.parameters, encode_bytes(output))
            return encode_bytes(output) if "region-data-kept" in self.engine.defects else b""
        return encode_bytes(output)


def _values(parameters: Any) -> dict[str, Any]:
    return {name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in parameters.items()}
