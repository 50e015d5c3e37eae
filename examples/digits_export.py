"""The trained digits network as an ONNX file, as a program of torch.export, and as a TorchScript file."""

import io
import json
import warnings
import zipfile

import torch
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper
from torch import nn

ONNX_IR_VERSION = 8
ONNX_OPSET = 17


def onnx_bytes(network: nn.Module) -> bytes:
    """The network as an ONNX graph: image [n, 1, 8, 8] to probabilities [n, 10], with n left open.

    Written node by node: that needs no exporter, and the graph reads like the network.
    """
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    nodes = [
        *_convolution("conv1", "image"),
        *_convolution("conv2", "conv1_relu"),
        _max_pool("conv2_relu", "pool1"),
        *_convolution("conv3", "pool1"),
        _max_pool("conv3_relu", "pool2"),
        helper.make_node("Flatten", ["pool2"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        initializer=[numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _convolution(layer: str, source: str) -> list[NodeProto]:
    parameters = [f"{layer}.weight", f"{layer}.bias"]
    return [
        helper.make_node("Conv", [source, *parameters], [layer], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [layer], [f"{layer}_relu"]),
    ]


def _max_pool(source: str, target: str) -> NodeProto:
    return helper.make_node("MaxPool", [source], [target], kernel_shape=[2, 2], strides=[2, 2])


class _Named(nn.Module):
    """The network, whose result has a name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"probabilities": self.network(image)}


def exported_bytes(network: nn.Module) -> bytes:
    """The network as a program of torch.export: image [n, 1, 8, 8] to probabilities [n, 10], with n left open."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        _Named(network).eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes={"image": {0: batch}}
    )
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return _without_stack_traces(archive.getvalue())


def _without_stack_traces(archive: bytes) -> bytes:
    """The archive without the places in the source code, on the machine that exported it, that the program is from."""
    stripped = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(stripped, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename.endswith("/models/model.json"):
                program = json.loads(content)
                for node in program["graph_module"]["graph"]["nodes"]:
                    node["metadata"] = {}
                content = json.dumps(program).encode()
            target.writestr(zipfile.ZipInfo(member.filename), content)
    return stripped.getvalue()


def torchscript_bytes(network: nn.Module) -> bytes:
    """The network as a frozen TorchScript archive: `forward(image)` returns the probabilities."""
    archive = io.BytesIO()
    with warnings.catch_warnings():
        # PyTorch discourages new uses of TorchScript; this file exists to show how existing ones are served.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        torch.jit.save(torch.jit.freeze(torch.jit.script(network)), archive)
    return _without_debug_files(archive.getvalue())


def _without_debug_files(archive: bytes) -> bytes:
    """The archive less the members that record where the source code lay on the machine that compiled it."""
    stripped = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(stripped, "w") as target:
        for member in source.infolist():
            if not member.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(member.filename), source.read(member))
    return stripped.getvalue()
