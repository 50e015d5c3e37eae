"""Models of Triton's Python backend: `TritonPythonModel`, and what it imports as `triton_python_backend_utils`."""
