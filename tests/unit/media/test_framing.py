"""What Communication Services' media sockets say, and what they are told."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_worker.media.acs_framing import AcsFraming
from realtime_worker.media.framing import (
    SILENT_FRAME,
    KeyPressed,
    MalformedMessageError,
    StreamOpened,
    UnsupportedAudioError,
    checked_audio,
    duration_ms,
    joined,
)

AUDIO = base64.b64encode(bytes(range(240)) * 4)


def message(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def as_written(audio: bytes) -> bytes:
    """As the service writes it, without spaces and in its order."""
    return (
        b'{"kind":"AudioData","audioData":{"timestamp":"2026-11-21T09:00:02.948Z",'
        b'"participantRawID":"4:+15550100","data":"' + audio + b'","silent":false}}'
    )


@pytest.mark.parametrize(
    "frame",
    [
        as_written(AUDIO),
        message(audioData={"data": AUDIO.decode()}, kind="AudioData"),
        message(Kind="audioData", AudioData={"Data": AUDIO.decode(), "Silent": False}),
    ],
    ids=["as written", "in another order", "in another case"],
)
def test_audio_is_found_whatever_the_shape(frame: bytes) -> None:
    assert AcsFraming().read(frame) == AUDIO


def test_a_frame_like_those_before_can_not_break_out_of_its_message_either() -> None:
    framing = AcsFraming()
    assert framing.read(as_written(AUDIO)) == AUDIO
    for bad in (AUDIO[:-1] + b"\\", AUDIO[:-2] + "ä".encode()):
        with pytest.raises(MalformedMessageError):
            framing.read(as_written(bad))
    strange = AUDIO[:-1] + b"!"
    found = [framing.read(as_written(strange)) for _ in range(10)]
    assert found == [strange] * 10, "nothing but the service's own refusal comes of it"
    with pytest.raises(MalformedMessageError):
        [framing.read(as_written(strange)) for _ in range(50)]


def test_a_silent_frame_without_data_is_silence() -> None:
    assert AcsFraming().read(message(kind="AudioData", audioData={"silent": True})) == SILENT_FRAME
    assert (
        AcsFraming().read(message(kind="AudioData", audioData={"data": "", "silent": True})) == SILENT_FRAME
    )
    assert AcsFraming().read(as_written(b"").replace(b"false", b"true")) == SILENT_FRAME
    assert duration_ms(SILENT_FRAME) == 20


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"data": "5"}, "5"),
        ({"tone": "pound"}, "#"),
        ({"data": "*"}, "*"),
        ({"data": "a"}, "A"),
        ({"data": "nine"}, "9"),
    ],
)
def test_keys(fields: dict[str, str], key: str) -> None:
    assert AcsFraming().read(message(kind="DtmfData", dtmfData=fields)) == KeyPressed(key=key)


def test_what_it_says_first_and_what_it_may_say_one_day() -> None:
    metadata = {"encoding": "PCM", "sampleRate": 24000, "channels": 1, "length": 960}
    assert AcsFraming().read(message(kind="AudioMetadata", audioMetadata=metadata)) == StreamOpened()
    assert AcsFraming().read(message(kind="TranscriptionData", transcriptionData={})) is None


@pytest.mark.parametrize(
    "bad",
    [
        b"hello",
        b"[1]",
        b"7",
        b"{}",
        b'{"kind":"AudioData"}',
        b'{"kind":"AudioData","audioData":[]}',
        b'{"kind":"DtmfData","dtmfData":{"data":"12"}}',
        b'{"kind":"AudioData","audioData":{"data":"\xc3\xa4"}}',
        as_written(b"AAA"),
        as_written(b"AA=A"),
        as_written(b"A A="),
        as_written(rb"AAA\u"),
        as_written(b"===="),
        as_written(b""),
        b"\xff\xfe",
    ],
)
def test_what_can_not_be_understood_says_why_and_repeats_nothing(bad: bytes) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        AcsFraming().read(bad)
    assert str(caught.value).startswith(("a message", "audio that", "an AudioData", "a key"))


@pytest.mark.parametrize("wrong", [{"sampleRate": 8000}, {"channels": 2}, {"encoding": "OPUS"}])
def test_audio_that_can_not_be_taken_is_told(wrong: dict[str, object]) -> None:
    with pytest.raises(UnsupportedAudioError):
        AcsFraming().read(message(kind="AudioMetadata", audioMetadata={"sampleRate": 24000, **wrong}))


def test_what_it_is_told() -> None:
    framing = AcsFraming()
    assert json.loads(framing.play(AUDIO)) == {
        "Kind": "AudioData",
        "AudioData": {"Data": AUDIO.decode()},
        "StopAudio": None,
    }
    assert json.loads(framing.stop()) == {"Kind": "StopAudio", "AudioData": None, "StopAudio": {}}
    assert framing.mark("m1") == b"", "it does not tell what it has played"


@given(st.binary(max_size=2000))
def test_any_bytes_pass_as_they_are(sound: bytes) -> None:
    audio = base64.b64encode(sound)
    if not audio:
        return
    assert AcsFraming().read(as_written(audio)) == audio
    assert json.loads(AcsFraming().play(audio))["AudioData"]["Data"] == audio.decode()
    assert duration_ms(audio) == pytest.approx(len(sound) / 48)


@given(st.binary(max_size=60))
def test_no_message_breaks_the_reader(noise: bytes) -> None:
    try:
        checked_audio(noise)
    except MalformedMessageError:
        return
    base64.b64decode(noise, validate=True)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=12))
def test_joined_pieces_hold_the_same_sound(pieces: list[bytes]) -> None:
    audio = [base64.b64encode(piece) for piece in pieces]
    whole = joined(audio)
    assert b"".join(base64.b64decode(piece, validate=True) for piece in whole) == b"".join(pieces)
    assert len(whole) <= 1 + sum(piece.endswith(b"=") for piece in audio)


def test_sixteen_kilohertz_is_told_once_and_resampled() -> None:
    framing = AcsFraming()
    metadata = {"encoding": "PCM", "sampleRate": 16000, "channels": 1}
    assert framing.read(message(kind="AudioMetadata", audioMetadata=metadata)) == StreamOpened()
    frame = as_written(base64.b64encode(bytes(640)))
    heard = b"".join(
        base64.b64decode(audio) for _ in range(50) if isinstance(audio := framing.read(frame), bytes)
    )
    assert 48_000 * 0.97 < len(heard) <= 48_000
    told = [framing.play(base64.b64encode(bytes(960))) for _ in range(50)]
    said = b"".join(base64.b64decode(json.loads(one)["AudioData"]["Data"]) for one in told if one)
    assert 32_000 * 0.97 < len(said) <= 32_000
