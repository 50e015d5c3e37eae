"""The parameters that say how a torch module is run."""

import pytest

from backends.pytorch.options import NAMES, TorchOptions, misspelt, read_options, warm_up_sizes
from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({}, TorchOptions()),
        ({"compile": "false", "autocast": "false", "memory_format": "contiguous"}, TorchOptions()),
        ({"compile": "default"}, TorchOptions(compile="default")),
        ({"compile": "reduce-overhead"}, TorchOptions(compile="reduce-overhead")),
        (
            {"compile": "max-autotune", "autocast": "bf16"},
            TorchOptions(compile="max-autotune", autocast="bf16"),
        ),
        (
            {"autocast": "fp16", "memory_format": "channels_last"},
            TorchOptions(autocast="fp16", channels_last=True),
        ),
        ({"INFERENCE_MODE": "false"}, TorchOptions(inference_mode=False)),
        ({"compile": "default", "compile_batch_sizes": "8"}, TorchOptions("default", (8,))),
        ({"compile": "default", "compile_batch_sizes": " 4, 1,4 "}, TorchOptions("default", (1, 4))),
        ({"something": "else"}, TorchOptions()),
    ],
)
def test_what_parameters_mean(parameters: dict[str, str], options: TorchOptions) -> None:
    assert read_options(parameters, 8) == options


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"compile": "true"},
            "parameters['compile']: expected one of false, default, reduce-overhead, max-autotune, got 'true'",
        ),
        ({"compile": ""}, "got ''"),
        (
            {"autocast": "bfloat16"},
            "parameters['autocast']: expected one of false, bf16, fp16, got 'bfloat16'",
        ),
        (
            {"memory_format": "nhwc"},
            "parameters['memory_format']: expected one of contiguous, channels_last, got 'nhwc'",
        ),
        ({"INFERENCE_MODE": "off"}, "parameters['INFERENCE_MODE']: expected true or false, got 'off'"),
        ({"compile_batch_sizes": "4"}, "nothing is compiled: set parameters['compile'], too"),
        *(
            (
                {"compile": "default", "compile_batch_sizes": sizes},
                "expected numbers of rows from 1 to max_batch_size (8), separated by commas",
            )
            for sizes in ("", "0", "9", "a", "4,", "-1", "1.5", "\u0664")
        ),
    ],
)
def test_what_they_cannot_be(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_options(parameters, 8)
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("most", "preferred", "named", "sizes"),
    [
        (0, [], (), ()),
        (1, [], (), (1,)),
        (2, [], (), (2, 1)),
        (8, [], (), (8, 4, 2, 1)),
        (12, [], (), (12, 8, 4, 2, 1)),
        (12, [4, 6], (), (12, 6, 4, 1)),
        # What completion writes by itself.
        (12, [12], (), (12, 8, 4, 2, 1)),
        (12, [4], (3, 5), (5, 3)),
    ],
)
def test_the_sizes_that_are_compiled_for(
    most: int, preferred: list[int], named: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    config = ModelConfig(max_batch_size=most)
    config.dynamic_batching.preferred_batch_size.extend(preferred)
    assert warm_up_sizes(config, TorchOptions("default", named)) == sizes


def test_what_is_nearly_a_parameter() -> None:
    given = [
        *NAMES,
        "autocats",
        "memory-format",
        "Compile",
        "compile_batchsizes",
        "inference_mode",
        "compiler",
        "x",
    ]
    assert misspelt(dict.fromkeys(given, "")) == {
        "autocats": "autocast",
        "memory-format": "memory_format",
        "Compile": "compile",
        "compile_batchsizes": "compile_batch_sizes",
        "compiler": "compile",
    }
