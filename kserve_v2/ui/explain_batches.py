"""Why batches are as small as they are: pure rules, each of which tells what it has seen. The first that holds of those
that exclude each other is the reason.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.ui.findings import Finding, Seen, duration, percent

# Fewer requests than this at a time, on average, and there is nothing to merge.
_COMPANY = 1.2
# A batch is as large as it can be with so many requests in flight, if it has this part of them.
_NEARLY_ALL = 0.6
_MOSTLY = 0.5
_OFTEN = 0.2
# A batch that has less than this part of what it may have is small.
_SMALL = 0.5
_SHORTEST_DELAY_US, _LONGEST_DELAY_US = 100, 20_000
_LITTLE_WORK = 0.5


def explain_batches(seen: Seen) -> Iterator[Finding]:
    """What there is to say."""
    if not seen.batches or seen.config.HasField("sequence_batching"):
        # How many sequences go on at the same time is their clients' choice.
        return
    first = next((found for rule in _RULES if (found := rule(seen)) is not None), None)
    if first is not None:
        yield first
    for rule in (_shapes, _preferred_sizes):
        found = rule(seen)
        if found is not None:
            yield found


def _merges(config: ModelConfig) -> bool:
    return config.max_batch_size > 1 and config.HasField("dynamic_batching")


def _small(seen: Seen) -> bool:
    return seen.mean_rows < _SMALL * seen.config.max_batch_size


def _batch(seen: Seen) -> str:
    return f"{seen.batches} batches had {seen.mean_rows:.1f} rows on average"


def _refused(seen: Seen) -> Finding | None:
    if not seen.refusal or _merges(seen.config):
        return None
    return Finding(
        "merging_refused",
        "batch",
        "Requests are not merged: a trial has shown that their answers would change, or could not show that they would "
        "not",
        f"When the model was loaded it was tried with made-up rows: {seen.refusal}. {_batch(seen)}.",
        "If rows do not depend on each other all the same, say so; then requests are merged whatever the trial shows.",
        "dynamic_batching",
        "dynamic_batching { }",
    )


def _quick(seen: Seen) -> Finding | None:
    """What comes while the loop executes another one waits where nobody counts it."""
    if not (seen.change.in_place and _merges(seen.config) and _small(seen)) or not seen.loop_full:
        return None
    return Finding(
        "quick_model",
        "batch",
        "The model is so quick that requests are executed as they are read, on the event loop",
        f"An execution took {duration(seen.stage_ms('compute_infer'))}, less than handing it to an instance's thread; "
        f"{_batch(seen)}.",
        "Larger batches need more rows in each request. Merging would take longer than it saves.",
    )


def _one_at_a_time(seen: Seen) -> Finding | None:
    # Those that came in bursts have met, however seldom that was.
    met = seen.mean_rows >= _COMPANY * seen.rows_per_request
    if met or seen.in_flight >= _COMPANY or not (_merges(seen.config) and _small(seen)):
        return None
    return Finding(
        "one_at_a_time",
        "batch",
        "Requests come one at a time, so there is nothing to merge",
        f"On average {seen.in_flight:.2f} requests were in the server at a time; {_batch(seen)}.",
        "Send requests at the same time, from several connections, or more rows with each of them. No option of the "
        "server makes batches of requests that do not meet.",
    )


def _without_batch(seen: Seen) -> Finding | None:
    config = seen.config
    if config.max_batch_size or seen.in_flight < _COMPANY or config.HasField("ensemble_scheduling"):
        return None
    tensors: list[Any] = [*config.input, *config.output]
    if not (config.input and all(list(tensor.dims[:1]) == [-1] for tensor in tensors)):
        return None
    return Finding(
        "no_batch_dimension",
        "batch",
        "Each request is an execution of its own: the model is served without a batch dimension",
        f"max_batch_size is 0, and {seen.in_flight:.1f} requests were in the server at a time. The first dimension of "
        "every tensor varies, so it may be the batch.",
        "If it is, say how many rows a batch may have, and leave the first dimension out of dims.",
        "max_batch_size",
        "max_batch_size: 8\ndynamic_batching { }",
    )


def _without_batcher(seen: Seen) -> Finding | None:
    config = seen.config
    if (
        config.max_batch_size < 2
        or config.WhichOneof("scheduling_choice") is not None
        or config.model_transaction_policy.decoupled
        or seen.in_flight < _COMPANY
    ):
        return None
    return Finding(
        "no_dynamic_batching",
        "batch",
        "Requests are not merged: the model has no dynamic_batching",
        f"max_batch_size is {config.max_batch_size}, {seen.in_flight:.1f} requests were in the server at a time, and "
        f"{percent(seen.reason_share('not_batchable'))} of the batches were one request.",
        "Have requests merged that wait at the same time.",
        "dynamic_batching",
        "dynamic_batching { }",
    )


def _full(seen: Seen) -> Finding | None:
    config = seen.config
    share = seen.reason_share("full")
    if not _merges(config) or share < _MOSTLY or seen.stage_share("queue") < _OFTEN:
        return None
    return Finding(
        "full",
        "batch",
        "Batches are as large as they may be, and requests wait",
        f"{percent(share)} of {seen.batches} batches were full, with a max_batch_size of {config.max_batch_size}; "
        f"requests waited {duration(seen.stage_ms('queue'))} of {duration(seen.latency_ms)}.",
        "Allow larger batches, if the model takes less for each row of a larger one.",
        "max_batch_size",
        f"max_batch_size: {2 * config.max_batch_size}",
    )


def _few_in_flight(seen: Seen) -> Finding | None:
    """Waiting would bring nothing: what could join is in the batch already."""
    most = seen.in_flight * seen.rows_per_request
    if not (_merges(seen.config) and _small(seen)) or seen.mean_rows < _NEARLY_ALL * most:
        return None
    return Finding(
        "few_in_flight",
        "batch",
        "A batch has nearly all requests that there are: more are not in flight",
        f"On average {seen.in_flight:.1f} requests with {seen.rows_per_request:.1f} rows were in the server at a time; "
        f"{_batch(seen)}.",
        "Have more requests sent at the same time. Clients that wait for an answer before they send the next request "
        "limit batches to as many as there are.",
    )


def _without_delay(seen: Seen) -> Finding | None:
    config = seen.config
    waits = config.dynamic_batching.max_queue_delay_microseconds or LATENCY_BUDGET_MS in config.parameters
    share = seen.reason_share("no_delay")
    if not (_merges(config) and _small(seen)) or waits or share < _MOSTLY:
        return None
    delay_us = _useful_delay_us(seen)
    advice = "Let a batch wait for others to join it."
    if seen.busy < _LITTLE_WORK:
        advice += (
            f" It is not needed now: instances were busy for {percent(seen.busy)} of the time, so larger batches would "
            "make each request slower, and save work that nobody lacks."
        )
    return Finding(
        "no_delay",
        "batch",
        "No batch waits for more requests: an instance that is free takes what is there",
        f"max_queue_delay_microseconds is 0; {percent(share)} of the batches ran for that reason. {_batch(seen)}, of "
        f"{config.max_batch_size} that it may have, and {seen.rows_per_second:.0f} rows came each second.",
        advice,
        "dynamic_batching.max_queue_delay_microseconds",
        f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}",
    )


def _useful_delay_us(seen: Seen) -> int:
    """In which twice as many rows come as a batch has now, within bounds, in a round number."""
    wanted = min(seen.config.max_batch_size, 2 * seen.mean_rows) - seen.mean_rows
    delay_us = 1e6 * max(1.0, wanted) / max(seen.rows_per_second, 1.0)
    return int(round(min(max(delay_us, _SHORTEST_DELAY_US), _LONGEST_DELAY_US), -2))


def _too_rare(seen: Seen) -> Finding | None:
    delay_us = seen.config.dynamic_batching.max_queue_delay_microseconds
    share = seen.reason_share("delay_expired")
    if not (_merges(seen.config) and _small(seen)) or not delay_us or share < _MOSTLY:
        return None
    come = seen.rows_per_second * delay_us / 1e6
    return Finding(
        "too_rare",
        "batch",
        "The delay is over before a batch is full: requests come too rarely for it",
        f"{percent(share)} of the batches ran because max_queue_delay_microseconds, {delay_us}, was over. "
        f"{seen.rows_per_second:.0f} rows came each second, which is {come:.1f} in that time; {_batch(seen)}.",
        "A longer delay makes larger batches, and each request slower by as much; a shorter one, or none, makes each "
        "request faster.",
        "dynamic_batching.max_queue_delay_microseconds",
        f"dynamic_batching {{ max_queue_delay_microseconds: {2 * delay_us} }}",
    )


_RULES: tuple[Callable[[Seen], Finding | None], ...] = (
    _refused,
    _without_batch,
    _without_batcher,
    _quick,
    _one_at_a_time,
    _full,
    _too_rare,
    _few_in_flight,
    _without_delay,
)


def _shapes(seen: Seen) -> Finding | None:
    share = seen.reason_share("shape_mismatch")
    if not _merges(seen.config) or share < _OFTEN:
        return None
    return Finding(
        "shape_mismatch",
        "batch",
        "Requests of different shapes, or with different parameters, cannot share a batch",
        f"{percent(share)} of {seen.batches} batches ran as they were because the next request did not fit.",
        "Send the same shapes, or have shorter rows padded, if the model leaves out what they are padded with.",
        "parameters['pad_variable_dims']",
        _padding(seen.config),
    )


def _padding(config: ModelConfig) -> str:
    """The parameter for the tensors whose size varies: an author has to look at the outputs."""
    inputs = [tensor.name for tensor in config.input if -1 in tensor.dims]
    outputs = [tensor.name for tensor in config.output if -1 in tensor.dims]
    if not inputs:
        return ""
    padded = {"inputs": dict.fromkeys(inputs, 0), "outputs": dict.fromkeys(outputs, inputs[0])}
    return f"parameters {{ key: \"pad_variable_dims\" value {{ string_value: '{json.dumps(padded)}' }} }}"


def _preferred_sizes(seen: Seen) -> Finding | None:
    config = seen.config
    batching = config.dynamic_batching
    sizes = sorted(batching.preferred_batch_size)
    if not _merges(config) or sizes in ([], [config.max_batch_size]) or seen.batches < 10:
        return None
    if any(size in seen.change.batches for size in sizes):
        return None
    delay_us = batching.max_queue_delay_microseconds
    why = (
        "nothing waits until a batch has one of them: max_queue_delay_microseconds is 0"
        if not delay_us
        else f"in max_queue_delay_microseconds, {delay_us}, not so many rows come together"
    )
    common = max(seen.change.batches, key=lambda size: seen.change.batches[size].executions)
    return Finding(
        "preferred_not_met",
        "batch",
        "No batch had a preferred size",
        f"preferred_batch_size is {', '.join(map(str, sizes))}; the most frequent size of {seen.batches} batches was "
        f"{common}: {why}.",
        "Leave preferred_batch_size out, unless the model is made for these sizes; then let batches wait longer.",
        "dynamic_batching.preferred_batch_size",
        f"dynamic_batching {{ max_queue_delay_microseconds: {max(delay_us, 500)} }}",
    )
