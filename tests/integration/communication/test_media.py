"""The media socket: how it is dialled, what goes over it, how it breaks and comes again."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import wave
from array import array
from datetime import datetime, timedelta

from azure.communication.callautomation import (
    AudioFormat,
    MediaStreamingAudioChannelType,
    PhoneNumberIdentifier,
)
from azure.communication.callautomation.aio import CallAutomationClient

from emulators.communication.microphone import tone
from emulators.communication.tracks import mono_wav
from tests.integration.communication.application import Application, MediaConnection, loudness
from tests.integration.communication.conftest import SPEED, Phone
from tests.integration.communication.test_calls import streaming
from tests.support.eventually import eventually

CALLER = "4:+15550100"


async def streamed(
    phone: Phone, app: Application, sdk: CallAutomationClient, **changes: object
) -> tuple[str, MediaConnection]:
    """Ring, answer with media; return the call's id and the media connection."""
    incoming = await phone.ring()
    await sdk.answer_call(
        incoming["incoming_call_context"],
        app.callback_url,
        operation_context="inbound",
        media_streaming=streaming(app, **changes),
    )
    return incoming["id"], await app.connection()


def samples(wav: bytes) -> tuple[int, array[int]]:
    """Return the channel count and the samples of a WAV at 24 kHz."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (24_000, 2)
        return file.getnchannels(), array("h", file.readframes(file.getnframes()))


async def test_it_dials_with_headers_and_a_token_and_begins_with_metadata(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    shown = await phone.call(call_id)
    assert media.headers["x-ms-call-connection-id"] == call_id
    assert media.headers["x-ms-call-correlation-id"] == shown["correlation_id"]
    assert media.query == {"session": "s1"}
    claims = await app.verified(media.headers["Authorization"])
    assert claims["exp"] - claims["iat"] == 300
    assert media.messages[0]["kind"] == "AudioMetadata"
    assert {**media.metadata, "subscriptionId": ""} == {
        "subscriptionId": "", "encoding": "PCM", "sampleRate": 24_000, "channels": 1, "length": 960,
    }  # fmt: skip
    started = await app.callback("MediaStreamingStarted")
    assert started["mediaStreamingUpdate"] == {
        "contentType": "Audio",
        "mediaStreamingStatus": "mediaStreamingStarted",
        "mediaStreamingStatusDetails": "subscriptionStarted",
    }
    await phone.on(call_id, "hang-up")
    await app.callback("CallDisconnected")
    await eventually(lambda: media.closed)
    assert media.close_code == 1000


async def test_frames_come_every_20_ms_of_call_time(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    loop = asyncio.get_running_loop()
    began, before = loop.time(), len(media.frames())
    await eventually(lambda: len(media.frames()) >= before + 500, within=5)
    seconds = loop.time() - began
    assert seconds > 500 * 0.020 / SPEED * 0.9, "never faster than the call"
    frames = media.frames()
    assert all(one["silent"] and len(base64.b64decode(one["data"])) == 960 for one in frames)
    assert {one["participantRawID"] for one in frames} == {CALLER}
    times = [datetime.fromisoformat(one["timestamp"]) for one in frames]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(milliseconds=20)}
    await phone.on(call_id, "hang-up")


async def test_what_the_caller_says_arrives_whole(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    spoken = await phone.on(call_id, "say", tone_ms=1000, hertz=500, text="hello")
    assert spoken["ms"] == 1000
    await eventually(lambda: len(media.sound()) >= 50, within=5)
    assert b"".join(media.sound()) == tone(1000, 500)
    wav = await phone.fetch(f"calls/{call_id}/said.wav")
    channels, said = samples(wav)
    assert channels == 1
    assert tone(1000, 500) in said.tobytes()
    await phone.on(call_id, "hang-up")
    (event,) = await phone.events(call_id, "said")
    assert event["words"] == "hello"


async def test_a_caller_says_something_at_once(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    wav = base64.b64encode(mono_wav(tone(300, 900))).decode()
    incoming = await phone.ring(say={"wav": wav}, say_after_ms=2000)
    await sdk.answer_call(incoming["incoming_call_context"], app.callback_url, media_streaming=streaming(app))
    media = await app.connection()
    await eventually(lambda: b"".join(media.sound()).endswith(tone(300, 900)))
    await phone.on(incoming["id"], "hang-up")


async def test_a_wav_is_said_too(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, media = await streamed(phone, app, sdk)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(array("h", [9000, -9000] * 2000).tobytes())
    assert (await phone.say_wav(call_id, buffer.getvalue()))["ms"] == 500
    await phone.say_wav(call_id, b"RIFF", status=400)
    await eventually(lambda: len(media.sound()) >= 25, within=5)
    await phone.on(call_id, "hang-up")


async def test_what_the_application_plays_is_heard_in_real_time(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    await media.play(tone(1000, 300) + tone(1000, 600))

    async def played() -> bool:
        playback = (await phone.call(call_id))["streaming"]["playback"]
        return (playback["received_ms"], playback["played_ms"]) == (2000, 2000)

    began = asyncio.get_running_loop().time()
    await eventually(played, within=5)
    assert asyncio.get_running_loop().time() - began > 2.0 / SPEED * 0.8, "it takes as long as it lasts"
    await phone.on(call_id, "hang-up")
    _, heard = samples(await phone.fetch(f"calls/{call_id}/heard.wav"))
    assert tone(1000, 300) + tone(1000, 600) in heard.tobytes()
    channels, both = samples(await phone.fetch(f"calls/{call_id}/call.wav"))
    assert channels == 2
    assert loudness(both[0::2].tobytes()) == 0, "left: what was said"
    assert loudness(both[1::2].tobytes()) > 7000, "right: what was heard"


async def test_stop_audio_drops_what_was_not_heard(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    for _ in range(5):
        await media.play(tone(60_000))
    await phone.on(call_id, "listen", until="sound", ms=400)
    await media.stop()
    await phone.on(call_id, "listen", until="quiet", ms=400)
    playback = (await phone.call(call_id))["streaming"]["playback"]
    assert playback["queued_ms"] == 0
    assert playback["played_ms"] >= 400
    assert playback["played_ms"] + playback["dropped_ms"] == 300_000
    (stopped,) = await phone.events(call_id, "stop_audio")
    assert stopped["dropped_ms"] == playback["dropped_ms"]
    # The JavaScript SDK's casing, and audio that comes after the stop.
    data = base64.b64encode(tone(200)).decode()
    await media.socket.send_json({"kind": "audioData", "audioData": {"data": data, "isSilent": False}})
    await media.socket.send_json({"kind": "stopAudio", "stopAudio": {}})

    async def stopped_twice() -> bool:
        return len(await phone.events(call_id, "stop_audio")) == 2

    await eventually(stopped_twice)
    await phone.on(call_id, "hang-up")


async def test_mixed_audio_at_16_khz(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, media = await streamed(
        phone, app, sdk,
        audio_format=AudioFormat.PCM16_K_MONO, audio_channel_type=MediaStreamingAudioChannelType.MIXED,
    )  # fmt: skip
    assert (media.metadata["sampleRate"], media.metadata["length"]) == (16_000, 640)
    await phone.on(call_id, "say", tone_ms=500)
    await eventually(lambda: len(media.sound()) >= 25, within=5)
    assert {len(base64.b64decode(one["data"])) for one in media.frames()} == {640}
    assert not any("participantRawID" in one for one in media.frames())
    assert loudness(b"".join(media.sound())) > 7000
    await media.play(bytes(640) + array("h", [8000, -8000] * 8000).tobytes())
    await phone.on(call_id, "listen", until="quiet", ms=300)
    playback = (await phone.call(call_id))["streaming"]["playback"]
    assert playback["received_ms"] == 2020 / 2 + 10
    await phone.on(call_id, "hang-up")


async def test_keys_arrive_in_the_stream(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, media = await streamed(phone, app, sdk)
    await phone.on(call_id, "press", digits="12#")
    await eventually(lambda: media.digits() == "12#")
    await phone.on(call_id, "hang-up")


async def test_without_bidirectional_and_dtmf_options_it_only_listens(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk, enable_bidirectional=False, enable_dtmf_tones=False)
    await media.play(tone(100))
    await phone.on(call_id, "press", digits="1")

    async def complained() -> bool:
        return bool(await phone.events(call_id, "malformed_media"))

    await eventually(complained)
    assert media.digits() == ""
    assert (await phone.call(call_id))["streaming"]["playback"] is None
    await phone.on(call_id, "hang-up")


async def test_streaming_is_stopped_and_started(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    incoming = await phone.ring()
    await sdk.answer_call(
        incoming["incoming_call_context"],
        app.callback_url,
        media_streaming=streaming(app, start_media_streaming=False),
    )
    await app.callback("CallConnected")
    connection = sdk.get_call_connection(incoming["id"])
    assert not app.media
    await connection.start_media_streaming(operation_context="again")
    first = await app.connection()
    assert (await app.callback("MediaStreamingStarted"))["operationContext"] == "again"
    await connection.stop_media_streaming(operation_callback_url=f"{app.callback_url}&elsewhere=1")
    stopped = await app.callback("MediaStreamingStopped")
    assert stopped["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "subscriptionStopped"
    await eventually(lambda: first.closed)
    assert first.close_code == 1000
    await connection.start_media_streaming()
    await app.connection(2)
    await phone.on(incoming["id"], "hang-up")


async def test_a_broken_connection_is_dialled_again(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    await app.callback("MediaStreamingStarted")
    await phone.on(call_id, "media/drop")
    second = await app.connection(2)
    assert media.close_code == 1006
    assert second.headers["x-ms-call-connection-id"] == call_id
    again = await app.callback("MediaStreamingStarted", 2)
    assert again["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "streamConnectionReestablished"
    interrupted = await app.callback("MediaStreamingFailed")
    details = interrupted["mediaStreamingUpdate"]["mediaStreamingStatusDetails"]
    assert details == "streamConnectionInterrupted"
    await phone.on(call_id, "say", tone_ms=100)
    await eventually(lambda: len(second.sound()) == 5)
    # The application breaks it, as a worker that dies does: without a closing handshake.
    transport = second.socket._req.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.abort()
    await app.connection(3)
    await phone.on(call_id, "hang-up")


async def test_it_may_stay_broken(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    call_id, _ = await streamed(phone, app, sdk)
    await phone.on(call_id, "media/drop", reopen=False)
    failed = await app.callback("MediaStreamingFailed")
    details = failed["mediaStreamingUpdate"]["mediaStreamingStatusDetails"]
    assert details == "streamConnectionUnsuccessful"
    assert (await phone.call(call_id))["state"] == "connected", "the call goes on without media"
    await sdk.get_call_connection(call_id).start_media_streaming()
    await app.connection(2)
    await phone.on(call_id, "hang-up")


async def test_a_drop_can_be_planned(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    await phone.fault(kind="media_drop", ms=10)
    call_id, media = await streamed(phone, app, sdk)
    await app.connection(2)
    assert media.close_code == 1006
    await phone.on(call_id, "hang-up")


async def test_the_application_refuses_or_leaves(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    app.media_status = 401
    incoming = await phone.ring()
    await sdk.answer_call(incoming["incoming_call_context"], app.callback_url, media_streaming=streaming(app))
    failed = await app.callback("MediaStreamingFailed")
    details = failed["mediaStreamingUpdate"]["mediaStreamingStatusDetails"]
    assert details == "initialWebSocketConnectionFailed"
    assert failed["resultInformation"]["code"] == 401
    app.media_status = 101
    connection = sdk.get_call_connection(incoming["id"])
    await connection.start_media_streaming()
    first = await app.connection()
    await first.socket.close(code=1008)
    await app.callback("MediaStreamingFailed", 2)
    await connection.start_media_streaming()
    second = await app.connection(2)
    await second.socket.close()
    await app.callback("MediaStreamingStopped")
    assert len(app.media) == 2, "neither a refusal nor a goodbye is dialled again"
    await phone.on(incoming["id"], "hang-up")


async def test_forged_tokens_wrong_rates_and_messages_that_no_service_sends(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.fault(kind="media_forged", token="missing")
    await phone.fault(kind="media_rate", rate=8000)
    call_id, media = await streamed(phone, app, sdk)
    assert "Authorization" not in media.headers
    assert (media.metadata["sampleRate"], media.metadata["length"]) == (8000, 320)
    await phone.on(call_id, "media/send", text="{not json")
    await phone.on(call_id, "media/send", base64=base64.b64encode(b"\0\1").decode())
    await phone.on(call_id, "media/send", size=2_000_000)

    def sizes() -> list[int]:
        return [one["size"] for one in media.messages if one["kind"] in ("not JSON", "binary")]

    await eventually(lambda: len(sizes()) == 3)
    assert sizes() == [9, 2, 2_000_000]
    await media.socket.send_str("not json")
    await media.socket.send_bytes(b"\0\0")

    async def counted() -> bool:
        call = await phone.call(call_id)
        return call["streaming"]["connections"][0]["malformed"] == 2

    await eventually(counted)
    await phone.on(call_id, "hang-up")


async def test_media_can_come_at_twice_or_half_its_pace(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    await phone.fault(kind="media_pace", factor=0.25)
    call_id, media = await streamed(phone, app, sdk)
    loop = asyncio.get_running_loop()
    before, began = len(media.frames()), loop.time()
    await eventually(lambda: len(media.frames()) >= before + 100, within=5)
    assert loop.time() - began > 100 * 0.020 / SPEED / 0.25 * 0.9
    await phone.on(call_id, "hang-up")


async def test_an_unreachable_application(phone: Phone, app: Application, sdk: CallAutomationClient) -> None:
    await phone.fault(kind="media_unreachable")
    incoming = await phone.ring()
    await sdk.answer_call(incoming["incoming_call_context"], app.callback_url, media_streaming=streaming(app))
    await app.callback("MediaStreamingFailed")
    assert not app.media
    await phone.on(incoming["id"], "hang-up")


async def test_two_people_hear_each_other_and_arrive_apart(
    phone: Phone, app: Application, sdk: CallAutomationClient
) -> None:
    call_id, media = await streamed(phone, app, sdk)
    other = PhoneNumberIdentifier("+15550144")
    connection = sdk.get_call_connection(call_id)
    await connection.add_participant(other, source_caller_id_number=PhoneNumberIdentifier("+15550199"))
    await app.callback("AddParticipantSucceeded")
    await phone.on(call_id, "say", tone_ms=200, participant="+15550144")
    await eventually(lambda: len(media.sound("4:+15550144")) == 10)
    assert media.sound(CALLER) == []
    _, heard = samples(await phone.fetch(f"calls/{call_id}/heard.wav?participant=%2B15550100"))
    assert tone(200) in heard.tobytes()
    _, own = samples(await phone.fetch(f"calls/{call_id}/heard.wav?participant=%2B15550144"))
    assert loudness(own.tobytes()) == 0
    await phone.on(call_id, "hang-up")
