"""ONNX files, executed by ONNX Runtime."""
