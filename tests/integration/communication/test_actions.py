"""Actions in a call (transfer, participants, prompts, keys, recordings) and the events that they cause."""

from __future__ import annotations

import base64
import io
import json
import wave
from array import array
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from azure.communication.callautomation import (
    DtmfTone,
    FileSource,
    PhoneNumberIdentifier,
    RecognitionChoice,
    RecognizeInputType,
    RecordingChannel,
    RecordingContent,
    RecordingFormat,
    SsmlSource,
    TextSource,
)
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from emulators.communication.authentication import content_sha256, signature
from emulators.communication.microphone import tone
from emulators.communication.tracks import mono_wav
from tests.integration.communication.application import Application
from tests.integration.communication.conftest import KEY, Phone
from tests.integration.communication.test_calls import BILLING, CALLER, OWN, answered
from tests.support.eventually import eventually


async def test_a_transfer_is_accepted(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, connection = await answered(phone, app, sdk)
    result = await connection.transfer_call_to_participant(
        BILLING,
        operation_context="to-billing",
        source_caller_id_number=OWN,
        sip_headers={"X-MS-Custom-reason": "bill"},
    )
    assert result.operation_context == "to-billing"
    accepted = await app.callback("CallTransferAccepted")
    assert accepted["operationContext"] == "to-billing"
    assert accepted["transferTarget"]["rawId"] == "4:+15550101"
    assert accepted["transferee"]["rawId"] == "4:+15550100"
    await app.callback("CallDisconnected")
    assert app.names()[-2:] == ["CallTransferAccepted", "CallDisconnected"]
    call = await phone.state(call_id, "transferred")
    assert call["transfer"] == {
        "target": "+15550101",
        "transferee": "+15550100",
        "sip_headers": {"X-MS-Custom-reason": "bill"},
        "voip_headers": {},
    }
    # The people talk on without the application.
    await phone.on(call_id, "say", tone_ms=200)
    heard = await phone.fetch(f"calls/{call_id}/heard.wav?participant=%2B15550101")
    assert tone(200) in heard
    with pytest.raises(ResourceExistsError):
        await connection.hang_up(is_for_everyone=True)
    await phone.on(call_id, "hang-up")
    await phone.state(call_id, "ended")


@pytest.mark.parametrize("why", ["transfer_failed", "busy"])
async def test_a_transfer_fails_and_the_caller_stays(
    phone: Phone, app: Application, sdk: CallAutomationClient, why: str
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    fault = {"kind": "callee", "outcome": "busy"} if why == "busy" else {"kind": why}
    await phone.fault(**fault, target=call_id)
    await connection.transfer_call_to_participant(BILLING, operation_context="to-billing")
    failed = await app.callback("CallTransferFailed")
    assert failed["resultInformation"]["code"] == (486 if why == "busy" else 500)
    assert (await connection.get_call_properties()).call_connection_state == "connected"
    await phone.on(call_id, "hang-up")


async def test_one_transfer_at_a_time(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    await phone.ask("POST", "phones", {"number": "+15550166", "outcome": "ring"})
    target = PhoneNumberIdentifier("+15550166")
    call_id, connection = await answered(phone, app, sdk)
    await connection.transfer_call_to_participant(target)
    with pytest.raises(ResourceExistsError):
        await connection.transfer_call_to_participant(target)
    await phone.on(call_id, "phone", outcome="decline")
    assert (await app.callback("CallTransferFailed"))["resultInformation"]["code"] == 603
    await connection.transfer_call_to_participant(target)
    await phone.on(call_id, "hang-up")  # while the other telephone rings
    await app.callback("CallDisconnected")
    assert "CallTransferAccepted" not in app.names()


async def test_participants_come_and_go(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, connection = await answered(phone, app, sdk)
    added = await connection.add_participant(BILLING, source_caller_id_number=OWN, operation_context="add")
    assert added.invitation_id
    assert added.participant
    assert added.participant.identifier
    assert added.participant.identifier.raw_id == "4:+15550101"
    assert (await app.callback("AddParticipantSucceeded"))["operationContext"] == "add"
    updated = await app.callback("ParticipantsUpdated", 2)
    assert [one["identifier"]["rawId"] for one in updated["participants"]] == ["4:+15550100", "4:+15550101"]
    assert updated["sequenceNumber"] == 2
    with pytest.raises(ResourceExistsError):
        await connection.add_participant(BILLING, source_caller_id_number=OWN)
    await connection.mute_participant(BILLING)
    await connection.hold(CALLER)
    states = {
        one.identifier.raw_id: (one.is_muted, one.is_on_hold)
        async for one in connection.list_participants()
        if one.identifier
    }
    assert states == {"4:+15550100": (False, True), "4:+15550101": (True, False)}
    await connection.unhold(CALLER)
    assert (await connection.get_participant(CALLER)).is_on_hold is False
    with pytest.raises(HttpResponseError):
        await connection.transfer_call_to_participant(OWN)  # whom of the two?
    await connection.remove_participant(BILLING, operation_context="remove")
    assert (await app.callback("RemoveParticipantSucceeded"))["operationContext"] == "remove"
    await connection.remove_participant(BILLING)
    await app.callback("RemoveParticipantFailed")
    with pytest.raises(ResourceNotFoundError):
        await connection.get_participant(BILLING)
    await connection.remove_participant(CALLER)
    await app.callback("CallDisconnected")
    assert (await phone.state(call_id, "ended"))["left"] == ["+15550101", "+15550100"]


async def test_an_invitation_fails_or_is_withdrawn(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.ask("POST", "phones", {"number": "+15550188", "outcome": "ring"})
    ringing = PhoneNumberIdentifier("+15550188")
    call_id, connection = await answered(phone, app, sdk)
    await connection.add_participant(ringing, source_caller_id_number=OWN, invitation_timeout=1)
    failed = await app.callback("AddParticipantFailed")
    assert failed["resultInformation"]["subCode"] == 560480
    added = await connection.add_participant(ringing, source_caller_id_number=OWN)
    cancelled = await connection.cancel_add_participant_operation(str(added.invitation_id))
    assert cancelled.invitation_id == added.invitation_id
    await app.callback("CancelAddParticipantSucceeded")
    assert (await phone.call(call_id))["ringing"] == []
    await connection.cancel_add_participant_operation(str(added.invitation_id))
    await app.callback("CancelAddParticipantFailed")
    await phone.on(call_id, "hang-up")


async def test_prompts_play_one_after_the_other(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    app.files["welcome.wav"] = mono_wav(tone(500, 700))
    await connection.play_media(
        [FileSource(url=f"{app.url}/files/welcome.wav"), TextSource(text="Hello there.", voice_name="x")],
        operation_context="prompt",
    )
    await connection.play_media(SsmlSource(ssml_text="<speak>Good bye.</speak>"), play_to=[CALLER])
    await app.callback("PlayCompleted", 2)
    assert app.names()[2:] == ["PlayStarted", "PlayCompleted", "PlayStarted", "PlayCompleted"]
    assert (await app.callback("PlayCompleted"))["operationContext"] == "prompt"
    await phone.on(call_id, "hang-up")
    with wave.open(io.BytesIO(await phone.fetch(f"calls/{call_id}/heard.wav"))) as file:
        heard = file.readframes(file.getnframes())
    assert tone(500, 700) + tone(12 / 15 * 1000) in heard


async def test_prompts_fail_and_are_cancelled(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    app.files["noise.wav"] = b"not a recording"
    await connection.play_media(FileSource(url=f"{app.url}/files/nothing.wav"))
    assert (await app.callback("PlayFailed"))["resultInformation"]["subCode"] == 8536
    await connection.play_media([TextSource(text="x"), FileSource(url=f"{app.url}/files/noise.wav")])
    failed = await app.callback("PlayFailed", 2)
    assert (failed["resultInformation"]["subCode"], failed["failedPlaySourceIndex"]) == (8535, 1)
    await connection.play_media(TextSource(text="For ever."), loop=True)
    await app.callback("PlayStarted")
    await connection.cancel_all_media_operations()
    assert (await app.callback("PlayCanceled"))["resultInformation"]["subCode"] == 8508
    await phone.fault(kind="play_failed", target=call_id)
    await connection.play_media(TextSource(text="x"))
    await app.callback("PlayFailed", 3)
    await phone.on(call_id, "hang-up")


async def test_keys_both_ways(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, connection = await answered(phone, app, sdk)
    await phone.on(call_id, "press", digits="9")  # nobody listens yet
    await connection.start_continuous_dtmf_recognition(CALLER, operation_context="keys")
    await phone.on(call_id, "press", digits="4#*A")
    last = await app.callback("ContinuousDtmfRecognitionToneReceived", 4)
    assert (last["sequenceId"], last["tone"], last["operationContext"]) == (4, "a", "keys")
    tones = [event["data"]["tone"] for event in app.callbacks if "ToneReceived" in event["type"]]
    assert tones == ["four", "pound", "asterisk", "a"]
    await connection.stop_continuous_dtmf_recognition(CALLER)
    await app.callback("ContinuousDtmfRecognitionStopped")
    sent = await connection.send_dtmf_tones([DtmfTone.ONE, DtmfTone.POUND], CALLER, operation_context="pin")
    assert sent.operation_context == "pin"
    await app.callback("SendDtmfTonesCompleted")
    assert (await phone.call(call_id))["participants"][0]["tones_heard"] == ["one", "pound"]
    await phone.ask("POST", f"calls/{call_id}/press", {"digits": "x"}, status=400)
    await phone.on(call_id, "hang-up")


async def recognise(connection: Any, kind: RecognizeInputType, **options: Any) -> None:
    """Ask the caller for something."""
    options = {"initial_silence_timeout": 300, **options}
    await connection.start_recognizing_media(kind, CALLER, operation_context="ask", **options)


async def test_it_recognises_keys_words_and_choices(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, connection = await answered(phone, app, sdk)
    prompt = TextSource(text="Please enter the number of your claim, then press the pound key.")
    await recognise(
        connection,
        RecognizeInputType.DTMF,
        play_prompt=prompt,
        interrupt_prompt=True,
        dtmf_max_tones_to_collect=8,
        dtmf_stop_tones=[DtmfTone.POUND],
    )
    await phone.on(call_id, "press", digits="12#")
    completed = await app.callback("RecognizeCompleted")
    assert (completed["recognitionType"], completed["dtmfResult"]) == ("dtmf", {"tones": ["one", "two"]})
    assert completed["resultInformation"]["subCode"] == 8514

    await recognise(connection, RecognizeInputType.SPEECH)
    await phone.on(call_id, "say", tone_ms=300, text="I want to cancel.")
    completed = await app.callback("RecognizeCompleted", 2)
    assert completed["speechResult"]["speech"] == "I want to cancel."

    choices = [RecognitionChoice(label="Yes", phrases=["yes", "sure"], tone=DtmfTone.ONE)]
    await recognise(connection, RecognizeInputType.CHOICES, choices=choices)
    await phone.on(call_id, "say", tone_ms=300, text="Sure thing.")
    completed = await app.callback("RecognizeCompleted", 3)
    assert completed["choiceResult"] == {"label": "Yes", "recognizedPhrase": "sure"}

    await recognise(connection, RecognizeInputType.DTMF, initial_silence_timeout=1)
    failed = await app.callback("RecognizeFailed")
    assert (failed["resultInformation"]["subCode"], failed["operationContext"]) == (8510, "ask")
    await recognise(connection, RecognizeInputType.DTMF)
    await connection.cancel_all_media_operations()
    await app.callback("RecognizeCanceled")
    await phone.on(call_id, "hang-up")


async def test_a_call_is_recorded(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    name = "recordings"
    await phone.ask("POST", "event-grid/subscriptions", {"url": f"{app.url}/events", "name": name})
    call_id, _ = await answered(phone, app, sdk)
    server_call_id = (await phone.call(call_id))["server_call_id"]
    state = f"{app.callback_url}&recording=1"
    started = await sdk.start_recording(
        server_call_id=server_call_id,
        recording_content_type=RecordingContent.AUDIO,
        recording_channel_type=RecordingChannel.MIXED,
        recording_format_type=RecordingFormat.WAV,
        recording_state_callback_url=state,
    )
    recording_id = str(started.recording_id)
    assert started.recording_state == "active"
    with pytest.raises(HttpResponseError):
        await sdk.start_recording(server_call_id=server_call_id)
    await phone.on(call_id, "say", tone_ms=300, hertz=400)
    await sdk.pause_recording(recording_id)
    assert (await sdk.get_recording_properties(recording_id)).recording_state == "inactive"
    await phone.on(call_id, "say", tone_ms=300, hertz=500)
    await sdk.resume_recording(recording_id)
    await phone.on(call_id, "say", tone_ms=300, hertz=600)
    await sdk.stop_recording(recording_id)
    with pytest.raises(ResourceNotFoundError):
        await sdk.get_recording_properties(recording_id)
    await app.callback("RecordingStateChanged", 4)
    states = [event["data"]["state"] for event in app.callbacks if "RecordingState" in event["type"]]
    assert states == ["active", "inactive", "active", "inactive"]

    def files() -> list[Any]:
        bodies = [body[0] for _, body in app.deliveries if body]
        return [one for one in bodies if one["eventType"].endswith("RecordingFileStatusUpdated")]

    await eventually(files, within=5)
    (chunk,) = files()[0]["data"]["recordingStorageInfo"]["recordingChunks"]
    async with aiohttp.ClientSession() as http, http.get(chunk["contentLocation"]) as refused:
        assert refused.status == 401
    with wave.open(io.BytesIO(await signed_get(chunk["contentLocation"]))) as file:
        recording = array("h", file.readframes(file.getnframes())).tobytes()
    assert tone(300, 400) in recording
    assert tone(300, 500) not in recording
    assert tone(300, 600) in recording
    (pause,) = json.loads(await signed_get(chunk["metadataLocation"]))["pauseResumeIntervals"]
    assert pause["duration"] >= 300
    await phone.on(call_id, "hang-up")
    await phone.ask("DELETE", f"event-grid/subscriptions/{name}")


async def signed_get(url: str) -> bytes:
    """Fetch with the resource's key: the SDK itself downloads from Microsoft's hosts alone."""
    parts = urlsplit(url)
    date, content = formatdate(usegmt=True), content_sha256(b"")
    signed = signature(base64.b64decode(KEY), "GET", parts.path, date, parts.netloc, content)
    headers = {
        "x-ms-date": date,
        "x-ms-content-sha256": content,
        "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signed}",
    }
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_a_recording_that_fails(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, _ = await answered(phone, app, sdk)
    await phone.fault(kind="recording_failed", target=call_id)
    started = await sdk.start_recording(call_connection_id=call_id)
    failed = await app.callback("StartRecordingFailed")
    assert failed["recordingId"] == started.recording_id
    await phone.on(call_id, "hang-up")
