"""Why requests to a model take as long as they do, and why its batches are as they are: from the server's own counters,
with the option to change. Pure: see `explain_batches` for the latter.
"""

from collections.abc import Callable, Iterator

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.findings import Rule
from kserve_v2.checking.unwise import Machine, unwise
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.ui.explain_batches import explain_batches
from kserve_v2.ui.findings import Finding, Json, Seen, duration, percent
from kserve_v2.ui.sampling import STAGES

FEWEST_REQUESTS = 10
"""Nothing is said of fewer."""

_BUSY = 0.8
_MOSTLY = 0.5
_NOTABLE = 0.3
_LATE_MS = 50.0
_ALL_CPUS = 0.9
_LOOKUPS, _HARDLY_ANY = 100, 0.01


def explain(seen: Seen) -> list[Finding]:
    """All that was found, what matters most in front."""
    first = [found for rule in (*_FAILURES, *_LOOP) if (found := rule(seen)) is not None]
    if seen.change.requests < FEWEST_REQUESTS:
        return [*first, _too_few(seen)]
    latency = [found for rule in _LATENCY if (found := rule(seen)) is not None]
    return [*first, *latency, *explain_batches(seen), *_threads(seen)]


def stages(seen: Seen) -> list[Json]:
    """Where the time of a request goes, on average. `share`: of its time in the server after it was read. What the
    event loop spends on a request, which also reads it and writes the answer, is CPU time, and that of all models.
    """
    shown: list[Json] = [
        {
            "stage": stage,
            "mean_ms": round(seen.stage_ms(stage), 4),
            "share": round(seen.stage_share(stage), 4),
        }
        for stage in STAGES
    ]
    loop_ms = seen.loop_busy * seen.seconds * 1000 / seen.all_requests if seen.all_requests else 0.0
    return [*shown, {"stage": "event_loop_cpu", "mean_ms": round(loop_ms, 4), "share": None}]


def _too_few(seen: Seen) -> Finding:
    where = f" --url {seen.url}" if seen.url else ""
    return Finding(
        "too_few_requests",
        "latency",
        "Too few requests were answered to say more",
        f"{seen.change.requests} in {seen.seconds:.1f} s; at least {FEWEST_REQUESTS} are needed.",
        f"Send requests while this looks, for example with: kserve-v2 bench {seen.change.name}{where}",
    )


# --- requests that got no answer ------------------------------------------------------------------------------------


def _rejected(seen: Seen) -> Finding | None:
    count = seen.change.failures.get("REJECTED", 0)
    if not count:
        return None
    policy = seen.config.dynamic_batching.default_queue_policy
    size, timeout_us = policy.max_queue_size, policy.default_timeout_microseconds
    path = "dynamic_batching.default_queue_policy"
    return Finding(
        "rejected",
        "errors",
        "Requests were refused because they found no room in the queue, or waited too long",
        f"{count} in {seen.seconds:.1f} s, while {seen.change.requests} were answered. max_queue_size is {size}, and "
        f"default_timeout_microseconds {timeout_us}, where 0 is no limit; levels of priority may have others, and "
        "requests time-outs of their own.",
        "Add instances, or let batches be larger: a longer queue helps against short peaks only.",
        f"{path}.max_queue_size" if size else f"{path}.default_timeout_microseconds",
        f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {2 * size} }} }}" if size else "",
    )


def _failing(seen: Seen) -> Finding | None:
    count = seen.change.failures.get("BACKEND", 0)
    if not count:
        return None
    return Finding(
        "failing",
        "errors",
        "Executions of the model fail",
        f"{count} requests in {seen.seconds:.1f} s, while {seen.change.requests} were answered. Each request of a "
        "batch that fails is executed again by itself, which takes longer.",
        "The answers say why, and the server's log has the traceback.",
    )


_FAILURES: tuple[Callable[[Seen], Finding | None], ...] = (_failing, _rejected)


# --- the event loop, which all models share ------------------------------------------------------------------------


def _busy_loop(seen: Seen) -> Finding | None:
    if not seen.loop_full:
        return None
    each = seen.loop_busy * seen.seconds * 1000 / max(1, seen.all_requests)
    of_model = " Executions of this model are part of that, as it is quick." if seen.change.in_place else ""
    return Finding(
        "busy_loop",
        "latency",
        "The event loop, which reads all requests and writes all answers, can do no more",
        f"It computed for {percent(seen.loop_busy)} of the time, {duration(each)} for each of {seen.all_requests} "
        f"requests to all models.{of_model}",
        "Send tensors in binary, or over gRPC, in place of JSON; or more rows with each request; or start a second "
        "server.",
    )


def _no_cpu(seen: Seen) -> Finding | None:
    if not seen.lacks_cpu:
        return None
    return Finding(
        "no_cpu",
        "latency",
        "The event loop waits for a CPU: there is more to compute on this machine than it has CPUs for",
        f"For {percent(seen.loop_waited)} of the time it was ready to go on, and others had the CPUs; it computed for "
        f"{percent(seen.loop_busy)}. The server kept {seen.cpu:.1f} of {seen.cpus} CPUs busy.",
        "If that is nearly all of them, models take them: have fewer threads or instances, or a GPU. If it is much "
        "less, other programs do: give the server CPUs of its own.",
    )


def _late_loop(seen: Seen) -> Finding | None:
    waited_ms = seen.loop_waited * seen.seconds * 1000
    if seen.lag_ms < _LATE_MS or seen.loop_full or seen.lacks_cpu or waited_ms >= seen.lag_ms:
        return None
    return Finding(
        "late_loop",
        "latency",
        "The event loop was held up: meanwhile nobody was answered",
        f"It was late by {duration(seen.lag_ms)}, at the most, though it computed for only {percent(seen.loop_busy)} "
        f"of the time, and waited {duration(waited_ms)} for CPUs in all.",
        "That is what code of a model does that keeps the interpreter's lock. Give the model that does it, which may "
        "be another one, a process of its own; the server's flag --isolate does that for all of a backend.",
        "parameters['isolation']",
        'parameters { key: "isolation" value { string_value: "process" } }',
    )


_LOOP: tuple[Callable[[Seen], Finding | None], ...] = (_no_cpu, _busy_loop, _late_loop)


# --- latency --------------------------------------------------------------------------------------------------------


def _waited(seen: Seen) -> str:
    return (
        f"Requests waited {duration(seen.stage_ms('queue'))} of {duration(seen.latency_ms)} on average "
        f"({percent(seen.stage_share('queue'))})"
    )


def _busy_instances(seen: Seen) -> Finding | None:
    change, config = seen.change, seen.config
    if not change.places or seen.busy < _BUSY or seen.stage_share("queue") < _MOSTLY:
        return None
    if config.HasField("sequence_batching"):
        # More instances are more slots, too: a choice that says more than this sees.
        return None
    evidence = f"{_waited(seen)}, and {_instances(seen)} busy for {percent(seen.busy)} of the time."
    if seen.cpu >= _ALL_CPUS * seen.cpus and not _on_gpu(seen):
        return Finding(
            "busy_cpus",
            "latency",
            "Requests wait for an instance, and all CPUs are busy: more instances would not help",
            f"{evidence} The server kept {seen.cpu:.1f} of {seen.cpus} CPUs busy.",
            "Let batches be larger, if a row of a larger one takes less; or have a smaller or quantized model, or more "
            "CPUs.",
        )
    count = sum(group.count for group in config.instance_group) or 1
    kind = "KIND_GPU" if _on_gpu(seen) else "KIND_CPU"
    return Finding(
        "busy_instances",
        "latency",
        "Requests wait for an instance: all of them are busy",
        f"{evidence} The server kept {seen.cpu:.1f} of {seen.cpus} CPUs busy.",
        f"Add an instance, or let batches be larger. {_locked(config)}What is best, kserve-v2 analyze finds out by "
        "measuring.",
        "instance_group",
        f"instance_group [ {{ kind: {kind} count: {count + 1} }} ]",
    )


def _instances(seen: Seen) -> str:
    places = seen.change.places
    return "the only instance was" if places == 1 else f"the {places} places of its instances were"


def _locked(config: ModelConfig) -> str:
    """What is special to Python code in the server's process."""
    if config.backend != "python":
        return ""
    return (
        "Instances of a handler help as far as its code lets go of the interpreter's lock, as most libraries do; else "
        "give it processes of its own. "
    )


def _on_gpu(seen: Seen) -> bool:
    return any(group.kind == group.KIND_GPU for group in seen.config.instance_group)


def _waiting_for_company(seen: Seen) -> Finding | None:
    config = seen.config
    delay_us = config.dynamic_batching.max_queue_delay_microseconds
    if not delay_us or seen.stage_share("queue") < _MOSTLY or seen.busy >= _BUSY:
        return None
    waited = seen.reason_share("delay_expired")
    if waited < _MOSTLY:
        return None
    return Finding(
        "waiting_for_company",
        "latency",
        "Requests wait for others to join their batch, and not for an instance",
        f"{_waited(seen)}; {percent(waited)} of the batches ran because max_queue_delay_microseconds, {delay_us}, was "
        f"over, and {_instances(seen)} busy for {percent(seen.busy)} of the time.",
        "Let batches wait less, or say how long an answer may take, and the server chooses the delay.",
        "dynamic_batching.max_queue_delay_microseconds",
        f'dynamic_batching {{ }}\nparameters {{ key: "{LATENCY_BUDGET_MS}" value {{ string_value: '
        f'"{max(1, round(3 * seen.stage_ms("compute_infer")))}" }} }}',
    )


def _slow_model(seen: Seen) -> Finding | None:
    if not seen.change.places or seen.stage_share("compute_infer") < _MOSTLY:
        return None
    where = "on the event loop, as it is quick" if seen.change.in_place else "by its instances"
    return Finding(
        "model",
        "latency",
        "Most of the time is in the model itself",
        f"An execution took {duration(seen.stage_ms('compute_infer'))} of the {duration(seen.latency_ms)} that a "
        f"request took on average ({percent(seen.stage_share('compute_infer'))}); it was executed {where}.",
        "Nothing that the server does between requests is to blame. A smaller or quantized model, a GPU, or more "
        "threads for each execution make it faster.",
    )


def _slow_input(seen: Seen) -> Finding | None:
    return _slow_stage(
        seen, "compute_input", "Much of the time is spent on putting requests together into a batch"
    )


def _slow_output(seen: Seen) -> Finding | None:
    return _slow_stage(
        seen, "compute_output", "Much of the time is spent on checking outputs and cutting them up"
    )


def _slow_stage(seen: Seen, stage: str, title: str) -> Finding | None:
    if not seen.change.places or seen.stage_share(stage) < _NOTABLE:
        return None
    return Finding(
        stage,
        "latency",
        title,
        f"It took {duration(seen.stage_ms(stage))} of {duration(seen.latency_ms)} on average "
        f"({percent(seen.stage_share(stage))}).",
        "Send and ask for less: fewer or smaller tensors, only the outputs that are needed, numbers in place of texts.",
    )


def _slow_step(seen: Seen) -> Finding | None:
    if not seen.steps:
        return None
    name = max(seen.steps, key=lambda each: seen.steps[each])
    others = ", ".join(f"'{each}' {duration(ms)}" for each, ms in seen.steps.items())
    return Finding(
        "step",
        "latency",
        f"Of the models that this ensemble is made of, '{name}' takes the longest",
        f"A request to each takes, on average: {others}. One to the ensemble takes {duration(seen.latency_ms)}.",
        f"Look at '{name}' here.",
    )


def _useless_cache(seen: Seen) -> Finding | None:
    if not seen.config.response_cache.enable:
        return None
    if not seen.caches:
        return Finding(
            "no_cache",
            "latency",
            "The model asks for a response cache, and the server has none",
            "response_cache.enable is set in config.pbtxt, and the server was started without --cache-config.",
            "Start the server with a cache.",
            "--cache-config",
            "--cache-config local,size=67108864",
        )
    hits, misses = seen.change.cache_hits, seen.change.cache_misses
    if hits + misses < _LOOKUPS or hits > _HARDLY_ANY * (hits + misses):
        return None
    return Finding(
        "useless_cache",
        "latency",
        "The response cache has hardly any answer that is asked for",
        f"{hits} of {hits + misses} lookups found one: requests differ from each other.",
        "Without the cache each of them is spared the lookup, and the memory is free.",
        "response_cache",
        "response_cache { enable: false }",
    )


_LATENCY: tuple[Callable[[Seen], Finding | None], ...] = (
    _busy_instances,
    _waiting_for_company,
    _slow_step,
    _slow_model,
    _slow_input,
    _slow_output,
    _useless_cache,
)


def _threads(seen: Seen) -> Iterator[Finding]:
    """More threads than CPUs: what `check` says of the configuration, while it matters."""
    if seen.busy < _NOTABLE:
        return
    written = [f"instance_group[{index}].count" for index in range(len(seen.config.instance_group))]
    for advice in unwise(seen.config, written, Machine(seen.cpus)):
        if advice.rule is Rule.THREADS:
            yield Finding(
                "threads",
                "latency",
                "More threads compute than there are CPUs, and take them from each other",
                f"{advice.field}: {advice.message}. They were busy for {percent(seen.busy)} of the time, with "
                f"{seen.cpu:.1f} of {seen.cpus} CPUs.",
                f"Set {advice.instead}.",
                advice.field,
            )
