"""An OTLP/HTTP sink that keeps the last traces in memory and draws them as text.

For development: point OTEL_EXPORTER_OTLP_ENDPOINT at it and look at
`GET /traces/{trace_id}/waterfall`. Protocol: OpenTelemetry Protocol 1.x over HTTP, binary protobuf.
"""
