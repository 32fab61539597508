"""What a worker tells the control plane, through the outbox: stored first, delivered by any worker."""

from __future__ import annotations

from realtime_worker.commits import until_redis_answers
from shared.session.jobs import LifecycleEvent
from shared.store.outbox import Outbox


async def report_lifecycle(
    outbox: Outbox, event: str, session_id: str, reason: str = "", traceparent: str = ""
) -> None:
    """Tell the session's orchestration that it was `attached` or has `ended`, once."""
    message = LifecycleEvent(session_id=session_id, event=event, reason=reason, traceparent=traceparent)
    await until_redis_answers(lambda: outbox.put(message, dedupe=f"{session_id}.{event}"))
