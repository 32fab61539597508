"""The ears and the voice with their real models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from emulators.speech import hearing, speaking
from emulators.speech.resampling import duration_ms, resample
from emulators.speech.speaking import AGENT_VOICE, CALLER_VOICE, Voice, synthesise, synthesise_all
from emulators.speech.transcripts import word_error_rate
from emulators.speech.voice_activity import SpeechStarted, SpeechStopped, VoiceActivityDetector, VoiceEvent

CALL_CENTRE = [
    "Hello, I would like to know the status of my claim.",
    "My member number is one two three four.",
    "Can I book an appointment on Friday morning? Thank you, that is all.",
]


def silence(milliseconds: int, rate: int = 24_000) -> bytes:
    return bytes(rate * milliseconds // 1000 * 2)


@pytest.mark.parametrize("voice", [AGENT_VOICE, CALLER_VOICE], ids=["agent", "caller"])
async def test_what_the_voice_says_the_ears_understand(voice: Voice) -> None:
    heard = [
        await hearing.transcribe(await synthesise_all(text, voice=voice), 24_000) for text in CALL_CENTRE
    ]
    rate = word_error_rate(" ".join(CALL_CENTRE), " ".join(heard))
    assert rate <= 0.15, f"word error rate {rate:.2f}: {heard}"


async def test_a_telephone_line_is_understood_too() -> None:
    audio = resample(await synthesise_all(CALL_CENTRE[0]), 24_000, 8_000)
    heard = await hearing.transcribe(audio, 8_000)
    assert word_error_rate(CALL_CENTRE[0], heard) <= 0.3, heard


async def test_silence_noise_and_nothing_are_not_words() -> None:
    noise = (np.random.default_rng(1).normal(0, 30, 24_000)).astype(np.int16).tobytes()
    assert await hearing.transcribe(silence(2_000), 24_000) == ""
    assert await hearing.transcribe(b"", 24_000) == ""
    assert await hearing.transcribe(noise[:2_399], 24_000) == ""
    assert await hearing.transcribe_recording(noise, 24_000) == ""


async def test_a_long_recording_is_understood_to_its_end() -> None:
    audio = b"".join([await synthesise_all(text) + silence(700) for text in CALL_CENTRE])
    heard = await hearing.transcribe_recording(audio, 24_000)
    assert word_error_rate(" ".join(CALL_CENTRE), heard) <= 0.15, heard


async def test_the_same_text_gives_the_same_audio() -> None:
    text = "Your claim is being reviewed."
    assert await synthesise_all(text) == await synthesise_all(text)
    assert await synthesise_all(text) != await synthesise_all(text, voice=CALLER_VOICE)


async def test_speech_comes_in_pieces_at_the_wanted_rate() -> None:
    text = "It is paid. You will get a letter."
    chunks = [chunk async for chunk in synthesise(text, 16_000)]
    assert len(chunks) == 2
    at_24_khz = await synthesise_all(text, 24_000)
    assert duration_ms(b"".join(chunks), 16_000) == pytest.approx(duration_ms(at_24_khz, 24_000), abs=2)
    assert np.abs(np.frombuffer(at_24_khz, np.int16)).max() < 32_000, "the voice clips"


async def test_first_audio_is_early_and_closing_ends_the_synthesis() -> None:
    await speaking.warm_up()
    began = time.perf_counter()
    pieces = synthesise("Thank you for waiting, I have found your claim. " + "It is long. " * 200)
    await anext(pieces)
    first_ms = (time.perf_counter() - began) * 1000
    await pieces.aclose()
    # The worker is free again: nothing of the long text is still being spoken.
    async with asyncio.timeout(3):
        await synthesise_all("Yes.")
    assert first_ms < 1_500, f"first audio after {first_ms:.0f} ms"  # 60 to 200 ms on a machine of its own


async def test_cancelling_a_consumer_does_not_harm_the_next() -> None:
    async def consume() -> None:
        async for _ in synthesise("One sentence. " * 100):
            pass

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert await synthesise_all("Yes.")


async def test_text_with_brackets_or_without_words_is_harmless() -> None:
    assert await synthesise_all("Press [[1]] or [[nonsense]] now.")
    assert await synthesise_all(" ... ") == b""


def feed_all(detector: VoiceActivityDetector, audio: bytes, chunk_bytes: int) -> list[VoiceEvent]:
    return [
        event
        for start in range(0, len(audio), chunk_bytes)
        for event in detector.feed(audio[start : start + chunk_bytes])
    ]


@pytest.mark.parametrize(
    ("rate", "chunk_bytes"), [(24_000, 960), (24_000, 333), (16_000, 50_000), (8_000, 320)]
)
async def test_voice_activity_finds_each_utterance(rate: int, chunk_bytes: int) -> None:
    speech = await synthesise_all("What is the status of my claim?", rate)
    audio = silence(1_000, rate) + speech + silence(1_500, rate) + speech + silence(1_000, rate)
    detector = VoiceActivityDetector(rate=rate)
    try:
        events = feed_all(detector, audio, chunk_bytes)
    finally:
        detector.close()
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped] * 2, events
    first, stop, second, _ = events
    spoken_ms = duration_ms(speech, rate)
    assert first.audio_ms == pytest.approx(1_000 - 300, abs=150)
    assert stop.audio_ms == pytest.approx(1_000 + spoken_ms + 500, abs=250)
    assert second.audio_ms >= stop.audio_ms
    assert isinstance(stop, SpeechStopped)
    assert duration_ms(stop.audio, rate) == pytest.approx(stop.audio_ms - first.audio_ms, abs=1)
    heard = await hearing.transcribe(stop.audio, rate)
    assert word_error_rate("What is the status of my claim?", heard) <= 0.3, heard


async def test_voice_activity_ignores_noise_and_obeys_its_parameters() -> None:
    noise = (np.random.default_rng(2).normal(0, 1_000, 72_000)).astype(np.int16).tobytes()
    speech = await synthesise_all("Yes, please.")
    detector = VoiceActivityDetector(silence_duration_ms=200, prefix_padding_ms=0)
    try:
        assert detector.feed(noise) == []
        assert not detector.speaking
        started, stopped = detector.feed(silence(480) + speech + silence(600))
        patient_from_ms = detector.audio_ms
        detector.configure(silence_duration_ms=2_000)
        (only_start,) = detector.feed(speech + silence(1_200))
        assert detector.speaking
        detector.reset()
        assert not detector.speaking
        assert detector.feed(silence(2_000)) == []
    finally:
        detector.close()
        detector.close()
    assert started.audio_ms == pytest.approx(3_480, abs=150)
    assert stopped.audio_ms == pytest.approx(3_480 + duration_ms(speech, 24_000), abs=300)
    assert only_start.audio_ms >= patient_from_ms - 300
    with pytest.raises(RuntimeError, match="closed"):
        detector.feed(silence(100))


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"silence_duration_ms": -1}, {"rate": 22_050}])
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        VoiceActivityDetector(**wrong)  # type: ignore[arg-type]  # wrong on purpose


WITHOUT_PIPER = """
import asyncio, logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
sys.modules["piper"] = None
from emulators.speech.speaking import synthesise_all
async def main():
    for text in ("Hello there.", "What is the status of my claim?"):
        print(len(await synthesise_all(text, 16000)))
asyncio.run(main())
"""


def test_without_piper_espeak_speaks_and_one_log_line_says_so() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PIPER],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lengths = [int(line) for line in run.stdout.split()]
    assert len(lengths) == 2
    assert all(0.4 < length / 32_000 < 4 for length in lengths), lengths
    assert run.stderr.count("WARNING") == 1, run.stderr
    assert "speaking with eSpeak NG" in run.stderr
