"""A process that exports telemetry as a plane would: `… ROLE [TRACEPARENT]`; prints its traceparent.

What it says contains secrets and personal data on purpose: none of it may arrive anywhere.
"""

from __future__ import annotations

import sys
import time

from shared.errors import NotFoundError
from shared.settings import CommonSettings, load_settings
from shared.telemetry import metrics, names
from shared.telemetry.logs import bind_session, configure_logging, get_logger
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry
from shared.telemetry.trace_context import span, start_span

SESSION_ID = "ses_0123456789abcdefghjkmnpqrs"
PERSONAL = ("555-123-4567", "jane@example.com", "hunter2hunter2", "Jane Doe")


def main(role: str, parent: str) -> None:
    """Make one trace of three spans, with logs and metrics, and send it."""
    settings = load_settings(CommonSettings, env_file=None)
    configure_logging(settings.log_level, role=role)
    configure_telemetry(settings, role=role)
    configure_telemetry(settings, role=role)
    log = get_logger("program")
    metrics.observe_live_sessions(lambda: 3)
    with bind_session(SESSION_ID), span("call.attach", parent=parent, kind="consumer") as attach:
        attach.set_attribute(names.SESSION_ID, SESSION_ID)
        attach.set_attribute("sidetone.note", f"{PERSONAL[0]} and {PERSONAL[1]}, Bearer {PERSONAL[2]}")
        attach.set_attribute("gen_ai.tool.call.arguments", PERSONAL[3])
        print(attach.traceparent, flush=True)
        log.info("called from %s", PERSONAL[0], extra={"note": PERSONAL[1], "text": PERSONAL[3], "tries": 2})
        run_failing_tool()
        spoken_at_ms = time.time_ns() // 1_000_000
        turn = start_span("conversation.turn", at_ms=spoken_at_ms)
        turn.end(at_ms=spoken_at_ms + 250)
    metrics.record_tool(12.5, tool="claim_status", execution="inline", status="ok")
    shutdown_telemetry(10)


def run_failing_tool() -> None:
    """Fail with an error that quotes a caller."""
    try:
        with span("execute_tool claim_status"):
            try:
                raise ValueError(f"no member {PERSONAL[3]}, {PERSONAL[0]}, sk-{PERSONAL[2]}")
            except ValueError as error:
                raise NotFoundError("no_such_claim", "There is no such claim.") from error
    except NotFoundError:
        get_logger("tools").exception("tool failed", extra={"token": PERSONAL[2]})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
