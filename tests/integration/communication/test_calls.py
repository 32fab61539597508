"""Calls in and out, driven by the unmodified SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.communication.callautomation import (
    AudioFormat,
    CallAutomationClient,
    CommunicationUserIdentifier,
    FileSource,
    MediaStreamingAudioChannelType,
    MediaStreamingContentType,
    MediaStreamingOptions,
    PhoneNumberIdentifier,
    StreamingTransportType,
)
from azure.communication.callautomation.aio import CallAutomationClient as AsyncCallAutomationClient
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

from tests.integration.communication.application import Application
from tests.integration.communication.conftest import KEY, Phone, RunningEmulator
from tests.support.eventually import eventually

CALLER, BILLING, OWN = (PhoneNumberIdentifier(f"+1555010{n}") for n in range(3))


def streaming(app: Application, **changes: Any) -> MediaStreamingOptions:
    """Media streaming to the application, both ways, 24 kHz."""
    options: dict[str, Any] = {
        "transport_url": app.media_url,
        "transport_type": StreamingTransportType.WEBSOCKET,
        "content_type": MediaStreamingContentType.AUDIO,
        "audio_channel_type": MediaStreamingAudioChannelType.UNMIXED,
        "start_media_streaming": True,
        "enable_bidirectional": True,
        "audio_format": AudioFormat.PCM24_K_MONO,
        "enable_dtmf_tones": True,
    }
    return MediaStreamingOptions(**{**options, **changes})


async def answered(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient, **changes: Any
) -> tuple[str, Any]:
    """Ring, answer without media, wait for CallConnected; returns the id and the SDK's connection."""
    incoming = await phone.ring(**{"from": CALLER.properties["value"]})
    call = await sdk.answer_call(
        incoming["incoming_call_context"], app.callback_url, operation_context="inbound", **changes
    )
    assert call.call_connection_id
    await app.callback("CallConnected")
    return call.call_connection_id, sdk.get_call_connection(call.call_connection_id)


async def test_a_call_is_answered_talked_over_and_ended(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    incoming = await phone.ring(**{"from": "+15550100", "to": "+15550199"})
    call = await sdk.answer_call(
        incoming["incoming_call_context"],
        app.callback_url,
        operation_context="inbound",
        media_streaming=streaming(app),
    )
    assert call.call_connection_id == incoming["id"]
    assert (call.server_call_id, call.correlation_id) == (
        incoming["server_call_id"],
        incoming["correlation_id"],
    )
    assert call.call_connection_state == "connecting"
    assert call.source
    assert call.source.raw_id == "4:+15550100"
    assert call.answered_for
    assert call.answered_for.properties["value"] == "+15550199"
    await app.callback("MediaStreamingStarted")
    connection = sdk.get_call_connection(incoming["id"])
    properties = await connection.get_call_properties()
    assert properties.call_connection_state == "connected"
    assert properties.callback_url == app.callback_url
    assert properties.media_streaming_subscription
    assert properties.media_streaming_subscription.state == "active"
    await connection.hang_up(is_for_everyone=True)
    ended = await app.callback("CallDisconnected")
    assert app.names() == [
        "CallConnected",
        "ParticipantsUpdated",
        "MediaStreamingStarted",
        "MediaStreamingStopped",
        "CallDisconnected",
    ]
    assert ended["resultInformation"]["subCode"] == 7000
    for event in app.callbacks:
        assert event["specversion"] == "1.0"
        assert event["source"] == f"calling/callConnections/{incoming['id']}"
        assert event["data"]["callConnectionId"] == incoming["id"]
        assert event["data"]["correlationId"] == incoming["correlation_id"]
        assert event["data"]["operationContext"] == "inbound"
    assert len(set(app.tokens)) == 5, "every event has a token of its own"
    assert not app.refused
    with pytest.raises(ResourceExistsError):
        await connection.hang_up(is_for_everyone=True)


async def test_the_caller_hangs_up(phone: Phone, app: Application, sdk: AsyncCallAutomationClient) -> None:
    call_id, connection = await answered(phone, app, sdk)
    await phone.on(call_id, "hang-up")
    ended = await app.callback("CallDisconnected")
    assert ended["resultInformation"]["subCode"] == 560000
    properties = await connection.get_call_properties()
    assert properties.call_connection_state == "disconnected"


async def test_hanging_up_for_itself_leaves_the_caller_alone_in_the_call(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    await connection.hang_up(is_for_everyone=False)
    await app.callback("CallDisconnected")
    call = await phone.call(call_id)
    assert call["state"] == "left"
    assert [one["name"] for one in call["participants"]] == ["+15550100"]
    await phone.on(call_id, "hang-up")
    await phone.state(call_id, "ended")


async def test_reject_redirect_and_contexts_that_are_over(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    rejected, redirected, given_up = [await phone.ring() for _ in range(3)]
    await sdk.reject_call(rejected["incoming_call_context"], call_reject_reason="busy")
    await sdk.redirect_call(redirected["incoming_call_context"], CommunicationUserIdentifier("8:acs:clerk"))
    await phone.on(given_up["id"], "hang-up")
    assert (await phone.call(rejected["id"]))["reject_reason"] == "busy"
    assert (await phone.call(redirected["id"]))["redirected_to"] == "8:acs:clerk"
    for incoming in (rejected, redirected, given_up):
        with pytest.raises(ResourceNotFoundError):
            await sdk.answer_call(incoming["incoming_call_context"], app.callback_url)
    with pytest.raises(HttpResponseError) as unknown:
        await sdk.answer_call("nothing", app.callback_url)
    assert (unknown.value.status_code, unknown.value.error.code) == (400, "8523")  # type: ignore[union-attr]
    incoming = await phone.ring()
    await sdk.answer_call(incoming["incoming_call_context"], app.callback_url)
    with pytest.raises(ResourceExistsError):
        await sdk.answer_call(incoming["incoming_call_context"], app.callback_url)
    await phone.on(incoming["id"], "hang-up")


async def test_an_unknown_call_is_the_services_404(sdk: AsyncCallAutomationClient) -> None:
    connection = sdk.get_call_connection("00000000-0000-4000-8000-000000000000")
    for operation in (
        connection.get_call_properties(),
        connection.hang_up(is_for_everyone=True),
        connection.start_media_streaming(),
        connection.get_participant(CALLER),
    ):
        with pytest.raises(ResourceNotFoundError) as unknown:
            await operation
        assert unknown.value.error
        assert unknown.value.error.code == "8522"


async def test_by_connection_string_over_tls(
    emulator_process: RunningEmulator, phone: Phone, app: Application
) -> None:
    text = f"endpoint={emulator_process.tls_url}/;accesskey={KEY}"
    incoming = await phone.ring()

    def with_the_synchronous_client() -> None:
        client = CallAutomationClient.from_connection_string(
            text, connection_verify=str(emulator_process.certificate), retry_total=0
        )
        call = client.answer_call(incoming["incoming_call_context"], app.callback_url)
        connection = client.get_call_connection(str(call.call_connection_id))
        participants = list(connection.list_participants())
        assert [one.identifier.raw_id for one in participants if one.identifier] == ["4:+15550100"]
        one = connection.get_participant(PhoneNumberIdentifier("+15550100"))
        assert one.is_muted is False

    await asyncio.to_thread(with_the_synchronous_client)
    async with AsyncCallAutomationClient.from_connection_string(
        text, connection_verify=str(emulator_process.certificate), retry_total=0
    ) as client:
        connection = client.get_call_connection(incoming["id"])
        assert [one async for one in connection.list_participants()]
        assert (await connection.get_participant(CALLER)).identifier
        await connection.hang_up(is_for_everyone=True)
    await app.callback("CallDisconnected")


class Entra:
    """A credential that gives something like an Entra token."""

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken("aaaa.bbbb.cccc", 4_000_000_000)

    async def close(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def test_what_is_not_signed_with_the_key_is_refused(emulator_process: RunningEmulator) -> None:
    wrong_key = AzureKeyCredential("d3Jvbmc=")
    slash = AzureKeyCredential(KEY)
    for url, credential in (
        (emulator_process.url, wrong_key),
        (emulator_process.url + "/", slash),  # the SDK then signs another host than it calls
        (emulator_process.tls_url, Entra()),
    ):
        async with AsyncCallAutomationClient(
            url,
            credential,  # type: ignore[arg-type]
            connection_verify=str(emulator_process.certificate),
            retry_total=0,
        ) as client:
            with pytest.raises(ClientAuthenticationError) as denied:
                await client.get_call_connection("00000000-0000-4000-8000-000000000000").hang_up(True)
            assert denied.value.error
            assert denied.value.error.code == "Denied"


async def test_an_outbound_call_is_answered(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    call = await sdk.create_call(
        CALLER,
        app.callback_url,
        source_caller_id_number=OWN,
        operation_context="reminder",
        media_streaming=streaming(app),
    )
    assert call.call_connection_state == "connecting"
    assert call.source_caller_id_number
    assert call.source_caller_id_number.properties["value"] == "+15550102"
    updated = await app.callback("ParticipantsUpdated")
    assert [one["identifier"]["rawId"] for one in updated["participants"]] == ["4:+15550100"]
    await app.connection()
    shown = await phone.call(str(call.call_connection_id))
    assert (shown["direction"], shown["state"], shown["to"]) == ("outbound", "connected", "+15550100")
    await sdk.get_call_connection(str(call.call_connection_id)).hang_up(is_for_everyone=True)
    await app.callback("CallDisconnected")


@pytest.mark.parametrize(
    ("outcome", "code", "sub_code"),
    [
        ("busy", 486, 560486),
        ("decline", 603, 560603),
        ("no_answer", 480, 560480),
        ("unreachable", 404, 560404),
    ],
)
async def test_an_outbound_call_reaches_nobody(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient, outcome: str, code: int, sub_code: int
) -> None:
    await phone.fault(kind="callee", outcome=outcome, ms=200)
    call = await sdk.create_call(CALLER, app.callback_url, source_caller_id_number=OWN)
    failed = await app.callback("CreateCallFailed")
    assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (code, sub_code)
    assert failed["resultInformation"]["sipDetails"]["code"] == code
    assert (await phone.state(str(call.call_connection_id), "ended"))["end_reason"] == outcome
    with pytest.raises(ResourceExistsError):
        await sdk.get_call_connection(str(call.call_connection_id)).hang_up(True)


async def test_numbers_behave_as_they_are_told(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    await phone.ask("POST", "phones", {"number": "+15550155", "outcome": "ring"})
    call = await sdk.create_call(
        PhoneNumberIdentifier("+15550155"), app.callback_url, source_caller_id_number=OWN
    )
    call_id = str(call.call_connection_id)

    async def rings() -> bool:
        return (await phone.call(call_id))["ringing"] == ["+15550155"]

    await eventually(rings)
    assert app.names() == []
    with pytest.raises(HttpResponseError) as early:
        await sdk.get_call_connection(call_id).play_media(FileSource(url=f"{app.url}/files/x.wav"))
    assert early.value.error
    assert early.value.error.code == "8501"
    await phone.on(call_id, "phone", outcome="answer")
    await app.callback("CallConnected")
    await phone.on(call_id, "hang-up")
    await app.callback("CallDisconnected")


async def test_an_answering_machine_greets_and_beeps(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    greeting = "You have reached the Rivera family. We can't come to the phone now, so please call later."
    await phone.ask("POST", "phones", {"number": "+15550177", "outcome": "machine", "greeting": greeting})
    call = await sdk.create_call(
        PhoneNumberIdentifier("+15550177"),
        app.callback_url,
        source_caller_id_number=OWN,
        media_streaming=streaming(app),
    )
    call_id = str(call.call_connection_id)
    media = await app.connection()
    # It does not wait for us: what it said before the media socket was open is lost, but not half a second.
    await eventually(lambda: len(media.sound()) >= 25, within=15, what="half a second of the machine")

    async def beeped() -> bool:
        return len(await phone.events(call_id, "said")) == 2

    await eventually(beeped)
    said = await phone.events(call_id, "said")
    assert [one["words"] for one in said] == [greeting, None]
    await phone.on(call_id, "hang-up")


async def test_requests_that_make_no_sense(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    incoming = await phone.ring()
    for attempt in (
        sdk.create_call(CALLER, app.callback_url),  # no caller id for a phone number
        sdk.answer_call(incoming["incoming_call_context"], "not an address"),
        sdk.answer_call(
            incoming["incoming_call_context"],
            app.callback_url,
            media_streaming=streaming(app, transport_url="https://not.a.socket"),
        ),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await attempt
        assert refused.value.status_code == 400
    assert (await phone.call(incoming["id"]))["state"] == "ringing"
    with pytest.raises(HttpResponseError) as unknown:
        await sdk.connect_call(app.callback_url, server_call_id=incoming["server_call_id"])
    assert unknown.value.status_code == 405
    await phone.on(incoming["id"], "hang-up")


async def test_a_repeated_request_is_done_once(
    emulator_process: RunningEmulator, phone: Phone, app: Application
) -> None:
    """The answer is lost on its way; the SDK asks again under the same Repeatability-Request-ID."""
    incoming = await phone.ring()
    await phone.fault(kind="http", operation="answer", status=503, effect=True)
    credential = AzureKeyCredential(KEY)
    async with AsyncCallAutomationClient(
        emulator_process.url, credential, retry_total=1, retry_backoff_factor=0.01
    ) as client:
        call = await client.answer_call(incoming["incoming_call_context"], app.callback_url)
    assert call.call_connection_id == incoming["id"]
    await app.callback("ParticipantsUpdated")
    assert app.names() == ["CallConnected", "ParticipantsUpdated"]
    await phone.on(incoming["id"], "hang-up")


async def test_operations_fail_on_request(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    await phone.fault(kind="http", operation="terminate", status=429, retry_after=7)
    await phone.fault(kind="http", operation="get", status=500, code="9999", target=call_id)
    with pytest.raises(HttpResponseError) as throttled:
        await connection.hang_up(is_for_everyone=True)
    assert throttled.value.status_code == 429
    assert throttled.value.response
    assert throttled.value.response.headers["Retry-After"] == "7"
    with pytest.raises(HttpResponseError) as broken:
        await connection.get_call_properties()
    assert broken.value.error
    assert (broken.value.status_code, broken.value.error.code) == (500, "9999")
    await connection.hang_up(is_for_everyone=True)
    await app.callback("CallDisconnected")


async def test_an_answer_that_fails_afterwards(
    phone: Phone, app: Application, sdk: AsyncCallAutomationClient
) -> None:
    await phone.fault(kind="answer_failed")
    incoming = await phone.ring()
    await sdk.answer_call(incoming["incoming_call_context"], app.callback_url)
    assert (await app.callback("AnswerFailed"))["resultInformation"]["code"] == 500
    assert app.names() == ["AnswerFailed"]
