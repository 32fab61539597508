"""Where telemetry goes: Application Insights, an OTLP collector, or nowhere; chosen by settings alone.

The SDKs and exporters are imported only here and only when something is exported: together they
take longer to load than all of the product. Automatic instrumentation stays off; the spans are ours.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from shared.settings import CommonSettings
from shared.telemetry.logs import ROOT_LOGGER, get_logger, protect, silence_stderr

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential
    from opentelemetry.sdk.resources import Resource

_log = get_logger(__name__)
_lock = threading.Lock()
_configured = False


@runtime_checkable
class _Provider(Protocol):
    def shutdown(self) -> None: ...


_providers: list[_Provider] = []

_INSTRUMENTATIONS: Final = (
    "azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3",
)  # fmt: skip
_CONNECTION_STRING: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_OTLP_DELAY_MS: Final = 1000


def configure_telemetry(settings: CommonSettings, *, role: str) -> None:
    """Export traces, metrics and our logs as the settings say; `role` becomes the service's name.

    With a connection string they go to Azure Monitor, else with an OTLP endpoint there (OTLP over HTTP),
    else nowhere. A second call does nothing, and neither does a process whose host has already set
    OpenTelemetry up. Takes about a second when something is exported; call it once, at the start.
    """
    global _configured
    with _lock:
        if _configured:
            return
        _configured = True
    exporting = bool(settings.applicationinsights_connection_string or settings.otel_exporter_otlp_endpoint)
    if not exporting:
        return
    if _configured_by_host():
        _log.info("telemetry is already configured by the host")
    elif settings.applicationinsights_connection_string is not None:
        _export_to_azure_monitor(
            settings, settings.applicationinsights_connection_string.get_secret_value(), role
        )
    else:
        _export_to_otlp(settings, role)
    for handler in logging.getLogger(ROOT_LOGGER).handlers:
        protect(handler, role=role)


def shutdown_telemetry(timeout_s: float = 3.0) -> None:
    """Send what is still buffered and stop the exporters, within `timeout_s`. Blocks; idempotent.

    It also runs when the process exits, so that a collector that does not answer cannot hold it up: the
    SDK alone would wait for up to half a minute.
    """
    with _lock:
        providers = tuple(_providers)
        _providers.clear()
    stopping = [
        threading.Thread(target=provider.shutdown, name="telemetry-shutdown", daemon=True)
        for provider in providers
    ]
    deadline = time.monotonic() + timeout_s
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join(max(0.0, deadline - time.monotonic()))


def _own(providers: Iterable[object]) -> None:
    """Take the stopping of `providers` out of the SDK's hands, which at exit has no limit of time."""
    for provider in providers:
        if isinstance(provider, _Provider):
            atexit.unregister(provider.shutdown)
            _providers.append(provider)
    atexit.register(shutdown_telemetry)


def _configured_by_host() -> bool:
    from opentelemetry import trace

    return hasattr(trace.get_tracer_provider(), "add_span_processor")


def _export_to_azure_monitor(settings: CommonSettings, connection_string: str, role: str) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor
    from opentelemetry import metrics, trace
    from opentelemetry._logs import get_logger_provider

    if _CONNECTION_STRING in os.environ:
        # The exporter parses the variable too, whatever it is given, and fails on a trailing `;`.
        os.environ[_CONNECTION_STRING] = connection_string
    options: dict[str, object] = {}
    credential = _ingestion_credential(settings.applicationinsights_authentication_string)
    if credential is not None:
        options["credential"] = credential
    configure_azure_monitor(
        connection_string=connection_string,
        sampling_ratio=settings.telemetry_sampling_ratio,  # without it, 5 traces a second are kept
        logger_name=ROOT_LOGGER,
        enable_live_metrics=settings.telemetry_live_metrics,
        enable_performance_counters=False,
        instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTATIONS},
        resource=_resource(settings, role),
        **options,
    )
    _own((trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()))
    if "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        silence_stderr()  # the Functions host would export each line of stderr once more


def _ingestion_credential(authentication: str) -> DefaultAzureCredential | None:
    """Return the credential for Entra ingestion where the platform's setting asks for it.

    The form is App Service's APPLICATIONINSIGHTS_AUTHENTICATION_STRING: "Authorization=AAD", followed by
    ";ClientId=…" for a user-assigned identity.
    """
    pairs = (part.partition("=") for part in authentication.split(";") if part.strip())
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    if fields.get("authorization", "").upper() != "AAD":
        return None
    from azure.identity import DefaultAzureCredential

    client_id = fields.get("clientid")
    return (
        DefaultAzureCredential(managed_identity_client_id=client_id)
        if client_id
        else DefaultAzureCredential()
    )


def _export_to_otlp(settings: CommonSettings, role: str) -> None:
    from opentelemetry import metrics, trace
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    base = settings.otel_exporter_otlp_endpoint
    resource = _resource(settings, role)
    tracing = TracerProvider(
        resource=resource, sampler=ParentBasedTraceIdRatio(settings.telemetry_sampling_ratio)
    )
    tracing.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{base}/v1/traces"), schedule_delay_millis=_OTLP_DELAY_MS
        )
    )
    trace.set_tracer_provider(tracing)

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
    measuring = MeterProvider(resource=resource, metric_readers=[reader])
    metrics.set_meter_provider(measuring)

    recording = LoggerProvider(resource=resource)
    recording.add_log_record_processor(
        BatchLogRecordProcessor(
            OTLPLogExporter(endpoint=f"{base}/v1/logs"), schedule_delay_millis=_OTLP_DELAY_MS
        )
    )
    set_logger_provider(recording)
    logging.getLogger(ROOT_LOGGER).addHandler(LoggingHandler(logger_provider=recording))
    _own((tracing, measuring, recording))


def _resource(settings: CommonSettings, role: str) -> Resource:
    from opentelemetry.sdk.resources import Resource

    instance = getattr(settings, "worker_id", "") or f"{socket.gethostname()}-{os.getpid()}"
    return Resource.create({"service.name": role, "service.instance.id": str(instance)})
