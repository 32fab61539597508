"""A chat endpoint as the mind: streamed sentences, tool calls, failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from emulators.realtime.mind.choice import choose_mind
from tests.support.realtime_emulator import FAST, SESSION, running_emulator


class ChatServer:
    """A tiny OpenAI-compatible endpoint: streams what is scripted, records what was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []
        self.script: list[list[dict[str, object]]] = []
        self.url = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        if not self.script:
            return web.json_response({"error": {"message": "out of order"}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for delta in self.script.pop(0):
            chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def chat() -> AsyncIterator[ChatServer]:
    chat = ChatServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat.complete)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    chat.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield chat
    await runner.cleanup()


async def test_the_endpoint_answers_and_calls_tools(chat: ChatServer) -> None:
    chat.script = [
        [
            {"content": "Let me look. O"},
            {"content": "ne moment."},
            {
                "tool_calls": [
                    {"index": 0, "id": "x", "function": {"name": "get_claim", "arguments": '{"num'}}
                ]
            },
            {"tool_calls": [{"index": 0, "function": {"arguments": 'ber": "1234"}'}}]},
        ],
        [{"content": "It is paid."}],
    ]
    minds = choose_mind([], None, {"MIND_BASE_URL": chat.url, "MIND_API_KEY": "k", "MIND_MODEL": "m"})
    async with running_emulator(FAST, minds=minds) as emulator, asyncio.timeout(20):
        call_id = await emulator.start_call()
        async with emulator.client.realtime.connect(call_id=call_id) as connection:
            saying = asyncio.create_task(emulator.say(call_id, "Where is claim 1234?"))
            said: list[str] = []
            async for event in connection:
                if event.type == "response.output_audio_transcript.done":
                    said.append(event.transcript)
                elif event.type == "response.function_call_arguments.done":
                    call = event
                elif event.type == "response.done" and len(said) == 1:
                    await connection.conversation.item.create(
                        item={"type": "function_call_output", "call_id": call.call_id, "output": "{}"}
                    )
                    await connection.response.create()
                elif event.type == "response.done":
                    break
            await saying
            assert said == ["Let me look. One moment.", "It is paid."]
            assert (call.name, call.arguments) == ("get_claim", '{"number": "1234"}')
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    assert event.response.status == "failed"
                    assert event.response.status_details is not None
                    assert event.response.status_details.error is not None
                    assert event.response.status_details.error.code == "mind_unavailable"
                    break
    first, second, _ = chat.requests
    assert first["model"] == "m"
    assert first["tools"][0]["function"]["name"] == "get_claim"  # type: ignore[index]
    assert first["messages"] == [
        {"role": "system", "content": SESSION["instructions"]},
        {"role": "user", "content": "Where is claim 1234?"},
    ]
    assert [message["role"] for message in second["messages"]] == [  # type: ignore[union-attr]
        "system", "user", "assistant", "assistant", "tool",
    ]  # fmt: skip
