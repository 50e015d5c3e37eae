"""typeahead: a language model of characters, trained on the documentation of Python that comes with the interpreter.

A gated recurrent network (GRU) reads a text character by character. What it remembers is its state, so a text may come
in chunks of any length: the server keeps the state between them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper
from torch import Tensor, nn

from examples.digits_export import ONNX_IR_VERSION, ONNX_OPSET
from examples.sample_request import classified_output, input_tensor, sample_request

Report = Callable[[str], None]

SEED = 20
EPOCHS = 12
STREAMS = 64
"""So many parts of the text are read side by side."""
STEPS = 64
"""After so many characters the weights are changed."""
LEARNING_RATE = 8e-3
HELD_OUT = 10
"""One topic in so many is held out."""
CODES = 128
"""ASCII. A byte beyond it is read as DEL, which the data does not have."""
EMBEDDING = 24
WIDTH = 96

SAMPLE_TEXT = "The value of the expr"


@dataclass(frozen=True)
class Texts:
    """The data, split once and for all: ASCII codes, one text after the other."""

    train: Tensor
    held_out: Tensor


class TypeaheadNet(nn.Module):
    """Scores for the character that comes before each state, and the state after each character."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CODES, EMBEDDING)
        self.gru = nn.GRU(EMBEDDING, WIDTH, batch_first=True)
        self.dense = nn.Linear(WIDTH, CODES)

    def forward(self, codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [n, length, codes] of the characters that follow, and the state [1, n, width] after the last one."""
        hidden, last = self.gru(self.embedding(codes), state)
        return self.dense(hidden), last


def load_data() -> Texts:
    """The documentation of Python, without what is not ASCII."""
    names = sorted(topics)
    parts: dict[bool, list[str]] = {True: [], False: []}
    for index, name in enumerate(names):
        parts[index % HELD_OUT == HELD_OUT - 1].append(topics[name])
    return Texts(train=_codes("\n".join(parts[False])), held_out=_codes("\n".join(parts[True])))


def _codes(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(text.encode("ascii", "ignore"), np.uint8).astype(np.int64))


def make(_repository: Path, report: Report) -> dict[str, bytes]:
    """Train; the files of the model `typeahead`."""
    torch.set_num_threads(1)  # so that sums are always added in the same order
    data = load_data()
    network = train(data.train, epochs=EPOCHS, report=report)
    hits, bits = measure(network, data.held_out)
    report(f"held-out: {hits:.3f} of the characters guessed, {bits:.2f} bits each")
    text = input_tensor("text", "UINT8", [1, len(SAMPLE_TEXT)], list(SAMPLE_TEXT.encode()))
    sequence = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
    return {
        "1/model.onnx": onnx_bytes(network),
        "initial_state/after_newline": first_state(network),
        "labels.txt": "".join(f"{label}\n" for label in labels()).encode(),
        "sample_request.json": sample_request([text], [classified_output("next", 3)], sequence),
    }


@torch.enable_grad()
def train(codes: Tensor, *, epochs: int, report: Report, seed: int = SEED) -> TypeaheadNet:
    """Train a new network. The same text, seed and number of epochs give the same weights on the same machine."""
    network = _new_network(seed)
    length = (len(codes) - 1) // STREAMS
    read, follow = (part[: length * STREAMS].reshape(STREAMS, length) for part in (codes, codes[1:]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    rounds = range(0, length, STEPS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(rounds))
    for epoch in range(1, epochs + 1):
        state, losses = torch.zeros(1, STREAMS, WIDTH), []
        for start in rounds:
            scores, state = network(read[:, start : start + STEPS], state.detach())
            loss = nn.functional.cross_entropy(
                scores.flatten(0, 1), follow[:, start : start + STEPS].flatten()
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 3 == 0 or epoch == epochs:
            report(f"epoch {epoch}/{epochs}, loss {np.mean(losses):.4f}")
    return network.eval()


def _new_network(seed: int) -> TypeaheadNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TypeaheadNet()


def measure(network: TypeaheadNet, codes: Tensor) -> tuple[float, float]:
    """Of a text: the part of its characters, 0 to 1, that were thought the most probable ones, and how many bits each
    of them has told.
    """
    with torch.inference_mode():
        scores, _ = network(codes[None, :-1], torch.zeros(1, 1, WIDTH))
        hits = (scores[0].argmax(dim=1) == codes[1:]).float().mean().item()
        nats = nn.functional.cross_entropy(scores[0], codes[1:]).item()
    return hits, nats / float(np.log(2))


def first_state(network: TypeaheadNet) -> bytes:
    """What the network remembers after an empty line: where most texts begin."""
    with torch.inference_mode():
        _, state = network(_codes("\n\n")[None], torch.zeros(1, 1, WIDTH))
    return bytes(state.numpy().astype("<f4").tobytes())


def labels() -> list[str]:
    """The characters as names that a line can hold."""
    names = {" ": "space", "\n": "newline", "\t": "tab"}
    texts = [chr(code) for code in range(CODES)]
    return [names.get(text, text if text.isprintable() else f"0x{ord(text):02x}") for text in texts]


# --- the network as an ONNX graph -------------------------------------------------------------------------------------


def onnx_bytes(network: nn.Module) -> bytes:
    """text [n, length] and state_in [n, width] to next [n, codes], bits [n, length] and state_out [n, width]."""
    graph = helper.make_graph(
        _nodes(),
        "typeahead",
        [
            helper.make_tensor_value_info("text", TensorProto.UINT8, ["batch", "length"]),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["batch", CODES]),
            helper.make_tensor_value_info("bits", TensorProto.FLOAT, ["batch", "length"]),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
        initializer=[numpy_helper.from_array(array, name) for name, array in _weights(network).items()],
    )
    opset = [helper.make_opsetid("", ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _weights(network: nn.Module) -> dict[str, Any]:
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    gru = {
        name: _gates(weights[f"gru.{name}_l0"]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    return {
        "embedding": weights["embedding.weight"],
        "W": gru["weight_ih"][None],
        "R": gru["weight_hh"][None],
        "B": np.concatenate([gru["bias_ih"], gru["bias_hh"]])[None],
        "dense": weights["dense.weight"].T.copy(),
        "dense_bias": weights["dense.bias"],
        "last_code": np.array(CODES - 1, np.int64),
        "one_more": np.array([0, 0, 1, 0], np.int64),
        "minus_one": np.array(-1, np.int64),
        "minus_1": np.array([-1], np.int64),
        "axis_0": np.array([0], np.int64),
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "nats_per_bit": np.array(-np.log(2), np.float32),
    }


def _gates(weight: Any) -> Any:
    """ONNX has the update gate first, and PyTorch the reset gate."""
    reset, update, new = np.split(weight, 3)
    return np.concatenate([update, reset, new])


def _nodes() -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Cast", ["text"], ["wide"], to=TensorProto.INT64),
        node("Min", ["wide", "last_code"], ["codes"]),
        node("Transpose", ["codes"], ["codes_by_time"], perm=[1, 0]),
        # One character more than there is, whose state nobody uses: ONNX Runtime crashes over a sequence of none.
        node("Pad", ["codes_by_time", "one_more"], ["padded"]),
        node("Gather", ["embedding", "padded"], ["embedded"]),
        node("Unsqueeze", ["state_in", "axis_0"], ["first"]),
        node(
            "GRU",
            ["embedded", "W", "R", "B", "", "first"],
            ["hidden"],
            hidden_size=WIDTH,
            linear_before_reset=1,
        ),
        # What comes after each state, the first one included: [length + 1, n, codes].
        node("Squeeze", ["hidden", "axis_1"], ["padded_states"]),
        node("Slice", ["padded_states", "axis_0", "minus_1", "axis_0"], ["states"]),
        node("Concat", ["first", "states"], ["all_states"], axis=0),
        node("Gather", ["all_states", "minus_one"], ["state_out"], axis=0),
        node("MatMul", ["all_states", "dense"], ["products"]),
        node("Add", ["products", "dense_bias"], ["scores"]),
        node("LogSoftmax", ["scores"], ["logs"], axis=2),
        # The last of them says what is next, and the others what each character of the text has told.
        node("Slice", ["logs", "axis_0", "minus_1", "axis_0"], ["logs_before"]),
        node("Gather", ["logs", "minus_one"], ["logs_next"], axis=0),
        node("Exp", ["logs_next"], ["next"]),
        node("Unsqueeze", ["codes_by_time", "axis_2"], ["chosen"]),
        node("GatherElements", ["logs_before", "chosen"], ["nats_3d"], axis=2),
        node("Squeeze", ["nats_3d", "axis_2"], ["nats_by_time"]),
        node("Transpose", ["nats_by_time"], ["nats"], perm=[1, 0]),
        node("Div", ["nats", "nats_per_bit"], ["bits"]),
    ]
