"""Every name that telemetry uses: spans, attributes, metrics. Names only.

`gen_ai.*` follows OpenTelemetry's semantic conventions for generative AI as released in
opentelemetry-semantic-conventions 0.66b1 (status: development); ours start with `sidetone.`.
None of these attributes ever holds content: no transcript, no tool argument, no result.
"""

from __future__ import annotations

from typing import Final

# Spans of the control plane.
SPAN_CALL_REGISTER: Final = "call.register"

# Spans of the data plane.
SPAN_ATTACH: Final = "call.attach"

# Span names of the GenAI conventions: the operation, then what it works on.
OPERATION_CHAT: Final = "chat"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"

# Attributes of the GenAI conventions.
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # an attribute's name
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
ERROR_TYPE: Final = "error.type"  # the Azure Monitor exporter leaves it out, hence ERROR_CODE below

# Values of gen_ai.provider.name.
PROVIDER_AZURE_OPENAI: Final = "azure.ai.openai"
PROVIDER_OPENAI: Final = "openai"

# Attributes of our own.
SESSION_ID: Final = "sidetone.session.id"
CALL_ID: Final = "sidetone.call.id"
TRANSPORT: Final = "sidetone.transport"
WORKER: Final = "sidetone.worker"
EPOCH: Final = "sidetone.epoch"
TURN_STATUS: Final = "sidetone.turn.status"
TURN_FIRST_AUDIO_MS: Final = "sidetone.turn.first_audio_ms"
TOOL_STATUS: Final = "sidetone.tool.status"
TOOL_EXECUTION: Final = "sidetone.tool.execution"
END_REASON: Final = "sidetone.end_reason"
STEP: Final = "sidetone.step"
ERROR_CODE: Final = "sidetone.error.code"
CANCELLED: Final = "sidetone.cancelled"

# Metrics.
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  # a metric's name
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_FIRST_AUDIO: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_TOOL_DURATION: Final = "sidetone.tool.duration"
METRIC_ATTACH_DURATION: Final = "sidetone.attach.duration"
METRIC_SESSIONS_LIVE: Final = "sidetone.sessions.live"
METRIC_SESSIONS_STARTED: Final = "sidetone.sessions.started"
METRIC_SESSIONS_ENDED: Final = "sidetone.sessions.ended"
METRIC_INTERRUPTIONS: Final = "sidetone.turns.interrupted"
METRIC_REFUSED: Final = "sidetone.requests.refused"
METRIC_PROVIDER_ERRORS: Final = "sidetone.provider.errors"
