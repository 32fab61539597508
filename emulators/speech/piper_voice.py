"""The Piper voice en_US-joe-medium, without its random variation."""

from __future__ import annotations

import json
from typing import cast

import onnxruntime
from piper import PiperConfig, PiperVoice, SynthesisConfig

from emulators.speech.weights import PIPER_JOE, verified_files

_VOLUME = 0.7  # peaks stay below full scale, so that resampling doesn't clip


class PiperEngine:
    """Speaks with Piper; loading takes 1 to 3 s, speaking about a tenth of the audio's length."""

    def __init__(self) -> None:
        """Raises WeightsMissingError or WeightsMismatchError."""
        model_path, config_path = verified_files(PIPER_JOE)
        config = cast(dict[str, object], json.loads(config_path.read_text(encoding="utf-8")))
        options = onnxruntime.SessionOptions()
        # Without it, idle threads burn the processor time that the rest of a call needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            str(model_path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._voice = PiperVoice(session=session, config=PiperConfig.from_dict(config))

    def speak(self, text: str, speed: float) -> tuple[bytes, int]:
        """Return (PCM16 mono, rate in Hz); equal text and speed give equal bytes."""
        settings = SynthesisConfig(length_scale=1 / speed, noise_scale=0.0, noise_w_scale=0.0, volume=_VOLUME)
        # Double brackets would be taken for phonemes.
        chunks = self._voice.synthesize(text.replace("[[", "[").replace("]]", "]"), settings)
        return b"".join(chunk.audio_int16_bytes for chunk in chunks), self._voice.config.sample_rate
