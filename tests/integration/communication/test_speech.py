"""With the speech models: words are spoken at the telephone, and understood again."""

from __future__ import annotations

import aiohttp
import pytest
from azure.communication.callautomation import TextSource
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential

from emulators.communication.options import EmulatorOptions
from emulators.communication.server import EmulatorServer
from tests.integration.communication.application import running_application
from tests.integration.communication.conftest import KEY, Phone
from tests.integration.communication.test_calls import streaming

# Real speech in real time: beside a hundred calls it would not be understood.

pytest.importorskip("moonshine_voice")


async def test_a_spoken_call_is_understood() -> None:
    server = EmulatorServer(EmulatorOptions(key=KEY, port=0, speech_factor=10))
    await server.start()
    try:
        async with (
            aiohttp.ClientSession() as http,
            running_application(server.url) as app,
            CallAutomationClient(server.url, AzureKeyCredential(KEY), retry_total=0) as sdk,
        ):
            phone = Phone(server.url, http)
            call = await phone.ring()
            await sdk.answer_call(
                call["incoming_call_context"], app.callback_url, media_streaming=streaming(app)
            )
            await app.connection()
            await phone.on(call["id"], "say", text="What is the status of my claim?")
            prompt = TextSource(text="Thank you for calling Harbour Health.")
            await sdk.get_call_connection(call["id"]).play_media(prompt)
            await app.callback("PlayCompleted")
            await phone.on(call["id"], "hang-up")
            transcript = await phone.ask("GET", f"calls/{call['id']}/transcript")
            assert "status of my claim" in transcript["said"].lower()
            assert "thank you for calling" in transcript["heard"].lower()
    finally:
        await server.close()
