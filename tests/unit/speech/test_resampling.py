from __future__ import annotations

import numpy as np
import pytest

from emulators.speech.resampling import StreamResampler, duration_ms, resample


def tone(rate: int, seconds: float = 1.0, frequency: float = 440.0) -> bytes:
    time = np.arange(int(rate * seconds)) / rate
    return (np.sin(2 * np.pi * frequency * time) * 16_000).astype(np.int16).tobytes()


def frequency_of(pcm16: bytes, rate: int) -> float:
    samples = np.frombuffer(pcm16, dtype=np.int16).astype(np.float64)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / samples.size)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 640, 100_000])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(24_000, 16_000), (48_000, 24_000), (8_000, 24_000)])
def test_a_stream_in_chunks_of_any_size_keeps_length_and_pitch(
    from_rate: int, to_rate: int, chunk_bytes: int
) -> None:
    source = tone(from_rate, 0.25)
    resampler = StreamResampler(from_rate, to_rate)
    out = b"".join(
        resampler.feed(source[start : start + chunk_bytes]) for start in range(0, len(source), chunk_bytes)
    )
    out += resampler.feed(b"", last=True)
    assert duration_ms(out, to_rate) == pytest.approx(250, abs=1)
    assert frequency_of(out, to_rate) == pytest.approx(440, abs=4)


def test_chunk_borders_leave_no_trace() -> None:
    source = tone(24_000, 0.5)
    whole, parts = StreamResampler(24_000, 16_000), StreamResampler(24_000, 16_000)
    expected = whole.feed(source) + whole.feed(b"", last=True)
    actual = b"".join(parts.feed(source[at : at + 333]) for at in range(0, len(source), 333))
    actual += parts.feed(b"", last=True)
    difference = np.subtract(*(np.frombuffer(pcm16, np.int16).astype(int) for pcm16 in (actual, expected)))
    assert np.abs(difference).max() <= 2  # rounding noise


def test_live_delay_is_a_few_milliseconds() -> None:
    resampler = StreamResampler(48_000, 24_000)
    out = b"".join(resampler.feed(bytes(1920)) for _ in range(50))
    assert 1000 - duration_ms(out, 24_000) < 10


def test_equal_rates_pass_through_and_a_half_sample_waits() -> None:
    resampler = StreamResampler(16_000, 16_000)
    assert resampler.feed(b"\x01\x02\x03") == b"\x01\x02"
    assert resampler.feed(b"\x04") == b"\x03\x04"


def test_a_whole_recording_keeps_its_pitch() -> None:
    assert frequency_of(resample(tone(22_050), 22_050, 24_000), 24_000) == pytest.approx(440, abs=1)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        StreamResampler(0, 16_000)
