"""Run a Realtime emulator in the test's own event loop, and play the caller's side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from openai import AsyncOpenAI

from emulators.realtime.mind.rulebook import Rulebook, parse_rulebook
from emulators.realtime.mind.rules import RuleMinds
from emulators.realtime.mind.thoughts import Minds
from emulators.realtime.options import EmulatorOptions
from emulators.realtime.server import EmulatorServer

API_KEY = "test-key"
FAST = EmulatorOptions(api_keys=(API_KEY,), speech=False, media=False, speech_factor=40.0, port=0)

CLAIMS_BOOK = """
when_instructions_contain: Harbour Health
greeting: Hello, this is Harbour Health. How can I help?
fallback: Sorry, I did not get that.
rules:
  - name: claim
    when:
      phrases: [what is the status of my claim]
      user: '\\bclaim\\b'
    need:
      - {slot: number, ask: "What is your claim number?", pattern: '\\d{4,}'}
    say: One moment.
    call: {name: get_claim, arguments: {number: "{number}"}}
  - name: claim found
    when: {tool_result: {name: get_claim, where: {status: "*"}}}
    say: "Claim {call.number|spaced} is {result.status}."
  - name: story
    when: {user: '\\bstory\\b'}
    say: >-
      Once upon a time there was a very small village by the sea. Everyone in it knew everyone else.
      One day a ship came in from the north. Nobody had ever seen a ship like that before in the village.
"""

CLAIM_TOOL: dict[str, object] = {
    "type": "function",
    "name": "get_claim",
    "description": "Look up a claim.",
    "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
}
SESSION: dict[str, object] = {
    "type": "realtime",
    "model": "voice-deployment",
    "instructions": "You work for Harbour Health.",
    "tools": [CLAIM_TOOL],
    "audio": {"input": {"transcription": {"model": "whisper-1"}}, "output": {"voice": "marin"}},
}
MINIMAL_OFFER = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n"
)


class RunningEmulator:
    """A running emulator and the ways to reach it."""

    def __init__(self, server: EmulatorServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.url = server.url
        self._clients: list[AsyncOpenAI] = []
        self.client = self.openai()

    def openai(self, key: str = API_KEY) -> AsyncOpenAI:
        """The official SDK, pointed at the emulator."""
        client = AsyncOpenAI(base_url=f"{self.url}/openai/v1", api_key=key, max_retries=0)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close the SDK's clients."""
        for client in self._clients:
            await client.close()

    async def emu(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Ask an admin route."""
        async with self.http.request(method, f"{self.url}/_emu/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def say(self, call_id: str, text: str, **options: object) -> None:
        """Let the caller say something."""
        await self.emu("POST", f"calls/{call_id}/say", {"text": text, **options})

    async def fault(self, **fault: object) -> None:
        """Plan a fault."""
        await self.emu("POST", "faults", fault)

    async def start_call(self, session: dict[str, object] | None = None) -> str:
        """Start a WebRTC call without media; return its id."""
        answer = await self.client.realtime.calls.with_raw_response.create(
            sdp=MINIMAL_OFFER,
            session=session or SESSION,  # type: ignore[arg-type]
        )
        return answer.headers["location"].rsplit("/", 1)[1]


@asynccontextmanager
async def running_emulator(
    options: EmulatorOptions = FAST,
    *,
    books: Sequence[str] = (CLAIMS_BOOK,),
    minds: Minds | None = None,
    **changes: object,
) -> AsyncIterator[RunningEmulator]:
    """Run an emulator with `options` (and `changes` to them) until the block ends."""
    parsed: list[Rulebook] = [parse_rulebook(text, f"book-{index}") for index, text in enumerate(books)]
    server = EmulatorServer(replace(options, **changes), minds or RuleMinds(parsed))  # type: ignore[arg-type]
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            running = RunningEmulator(server, http)
            try:
                yield running
            finally:
                await running.close()
    finally:
        await server.close()
