"""`pydantic_ai_calls.py WS_URL`: sidebands held by pydantic-ai's realtime session."""

from __future__ import annotations

import sys

from commands import run
from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import WebRTCSession
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

BASE_URL = sys.argv[1].replace("ws", "http", 1).removesuffix("/realtime")
MODEL = OpenAIRealtimeModel("gpt-realtime", provider=OpenAIProvider(base_url=BASE_URL, api_key="none"))
AGENT = Agent(instructions="Repeat what you are given.")


@AGENT.tool_plain
async def echo(number: int) -> dict[str, int]:
    """Return the number."""
    return {"number": number}


async def attach(call_id: str) -> None:
    """Hold the call; take every event, as an application does."""
    call = WebRTCSession(MODEL.system, session_id=call_id)
    async with AGENT.realtime(MODEL).session(provider_session=call) as session:
        async for _ in session:
            pass


if __name__ == "__main__":
    run(attach)
