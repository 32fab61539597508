"""The measurements of both planes. Free of cost until `configure_telemetry` has set an exporter.

Durations come in as milliseconds, as everywhere in the product, and are recorded in seconds, as the
conventions want. Labels have few values: pass "unknown" for a tool that no agent has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation

from shared.telemetry import names

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))


@dataclass(frozen=True, kw_only=True)
class _Instruments:
    tool_duration: Histogram
    first_audio: Histogram
    response_duration: Histogram
    attach_duration: Histogram
    token_usage: Histogram
    started: Counter
    ended: Counter
    interruptions: Counter
    refused: Counter
    provider_errors: Counter


@cache
def _instruments() -> _Instruments:
    meter = metrics.get_meter("sidetone")

    def seconds(name: str, description: str) -> Histogram:
        return meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=_SECONDS
        )

    return _Instruments(
        tool_duration=seconds(
            names.METRIC_TOOL_DURATION, "A tool call, from function call to recorded output"
        ),
        first_audio=seconds(names.METRIC_FIRST_AUDIO, "From the end of the caller's speech to first audio"),
        response_duration=seconds(names.METRIC_OPERATION_DURATION, "A response of the model"),
        attach_duration=seconds(names.METRIC_ATTACH_DURATION, "From attach job to a configured sideband"),
        token_usage=meter.create_histogram(
            names.METRIC_TOKEN_USAGE,
            unit="{token}",
            description="Tokens billed for one response",
            explicit_bucket_boundaries_advisory=_TOKENS,
        ),
        started=meter.create_counter(names.METRIC_SESSIONS_STARTED, "{session}", "Sessions created"),
        ended=meter.create_counter(names.METRIC_SESSIONS_ENDED, "{session}", "Sessions ended, by reason"),
        interruptions=meter.create_counter(names.METRIC_INTERRUPTIONS, "{turn}", "Turns the caller cut off"),
        refused=meter.create_counter(names.METRIC_REFUSED, "{request}", "Requests refused, by code"),
        provider_errors=meter.create_counter(
            names.METRIC_PROVIDER_ERRORS, "{error}", "Failures of the provider"
        ),
    )


def record_tool(duration_ms: float, *, tool: str, execution: str, status: str) -> None:
    """Count a finished tool call. `execution` is a ToolExecution, `status` a ToolStatus."""
    labels = {names.GEN_AI_TOOL_NAME: tool, names.TOOL_EXECUTION: execution, names.TOOL_STATUS: status}
    _instruments().tool_duration.record(duration_ms / 1000, labels)


def record_first_audio(duration_ms: float, *, provider: str, model: str) -> None:
    """Record how long a caller waited for the first sound of an answer."""
    _instruments().first_audio.record(duration_ms / 1000, _model(provider, model))


def record_response(duration_ms: float, *, provider: str, model: str, error: str = "") -> None:
    """Record how long a response of the model took; `error` is a code, "" when it completed."""
    labels = _model(provider, model)
    if error:
        labels[names.ERROR_TYPE] = error
    _instruments().response_duration.record(duration_ms / 1000, labels)


def record_tokens(*, input_tokens: int, output_tokens: int, provider: str, model: str) -> None:
    """Record what one response was billed."""
    labels = _model(provider, model)
    usage = _instruments().token_usage
    usage.record(input_tokens, {**labels, names.GEN_AI_TOKEN_TYPE: "input"})
    usage.record(output_tokens, {**labels, names.GEN_AI_TOKEN_TYPE: "output"})


def record_attach(duration_ms: float, *, transport: str, takeover: bool = False) -> None:
    """Record how long it took from the job to a sideband that speaks for the agent."""
    _instruments().attach_duration.record(
        duration_ms / 1000, {names.TRANSPORT: transport, "sidetone.takeover": takeover}
    )


def count_session_started(*, transport: str, agent: str) -> None:
    """Count a created session."""
    _instruments().started.add(1, {names.TRANSPORT: transport, names.GEN_AI_AGENT_NAME: agent})


def count_session_ended(*, transport: str, reason: str) -> None:
    """Count an ended session. `reason` is an EndReason."""
    _instruments().ended.add(1, {names.TRANSPORT: transport, names.END_REASON: reason})


def count_interruption(*, agent: str) -> None:
    """Count a turn of the agent that the caller spoke over."""
    _instruments().interruptions.add(1, {names.GEN_AI_AGENT_NAME: agent})


def count_refused(*, code: str) -> None:
    """Count a request that was refused. `code` is a SidetoneError's."""
    _instruments().refused.add(1, {names.ERROR_TYPE: code})


def count_provider_error(*, provider: str, code: str) -> None:
    """Count a failure on the provider's side."""
    _instruments().provider_errors.add(1, {names.GEN_AI_PROVIDER: provider, names.ERROR_TYPE: code})


def observe_live_sessions(count: Callable[[], int]) -> None:
    """Report what `count` returns as the number of sessions that this process holds; call it once."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count())]

    metrics.get_meter("sidetone").create_observable_gauge(
        names.METRIC_SESSIONS_LIVE, [observe], unit="{session}", description="Sessions held by this process"
    )


def _model(provider: str, model: str) -> dict[str, str | int | float | bool]:
    return {
        names.GEN_AI_OPERATION: names.OPERATION_CHAT,
        names.GEN_AI_PROVIDER: provider,
        names.GEN_AI_REQUEST_MODEL: model,
    }
