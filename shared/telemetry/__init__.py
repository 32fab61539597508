"""Traces, metrics and logs of both planes, through OpenTelemetry."""
