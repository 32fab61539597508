"""Playback, G.711 and SDP: what carries a call's audio."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from emulators.realtime.g711 import FromPcm24k, Law, ToPcm24k
from emulators.realtime.playback import Playback, VirtualSink
from emulators.realtime.sdp import canned_answer, check_offer
from emulators.realtime.wire import RejectedError
from tests.support.eventually import eventually
from tests.support.realtime_emulator import MINIMAL_OFFER


async def test_responses_play_one_after_the_other() -> None:
    told: list[str] = []
    playback = Playback(
        VirtualSink(100.0),
        on_started=lambda response: told.append(f"started {response}"),
        on_stopped=lambda response: told.append(f"stopped {response}"),
    )
    playback.enqueue("a", None, 1000)
    assert told == [], "never from inside a method"
    playback.enqueue("a", None, 1000)
    playback.complete("a")
    playback.enqueue("b", None, 500)
    playback.complete("b")
    began = asyncio.get_running_loop().time()
    await eventually(lambda: len(told) == 4)
    assert told == ["started a", "stopped a", "started b", "stopped b"]
    assert 0.02 <= asyncio.get_running_loop().time() - began < 5


async def test_what_was_heard_is_known_at_an_interruption() -> None:
    stopped: list[str] = []
    playback = Playback(VirtualSink(10.0), on_started=lambda _: None, on_stopped=stopped.append)
    playback.enqueue("a", None, 10_000)
    playback.complete("a")
    await eventually(lambda: playback.played_ms() > 200)
    assert playback.played_ms() < 5000
    playback.clear()
    assert playback.played_ms() == 0
    playback.enqueue("b", None, 100)
    playback.complete("b")
    await eventually(lambda: stopped)
    assert stopped == ["b"]


async def test_a_pause_in_the_voice_does_not_count_as_heard() -> None:
    sink = VirtualSink(1000.0)
    stopped: list[str] = []
    playback = Playback(sink, on_started=lambda _: None, on_stopped=stopped.append)
    playback.enqueue("a", None, 100)
    await eventually(lambda: sink.consumed_ms() == 100)
    assert stopped == [], "more may come"
    playback.enqueue("a", None, 50)
    playback.complete("a")
    await eventually(lambda: stopped)
    assert sink.consumed_ms() == 150


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_g711_survives_a_round_trip(law: Law) -> None:
    tone = (np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000) * 12_000).astype(np.int16)
    encoded = FromPcm24k(law).feed(tone.tobytes())
    assert 7600 <= len(encoded) <= 8000, "a resampler holds a little back"
    back = np.frombuffer(ToPcm24k(law).feed(encoded), dtype=np.int16)
    loud = back[4000:-4000].astype(np.float64)
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(12_000 / np.sqrt(2), rel=0.03)


def test_g711_knows_the_standards_values() -> None:
    # 0xFF and 0xD5 are silence; 0x80 and 0xAA are the loudest positive codes of ITU-T G.711.
    from emulators.realtime.g711 import _decoding, _encoding

    mu, a = _decoding("audio/pcmu"), _decoding("audio/pcma")
    assert (mu[0xFF], mu[0x80], mu[0x00]) == (0, 32_124, -32_124)
    assert (a[0xD5], a[0xAA], a[0x2A]) == (8, 32_256, -32_256)
    for law in ("audio/pcmu", "audio/pcma"):
        decoded = _decoding(law).astype(np.int64)
        assert np.array_equal(decoded[_encoding(law)[decoded + 32_768]], decoded)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the body is empty"),
        ("hello", "unexpected line 'hello'"),
        ("o=x\r\n", "must begin with 'v=0'"),
        ("v=0\r\no=-\r\ns=-\r\n", "no 't=' line"),
        ("v=0\r\no=-\r\ns=-\r\nt=0 0\r\n", "no audio section"),
        ('{"sdp": 1}', "unexpected line"),
    ],
)
def test_what_is_not_sdp_is_refused(text: str, why: str) -> None:
    with pytest.raises(RejectedError) as refused:
        check_offer(text)
    assert refused.value.code == "invalid_offer"
    assert why in refused.value.message


def test_the_canned_answer_answers_every_section() -> None:
    offer = MINIMAL_OFFER + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n"
    answer = canned_answer(check_offer(offer))
    assert check_offer(answer)
    assert "a=group:BUNDLE 0 data" in answer
    assert "m=application 9 UDP/DTLS/SCTP webrtc-datachannel" in answer
    assert "a=rtpmap:111 opus/48000/2" in answer
