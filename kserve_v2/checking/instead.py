"""What to write in the place of what is wrong, where the message about it does not say so itself. Messages are often
Triton's, which clients may match, and those only say what is wrong.
"""

import re

_INDEX = re.compile(r"\[[^\]]*\]")

# The end of a field's path, without indexes; a part of the message; what to write.
# Braces are doubled.
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("name", "directory name must equal", 'name: "{directory}", or no name at all'),
    (
        "platform",
        "unexpected platform type",
        'backend: "onnxruntime", "pytorch" or "python", and no platform',
    ),
    ("platform", "pair", "either of them alone: the other follows from it"),
    ("max_batch_size", "non-negative", "max_batch_size: 0 for a model without a batch dimension"),
    ("max_batch_size", "the configuration says", "the smaller number, or no max_batch_size"),
    ("preferred_batch_size", "must be positive", "a number from 1 to max_batch_size"),
    (
        "preferred_batch_size",
        "must be <= max batch size",
        "a number up to max_batch_size, or a larger max_batch_size",
    ),
    ("data_type", "must specify 'data_type'", "data_type: TYPE_FP32, or whatever it is"),
    ("data_type", "the configuration says", "what the model's file says, or nothing: it is filled in"),
    ("dims", "must specify 'dims'", "dims: [ 4 ], with -1 where a size varies, and without the batch"),
    ("dims", "dimension must be integer", "a size from 1, or -1 where it varies"),
    ("dims", "the configuration says", "what the model's file says, or no dims: they are filled in"),
    ("shape", "dimension must be integer", "a size from 1, or -1 where it varies"),
    ("reshape", "different", "a shape with as many elements as dims, the variable ones at the same places"),
    ("reshape", "empty reshape", "reshape {{ shape: [ 1 ] }}, or a max_batch_size"),
    ("name", "must specify 'name'", 'name: "x", as the model calls it'),
    ("name", "is declared", "every tensor once"),
    ("name", "it has:", "one of these names"),
    ("format", "require 3 dims", "three dims, or no format"),
    ("kind", "unknown kind", "KIND_CPU, KIND_GPU or KIND_AUTO"),
    ("kind", "no GPUs are available", "kind: KIND_CPU, or KIND_AUTO, which takes GPUs where there are any"),
    ("kind", "give the device", "kind: KIND_CPU or KIND_GPU"),
    ("count", "must have a positive count", "count: 1, or no count"),
    ("count", "at most", "fewer instances"),
    ("gpus", "KIND_CPU but specifies", "kind: KIND_GPU, or no gpus"),
    ("gpus", "twice", "every GPU once"),
    ("gpus", "invalid or unsupported", "one of these GPUs"),
    ("versions", "must be a positive integer", "the name of a version's directory, from 1"),
    ("default_priority_level", "must be in range", "default_priority_level: 1"),
    ("priority_queue_policy", "priority level", "a key from 1 to priority_levels"),
    ("priority_levels", "Only one priority level", "either preserve_ordering or priority_levels"),
    ("timeout_action", "DELAY", "timeout_action: REJECT, or no preserve_ordering"),
    ("minimum_slot_utilization", "in range", "a number from 0 to 1"),
    ("control_input.name", "must have a name", 'name: "START", as the model calls the input'),
    ("control", "says nothing", "control [ {{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }} ]"),
    ("control", "must specify either", "int32_false_true: [ 0, 1 ]"),
    ("control", "more than one from", "one of the three"),
    ("_false_true", "exactly 2 entries", "[ 0, 1 ]"),
    ("kind", "multiple", "every kind of control once"),
    ("initial_state", "exactly one or zero", "one initial_state"),
    ("initial_state", "state_data set", "zero_data: true, or data_file"),
    ("data_type", "does not match the state", "the data_type of the state"),
    ("instance_group", "should not be specified", "nothing: the models of the steps have instances"),
    ("optimization", "should not be specified", "nothing: the models of the steps have it"),
    (
        "step",
        "must specify 'step'",
        'step [ {{ model_name: "m" input_map {{ ... }} output_map {{ ... }} }} ]',
    ),
    ("output_map", "only once", "a tensor name of its own for each output"),
    ("response_cache.enable", "disable the response cache", "response_cache {{ enable: false }}"),
    ("label_filename", "'..'", "the name of a file beside the versions"),
    ("default_model_filename", "'..'", "the name of a file in the version's directory"),
    ("data_file", "'..'", "the name of a file in initial_state/"),
    ("metric_tags", "sets itself", "another name"),
)


def instead_of(field: str, message: str, directory: str) -> str:
    """What to write; "" where nothing is known that the message does not say. `directory`: the model's."""
    plain = _INDEX.sub("", field)
    for end, part, text in _TABLE:
        if f".{plain}".endswith(end if end.startswith("_") else f".{end}") and part in message:
            return text.format(directory=directory)
    return ""
