# Generated from protos/torchserve_inference.proto by `python tools/generate_protos.py`. Do not edit.
from google.protobuf import descriptor as _descriptor
from ._pool import POOL as _POOL
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _POOL.AddSerializedFile(b'\n\x1atorchserve_inference.proto\x12 org.pytorch.serve.grpc.inference\"\r\n\x0bPingRequest\"*\n\x18TorchServeHealthResponse\x12\x0e\n\x06health\x18\x01 \x01(\t\"\xe7\x01\n\x12PredictionsRequest\x12\x12\n\nmodel_name\x18\x01 \x01(\t\x12\x15\n\rmodel_version\x18\x02 \x01(\t\x12N\n\x05input\x18\x03 \x03(\x0b\x32?.org.pytorch.serve.grpc.inference.PredictionsRequest.InputEntry\x12\x18\n\x0bsequence_id\x18\x04 \x01(\tH\x00\x88\x01\x01\x1a,\n\nInputEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\x0c:\x02\x38\x01\x42\x0e\n\x0c_sequence_id\"\'\n\x06Status\x12\x0c\n\x04\x63ode\x18\x01 \x01(\x05\x12\x0f\n\x07message\x18\x02 \x01(\t\"\x9c\x01\n\x12PredictionResponse\x12\x12\n\nprediction\x18\x01 \x01(\x0c\x12\x18\n\x0bsequence_id\x18\x02 \x01(\tH\x00\x88\x01\x01\x12=\n\x06status\x18\x03 \x01(\x0b\x32(.org.pytorch.serve.grpc.inference.StatusH\x01\x88\x01\x01\x42\x0e\n\x0c_sequence_idB\t\n\x07_status2\x8f\x04\n\x14InferenceAPIsService\x12q\n\x04Ping\x12-.org.pytorch.serve.grpc.inference.PingRequest\x1a:.org.pytorch.serve.grpc.inference.TorchServeHealthResponse\x12y\n\x0bPredictions\x12\x34.org.pytorch.serve.grpc.inference.PredictionsRequest\x1a\x34.org.pytorch.serve.grpc.inference.PredictionResponse\x12\x81\x01\n\x11StreamPredictions\x12\x34.org.pytorch.serve.grpc.inference.PredictionsRequest\x1a\x34.org.pytorch.serve.grpc.inference.PredictionResponse0\x01\x12\x84\x01\n\x12StreamPredictions2\x12\x34.org.pytorch.serve.grpc.inference.PredictionsRequest\x1a\x34.org.pytorch.serve.grpc.inference.PredictionResponse(\x01\x30\x01\x62\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'torchserve_inference_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_PREDICTIONSREQUEST_INPUTENTRY']._loaded_options = None
  _globals['_PREDICTIONSREQUEST_INPUTENTRY']._serialized_options = b'8\001'
  _globals['_PINGREQUEST']._serialized_start=64
  _globals['_PINGREQUEST']._serialized_end=77
  _globals['_TORCHSERVEHEALTHRESPONSE']._serialized_start=79
  _globals['_TORCHSERVEHEALTHRESPONSE']._serialized_end=121
  _globals['_PREDICTIONSREQUEST']._serialized_start=124
  _globals['_PREDICTIONSREQUEST']._serialized_end=355
  _globals['_PREDICTIONSREQUEST_INPUTENTRY']._serialized_start=295
  _globals['_PREDICTIONSREQUEST_INPUTENTRY']._serialized_end=339
  _globals['_STATUS']._serialized_start=357
  _globals['_STATUS']._serialized_end=396
  _globals['_PREDICTIONRESPONSE']._serialized_start=399
  _globals['_PREDICTIONRESPONSE']._serialized_end=555
  _globals['_INFERENCEAPISSERVICE']._serialized_start=558
  _globals['_INFERENCEAPISSERVICE']._serialized_end=1085
# @@protoc_insertion_point(module_scope)
