"""Operations that only our own workers call."""

from __future__ import annotations

from functions.routes.operation import Access, Answer, Operation

START_TOOL_CALL = Operation(
    name="start_tool_call",
    method="POST",
    path="v1/sessions/{session_id}/tool-calls",
    access=Access.WORKER,
    tag="internal",
    summary="Start the orchestration of a durable tool call; starting it twice is harmless",
    request="StartDurableTool",
    answers=(Answer(status=202, description="It runs, or has run.", body="Accepted"),),
    problems={400: ("invalid_body",), 404: ("session_not_found",)},
)
ADJUST_RECORDING = Operation(
    name="adjust_recording",
    method="POST",
    path="v1/sessions/{session_id}/recording",
    access=Access.WORKER,
    tag="internal",
    summary="Have the session's call recorded, or not, as its log says by now; asking twice is harmless",
    request="AdjustRecording",
    answers=(Answer(status=202, description="It is as wanted, or its log says why not.", body="Accepted"),),
    problems={
        400: ("invalid_body",),
        404: ("session_not_found",),
        503: ("call_not_established", "recording_busy", "carrier_unavailable", "carrier_rate_limited"),
    },
)
REPORT_LIFECYCLE = Operation(
    name="report_lifecycle",
    method="POST",
    path="v1/sessions/{session_id}/lifecycle",
    access=Access.WORKER,
    tag="internal",
    summary="Tell the session's orchestration that it was attached or has ended; twice or late is harmless",
    request="LifecycleEvent",
    answers=(Answer(status=202, description="Noted.", body="Accepted"),),
    problems={400: ("invalid_body",)},
)
