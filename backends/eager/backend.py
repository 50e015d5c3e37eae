"""The `python` backend: a model is a plain class named `Model` in `model.py`; or a `TritonPythonModel`, as Triton has
them, for which see `triton_model`. Of the former:

    class Model:
        inputs = {"image": ("FP32", [1, 8, 8])}           # datatype, dims without the batch dimension
        outputs = {"probabilities": ("FP32", [10])}
        max_batch_size = 64                               # 0: no batch dimension
        tensors = "numpy"                                 # or "torch": tensors on the instance's device
        thread_safe = False                               # True: one object serves all instances of a device
        max_concurrency = 64                              # only for an async __call__
        ragged = False                                    # True: requests of different shapes share a batch

        def load(self, context): ...                      # optional
        def __call__(self, inputs): ...                   # dict of tensors in, dict of tensors out
        def close(self): ...                              # optional

`__call__` may be an `async def`. If it is a generator, sync or async, each dict that it yields is one
response: any number of them for a request, which is never batched with others. With a second parameter,
`__call__(self, inputs, requests)`, it also gets the requests in the order of their rows (a generator: the one
request), with `id`, `rows`, `parameters`, `cancelled`, and `response_parameters` to write to.

An exception that `__call__` raises belongs to one of the requests, and nobody knows which: the batch is executed again,
each request by itself. A handler that takes the requests knows better. Instead of one dict for all, it may return a
list with one for each request, whose arrays have that request's rows, or with an exception, which only that request is
answered with:

    def __call__(self, inputs, requests):
        answers, start = [], 0
        for request in requests:
            texts = inputs["text"][start : start + request.rows]
            start += request.rows
            if all(texts.ravel()):
                answers.append({"length": [[len(text)] for text in texts.ravel()]})
            else:
                answers.append(InvalidArgumentError("'text' is empty"))
        return answers

With `ragged = True`, requests of different shapes share a batch, because nothing is joined: `inputs` is a list with one
dict of tensors for each request, each with its own rows and shapes, and `__call__` returns a list of as many dicts, or
exceptions, in the same order. `allow_ragged_batch` in config.pbtxt needs it, and it sets that for all inputs.

A handler may call other models of the server, with the context that it was loaded with:

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        vectors = self.context.call("encoder", {"text": inputs["text"]}, outputs=["vector"])
        return self.context.call("classifier", vectors, version=2)

`call` blocks; an async handler does `await context.call_async(...)`, several at a time with `asyncio.gather`. The
answers of a generator are taken by `for answer in context.stream(...)`, or `async for answer in
context.stream_async(...)`. A call waits in the other model's queue like a client's request, and shares batches with
others; its priority and time-out are those of the requests that are being executed, and it is given up when their
clients have left. `requests=` names one or some of them, if it is not for all. Threads that the handler has started may
call, too: for all that it is executing, unless they name the requests. An error of the other model is raised as the
`kserve_v2.errors.ServingError` that its client would get; a handler that lets it pass answers with it. A model that
waits for its own answer, at first or second hand, would wait for ever: such a call is refused.

In an *iterative* model, whose config.pbtxt has `sequence_batching { oldest { } iterative_sequence: true }`, `__call__`
may work on a request in several rounds, each in a batch with whatever other requests are there, as generators of texts
do for their tokens:

    def __call__(self, inputs, requests):
        tokens = self.step(inputs["tokens"], inputs["cache"])     # one more token for each row
        for request, row in zip(requests, tokens):
            if row[-1] != END:
                request.reschedule({"tokens": row[np.newaxis]})   # again, with this; other inputs stay as they are
        return {"text": tokens}

Rows of requests that were rescheduled are passed over; if all were, outputs may be left out. With
`model_transaction_policy { decoupled: true }` each round's row is a response of its request, and the last one ends it.
What is large stays here: as an implicit state, an output of one round is an input of the next.

What else the context has:

    def load(self, context):
        network = torch.nn.Linear(4, 3)
        network.load_state_dict(load_file(context.path / "weights.safetensors"))
        self.network = context.prepare(network)
        self.tokens = context.metrics.counter("tokens_total", "Tokens", labels={"kind": "prompt"})
        self.vocabulary = download_once(context.cache_dir)
        self.rows = context.config.max_batch_size

`prepare` gives a torch module that is called in place of the handler's: on the device, in evaluation mode, without
gradients, and as these parameters of config.pbtxt say: `compile` ("default", "reduce-overhead", "max-autotune": the
modes of torch.compile), `compile_batch_sizes`, `autocast` ("bf16", "fp16"), `memory_format` ("channels_last") and
`INFERENCE_MODE` ("false"); see `torch_options`. A module is compiled while the handler is loaded, by running it with
batches of the preferred sizes, or of the powers of two up to the largest; a later call in other shapes is executed
uncompiled, and said in the log. If the module does not take the model's inputs in their order, `prepare` needs the
arguments of a call with one row behind it.

`metrics` makes counters, gauges and histograms that the server shows in /metrics, with the labels of its own metrics of
the model. They go with the model's unload, and count on through a reload. `cache_dir` is a directory of the model's own
that outlives the server. `config` is a copy of the whole configuration.

Annotations say as well as attributes what comes and goes: then each input is a parameter of its own name, with a
default if it may be left out, and the outputs are the fields of a TypedDict, a NamedTuple or a dataclass:

    class Answer(TypedDict):
        caption: Text
        brightness: Annotated[np.ndarray, FP32(1)]

    class Model:
        def __call__(self, image: Image, language: Text = "en") -> Answer:
            height, width, _ = image.shape
            word = {"en": "by", "de": "mal"}[language]
            return {"caption": f"{width} {word} {height}", "brightness": np.array([image.mean()], np.float32)}

All of these names are `kserve_v2`'s, or `typing`'s. `Annotated[torch.Tensor, FP32(1)]` asks for torch's tensors. One
value that is returned by itself is the output `output`. The requests come to a parameter named `requests`. Dims leave
the batch dimension out, as everywhere.

`Image`, `Text` and `Json`, which `inputs` and `outputs` may have in the places of their pairs, too, are BYTES for
clients, and are decoded and encoded here: JPEG or PNG to an array [height, width, 3] of UINT8, and back to PNG; UTF-8
to `str`; and JSON to what it means. Of a model that batches they are lists, `list[Image]`, with one for each row.
Whatever cannot be decoded is its client's mistake, and the others of its batch are executed without it. The parameter
`max_image_pixels` says how large an image may be, 50 million pixels by default.

All attributes are optional. What the class does not declare, config.pbtxt must. BYTES inputs are numpy object
arrays of `bytes`, with `tensors = "torch"` too. A handler may write to its inputs, and reuse what it returns: an
output that it may still hold is copied.

A client's mistake is reported by raising `kserve_v2.errors.InvalidArgumentError`: its text is the answer. Of any
other exception the answer has type and text, without paths, and the request id that finds its traceback in the log.

Modules, packages and folders of modules beside the file are imported as by a script: by statements, by `importlib`,
and by pickles that are read while the handler's code runs. `__main__` in a pickle is the handler file. No other
model sees them.
"""

import logging
import sys
import threading
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from kserve_v2.backend import AnyInstance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.handlers.context import Context

from ..completion import raise_contradictions
from ..gpus import visible_gpus
from ..parameters import parameter_texts
from ..triton import model as triton_model
from ..triton.model import LoadedTritonModel
from ..triton.recognition import is_triton_model
from .calls import Calling
from .completion import complete_config, load_contradictions
from .declaration import read_declaration
from .handler import Handler
from .instances import make_instance
from .metrics import Metrics
from .module import HandlerModule
from .named import named_handler
from .objects import wrap
from .prepare import Preparing

logger = logging.getLogger(__name__)

# What Triton runs such a model with, where it is there: built for another version of Python.
_TRITON_STUB = "triton_python_backend_stub"


class EagerBackend:
    """Serves handler files."""

    default_filename = "model.py"
    platform = ""

    wrap = staticmethod(wrap)

    def gpu_count(self) -> int:
        """GPUs that torch can use; without torch, those that the driver shows."""
        if visible_gpus() == 0 or find_spec("torch") is None:
            return visible_gpus()
        import torch  # noqa: PLC0415 - only where there is a GPU to ask about

        return torch.cuda.device_count()

    def isolated_host(self, file: Path) -> str:
        """Triton's Python models have processes of their own, as they have there."""
        if not is_triton_model(file):
            return ""
        model_path = file.parent.parent
        if (model_path / _TRITON_STUB).exists():
            logger.warning(
                "model '%s': its %s is not run: parameters['EXECUTION_ENV_PATH'] gives a model another Python",
                model_path.name, _TRITON_STUB,
            )  # fmt: skip
        return "triton"

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill inputs, outputs, batch size and scheduler from what the handler's class declares."""
        file = source.model_file(config)
        if is_triton_model(file):
            triton_model.complete(source, config)
            return
        named = named_handler(config)
        module = HandlerModule(file, source.name, source.version, module=named.module)
        source.handover.put(module)
        declaration = read_declaration(module.module, file.name, named.member)
        raise_contradictions(source.name, complete_config(config, declaration, file.name))
        if declaration.advice and not (config.input and config.output):
            raise InvalidArgumentError(f"{file.name}: " + "; ".join(declaration.advice))
        for advice in declaration.advice:
            logger.warning("model '%s': %s: %s", source.name, file.name, advice)

    def load(self, source: ModelSource, config: ModelConfig) -> "EagerModel | LoadedTritonModel":
        """Import the handler; a thread-safe one is made and loaded here, once per device."""
        if is_triton_model(source.model_file(config)):
            return triton_model.load(source, config)
        model = EagerModel(source, config)
        try:
            model.load_shared()
        except BaseException:
            model.close()
            raise
        return model


class EagerModel:
    """One imported handler file, and its objects if they are shared."""

    adds_instances: Literal[True] = True

    def __init__(self, source: ModelSource, config: ModelConfig) -> None:
        """Import the handler file. Raises InvalidArgumentError where its declaration is wrong, InternalError where
        its code fails.
        """
        self._source = source
        self._config = config
        self._module: HandlerModule
        self._shared: dict[str, Handler] = {}
        self._sharing = threading.Lock()
        file = source.model_file(config)
        # Usually its class was needed before, to complete the configuration.
        named = named_handler(config)
        self._module = source.handover.take() or HandlerModule(
            file, source.name, source.version, module=named.module
        )
        try:
            self._declaration = read_declaration(self._module.module, file.name, named.member)
            raise_contradictions(source.name, load_contradictions(config, self._declaration, file.name))
        except BaseException:
            self._module.close()
            raise

    @property
    def separates_requests(self) -> bool:
        """Whether the handler gets the tensors of each request by themselves."""
        return self._declaration.ragged

    def load_shared(self) -> None:
        """Make the handler of each device if one may serve all instances there."""
        if self._declaration.tensors == "torch" and find_spec("torch") is None:
            raise InvalidArgumentError(
                'Model.tensors is "torch", but torch is not installed: pip install torch safetensors'
            )
        if self._declaration.thread_safe:
            for placement in self._source.placements:
                self._share(placement)
        logger.info(
            "model '%s': %s handler on %s, %s, intra-op threads %d per instance",
            self._source.name,
            self._declaration.tensors,
            ", ".join(sorted({placement.device for placement in self._source.placements})),
            "one for each device" if self._declaration.thread_safe else "one for each instance",
            self._source.threads.intra_op,
        )

    def instance(self, placement: Placement) -> AnyInstance:
        """An instance with a handler object of its own, or the one of its device if handlers may be
        shared."""
        self._module.work_for_it()
        self._enter_thread()
        shared = self._declaration.thread_safe
        handler = self._share(placement) if shared else self._make(placement)
        self._enter_thread()  # again: loading the handler may have been what imported torch
        return make_instance(handler, self._declaration, owns_handler=not shared)

    def close(self) -> None:
        """Close shared handlers and forget the handler's modules."""
        try:
            for handler in self._shared.values():
                handler.close()
        finally:
            self._shared.clear()
            self._module.close()

    def _share(self, placement: Placement) -> Handler:
        with self._sharing:
            if placement.device not in self._shared:
                self._shared[placement.device] = self._make(placement)
            return self._shared[placement.device]

    def _make(self, placement: Placement) -> Handler:
        self._module.prepare_torch()
        context = self._context(placement)
        try:
            handler = Handler(self._declaration, self._config, context, self._module)
        except ServingError:
            raise
        except BaseException as error:
            raise self._module.load_error(error) from error
        context.preparing.warn_if_unused()
        return handler

    def _context(self, placement: Placement) -> Context:
        source = self._source
        return Context(
            name=source.name,
            version=source.version,
            path=source.version_path,
            model_path=source.model_path,
            device=placement.device,
            parameters=parameter_texts(self._config),
            logger=logging.getLogger(f"kserve_v2.model.{source.name}"),
            placement=placement,
            threads=source.threads,
            calling=Calling(source.caller, placement.device, as_torch=self._declaration.tensors == "torch"),
            config=deepcopy(self._config),
            metrics=Metrics(source.metrics, self._config, source.version),
            preparing=Preparing(self._config, placement.device, source.threads),
            cache_path=source.cache_path,
        )

    def _enter_thread(self) -> None:
        if "torch" in sys.modules:
            from ..pytorch.threads import enter_instance_thread  # noqa: PLC0415 - only where the handler uses torch

            enter_instance_thread(self._source.threads)
