"""Calls that are up, for tests of what happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.integration.functions.playing_worker import attach
from tests.integration.telephony.stage import Stage


@dataclass(frozen=True)
class Up:
    """A call that is up: its id at the carrier, its session, and the token that the carrier signed last."""

    call_id: str
    session_id: str
    authorization: str


async def inbound(stage: Stage, *, talking: bool = False, **ring: object) -> Up:
    """Let a call come in until it is up; with `talking`, a worker (the test) holds its session."""
    call = await stage.line.ring(**ring)
    await stage.line.becomes(call["id"], "connected")
    return await _up(stage, call["id"], talking=talking)


async def outbound(stage: Stage, *, talking: bool = False, **body: object) -> Up:
    """Call somebody who answers."""
    placed = await place(stage, **body)
    await stage.line.becomes(placed["call_id"], "connected")
    return await _up(stage, placed["call_id"], talking=talking)


async def place(stage: Stage, **body: object) -> Any:
    """Ask for a call; it must be taken."""
    reply = await stage.api.post("/calls", {"to": "+15550100", "agent": "plain", **body})
    assert reply.status == 202, reply
    return reply.json


async def _up(stage: Stage, call_id: str, *, talking: bool) -> Up:
    socket = await stage.media.of_call(call_id)
    await stage.line.told(call_id, "CallConnected")
    await stage.line.told(call_id, "MediaStreamingStarted")
    if talking:
        await attach(stage.redis, socket.session_id)
    return Up(call_id, socket.session_id, socket.authorization)
