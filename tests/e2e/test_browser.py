"""A call from a web page: a real Chromium, with its own WebRTC and its own rules, against the whole stack."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
import pytest_asyncio

from emulators.caller.recordings import write_recording
from emulators.speech import hearing, speaking
from emulators.speech.transcripts import word_error_rate
from shared.agents.catalog import load_agents
from tests.e2e.page_server import PageServer
from tests.support.chromium import EXECUTABLE, WHY_NOT, BrowserError, Chromium, Page
from tests.support.ports import free_port
from tests.support.stack import REPOSITORY, RunningFunctions, Stack

QUESTION = "What is the status of claim one zero four two?"
ANSWER = (
    "Your claim for physical therapy is approved. The plan pays 192 dollars. "
    "Payment goes out within five business days."
)
MICROPHONE_RATE = 48_000
HEARD_RATE = 24_000
# What the realtime service documents for `webrtcfilter=on`; everything else is for the back end alone.
FOR_BROWSERS = {
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.added",
    "conversation.item.created",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
}

pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=WHY_NOT),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]


@dataclass(kw_only=True)
class Scene:
    """The stack, a web page's server, and a browser."""

    stack: Stack
    functions: RunningFunctions
    server: PageServer
    browser: Chromium
    directory: Path

    @asynccontextmanager
    async def page(self, url: str = "") -> AsyncGenerator[Page, None]:
        """Open the page in a new tab, for a block whose failure is `explained`."""
        page = await self.browser.open(url or self.server.page)
        async with self.explained(page):
            yield page

    @asynccontextmanager
    async def explained(self, page: Page) -> AsyncGenerator[None, None]:
        """Let a failure in the block tell what browser and stack know about it."""
        try:
            yield
        except Exception as error:
            error.add_note("\n".join(["--- console of the page", *page.console]))
            error.add_note(self.browser.log_tail())
            error.add_note(self.stack.logs())
            error.add_note(f"--- screenshot: {await self._screenshot(page)}")
            raise

    async def _screenshot(self, page: Page) -> str:
        picture = self.directory / "page.png"
        try:
            picture.write_bytes(await page.screenshot())
        except BrowserError as error:
            return f"none: {error}"
        return str(picture)

    async def ask(self, path: str) -> Any:
        """Read from the API as the application does."""
        headers = {"x-functions-key": self.functions.key}
        async with (
            aiohttp.ClientSession(raise_for_status=True) as http,
            http.get(self.functions.api + path, headers=headers) as answer,
        ):
            return await answer.json()

    async def until_archived(self, session_id: str) -> None:
        """Follow the session's log to its end."""
        after: str | None = "0-0"
        async with asyncio.timeout(30):
            while after is not None:
                after = (await self.ask(f"/sessions/{session_id}/events?after={after}&wait_s=5"))["next"]

    async def emulator(self, path: str) -> None:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as http,
            http.post(f"{self.stack.provider_url}/_emu/{path}"),
        ):
            pass


@dataclass(kw_only=True)
class SpokenCall:
    """A call that is over: what the page saw and heard of it, and what the product kept."""

    page: Page
    session_id: str
    call_id: str
    frames: list[str]
    arrived: dict[str, float]
    recording: bytes = field(repr=False)
    session: dict[str, Any]
    transcript: dict[str, Any]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for frame in self.frames]

    def transcripts(self, kind: str) -> list[str]:
        return [event["transcript"] for event in self.events if event["type"] == kind]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """The whole stack; pages of one origin may use its API, as the host's CORS setting says."""
    directory = tmp_path_factory.mktemp("browser")
    port = free_port()
    stack = Stack(directory)

    def start() -> RunningFunctions:
        stack.start_redis()
        stack.start_realtime("--mind", str(REPOSITORY / "agents" / "member_services.rules.yaml"))
        functions = stack.start_functions(options=["--cors", f"http://127.0.0.1:{port}"])
        stack.start_worker(functions)
        return functions

    with stack:
        starting = asyncio.create_task(asyncio.to_thread(start))
        try:
            microphone = directory / "question.wav"
            question = await speaking.synthesise_all(QUESTION, MICROPHONE_RATE, voice=speaking.CALLER_VOICE)
            write_recording(microphone, question, MICROPHONE_RATE)
        finally:
            await asyncio.wait([starting])
        functions = starting.result()
        async with (
            PageServer.serving(port, functions.api, functions.key) as server,
            Chromium.launched(directory, microphone=microphone) as browser,
        ):
            yield Scene(stack=stack, functions=functions, server=server, browser=browser, directory=directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(scene: Scene) -> SpokenCall:
    """One call: greeting, a question, its answer, and a hang-up by the page."""
    async with scene.page() as page:
        await page.evaluate("startCall()")
        await page.until("call.channel === 'open' && call.state === 'connected'", within=15)
        await page.until("count('output_audio_buffer.stopped') === 1", within=30)
        await page.evaluate("talk()")
        # the answer after the tool is a response of its own
        await page.until("count('output_audio_buffer.stopped') === 2", within=40)
        arrived = await page.evaluate("arrived()")
        recording = base64.b64decode(await page.evaluate("recorded()"))
        hung_up = await page.evaluate("hangUp()")
        assert hung_up["status"] == 202, hung_up
        # The back end ends the call at the service, which the page notices.
        await page.until("call.channel === 'closed'", within=15)
        seen = await page.evaluate("call")
        await scene.until_archived(seen["sessionId"])
        return SpokenCall(
            page=page,
            session_id=seen["sessionId"],
            call_id=seen["id"],
            frames=seen["frames"],
            arrived=arrived,
            recording=recording,
            session=await scene.ask(f"/sessions/{seen['sessionId']}"),
            transcript=await scene.ask(f"/sessions/{seen['sessionId']}/transcript"),
        )


async def test_a_page_asks_aloud_and_hears_the_answer(scene: Scene, call: SpokenCall) -> None:
    async with scene.explained(call.page):
        asked = call.transcripts("conversation.item.input_audio_transcription.completed")
        assert len(asked) == 1
        assert word_error_rate(QUESTION, asked[0]) < 0.3, asked
        assert call.transcripts("response.output_audio_transcript.done")[-1] == ANSWER
        assert call.arrived["energy"] > 0
        assert call.arrived["packets"] > 100
        # By ear: a busy machine loses a word here and there, a wrong voice or none would lose them all.
        heard = await hearing.transcribe_recording(decoded(call.recording), HEARD_RATE)
        assert word_error_rate(ANSWER, heard) < 0.5, heard
        assert call.page.problems == []


async def test_the_call_is_archived_with_its_turns_and_its_tool(scene: Scene, call: SpokenCall) -> None:
    async with scene.explained(call.page):
        assert call.session["call_id"] == call.call_id
        assert call.session["transport"] == "webrtc"
        assert call.session["end_reason"] == "client_ended"
        assert call.transcript["final"]
        turns = [(turn["speaker"], turn["status"]) for turn in call.transcript["turns"]]
        assert turns == [("agent", "completed"), ("caller", "completed"), ("agent", "completed")]
        assert call.transcript["turns"][-1]["text"] == ANSWER
        (tool,) = call.transcript["tools"]
        assert (tool["name"], tool["status"]) == ("claim_status", "ok")
        assert "1042" in tool["arguments"]
        assert json.loads(tool["output"])["status"] == "approved"


async def test_the_page_sees_neither_prompt_nor_tools_nor_keys(scene: Scene, call: SpokenCall) -> None:
    async with scene.explained(call.page):
        agent = load_agents(REPOSITORY / "agents").get("member_services")
        hidden = [line for line in agent.instructions({}).splitlines() if len(line) > 20]
        assert len(hidden) > 20
        hidden += [tool.description for tool in agent.tools.values()]
        hidden += [name for name in agent.tools if name != "claim_status"]
        hidden += [scene.functions.key, scene.stack.provider_key, scene.stack.signing_keys.partition(":")[2]]
        for text in [*scene.server.answers, *call.frames]:
            assert [each for each in hidden if each in text or json.dumps(each)[1:-1] in text] == []

        assert {event["type"] for event in call.events} <= FOR_BROWSERS
        # The service's list goes by type: it lets the item of a call that was made through, no other trace.
        named = [json.loads(frame) for frame in call.frames if "claim_status" in frame]
        assert [(event["type"], event["item"]["type"]) for event in named] == [
            ("conversation.item.added", "function_call")
        ]
        assert not any("claim_status" in answer for answer in scene.server.answers)
        assert set(json.loads(scene.server.answers[0])) == {
            "session_id", "agent", "client_secret", "calls_url", "client_token", "expires_at",
        }  # fmt: skip


async def test_a_client_token_is_good_for_its_own_call_alone(scene: Scene) -> None:
    async with scene.page() as page:
        mine, other = await page.evaluate("grant()"), await page.evaluate("grant()")
        report = {"call_id": "rtc_0123456789abcdef"}
        for method, body in (("POST", report), ("DELETE", None)):
            refused = await page.call("ofTheCall", method, other["session_id"], mine["client_token"], body)
            assert (refused["status"], refused["body"]["code"]) == (403, "client_token_other_session")
        forged = await page.call("ofTheCall", "POST", mine["session_id"], mine["client_token"][:-4], report)
        assert (forged["status"], forged["body"]["code"]) == (401, "client_token_invalid")
        for session_id in (mine["session_id"], other["session_id"]):
            session = await scene.ask(f"/sessions/{session_id}")
            assert (session["state"], session["call_id"]) == ("created", None)


async def test_a_client_token_reads_no_sessions(scene: Scene) -> None:
    async with scene.page() as page:
        mine = await page.evaluate("grant()")
        for path in ("", f"/{mine['session_id']}", f"/{mine['session_id']}/transcript"):
            status = await page.call(
                "statusOf", f"{scene.functions.api}/sessions{path}", mine["client_token"]
            )
            assert status == 401, path


async def test_an_expired_secret_starts_no_call(scene: Scene) -> None:
    async with scene.page() as page:
        mine = await page.evaluate("grant()")
        await scene.emulator("expire-secrets")
        refused = await page.call("postOffer", mine["calls_url"], mine["client_secret"], "v=0\r\n")
        assert refused["status"] == 401
        assert "expired" in refused["problem"]["error"]["message"]


async def test_a_page_of_another_origin_cannot_use_the_api(scene: Scene) -> None:
    """The host's CORS setting names one origin; the same page served from elsewhere gets no answer."""
    async with (
        PageServer.serving(free_port(), scene.functions.api, scene.functions.key) as elsewhere,
        scene.page(elsewhere.page) as page,
    ):
        mine = await page.evaluate("grant()")
        with pytest.raises(BrowserError, match="Failed to fetch"):
            await page.call("ofTheCall", "DELETE", mine["session_id"], mine["client_token"])
        session = await scene.ask(f"/sessions/{mine['session_id']}")
        assert session["state"] == "created"


def decoded(webm: bytes) -> bytes:
    """Return a browser's recording as PCM16 mono."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=HEARD_RATE)
    pcm16 = bytearray()
    with av.open(io.BytesIO(webm), "r") as container:
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                pcm16 += part.to_ndarray().astype(np.int16).tobytes()
    return bytes(pcm16)
