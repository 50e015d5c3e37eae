"""What most handlers derive from."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import torch

from ts.handler_utils.timer import timed
from ts.torch_handler.model_files import load_onnx, only_class
from ts.utils.util import load_label_mapping

logger = logging.getLogger(__name__)

_PICKLED = (
    "{file} cannot be loaded as weights alone: {error}. It holds other Python objects, which torch does not read by "
    "default any more, because to do so runs their code. Save the model's state_dict instead; or, for a file that you "
    "trust, write weights_only: false into the model's model-config.yaml"
)


class BaseHandler:
    """Loads a model, and executes it in three steps, each of which may be overridden."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: Any = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: Optional[str] = None
        self.manifest: Any = None
        self.map_location: Optional[str] = None
        self.explain = False
        self.target: Any = 0
        self.profiler_args: dict[str, Any] = {}
        self.model_yaml_config: Mapping[str, Any] = {}

    # --- loading ----------------------------------------------------------------------------------------------------

    def initialize(self, context: Any) -> None:
        """Load the model that the manifest names. Raises RuntimeError if it names none that can be loaded."""
        self.context = context
        self.model_yaml_config = getattr(context, "model_yaml_config", None) or {}
        properties = context.system_properties
        self.map_location, self.device = _device(properties.get("gpu_id"))
        self.manifest = context.manifest
        model_dir = properties.get("model_dir")
        named = (self.manifest or {}).get("model") or {}
        if named.get("serializedFile"):
            self.model_pt_path = os.path.join(model_dir, named["serializedFile"])  # noqa: PTH118 - a text
        self._load_model(model_dir, named.get("modelFile") or "")
        self._compile()
        self.mapping = load_label_mapping(os.path.join(model_dir, "index_to_name.json"))  # noqa: PTH118
        if self.mapping is None:
            logger.info("there is no index_to_name.json: classes have numbers and no names")
        self.initialized = True

    def _load_model(self, model_dir: str, model_file: str) -> None:
        path = self.model_pt_path or ""
        if model_file:
            self.model = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
            self.model.to(self.device)
            self.model.eval()
        elif path.endswith(".pt"):
            self.model = self._load_torchscript_model(path)
            self.model.eval()
        elif path.endswith((".so", ".pt2")):
            self.model = self._load_torch_export_aot_compile(path)
        elif path.endswith(".onnx"):
            self.model = load_onnx(path, self.map_location)
        else:
            raise RuntimeError(
                "No model weights could be loaded: the manifest names neither a modelFile with the model's class nor a "
                f"serializedFile of TorchScript (.pt) or ONNX (.onnx){f', but {Path(path).name}' if path else ''}"
            )

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        """A TorchScript archive."""
        with warnings.catch_warnings():
            # Who serves an archive cannot export its model in another way.
            warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
            return torch.jit.load(model_pt_path, map_location=self.device)  # type: ignore[no-untyped-call]

    def _load_torch_export_aot_compile(self, model_so_path: str) -> Any:
        """What `torch.export` and AOTInductor have compiled."""
        if model_so_path.endswith(".pt2"):
            return torch._inductor.aoti_load_package(model_so_path)
        return torch._export.aot_load(model_so_path, self.map_location or "cpu")

    def _load_pickled_model(
        self,
        model_dir: str,
        model_file: str,
        model_pt_path: Optional[str],
    ) -> Any:
        """The class in the model's file, with its weights if there are some."""
        model = only_class(model_dir, model_file)()
        if model_pt_path:
            model.load_state_dict(self._state(model_pt_path))
        return model

    def _state(self, path: str) -> Any:
        weights_only = self.model_yaml_config.get("weights_only", True) is not False
        try:
            return torch.load(path, map_location=self.device, weights_only=weights_only)
        except Exception as error:
            if weights_only and "eights only load failed" in str(error):
                first = str(error).strip().splitlines()[0]
                raise RuntimeError(_PICKLED.format(file=Path(path).name, error=first)) from error
            raise

    def _compile(self) -> None:
        """By `pt2` in the model's YAML."""
        said = self.model_yaml_config.get("pt2")
        if not said or not isinstance(self.model, torch.nn.Module):
            return
        if isinstance(said, str):
            options: dict[str, Any] = {"backend": said}
        elif isinstance(said, dict) and isinstance(said.get("compile"), dict):
            options = dict(said["compile"])
            if not options.pop("enable", False):
                return
        elif isinstance(said, dict):
            options = {name: value for name, value in said.items() if name != "export"}
            if not options:
                return
        else:
            raise RuntimeError(  # noqa: TRY004 - as for all that cannot be loaded
                f"pt2: expected the name of a backend of torch.compile, or its options, got {said!r}"
            )
        self.model = torch.compile(self.model, **options)

    # --- handling ---------------------------------------------------------------------------------------------------

    @timed
    def preprocess(self, data: Any) -> Any:
        """From rows to a tensor."""
        return torch.as_tensor(data, device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Execute the model."""
        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """From a tensor to an answer for each row."""
        found: list[Any] = data.tolist()
        return found

    def handle(self, data: Any, context: Any) -> list[Any]:
        """The answers to a batch."""
        began = time.perf_counter()
        self.context = context
        if self._is_describe():
            output = [self.describe_handle()]
        else:
            with self._profiled():
                prepared = self.preprocess(data)
                if self._is_explain():
                    output = self.explain_handle(prepared, data)
                else:
                    output = self.postprocess(self.inference(prepared))
        if getattr(context, "metrics", None) is not None:
            context.metrics.add_time(
                "HandlerTime", round((time.perf_counter() - began) * 1000, 2), None, "ms"
            )
        return output

    @contextmanager
    def _profiled(self) -> Iterator[None]:
        if os.environ.get("ENABLE_TORCH_PROFILER", "").lower() not in ("1", "true", "yes"):
            yield
            return
        with self._infer_with_profiler():
            yield

    @contextmanager
    def _infer_with_profiler(self) -> Iterator[Any]:
        """A trace for each batch, where `profiler_args` says, or in /tmp/pytorch_profiler/<model>."""
        arguments = dict(self.profiler_args)
        if "on_trace_ready" not in arguments:
            place = os.path.join("/tmp/pytorch_profiler", str(self.context.model_name))  # noqa: PTH118, S108
            arguments["on_trace_ready"] = torch.profiler.tensorboard_trace_handler(place)
        with torch.profiler.profile(**arguments) as profile:
            yield profile

    def explain_handle(self, data_preprocess: Any, raw_data: Sequence[Any]) -> list[Any]:
        """What the model's answer to the first row hangs on, by `get_insights`."""
        row = raw_data[0]
        inputs, self.target = row, 0
        if isinstance(row, dict):
            inputs = row.get("data") or row.get("body")
            self.target = row.get("target") or 0
        found: list[Any] = self.get_insights(data_preprocess, inputs, self.target)
        return found

    def get_insights(self, tensor_data: Any, raw_data: Any, target: Any) -> list[Any]:
        """For handlers that explain answers."""
        raise NotImplementedError(f"{type(self).__name__} has no get_insights: its answers are not explained")

    def describe_handle(self) -> Any:
        """What the model says of itself, for those who ask for its metadata."""
        return None

    def get_device(self) -> Any:
        """Where the model is executed."""
        return self.device

    def _is_explain(self) -> bool:
        return self._asked("explain")

    def _is_describe(self) -> bool:
        return self._asked("describe")

    def _asked(self, key: str) -> bool:
        if self.context is None:
            return False
        try:
            return bool(self.context.get_request_header(0, key) == "True")
        except (AttributeError, IndexError, KeyError, TypeError):
            return False


def _device(gpu: Any) -> tuple[str, Any]:
    if torch.cuda.is_available() and gpu is not None:
        return "cuda", torch.device(f"cuda:{gpu}")
    mps = getattr(torch.backends, "mps", None)
    if gpu is not None and mps is not None and mps.is_available():
        return "mps", torch.device("mps")
    return "cpu", torch.device("cpu")
