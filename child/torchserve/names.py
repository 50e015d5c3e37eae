"""What a manifest may call its handler, and why what it calls so cannot be served; without importing anything."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

BUILT_IN = ("base_handler", "image_classifier", "image_segmenter", "object_detector", "text_classifier")
"""Handlers that need no file."""

_NOT_HERE = {
    "dali_image_classifier": "NVIDIA DALI",
    "vllm_handler": "vLLM",
    "trt_llm_handler": "TensorRT-LLM",
}


def module_of(handler: str) -> str:
    """The module of a handler: `dir/mine.py:serve` is of `mine`, and lies beside the manifest's folder."""
    return PurePosixPath(handler.partition(":")[0]).name.removesuffix(".py")


def is_own(module: str, folder: Path) -> bool:
    """Whether it is the archive's own."""
    return (folder / f"{module}.py").is_file() or (folder / module).is_dir()


def problem(handler: str, folder: Path) -> str:
    """Why there is no such handler; "" if there is one."""
    module = module_of(handler)
    if is_own(module, folder) or module in BUILT_IN:
        return ""
    if module in _NOT_HERE:
        return f"handler '{handler}' needs {_NOT_HERE[module]}, and is not served here"
    return (
        f"handler '{handler}': there is no {module}.py in the archive, and no handler of that name comes with the "
        f"server, which are {', '.join(BUILT_IN)}"
    )
