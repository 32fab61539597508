"""Sessions, entries and commands that the tests of the store use."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from shared.ids import new_session_id
from shared.session.log import (
    ErrorRecorded,
    StateChanged,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolStatus,
    TurnStatus,
    UserTurn,
)
from shared.session.model import Session, SessionState, Transport
from shared.store.ownership import Ownership
from shared.store.sessions import SessionStore

RETENTION_S = 3600


def a_session(**changes: object) -> Session:
    values: dict[str, object] = {
        "session_id": new_session_id(),
        "state": SessionState.CREATED,
        "transport": Transport.WEBRTC,
        "agent": "member_services",
        "agent_version": "0a1b2c",
        "principal": "key:0011223344556677",
        "created_at_ms": time.time_ns() // 1_000_000,
        "variables": {"first_name": "Zoë"},
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return Session(**(values | changes))  # type: ignore[arg-type]  # the values are the fields


async def a_stored_session(redis: Redis, **changes: object) -> str:
    session = a_session(**changes)
    await SessionStore(redis, retention_s=RETENTION_S).create(session)
    return session.session_id


async def an_owned_session(redis: Redis, worker: str = "w1", **changes: object) -> tuple[str, int]:
    session_id = await a_stored_session(redis, **changes)
    epoch = await Ownership(redis, lease_ttl_s=30).acquire(session_id, worker)
    assert epoch is not None
    return session_id, epoch


def a_turn(text: str = "Hello", at_ms: int = 10) -> UserTurn:
    return UserTurn(item_id="item_1", text=text, status=TurnStatus.COMPLETED, spoken_at_ms=at_ms, at_ms=at_ms)


def an_error(code: str) -> ErrorRecorded:
    return ErrorRecorded(source="worker", code=code, detail="", at_ms=1)


def a_move(state: SessionState, at_ms: int = 20) -> StateChanged:
    return StateChanged(state=state.value, at_ms=at_ms)


def tool_called(call: str, arguments: str = "{}") -> ToolCalled:
    return ToolCalled(
        tool_call_id=call,
        name="claim_status",
        arguments=arguments,
        execution=ToolExecution.INLINE,
        response_id="resp_1",
        at_ms=30,
    )


def tool_finished(call: str, output: str = '{"ok":true}') -> ToolFinished:
    return ToolFinished(
        tool_call_id=call,
        name="claim_status",
        status=ToolStatus.OK,
        output=output,
        duration_ms=1.5,
        at_ms=40,
    )
