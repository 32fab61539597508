from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from emulators.caller.recordings import RecordingError, read_recording, write_recording
from emulators.caller.script import Turn


def write_tone(path: Path, *, rate: int, channels: int, width: int) -> None:
    """One second of 440 Hz at half of full scale."""
    wave_form = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.5
    if width == 1:
        samples = (wave_form * 127 + 128).astype(np.uint8).tobytes()
        frames = b"".join(samples[i : i + 1] * channels for i in range(rate))
    else:
        whole = (wave_form * (2 ** (8 * width - 1) - 1)).astype("<i4").tobytes()
        frames = b"".join(whole[i * 4 : i * 4 + width] * channels for i in range(rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_any_pcm_wav_becomes_mono_at_24_khz(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    path = tmp_path / "tone.wav"
    write_tone(path, rate=rate, channels=channels, width=width)
    samples = np.frombuffer(read_recording(path), dtype=np.int16).astype(np.float64)
    assert samples.size == pytest.approx(24_000, abs=48)
    assert np.argmax(np.abs(np.fft.rfft(samples))) * 24_000 / samples.size == pytest.approx(440, abs=2)
    assert samples[2_000:-2_000].max() == pytest.approx(16_384, rel=0.05)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    pcm16 = (np.sin(np.arange(24_000) / 9) * 9_000).astype(np.int16).tobytes()
    write_recording(tmp_path / "heard.wav", pcm16)
    assert read_recording(tmp_path / "heard.wav") == pcm16


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "can't be read as WAV"),
        (b"this is no audio at all, but long enough to look at", "can't be read as WAV"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00", "can't be read as WAV"),
    ],
)
def test_a_bad_file_is_named_with_a_way_out(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=says) as refused:
        read_recording(path)
    assert str(path) in str(refused.value)
    assert "ffmpeg -i" in str(refused.value)


def test_a_missing_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        read_recording(tmp_path / "absent.wav")
    write_recording(tmp_path / "empty.wav", b"")
    with pytest.raises(RecordingError, match="holds no audio"):
        read_recording(tmp_path / "empty.wav")


@pytest.mark.parametrize(
    "turn",
    [{}, {"text": "hello", "audio": Path("a.wav")}, {"text": "..."}, {"text": "hello", "answers": 0}],
)
def test_a_turn_that_makes_no_sense_is_refused(turn: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"turn|answers"):
        Turn(**turn)  # type: ignore[arg-type]  # wrong on purpose
