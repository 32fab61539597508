"""Keep the MCP SDK from writing down what servers send: importing this is enough.

Its log records and the exceptions in its spans hold answers and errors word for word, and so what callers
said. They would go out beside our own records and spans, which are redacted and tell the same.
"""

from __future__ import annotations

import logging

from mcp.shared import _otel
from opentelemetry.trace import NoOpTracer

logging.getLogger("mcp").setLevel(logging.CRITICAL)
# Trace context still travels in `_meta`: that of our span around the call.
_otel._tracer = NoOpTracer()  # pyright: ignore[reportPrivateUsage]  there is no public switch
