"""`openai_agents_calls.py WS_URL`: sidebands held by openai-agents' RealtimeSession and its call-id model."""

from __future__ import annotations

import sys

from commands import run

from agents import function_tool, set_tracing_disabled
from agents.realtime import OpenAIRealtimeSIPModel, RealtimeAgent, RealtimeRunner

URL = sys.argv[1]


@function_tool
async def echo(number: int) -> dict[str, int]:
    """Return the number."""
    return {"number": number}


async def attach(call_id: str) -> None:
    """Hold the call; take every event, as an application does."""
    agent = RealtimeAgent(name="echo", instructions="Repeat what you are given.", tools=[echo])
    runner = RealtimeRunner(agent, model=OpenAIRealtimeSIPModel(), config={"tracing_disabled": True})
    address = {"call_id": call_id, "url": f"{URL}?call_id={call_id}", "api_key": "none"}
    async with await runner.run(model_config=address) as session:
        async for event in session:
            if event.type == "error":
                print("error", event.error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    set_tracing_disabled(True)
    run(attach)
