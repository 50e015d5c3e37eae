"""What each field of a model's configuration does here, by the names of `config/support.FIELDS`, in a sentence or two.

A field without a text, and a text without a field, fail a test.
"""

_ONE_OF = "One of its kinds at a time."

TEXTS = {
    "name": "The model's name. If it is given, it has to be that of the directory.",
    "platform": "Triton's older way of naming the backend: `onnxruntime_onnx`, `pytorch_libtorch`, `ensemble`.",
    "backend": "What runs the model: `onnxruntime`, `pytorch`, `python`, or the name of a plug-in. Left out, the file of "
    "the version decides.",
    "runtime": "A library for the backend.",
    "version_policy": "Which of the versions on disk are served: `latest { num_versions: N }` (the default, with 1), "
    "`all { }` or `specific { versions: [ … ] }`.",
    "max_batch_size": "Rows of the largest batch. 0: tensors have no batch dimension, and requests are not merged. Left "
    "out, it is 4 for ONNX files and programs of torch.export that pass a trial, otherwise what the handler says, or 0.",
    "input.name": "Name of an input. `INPUT__0` and so on stand for the position of an argument of a torch module.",
    "input.data_type": "Datatype of an input, `TYPE_FP32` for example. `TYPE_STRING` is BYTES on the wire.",
    "input.format": "Says how `dims` are meant (NHWC, NCHW). Nothing is converted.",
    "input.dims": "Shape of an input without the batch dimension; -1 where it varies.",
    "input.reshape": "The shape that the model itself wants, where it differs from `dims`. The numbers of elements agree.",
    "input.is_shape_tensor": "An input of a TensorRT engine that holds a shape.",
    "input.allow_ragged_batch": "Requests of different shapes share a batch: their elements lie behind each other, and "
    "`batch_input` says how many belong to whom. See [Scheduling](../guides/scheduling.md).",
    "input.optional": "Requests may leave the input out.",
    "input.is_non_linear_format_io": "A tensor in a format of TensorRT's own.",
    "output.name": "Name of an output.",
    "output.data_type": "Datatype of an output.",
    "output.dims": "Shape of an output without the batch dimension; -1 where it varies. Answers that contradict it are errors.",
    "output.reshape": "The shape that clients get, where the model's own differs from it.",
    "output.label_filename": "File in the model's directory with one label per line, for the classification extension.",
    "output.is_shape_tensor": "An output of a TensorRT engine that holds a shape.",
    "output.is_non_linear_format_io": "A tensor in a format of TensorRT's own.",
    "batch_input": "An input that the server makes from the requests of a batch: element counts, sums of them, shapes.",
    "batch_output": "An output that is cut by the shapes of an input (`BATCH_SCATTER_WITH_INPUT_SHAPE`).",
    "optimization.graph": "Level of ONNX Runtime's graph optimisations: -1 basic, 1 extended, 0 all of them.",
    "optimization.priority": "Which model goes first on a device.",
    "optimization.cuda": "Recording of CUDA graphs.",
    "optimization.execution_accelerators": "Execution providers of ONNX Runtime, with their options.",
    "optimization.input_pinned_memory.enable": "A permission that is given by default.",
    "optimization.output_pinned_memory.enable": "A permission that is given by default.",
    "optimization.gather_kernel_buffer_threshold": "A setting of Triton's own copying.",
    "optimization.eager_batching": "A setting of Triton's own copying.",
    "dynamic_batching.preferred_batch_size": "Sizes of batches that are worth waiting for, up to the delay.",
    "dynamic_batching.max_queue_delay_microseconds": "How long the first request of a batch may wait for others. 0: a "
    "batch is what is waiting when an instance gets free.",
    "dynamic_batching.preserve_ordering": "Answers are given in the order of their requests.",
    "dynamic_batching.priority_levels": "How many levels there are; 1 goes first.",
    "dynamic_batching.default_priority_level": "The level of requests that name none.",
    "dynamic_batching.default_queue_policy": "Time-out and length of the queue, of all levels without a policy of their own.",
    "dynamic_batching.priority_queue_policy": "Time-out and length of the queue, by level.",
    "sequence_batching.direct": f"Each sequence has a row of the batch to itself, on one instance. {_ONE_OF}",
    "sequence_batching.oldest": f"Steps of many sequences are merged, the oldest sequences first. {_ONE_OF}",
    "sequence_batching.max_sequence_idle_microseconds": "After so long without a request a sequence is ended.",
    "sequence_batching.control_input": "Inputs that tell the model of start, end, readiness and the id of the sequence.",
    "sequence_batching.state.input_name": "The input that the state of the sequence is given to.",
    "sequence_batching.state.output_name": "The output that is the state of the next step.",
    "sequence_batching.state.data_type": "Datatype of the state.",
    "sequence_batching.state.dims": "Shape of the state.",
    "sequence_batching.state.initial_state": "What a sequence begins with: zeros, or a file below `initial_state/`.",
    "sequence_batching.state.use_same_buffer_for_input_output": "Both sides of a state in one buffer.",
    "sequence_batching.state.use_growable_memory": "Memory for states that grow.",
    "sequence_batching.iterative_sequence": "A handler may ask for another round with the same request: continuous batching.",
    "ensemble_scheduling.step.model_name": "The model of a step.",
    "ensemble_scheduling.step.model_version": "Its version; -1: whichever answers requests that name none.",
    "ensemble_scheduling.step.input_map": "The model's input, and the tensor of the ensemble that it gets.",
    "ensemble_scheduling.step.output_map": "The model's output, and the tensor of the ensemble that it becomes.",
    "ensemble_scheduling.step.model_namespace": "The repository that the model of the step lies in.",
    "ensemble_scheduling.max_inflight_requests": "How many requests of one step may be under way for one request to the ensemble.",
    "instance_group.name": "Name of a group of instances.",
    "instance_group.kind": "`KIND_CPU`, `KIND_GPU` or `KIND_AUTO`: a GPU if there is one.",
    "instance_group.count": "Instances of the group on each of its devices: so many executions at a time.",
    "instance_group.rate_limiter": "Resources that an execution needs, and its priority; of effect with `--rate-limit "
    "execution_count`.",
    "instance_group.gpus": "The GPUs of the group, by number.",
    "instance_group.secondary_devices": "Devices beside the GPU.",
    "instance_group.profile": "Optimisation profiles of a TensorRT engine.",
    "instance_group.passive": "Instances that take no requests.",
    "instance_group.host_policy": "CPUs and memory of a group.",
    "default_model_filename": "The model's file in the directory of a version, where it is not called as the backend expects.",
    "cc_model_filenames": "Files by the compute capability of a GPU.",
    "metric_tags": "Labels that the model's metrics carry, beside its name and version.",
    "parameters.string_value": "Settings of the backend, and the server's own, which are below.",
    "model_warmup.name": "Name of a sample that is executed before the model is ready.",
    "model_warmup.batch_size": "Rows of the sample. 0: the sample is left out.",
    "model_warmup.inputs": "The sample's inputs: zeros, random numbers, or a file below `warmup/`.",
    "model_warmup.count": "How often the sample is executed on each instance.",
    "model_operations": "Libraries of custom operators.",
    "model_transaction_policy.decoupled": "A request may have any number of responses: of handlers that yield them.",
    "model_repository_agents.agents": "Programs that look at a model's files before they are loaded.",
    "response_cache.enable": "Answers are kept, and given again to the same inputs; with `--cache-config`.",
    "model_metrics": "Settings of Triton's own histograms.",
}

PARAMETERS = {
    "try_batching": "`false`: the model is not tried with made-up rows when it is loaded.",
    "split_large_requests": "`true`: a request with more rows than `max_batch_size` is executed in parts; `false`: it is "
    "refused. Left out, that depends on who has chosen `max_batch_size`.",
    "coalesce_requests": "`false`: equal requests at the same time are executed each by itself, although the model has a "
    "response cache.",
    "auto_warmup": "`true` or `false`: whether made-up inputs are executed before the first request, whatever "
    "`--auto-warmup` says.",
    "home": "With `--processes`: `replicated`, every process has a copy of the model; `single`, one of them has it. Left "
    "out, small models that keep nothing of a request are replicated.",
    "pin": "`true`: the model stays loaded, whatever others need of the memory budget.",
    "isolation": "`process`: the model's code runs in processes of its own. `none`: in the server's.",
    "isolation_processes": "How many of them there are; by default one for each instance.",
    "execution_timeout": "Seconds after which an execution in another process is given up, and the process ended.",
    "EXECUTION_ENV_PATH": "An archive of conda-pack, or a directory, with the Python that runs the model.",
    "pad_variable_dims": "JSON: which inputs are padded to share batches. See [Scheduling](../guides/scheduling.md).",
    "latency_budget_ms": "How long a request may take; the delay of batches is chosen, and changed, by it.",
    "release": "JSON: labels, split and shadow. See [The life cycle](../guides/lifecycle.md).",
}
