"""Frames, the playback queue and one call's sound, 20 ms at a time and without a clock."""

from __future__ import annotations

import base64
import io
import json
import random
import wave
from array import array
from datetime import UTC, datetime

import pytest

from emulators.communication.call_media import CallMedia
from emulators.communication.frame_resampler import FrameResampler
from emulators.communication.frames import FRAME_BYTES, SILENCE, audible, mixed
from emulators.communication.identifiers import Identifier, phone
from emulators.communication.media_wire import (
    FrameEncoder,
    MalformedError,
    PlayAudio,
    StopAudio,
    dtmf,
    parse,
)
from emulators.communication.microphone import Utterance, tone
from emulators.communication.participants import Participant, Roster
from emulators.communication.playback import LONGEST_QUEUE_MS, PlaybackQueue
from emulators.communication.prompts import Prompt
from emulators.communication.tracks import Track, joined, mono_wav, stereo_wav
from emulators.speech.resampling import StreamResampler

SPEECH = random.Random(4).randbytes(10 * FRAME_BYTES)


def played(queue: PlaybackQueue) -> bytes:
    """Take everything that is queued."""
    return b"".join(iter(lambda: queue.next_frame() or b"", b""))


@pytest.mark.parametrize("sizes", [(9600,), (960,) * 10, (7, 9593), (1,) * 9600, (1919, 4801, 2880)])
def test_what_is_written_in_any_pieces_is_played_whole(sizes: tuple[int, ...]) -> None:
    queue = PlaybackQueue(24_000)
    at = 0
    for size in sizes:
        queue.write(SPEECH[at : at + size])
        at += size
    assert queue.queued_ms == 200
    assert played(queue) == SPEECH
    assert queue.shown() == {
        "received_ms": 200.0, "played_ms": 200, "queued_ms": 0.0, "dropped_ms": 0.0, "overflow_ms": 0.0,
        "stops": 0,
    }  # fmt: skip


def test_the_last_frame_is_padded() -> None:
    queue = PlaybackQueue(24_000)
    queue.write(SPEECH[: FRAME_BYTES + 96])
    assert queue.next_frame() == SPEECH[:FRAME_BYTES]
    assert [queue.next_frame(), queue.next_frame()] == [None, None], "the rest may come yet"
    assert queue.next_frame() == SPEECH[FRAME_BYTES : FRAME_BYTES + 96] + bytes(FRAME_BYTES - 96)
    assert queue.next_frame() is None
    assert queue.played_ms == 22


@pytest.mark.parametrize("size", [900, 958, 962, 1500])
def test_uneven_pieces_in_real_time_are_heard_without_gaps(size: int) -> None:
    queue = PlaybackQueue(24_000)
    heard = b""
    for at in range(0, len(SPEECH), size):
        queue.write(SPEECH[at : at + size])
        heard += queue.next_frame() or b""
    heard += b"".join(queue.next_frame() or b"" for _ in range(10))
    assert heard.rstrip(b"\0") == SPEECH.rstrip(b"\0")


def test_stop_audio_drops_what_waits_and_half_a_sample() -> None:
    queue = PlaybackQueue(24_000)
    queue.write(SPEECH[:5001])
    assert queue.next_frame() == SPEECH[:FRAME_BYTES]
    assert queue.stop() == pytest.approx((5000 - FRAME_BYTES) / 48)
    assert queue.next_frame() is None
    queue.write(SPEECH)
    assert played(queue) == SPEECH


def test_the_queue_is_bounded() -> None:
    queue = PlaybackQueue(24_000)
    minute = bytes(48 * 60_000)
    for _ in range(12):
        queue.write(minute)
    assert queue.queued_ms == LONGEST_QUEUE_MS
    assert queue.overflow_ms == 120_000


def test_16_khz_is_played_at_24() -> None:
    queue = PlaybackQueue(16_000)
    for _ in range(50):
        queue.write(array("h", [6000, 6000, -6000, -6000] * 80).tobytes())
    assert queue.received_ms == 1000
    assert 960 <= queue.queued_ms <= 1000
    assert audible(queue.next_frame())


def test_a_voice_at_another_rate_has_no_gaps() -> None:
    size = 640
    resampler, whole = FrameResampler(16_000), StreamResampler(24_000, 16_000)
    frames = [SPEECH[at : at + FRAME_BYTES] for at in range(0, len(SPEECH), FRAME_BYTES)] * 4
    out = [resampler.feed(frame) or b"" for frame in frames]
    assert {len(frame) for frame in out} == {size}
    expected = bytes(size) + b"".join(whole.feed(frame) for frame in frames)
    pairs = zip(array("h", b"".join(out)), array("h", expected[: len(out) * size]), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 2, "but for the dither, the same"
    tail = [resampler.feed(None) for _ in range(6)]
    assert tail[0] is not None
    assert tail[-1] is None


def test_frames_are_what_the_service_sends() -> None:
    encoder = FrameEncoder(24_000, datetime(2026, 11, 21, 9, 0, 2, 948_000, tzinfo=UTC))
    encoder.tick()
    assert json.loads(encoder.audio(SPEECH[:960], "4:+15550100")) == {
        "kind": "AudioData",
        "audioData": {
            "timestamp": "2026-11-21T09:00:02.968Z",
            "participantRawID": "4:+15550100",
            "data": base64.b64encode(SPEECH[:960]).decode(),
            "silent": False,
        },
    }
    encoder.tick()
    mixed_silence = json.loads(encoder.audio(None, None))["audioData"]
    assert mixed_silence == {
        "timestamp": "2026-11-21T09:00:02.988Z",
        "data": base64.b64encode(SILENCE).decode(),
        "silent": True,
    }
    assert json.loads(dtmf("5")) == {"kind": "DtmfData", "dtmfData": {"data": "5"}}
    assert json.loads(FrameEncoder(16_000, datetime.now(UTC)).metadata("s"))["audioMetadata"]["length"] == 640


@pytest.mark.parametrize(
    "message",
    [
        '{"Kind":"AudioData","AudioData":{"Data":"AAE="},"StopAudio":null}',
        '{"kind":"audioData","audioData":{"data":"AAE=","isSilent":false},"stopAudio":{}}',
        '{"KIND":"AUDIODATA","AUDIODATA":{"DATA":"AAE="}}',
    ],
)
def test_audio_in_any_casing(message: str) -> None:
    assert parse(message) == PlayAudio(b"\0\1")


@pytest.mark.parametrize(
    "message",
    [
        '{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}',
        '{"kind":"stopAudio","stopAudio":{}}',
    ],
)
def test_stop_in_any_casing(message: str) -> None:
    assert parse(message) == StopAudio()


@pytest.mark.parametrize(
    "message",
    ["", "{", "7", "[]", "{}", '{"kind":"Dance"}', '{"kind":"AudioData"}',
     '{"kind":"AudioData","audioData":{"data":7}}', '{"kind":"AudioData","audioData":{"data":"%"}}'],
)  # fmt: skip
def test_what_is_malformed_is_said_to_be(message: str) -> None:
    with pytest.raises(MalformedError):
        parse(message)


class Peer:
    """The application's end: keeps what it is given, plays what it has."""

    def __init__(self) -> None:
        self.taken: list[list[tuple[Identifier, bytes | None]]] = []
        self.queue = PlaybackQueue(24_000)

    def next_frame(self) -> bytes | None:
        return self.queue.next_frame()

    def take(self, voices: list[tuple[Identifier, bytes | None]]) -> None:
        self.taken.append(voices)


def call_of(*numbers: str) -> tuple[CallMedia, Peer, list[Participant], list[str | None]]:
    roster = Roster()
    people = [Participant(identifier=phone(number), said=Track(1), heard=Track(1)) for number in numbers]
    for person in people:
        roster.add(person)
    said: list[str | None] = []
    media = CallMedia(roster, speed=1, on_said=lambda who, utterance: said.append(utterance.words))
    media.peer = peer = Peer()
    return media, peer, people, said


def test_one_caller_and_the_application_hear_each_other() -> None:
    media, peer, (caller,), said = call_of("+15550100")
    caller.microphone.say(Utterance(SPEECH[: 2 * FRAME_BYTES], "hello"))
    peer.queue.write(tone(40))
    for _ in range(3):
        media.tick()
    frames = [voices[0][1] for voices in peer.taken]
    assert frames == [SPEECH[:FRAME_BYTES], SPEECH[FRAME_BYTES : 2 * FRAME_BYTES], None]
    assert caller.heard.pcm16() == tone(40) + SILENCE
    assert caller.said.pcm16() == SPEECH[: 2 * FRAME_BYTES] + SILENCE
    assert said == ["hello"]


def test_others_are_heard_but_not_oneself() -> None:
    media, _, (one, other), _ = call_of("+15550100", "+15550101")
    one.microphone.say(Utterance(SPEECH[:FRAME_BYTES]))
    media.tick()
    assert other.heard.pcm16() == SPEECH[:FRAME_BYTES]
    assert one.heard.pcm16() == SILENCE


def test_mute_and_hold() -> None:
    media, peer, (muted, held), _ = call_of("+15550100", "+15550101")
    muted.muted, held.on_hold = True, True
    for person in (muted, held):
        person.microphone.say(Utterance(SPEECH[:FRAME_BYTES]))
    peer.queue.write(tone(20))
    media.tick()
    assert [frame for _, frame in peer.taken[0]] == [None, None]
    assert held.heard.pcm16() == SILENCE
    assert muted.heard.pcm16() == tone(20)


def test_a_prompt_goes_before_the_stream_and_only_to_whom_it_is_for() -> None:
    media, peer, (one, other), _ = call_of("+15550100", "+15550101")
    happened: list[object] = []
    prompt = Prompt(
        pcm16=SPEECH[:FRAME_BYTES],
        to=frozenset({"4:+15550100"}),
        on_started=lambda: happened.append("started"),
        on_ended=happened.append,
    )
    media.prompts.add(prompt)
    peer.queue.write(tone(20))
    media.tick()
    assert (one.heard.pcm16(), other.heard.pcm16()) == (SPEECH[:FRAME_BYTES], SILENCE)
    media.tick()
    assert one.heard.pcm16().endswith(tone(20))
    assert happened == ["started", True]


def test_mixing_clips() -> None:
    loud, louder = array("h", [30_000, -30_000]).tobytes(), array("h", [10_000, -10_000]).tobytes()
    assert array("h", mixed([loud, None, louder]) or b"").tolist() == [32_767, -32_768]
    assert mixed([None, None]) is None
    assert mixed([None, loud]) is loud


def test_tracks_are_bounded_and_become_wav() -> None:
    track = Track(1 / 60)  # a second
    for _ in range(60):
        track.add(SPEECH[:FRAME_BYTES])
    assert (track.milliseconds, track.truncated) == (1000, True)
    with wave.open(io.BytesIO(mono_wav(joined([SPEECH[:FRAME_BYTES], None])))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 24_000, 960)
    with wave.open(
        io.BytesIO(stereo_wav([None, SPEECH[:FRAME_BYTES]], [SPEECH[FRAME_BYTES:][:960]]))
    ) as file:
        both = array("h", file.readframes(960))
        assert both[0::2].tobytes() == SILENCE + SPEECH[:FRAME_BYTES]
        assert both[1::2].tobytes() == SPEECH[FRAME_BYTES : 2 * FRAME_BYTES] + SILENCE


def test_tones_have_the_length_that_is_asked_for() -> None:
    assert len(tone(1500)) == 1500 * 48
    assert tone(2500)[: 48 * 1500] == tone(1500)
    assert audible(tone(20))
    assert not audible(SILENCE)
    assert not audible(None)
